package tidings_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	heading  = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	linkText = regexp.MustCompile(`\[([^\]]*)\]\(([^)\s]*)\)`)
	inFences = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	notASlug = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchors returns the anchors of a page's headings.
func anchors(page string) map[string]bool {
	m := make(map[string]bool)
	for _, h := range heading.FindAllStringSubmatch(inFences.ReplaceAllString(page, ""), -1) {
		title := linkText.ReplaceAllString(h[1], "$1")
		m[strings.ReplaceAll(notASlug.ReplaceAllString(strings.ToLower(title), ""), " ", "-")] = true
	}
	return m
}

// TestLinks: every link in a document to a place in this repository is valid.
func TestLinks(t *testing.T) {
	pages := make(map[string]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "node_modules" {
			return fs.SkipDir
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".md") || strings.HasPrefix(path, "testdata/") {
			return err
		}
		b, err := os.ReadFile(path)
		pages[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	headings := make(map[string]map[string]bool)
	for path, page := range pages {
		headings[path] = anchors(page)
	}
	checked := 0
	for path, page := range pages {
		for _, m := range linkText.FindAllStringSubmatch(inFences.ReplaceAllString(page, ""), -1) {
			if strings.Contains(m[2], "://") {
				continue
			}
			checked++
			file, anchor, _ := strings.Cut(m[2], "#")
			to := path
			if file != "" {
				to = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %s leads nowhere: %v", path, m[0], err)
			} else if anchor != "" && !headings[to][anchor] {
				t.Errorf("%s: %s: there is no such heading", path, m[0])
			}
		}
	}
	if checked < 500 {
		t.Errorf("only %d links", checked)
	}
}
