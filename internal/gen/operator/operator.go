// Package operator makes what the operators' side of the server consists of from its tables: api/webhooks.tsv, what the app's program is asked and told.
// That is the Go types of what is built, what carries them, and the reference pages with the coverage table.
package operator

import "path/filepath"

// Files are the generated files below root, by their paths from there.
func Files(root string) (map[string][]byte, error) {
	hooks, err := loadHooks(filepath.Join(root, "api", "webhooks.tsv"))
	if err != nil {
		return nil, err
	}
	return hookFiles(hooks)
}
