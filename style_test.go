package tidings_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// avoided returns the words in backquotes in the second column of the table of words in docs/style.md.
func avoided(page string) []string {
	var words []string
	for line := range strings.SplitSeq(page, "\n") {
		if cells := strings.Split(line, "|"); len(cells) == 5 {
			for _, m := range inBackquotes.FindAllStringSubmatch(cells[2], -1) {
				words = append(words, m[1])
			}
		}
	}
	return words
}

// misused returns the lines of a page, outside of its fenced blocks, that contain one of the words.
func misused(page string, words []string) []string {
	word := regexp.MustCompile(`(?i)\b(` + strings.Join(words, "|") + `)\b`)
	var lines []string
	for line := range strings.SplitSeq(inFences.ReplaceAllString(page, ""), "\n") {
		if word.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestStyle: no document uses the words that docs/style.md marks.
func TestStyle(t *testing.T) {
	style, err := os.ReadFile("docs/style.md")
	if err != nil {
		t.Fatal(err)
	}
	words := avoided(string(style))
	if len(words) < 10 {
		t.Fatalf("docs/style.md marks only %q", words)
	}
	paths, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	reference, err := filepath.Glob("docs/reference/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(append(paths, reference...), "README.md", "CHANGELOG.md") {
		if path == "docs/style.md" {
			continue
		}
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range misused(string(page), words) {
			t.Errorf("%s: docs/style.md has other words for this: %s", path, line)
		}
	}
	if got := misused("a camid\nIn the midst, Amid it.\n```text\namid\n```\n", []string{"amid", "anew"}); len(got) != 1 {
		t.Errorf("misused are %q", got)
	}
}
