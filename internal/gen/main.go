// Command gen writes the generated code of Tidings from the contract in api/, the facts in capi/facts, and the calls that package client
// declares. Run it from the root of the repository:
//
//	go run ./internal/gen
//
// It needs no protoc: the contract is compiled in this process, and Google's and vtprotobuf's plugins are tools of this
// module. What it writes depends on those files and the versions in go.mod alone.
package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/tidings-im/tidings/internal/gen/calls"
	"github.com/tidings-im/tidings/internal/gen/capi"
	"github.com/tidings-im/tidings/internal/gen/operator"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run brings the generated files below root up to date. Files that are right already are left alone, and generated files
// that the contract no longer calls for are removed.
func run(root string) error {
	files, err := generate(root)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(root, name)
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, files[name]) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		// Renamed into place, so that a build running at the same time never sees half a file.
		if err := os.WriteFile(path+".tmp", files[name], 0o644); err != nil {
			return err
		}
		if err := os.Rename(path+".tmp", path); err != nil {
			return err
		}
		fmt.Println(name)
	}
	stale, err := staleFiles(root, files)
	if err != nil {
		return err
	}
	for _, name := range stale {
		if err := os.Remove(filepath.Join(root, name)); err != nil {
			return err
		}
		fmt.Println("removed", name)
	}
	return nil
}

// staleFiles are the files in im/ that were generated once and are not among files.
func staleFiles(root string, files map[string][]byte) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(root, "im", "*.go"))
	if err != nil {
		return nil, err
	}
	var stale []string
	for _, path := range paths {
		name := "im/" + filepath.Base(path)
		if _, ok := files[name]; ok {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if bytes.HasPrefix(text, []byte("// Code generated ")) {
			stale = append(stale, name)
		}
	}
	return stale, nil
}

// generate gives the content of every generated file, by its path from root.
func generate(root string) (map[string][]byte, error) {
	names, err := contractFiles(root)
	if err != nil {
		return nil, err
	}
	req, err := compile([]string{root}, names)
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for _, tool := range []string{"protoc-gen-go", "protoc-gen-go-vtproto"} {
		if err := runPlugin(root, tool, req, files); err != nil {
			return nil, err
		}
	}
	for name, emit := range map[string]emitter{"im/tim_gen.go": timCodec, "im/methods_gen.go": methodTable, "im/limits_gen.go": limitChecks,
		"im/shapes_gen.go": shapeTable, "internal/chat/calls_gen.go": callTable} {
		text, err := emitGo(filepath.Base(filepath.Dir(name)), req, emit)
		if err != nil {
			return nil, err
		}
		files[name] = text
	}
	for _, make := range []func(string) (map[string][]byte, error){calls.Files, capi.Files, operator.Files} {
		made, err := make(root)
		if err != nil {
			return nil, err
		}
		maps.Copy(files, made)
	}
	return files, nil
}
