// Package ctest contains the tests of the C library: they compile C programs against it and run them.
package ctest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/internal/testing/needs"
)

var root = func() string {
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		panic(err)
	}
	return dir
}()

// work is a folder for what is built in this run.
var work string

func TestMain(m *testing.M) {
	var err error
	if work, err = os.MkdirTemp("", "capi-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(work)
	os.Exit(code)
}

// library builds libImSDK.so, once per run, with the Makefile's rule, and returns its folder.
func library(t testing.TB) string {
	t.Helper()
	return made(t, libraryOnce)
}

// symbols is library with symbols: the same code, except that tools can name it.
func symbols(t testing.TB) string {
	t.Helper()
	return made(t, symbolsOnce)
}

func made(t testing.TB, once func() (string, error)) string {
	t.Helper()
	dir, err := once()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var (
	libraryOnce = sync.OnceValues(func() (string, error) { return makeLibrary("lib") })
	symbolsOnce = sync.OnceValues(func() (string, error) { return makeLibrary("symbols", "STRIP=") })
)

func makeLibrary(name string, vars ...string) (string, error) {
	dir := filepath.Join(work, name)
	cmd := exec.Command("make", append([]string{"-s", "library", "LIB=" + dir}, vars...)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make library: %v\n%s", err, out)
	}
	return dir, nil
}

// compile builds a C program, or a C++ one by the name of its source, against the library; with a sanitizer, against the one with symbols.
func compile(t testing.TB, name, source string, flags ...string) string {
	t.Helper()
	dir := ""
	if strings.Contains(strings.Join(flags, " "), "-fsanitize") {
		dir = symbols(t)
	} else {
		dir = library(t)
	}
	program := filepath.Join(work, name)
	compiler, std := "gcc", "-std=gnu11"
	if strings.HasSuffix(source, ".cpp") {
		compiler, std = needs.Program(t, "g++", "g++"), "-std=c++17"
	}
	args := append([]string{std, "-Wall", "-Wextra", "-Werror", "-g", "-pthread", "-I" + filepath.Join(dir, "include"), "-o", program, source}, flags...)
	args = append(args, "-L"+dir, "-lImSDK", "-Wl,-rpath,"+dir)
	if out, err := exec.Command(compiler, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", compiler, args, err, out)
	}
	return program
}

// write writes a source into the work folder.
func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(work, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs a program to its end and returns what it printed.
func run(t testing.TB, program string, env []string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", program, err, out, stderr.Bytes())
	}
	return string(out)
}

// prototype is a line of api/capi.tsv, or of api/events.tsv: a callback type.
type prototype struct {
	name, group, ret, class string
	built                   bool
	params                  []parameter
	json, sample, fail      string
}

type parameter struct{ typ, name string }

func (p parameter) text() bool     { return p.typ == "const char*" }
func (p parameter) callback() bool { return strings.HasSuffix(p.typ, "Callback") }

// table reads a file of tab-separated values.
func table(t testing.TB, path string) []map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	names := strings.Split(lines[0], "\t")
	var rows []map[string]string
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, cell := range strings.Split(line, "\t") {
			row[names[i]] = cell
		}
		rows = append(rows, row)
	}
	return rows
}

// prototypes are the functions and callback types.
func prototypes(t testing.TB) (funcs, callbacks []prototype) {
	t.Helper()
	callback := map[string]bool{} // by name, whether something fires it
	for _, r := range table(t, "api/events.tsv") {
		p := prototype{name: r["callback"], ret: "void", built: r["kind"] != "", params: parameters(r["params"])}
		callback[p.name] = p.built
		callbacks = append(callbacks, p)
	}
	for _, r := range table(t, "api/capi.tsv") {
		p := prototype{name: r["name"], group: r["group"], ret: r["return"], class: r["class"], built: r["built"] == "yes", params: parameters(r["params"]),
			json: r["json"], sample: r["sample"], fail: r["fail"]}
		for _, a := range p.params {
			if p.class == "setter" && a.callback() {
				p.built = callback[a.typ]
			}
		}
		funcs = append(funcs, p)
	}
	return funcs, callbacks
}

func parameters(s string) (out []parameter) {
	if s == "void" {
		return nil
	}
	for part := range strings.SplitSeq(s, ", ") {
		i := strings.LastIndexByte(part, ' ')
		out = append(out, parameter{part[:i], part[i+1:]})
	}
	return out
}

func (p prototype) takes(typ string) bool {
	return slices.ContainsFunc(p.params, func(a parameter) bool { return a.typ == typ })
}

// paged reports whether the function returns its result through a callback that has a page of a list and no code.
func (p prototype) paged() bool {
	return p.class != "setter" && slices.ContainsFunc(p.params, func(a parameter) bool { return a.callback() && a.typ != "TIMCommCallback" })
}

// params0 returns all parameters as one text.
func (p prototype) params0() string {
	var s []string
	for _, a := range p.params {
		s = append(s, a.typ+" "+a.name)
	}
	return strings.Join(s, ", ")
}

func itoa(n int) string { return fmt.Sprint(n) }
