// Command capi writes what the C library is made of from its tables: api/capi.tsv, the functions and callback types, and
// capi/facts/*.tsv, the JSON keys, enums, codes, operations and the keys that are not built. Run it from the root of the repository:
//
//	go run ./internal/gen/capi
//
// It writes the header, the C functions, the table that the Go side works by, the list of symbols to export, and the reference
// pages with the coverage table.
package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "gen/capi:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	files, err := generate(root)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(root, name)
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, files[name]) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		// Renamed into place, so that a build running at the same time never sees half a file.
		if err := os.WriteFile(path+".tmp", files[name], 0o644); err != nil {
			return err
		}
		if err := os.Rename(path+".tmp", path); err != nil {
			return err
		}
		fmt.Println(name)
	}
	return nil
}

// generate answers the generated files by their names.
func generate(root string) (map[string][]byte, error) {
	t, err := load(root)
	if err != nil {
		return nil, err
	}
	table, err := goTable(t)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		"capi/include/TIMCloud.h": header(t),
		"capi/shims_gen.c":        shims(t),
		"capi/table_gen.go":       table,
		"capi/libImSDK.map":       versionScript(t),
		"docs/c-states.md":        statePage(t),
	}
	maps.Copy(files, pages(t))
	return files, nil
}
