// Command gen generates code and pages from the contract in api/, the facts in capi/facts, and the calls that package client declares. Run it from the root of the
// repository:
//
//	go run ./internal/gen
//
// It does not need protoc: it compiles the contract in its own process, and the plugins of Google and vtprotobuf are tools of this module. Its output
// depends only on those files and on the versions in go.mod.
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
	"github.com/tidings-im/tidings/internal/gen/events"
	"github.com/tidings-im/tidings/internal/gen/operator"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run updates the generated files below root. Files that are up to date are not touched, and generated files that are no longer needed are removed.
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
		// Renamed into place, so that a concurrent build never sees half a file.
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

// staleFiles returns the files in im/ that were generated once and are not among files.
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

// generate returns the content of every generated file, by its path from root.
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
	for _, make := range []func(string) (map[string][]byte, error){calls.Files, events.Files, capi.Files, operator.Files} {
		made, err := make(root)
		if err != nil {
			return nil, err
		}
		maps.Copy(files, made)
	}
	return files, nil
}
