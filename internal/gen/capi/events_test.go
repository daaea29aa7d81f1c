package capi

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/internal/gen/events"
)

// Each of the 75 callback types can be an event with nothing but its declaration: with all of them declared, package client and the C library compile.
func TestEveryTypeMayFire(t *testing.T) {
	repo, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, dir := range []string{"api", "capi/facts"} {
		if err := os.CopyFS(filepath.Join(root, dir), os.DirFS(filepath.Join(repo, dir))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "client"), 0o755); err != nil {
		t.Fatal(err)
	}
	version, err := os.ReadFile(filepath.Join(repo, "client/version.go"))
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "client/version.go"), version, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}

	// The table, with an event for each type that has none.
	table := filepath.Join(root, "api/events.tsv")
	text, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	column := map[string]int{}
	for i, name := range strings.Split(lines[0], "\t") {
		column[name] = i
	}
	declared := 0
	for i, line := range lines[1:] {
		cells := strings.Split(line, "\t")
		if cells[column["kind"]] != "" {
			continue
		}
		declared++
		params, err := parseParams(cells[column["params"]])
		if err != nil {
			t.Fatal(err)
		}
		var args []string
		for n, p := range params[:len(params)-1] {
			typ := map[string]string{"const char*": "string", "int64_t": "int64", "uint64_t": "uint64", "int32_t": "int32", "uint32_t": "uint32"}[p.typ]
			if typ == "" {
				typ = p.typ // int and bool
			}
			if typ == "string" && n == len(params)-2 {
				typ = "[]string"
			}
			args = append(args, p.name+" "+typ)
		}
		name := strings.TrimPrefix(cells[0], "TIM")
		cells[column["event"]], cells[column["word"]], cells[column["doc"]] = name, strings.ToLower(name), name+" happens."
		cells[column["kind"]], cells[column["args"]] = []string{"live", "state", "owed " + strconv.Itoa(100+i) + " values"}[i%3], strings.Join(args, ", ")
		lines[i+1] = strings.Join(cells, "\t")
	}
	if declared < 50 {
		t.Fatalf("%d types without an event", declared)
	}
	if err := os.WriteFile(table, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}

	files, err := Files(root)
	if err != nil {
		t.Fatal(err)
	}
	more, err := events.Files(root)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(files, more)
	replace := map[string]string{}
	for name, text := range files {
		if filepath.Ext(name) != ".go" {
			continue
		}
		replace[filepath.Join(repo, name)] = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "overlay.json"), overlay, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-overlay", filepath.Join(root, "overlay.json"), "./client", "./capi")
	build.Dir = repo
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
