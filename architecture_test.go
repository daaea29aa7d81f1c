package tidings_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var inBackquotes = regexp.MustCompile("`([^`]+)`")

// foldersNamed reads the table of docs/ARCHITECTURE.md: the folders that have a row, and for each of them what the row has in backquotes.
func foldersNamed(page string) map[string][]string {
	rows := make(map[string][]string)
	for line := range strings.SplitSeq(page, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue
		}
		var words []string
		for _, m := range inBackquotes.FindAllStringSubmatch(cells[2], -1) {
			words = append(words, strings.TrimSuffix(m[1], "/"))
		}
		for _, m := range inBackquotes.FindAllStringSubmatch(cells[1], -1) {
			rows[strings.TrimSuffix(m[1], "/")] = words
		}
	}
	return rows
}

// unnamed returns the folders that neither have a row nor are in the row of a folder above them, by their path from there.
func unnamed(rows map[string][]string, folders []string) []string {
	return slices.DeleteFunc(slices.Clone(folders), func(folder string) bool {
		if _, ok := rows[folder]; ok {
			return true
		}
		for above := filepath.Dir(folder); above != "."; above = filepath.Dir(above) {
			if rel, _ := filepath.Rel(above, folder); slices.Contains(rows[above], filepath.ToSlash(rel)) {
				return true
			}
		}
		return false
	})
}

// TestArchitectureNamesEveryFolder: docs/ARCHITECTURE.md names each folder that has files, and none that is not there.
func TestArchitectureNamesEveryFolder(t *testing.T) {
	page, err := os.ReadFile("docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := foldersNamed(string(page))
	var folders []string
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || slices.Contains([]string{".git", "bin", "lib", "tidings-data"}, path)):
			return fs.SkipDir
		case !d.IsDir() && filepath.Dir(path) != ".":
			folders = append(folders, filepath.Dir(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(folders)
	folders = slices.Compact(folders)
	for _, folder := range unnamed(rows, folders) {
		t.Errorf("docs/ARCHITECTURE.md does not name %s/", folder)
	}
	for folder := range rows {
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			t.Errorf("docs/ARCHITECTURE.md names %s/, which is not there", folder)
		}
	}
	if len(folders) < 30 {
		t.Errorf("only %d folders", len(folders))
	}

	example := foldersNamed("| `a/`, `b/` | holds `c` and `d/e/` | |\n| `f/` | | |")
	if got := unnamed(example, []string{"a", "b", "a/c", "b/d/e", "f", "f/c", "a/d", "g"}); !slices.Equal(got, []string{"f/c", "a/d", "g"}) {
		t.Errorf("unnamed are %v", got)
	}
}
