package tidings_test

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestDirectDependencies: go.mod marks no module as indirect that our code imports, and every other one.
func TestDirectDependencies(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	indirect := make(map[string]bool) // by module
	for line := range strings.SplitSeq(string(mod), "\n") {
		if fields := strings.Fields(line); len(fields) >= 2 && strings.HasPrefix(fields[1], "v") {
			indirect[fields[0]] = strings.HasSuffix(line, "// indirect")
		}
	}
	out, err := exec.Command("go", "list", "-e", "-json=Imports,TestImports,XTestImports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	imported := make(map[string]bool) // by module
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg struct{ Imports, TestImports, XTestImports []string }
		if err := dec.Decode(&pkg); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, paths := range [][]string{pkg.Imports, pkg.TestImports, pkg.XTestImports} {
			for _, path := range paths {
				for parent := path; parent != ""; {
					if _, ok := indirect[parent]; ok {
						imported[parent] = true
						break
					}
					i := strings.LastIndexByte(parent, '/')
					if i < 0 {
						break
					}
					parent = parent[:i]
				}
			}
		}
	}
	for module, indirect := range indirect {
		if imported[module] == indirect {
			t.Errorf("go.mod: %s: imported is %v, indirect is %v", module, imported[module], indirect)
		}
	}
	if len(imported) < 10 {
		t.Errorf("only %d modules are imported", len(imported))
	}
}
