// Package operator generates the operators' side of the server from its tables: api/rest.tsv (the calls of the admin API), api/restcodes.tsv (their codes) and
// api/webhooks.tsv. It writes the Go types of what is built, the code that reads and routes them, and the reference pages with the coverage tables.
package operator

import (
	"maps"
	"path/filepath"
)

// Files returns the generated files, by their paths from root.
func Files(root string) (map[string][]byte, error) {
	hooks, err := loadHooks(filepath.Join(root, "api", "webhooks.tsv"))
	if err != nil {
		return nil, err
	}
	files, err := hookFiles(hooks)
	if err != nil {
		return nil, err
	}
	calls, err := loadCalls(filepath.Join(root, "api", "rest.tsv"))
	if err != nil {
		return nil, err
	}
	codes, err := loadCodes(filepath.Join(root, "api", "restcodes.tsv"))
	if err != nil {
		return nil, err
	}
	more, err := callFiles(calls, codes)
	maps.Copy(files, more)
	return files, err
}
