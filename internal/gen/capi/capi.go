// Package capi generates the C library's parts from its tables: api/capi.tsv, the functions, api/events.tsv, the callback types, and
// capi/facts/*.tsv, the JSON keys, enums, codes, operations and the keys that are not built. The parts are the header, the C functions, the table for
// the Go side, the list of symbols to export, and the reference pages with the coverage table.
package capi

import "maps"

// Files returns the generated files below root, by their paths from there.
func Files(root string) (map[string][]byte, error) {
	t, err := load(root)
	if err != nil {
		return nil, err
	}
	table, err := goTable(t)
	if err != nil {
		return nil, err
	}
	events, err := goEvents(t)
	if err != nil {
		return nil, err
	}
	handlers, err := handlerTable(t)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		"capi/include/TIMCloud.h": header(t),
		"capi/shims_gen.c":        shims(t),
		"capi/table_gen.go":       table,
		"capi/events_gen.go":      events,
		"capi/handlers_gen.go":    handlers,
		"capi/libImSDK.map":       versionScript(t),
		"docs/c-states.md":        statePage(t),
	}
	maps.Copy(files, pages(t))
	return files, nil
}
