package tidings_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// skips returns the places in a source that skip a test of package testing. Those of package rapid only end one of many draws.
func skips(fset *token.FileSet, file *ast.File) []string {
	var places []string
	// kinds are the types of the parameters around a node, by name.
	var walk func(n ast.Node, kinds map[string]string)
	walk = func(n ast.Node, kinds map[string]string) {
		ast.Inspect(n, func(n ast.Node) bool {
			var f *ast.FuncType
			var body *ast.BlockStmt
			switch n := n.(type) {
			case *ast.FuncDecl:
				f, body = n.Type, n.Body
			case *ast.FuncLit:
				f, body = n.Type, n.Body
			case *ast.CallExpr:
				sel, ok := n.Fun.(*ast.SelectorExpr)
				if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
					return true
				}
				if on, ok := sel.X.(*ast.Ident); ok && strings.HasPrefix(kinds[on.Name], "testing.") || !ok {
					places = append(places, fset.Position(n.Pos()).String())
				}
				return true
			default:
				return true
			}
			if body == nil {
				return false
			}
			inner := make(map[string]string)
			for name, kind := range kinds {
				inner[name] = kind
			}
			for _, p := range f.Params.List {
				kind := p.Type
				if star, ok := kind.(*ast.StarExpr); ok {
					kind = star.X
				}
				for _, name := range p.Names {
					inner[name.Name] = ""
					if sel, ok := kind.(*ast.SelectorExpr); ok {
						if pkg, ok := sel.X.(*ast.Ident); ok {
							inner[name.Name] = pkg.Name + "." + sel.Sel.Name
						}
					}
				}
			}
			walk(body, inner)
			return false
		})
	}
	walk(file, nil)
	return places
}

// TestSkips: tests skip themselves only through package needs, which fails them with CI=true.
func TestSkips(t *testing.T) {
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".pb.go") || strings.HasPrefix(path, "internal/testing/needs/") {
			return err
		}
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, place := range skips(fset, file) {
			t.Errorf("%s: a test skips itself: let it say needs.Missing", place)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(fset, "f.go", `package p
func f(t *testing.T) { rapid.Check(t, func(t *rapid.T) { t.Skip() }); t.Run("", func(x *testing.T) { t.Skipf("") }) }
type s struct { testing.TB }
func (s s) g() { s.TB.SkipNow() }
`, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	if got := skips(fset, file); len(got) != 2 || !strings.HasPrefix(got[0], "f.go:2:") || !strings.HasPrefix(got[1], "f.go:4:") {
		t.Errorf("skips %v", got)
	}
}

// TestMakeTestInstallsNothing: `make test` prints in one line what it lacks and how to get it, and installs nothing; with CI=true the tests
// themselves report it.
func TestMakeTestInstallsNothing(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"sh", "make", "sed", "true"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	installed := filepath.Join(t.TempDir(), "installed")
	if err := os.WriteFile(filepath.Join(bin, "apt-get"), []byte("#!/bin/sh\n: >'"+installed+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, ci := range []string{"", "true"} {
		cmd := exec.Command("make", "-s", "test", "GO=true")
		cmd.Env = []string{"PATH=" + bin, "CI=" + ci}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if said := string(out); ci == "" && (strings.Count(said, "\n") != 1 || !strings.Contains(said, "apt-get install g++ cmake pkg-config python3")) || ci != "" && said != "" {
			t.Errorf("CI=%q:\n%s", ci, said)
		}
	}
	if _, err := os.Stat(installed); err == nil {
		t.Error("make test runs apt-get")
	}
}
