package tidings_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// In docs/guarantees.md, and in the lines of docs/sync.md that begin with "Test:", tests are named like this:
//
//	`TestA`, `TestB/Part` (package); `TestC` (other package)
//
// A package is given by its path, or by the part of it after internal/ or internal/testing/.

var (
	namedTests = regexp.MustCompile("((?:`(?:Test|Fuzz)[^`]*`(?:,\\s*| and )?)+)\\s*\\(([^)]+)\\)")
	testName   = regexp.MustCompile("`((?:Test|Fuzz)\\w*)(?:/(\\w+))?`")
)

// namedIn returns the tests that a text names, by folder, and how many names it has in all.
func namedIn(text string) (byFolder map[string][]string, all int) {
	byFolder = make(map[string][]string)
	for _, m := range namedTests.FindAllStringSubmatch(text, -1) {
		for pkg := range strings.SplitSeq(strings.ReplaceAll(m[2], " and ", ","), ",") {
			pkg = strings.TrimSpace(pkg)
			for _, room := range []string{"internal", "internal/testing"} {
				if _, err := os.Stat(filepath.Join(room, pkg)); err == nil {
					pkg = room + "/" + pkg
					break
				}
			}
			for _, n := range testName.FindAllStringSubmatch(m[1], -1) {
				byFolder[pkg] = append(byFolder[pkg], strings.TrimSuffix(n[1]+"/"+n[2], "/"))
			}
		}
	}
	return byFolder, len(testName.FindAllString(text, -1))
}

// testsOf are the tests that a folder declares, those of contract suites as Test/Part.
func testsOf(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(string(b), -1) {
			names = append(names, m[1])
		}
	}
	if suite, err := os.ReadFile(filepath.Join("internal/testing", filepath.Base(folder)+"test", filepath.Base(folder)+"test.go")); err == nil {
		for _, m := range regexp.MustCompile(`(?m)^\t\t\{"(\w+)", \w+\},`).FindAllStringSubmatch(string(suite), -1) {
			names = append(names, "TestContract/"+m[1])
		}
	}
	return names
}

// TestNamedTests: what the documents say of tests is true of the tree: each that is named exists where it is said to.
func TestNamedTests(t *testing.T) {
	guarantees, err := os.ReadFile("docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile("docs/sync.md")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"docs/guarantees.md": string(guarantees)}
	// A Test: line goes on to the next blank line.
	for _, p := range strings.Split(string(rules), "\n\n") {
		if line, ok := strings.CutPrefix(p, "Test:"); ok {
			texts["docs/sync.md"] += line + "\n\n"
		}
	}
	for file, text := range texts {
		named, all := namedIn(text)
		found := 0
		for folder, names := range named {
			have := testsOf(t, folder)
			for _, n := range names {
				found++
				if !slices.Contains(have, n) {
					t.Errorf("%s names %s in %s, which is not there", file, n, folder)
				}
			}
		}
		if found < all || all == 0 {
			t.Errorf("%s names %d tests, of which only %d have a package behind them", file, all, found)
		}
	}
	// Each promise is held by something.
	for line := range strings.SplitSeq(string(guarantees), "\n") {
		if cells := strings.Split(line, "|"); len(cells) == 4 && !strings.Contains(line, "---") && !strings.Contains(line, "Held by") && !strings.Contains(cells[2], "`") {
			t.Errorf("docs/guarantees.md: no test holds %q", strings.TrimSpace(cells[1]))
		}
	}
	if named, _ := namedIn("`TestNothing`, `TestArrows/Part` (store)"); len(named["internal/store"]) != 2 {
		t.Error("names are not read:", named)
	}
}
