// Package operator makes what the operators' side of the server consists of from its tables: api/rest.tsv, the calls of the admin API, with
// api/restcodes.tsv, their codes, and api/webhooks.tsv, what the app's program is asked and told. That is the Go types of what is built, what reads and
// carries them, and the reference pages with the coverage tables.
package operator

import (
	"maps"
	"path/filepath"
)

// Files are the generated files below root, by their paths from there.
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
