package tidings_test

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The code in README.md and in all of docs/*.md is tested, so that what a reader copies works. These are the rules for writing it.
//
// Every fenced block is marked by one word after the fence. The word is sh, go or c, which are tested, or one of those in untested. Anything else is
// an error: no word, another word, or a second one. So no block is left out by accident.
//
// sh: all blocks of one file run in order, in one session of `sh -e`, in a temporary copy of the repository, with its bin/ on PATH and bin/tidings
// built. The first command that fails ends the session and fails the test, and so does taking longer than shTimeout. Start a server with & at the end
// of the line; if the block contains `tidings serve`, the next block starts once the server listens (so put the commands that use it into the next
// block). What runs in the background is killed at the end. The environment sets TIDINGS_LISTEN, TIDINGS_SERVER and TIDINGS_DATA to a free port and
// an empty folder: leave the defaults to the reader, and write an address as ${TIDINGS_LISTEN:-127.0.0.1:7070} where a command needs it. There is no
// network except this machine, so a `git clone` is a text block. The block right after the line <!-- test --> in README.md is not run here, because
// it is the command that runs this test; the script .ci/run takes it from README.md and runs it.
//
// A text block after a line that ends in "prints:" is the promised output of the sh block before it: each of its lines occurs, in this order, in what
// that block prints, where ... is anything. Output of a command in the background may come later. A go or c block after a line that ends in "Save
// this as `PATH`:" is that file for the sh blocks after it.
//
// go: a block must pass `go vet` in a module of its own that requires this one, as a reader's program would; so it cannot import internal packages.
// It is one of
//   - a whole file, with its package clause; it is taken as a test file when it declares a Test, Benchmark, Fuzz or Example;
//   - declarations, perhaps with imports before them;
//   - statements, which are put into a function that has a ctx of type context.Context.
//
// The two without a package clause get missing imports of our public packages and of the packages in knownImports.
//
// c: a block must pass the C compiler with all warnings as errors and the folder of our header in the include path. A block with an #include is a
// whole file; any other is statements, put into a function in a file that includes TIMCloud.h, stdio.h, stdlib.h and string.h.

// untested are the words for blocks that are not checked.
var untested = []string{
	"text", "json", "toml", "yaml", "ini", "proto", "sql", "html", "diff", "mermaid", "cpp", "python", "javascript",
}

// shTimeout is for all sh blocks of one file together.
const shTimeout = 8 * time.Minute

var knownImports = map[string]string{
	"context": "context", "errors": "errors", "fmt": "fmt", "log": "log", "os": "os", "slog": "log/slog", "strings": "strings",
	"sync": "sync", "testing": "testing", "time": "time",
	"client": module + "/client", "im": module + "/im", "imtest": module + "/imtest", "usersig": module + "/usersig",
}

// block is a fenced block of a document.
type block struct {
	file string // as given in messages
	line int    // of its first line of code
	info string
	code string
	ci   bool // stands right after <!-- test -->
	// before is the last line before it that is not blank.
	before string
}

var savedAs = regexp.MustCompile("Save this as `([^`]+)`:$")

// promise says that a block is what the sh block before it prints.
func (b block) promise() bool { return b.info == "text" && strings.HasSuffix(b.before, "prints:") }

// savedAs is the path that a block is saved as, or nothing.
func (b block) savedAs() string {
	if m := savedAs.FindStringSubmatch(b.before); m != nil && (b.info == "go" || b.info == "c") {
		return m[1]
	}
	return ""
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

var fence = regexp.MustCompile("^[ \t]*(`{3,}|~{3,})[ \t]*(.*?)[ \t]*$")

// blocksOf finds the fenced blocks of a document. A fence may be indented, as in a list; its code loses the same indentation.
func blocksOf(file, text string) ([]block, error) {
	var blocks []block
	var open string // the fence of the block we are in
	var indent int
	var before string // the last line that was not blank
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		m := fence.FindStringSubmatch(line)
		if open == "" {
			if m != nil {
				open = m[1]
				indent = len(line) - len(strings.TrimLeft(line, " \t"))
				blocks = append(blocks, block{file: file, line: i + 2, info: m[2], ci: before == "<!-- test -->", before: before})
			}
			if trimmed := strings.TrimSpace(line); trimmed != "" {
				before = trimmed
			}
			continue
		}
		if m != nil && m[2] == "" && strings.HasPrefix(m[1], open) {
			open = ""
			continue
		}
		margin := len(line) - len(strings.TrimLeft(line, " \t"))
		blocks[len(blocks)-1].code += line[min(indent, margin):] + "\n"
	}
	if open != "" {
		return nil, fmt.Errorf("%v: the block is not closed", blocks[len(blocks)-1])
	}
	for _, b := range blocks {
		if !slices.Contains([]string{"sh", "go", "c"}, b.info) && !slices.Contains(untested, b.info) {
			return nil, fmt.Errorf("%v: a block must say that it is sh, go, c or one of %v; this one says %q", b, untested, b.info)
		}
	}
	return blocks, nil
}

func TestDocs(t *testing.T) {
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	testDocs(t, append([]string{"README.md"}, files...))
}

// TestDocsHarness runs TestDocs on a document of its own, which has a block of each kind and needs only usersig of Tidings.
func TestDocsHarness(t *testing.T) {
	testDocs(t, []string{"testdata/docs/sample.md"})
}

func testDocs(t *testing.T, files []string) {
	kinds := make(map[string][]block)
	var shells [][]block // a session for each file
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := blocksOf(file, string(text))
		if err != nil {
			t.Error(err)
			continue
		}
		var session []block
		for _, b := range blocks {
			if b.info == "go" || b.info == "c" {
				kinds[b.info] = append(kinds[b.info], b)
			}
			if b.info == "sh" && (file != "README.md" || !b.ci) || b.promise() || b.savedAs() != "" {
				session = append(session, b)
			}
		}
		if slices.ContainsFunc(session, func(b block) bool { return b.info == "sh" }) {
			shells = append(shells, session)
		}
	}
	for _, session := range shells {
		t.Run("sh/"+session[0].file, func(t *testing.T) {
			t.Parallel()
			out, err := runShell(t, session)
			if err == nil {
				err = kept(session, string(out))
			}
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	if len(kinds["go"]) > 0 {
		t.Run("go", func(t *testing.T) {
			t.Parallel()
			if out, err := vetGo(t, kinds["go"]); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	for _, b := range kinds["c"] {
		t.Run("c/"+b.String(), func(t *testing.T) {
			t.Parallel()
			if out, err := compileC(t, b); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// binary builds bin/tidings once for all sessions; nil if there is no cmd/tidings.
var binary = sync.OnceValues(func() ([]byte, error) {
	if sources, _ := filepath.Glob("cmd/tidings/*.go"); len(sources) == 0 {
		return nil, nil
	}
	dir, err := os.MkdirTemp("", "tidings-docs")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "tidings")
	if out, err := exec.Command("go", "build", "-o", path, "./cmd/tidings").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build ./cmd/tidings: %v\n%s", err, out)
	}
	return os.ReadFile(path)
})

// copyRepo copies the checkout except what is built or only for git.
func copyRepo(to string) error {
	return filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case slices.Contains([]string{".git", "bin", "lib", "tidings-data"}, path), d.Name() == "node_modules":
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil // .git of a linked worktree is a file
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, path), 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, path), data, info.Mode().Perm()|0o200)
	})
}

// saved is where the code of a session's block is until the session saves it.
func saved(home string, i int) string { return filepath.Join(home, fmt.Sprintf("block%d", i)) }

// kept returns an error for promised output of a session that is not in what it printed.
func kept(session []block, out string) error {
	part := ""
	for _, b := range session {
		if b.info == "sh" {
			_, part, _ = strings.Cut(out, fmt.Sprintf("--- %v\n", b))
			if here, _, more := strings.Cut(part, "\n--- "); more && !strings.Contains(b.code, "&\n") {
				part = here
			}
		}
		if !b.promise() {
			continue
		}
		left := part
		for line := range strings.Lines(b.code) {
			pattern := "(?m)^[ \t]*" + strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(line)), `\.\.\.`, ".*") + "[ \t]*$"
			at := regexp.MustCompile(pattern).FindStringIndex(left)
			if at == nil {
				return fmt.Errorf("%v: the command does not print, here: %s", b, line)
			}
			left = left[at[1]:]
		}
	}
	return nil
}

// shellScript joins the blocks of a session. Each block is announced, so that the output shows where it failed.
func shellScript(home string, session []block, port int) string {
	var script strings.Builder
	script.WriteString("set -e\n")
	for i, b := range session {
		if path := b.savedAs(); path != "" {
			fmt.Fprintf(&script, "cp '%s' '%s'\n", saved(home, i), path)
		}
		if b.info != "sh" {
			continue
		}
		fmt.Fprintf(&script, "echo '--- %v'\n%s", b, b.code)
		if strings.Contains(b.code, "tidings serve") {
			// Ends when the port answers, fails when the server has ended, and the session's timeout bounds it.
			fmt.Fprintf(&script, "until bash -c ': </dev/tcp/127.0.0.1/%d' 2>/dev/null; do kill -0 $!; sleep 0.05; done\n", port)
		}
	}
	return script.String()
}

func runShell(t *testing.T, session []block) ([]byte, error) {
	home, repo := t.TempDir(), t.TempDir()
	if err := copyRepo(repo); err != nil {
		return nil, err
	}
	program, err := binary()
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(repo, "bin"), 0o755); err != nil {
		return nil, err
	}
	if program != nil {
		if err := os.WriteFile(filepath.Join(repo, "bin/tidings"), program, 0o755); err != nil {
			return nil, err
		}
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	script := filepath.Join(home, "session.sh")
	if err := os.WriteFile(script, []byte(shellScript(home, session, port)), 0o644); err != nil {
		return nil, err
	}
	for i, b := range session {
		if b.savedAs() != "" {
			if err := os.WriteFile(saved(home, i), []byte(b.code), 0o644); err != nil {
				return nil, err
			}
		}
	}

	// Both pipes end when the last process of the session has ended, even one whose output goes to a file: everything that was started inherits the
	// second one.
	output, outputW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer output.Close()
	alive, aliveW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer alive.Close()

	// A module of a reader's own needs the go.mod files of modules that nothing here builds. They are fetched as those of a build are, before the pages
	// run without a network; without one they are there already, or their absence shows.
	exec.Command("go", "mod", "graph").Run()

	cmd := exec.Command("sh", script)
	cmd.Dir = repo
	cmd.Env = append(cleanEnv(),
		"HOME="+home, // and Go's caches stay where they are
		"GOCACHE="+goEnv("GOCACHE"), "GOMODCACHE="+goEnv("GOMODCACHE"), "GOPROXY=off", "GOSUMDB=off",
		"PATH="+filepath.Join(repo, "bin")+":"+os.Getenv("PATH"),
		fmt.Sprintf("TIDINGS_LISTEN=127.0.0.1:%d", port),
		fmt.Sprintf("TIDINGS_SERVER=ws://127.0.0.1:%d", port),
		"TIDINGS_DATA="+filepath.Join(home, "data"),
	)
	cmd.Stdout, cmd.Stderr = outputW, outputW
	cmd.ExtraFiles = []*os.File{aliveW}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	outputW.Close()
	aliveW.Close()
	if err != nil {
		return nil, err
	}
	kill := func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	timer := time.AfterFunc(shTimeout, kill)
	var out bytes.Buffer
	var wg sync.WaitGroup
	wg.Go(func() { out.ReadFrom(output) })
	wg.Go(func() { new(bytes.Buffer).ReadFrom(alive) })
	err = cmd.Wait()
	if !timer.Stop() {
		err = fmt.Errorf("the session took longer than %v", shTimeout)
	}
	kill()
	wg.Wait()
	return out.Bytes(), err
}

// cleanEnv is the environment without settings of Tidings, which would change the output.
func cleanEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "TIDINGS_") })
}

func goEnv(name string) string {
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(out))
}

// freePort returns a port below those that systems assign by themselves, one of which a command of the session could get before its server does.
func freePort() (int, error) {
	for range 100 {
		port := 10000 + rand.IntN(20000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port")
}

var testDecl = regexp.MustCompile(`(?m)^func (Test|Benchmark|Fuzz|Example)`)

// vetGo checks all Go blocks in one module, with a package for each.
func vetGo(t *testing.T, blocks []block) ([]byte, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	dir := t.TempDir()
	// The requirements are ours, so that nothing has to be looked up.
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		return nil, err
	}
	mod = bytes.Replace(mod, []byte("module "+module), []byte("module example.com/docs"), 1)
	mod = fmt.Appendf(mod, "\nrequire %s v0.0.0\n\nreplace %s => %s\n", module, module, strconv.Quote(root))
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), mod, 0o644); err != nil {
		return nil, err
	}
	sum, err := os.ReadFile("go.sum")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), sum, 0o644); err != nil {
		return nil, err
	}
	for i, b := range blocks {
		source, err := goFile(b)
		if err != nil {
			return nil, err
		}
		name := "block.go"
		if testDecl.MatchString(b.code) {
			name = "block_test.go"
		}
		pkg := filepath.Join(dir, fmt.Sprintf("b%d", i))
		if err := os.Mkdir(pkg, 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(pkg, name), []byte(source), 0o644); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command("go", "vet", "-mod=mod", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOWORK=off")
	return cmd.CombinedOutput()
}

// goFile makes a block a whole file whose errors are reported at their place in the document.
func goFile(b block) (string, error) {
	here := fmt.Sprintf("//line %s:%d\n", b.file, b.line)
	if _, err := parser.ParseFile(token.NewFileSet(), "", b.code, parser.PackageClauseOnly); err == nil {
		return here + b.code, nil
	}
	head, tail := "package p\n", ""
	file, declErr := parser.ParseFile(token.NewFileSet(), "", head+here+b.code, parser.SkipObjectResolution)
	if declErr != nil {
		// The parameter is used, so that a block need not.
		head, tail = "package p\nfunc _(ctx context.Context) {\n", "}\n"
		var err error
		file, err = parser.ParseFile(token.NewFileSet(), "", head+here+b.code+tail, parser.SkipObjectResolution)
		if err != nil {
			return "", fmt.Errorf("%v: neither a file, nor declarations (%v), nor statements (%v)", b, declErr, err)
		}
	}
	clause, rest, _ := strings.Cut(head, "\n")
	return clause + "\n" + missingImports(file) + rest + here + b.code + tail, nil
}

// missingImports declares the known packages that a file uses and neither imports nor declares at its top.
func missingImports(file *ast.File) string {
	has := make(map[string]bool)
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		name := path[strings.LastIndex(path, "/")+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		has[name] = true
	}
	var imports strings.Builder
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && knownImports[id.Name] != "" && !has[id.Name] {
				has[id.Name] = true
				fmt.Fprintf(&imports, "import %q\n", knownImports[id.Name])
			}
		}
		return true
	})
	return imports.String()
}

func compileC(t *testing.T, b block) ([]byte, error) {
	source := fmt.Sprintf("#line %d %q\n%s", b.line, b.file, b.code)
	if !strings.Contains(b.code, "#include") {
		source = "#include <TIMCloud.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n" +
			"void block(void);\nvoid block(void) {\n" + source + "}\n"
	}
	path := filepath.Join(t.TempDir(), "block.c")
	if err := os.WriteFile(path, []byte(source), 0o644); err != nil {
		return nil, err
	}
	args := []string{"-std=c99", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"}
	err := filepath.WalkDir("capi", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "TIMCloud.h" {
			args = append(args, "-I", filepath.Dir(path))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return exec.Command("gcc", append(args, path)...).CombinedOutput()
}

func TestDocsBlocks(t *testing.T) {
	text := "a\n```sh\none\n\ntwo\n```\n" +
		"<!-- test -->\n\n```sh\nmake test\n```\n" +
		"1. list\n   ~~~~go\n   x := 1\n     y := 2\n   ~~~\n   ~~~~\n" +
		"```text\n<!-- test -->\n```\n```json\n{}\n```\n"
	want := []block{
		{"f", 3, "sh", "one\n\ntwo\n", false, "a"},
		{"f", 10, "sh", "make test\n", true, "<!-- test -->"},
		{"f", 14, "go", "x := 1\n  y := 2\n~~~\n", false, "1. list"},
		{"f", 19, "text", "<!-- test -->\n", false, "~~~~go"},
		{"f", 22, "json", "{}\n", false, "```text"},
	}
	got, err := blocksOf("f", text)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("error %v, blocks\n%q\nwant\n%q", err, got, want)
	}
	for _, bad := range []string{
		"```\nx\n```\n", "```bash\nx\n```\n", "```sh no-run\nx\n```\n", "```go,ignore\nx\n```\n", "```Go\nx\n```\n", "```sh\nx\n",
	} {
		if got, err := blocksOf("f", bad); err == nil {
			t.Errorf("%q passed as %v", bad, got)
		}
	}
}

// A broken promise is found, and each one is compared with the output of its own command.
func TestDocsPromises(t *testing.T) {
	sh := func(line int, code string) block { return block{file: "f", line: line, info: "sh", code: code} }
	text := func(code string) block {
		return block{file: "f", line: 9, info: "text", code: code, before: "It prints:"}
	}
	out := "--- f:1\n  one 1.5 s\n--- f:2\ntwo\nlate\n--- f:3\nthree\n"
	session := func(n int, promised string) []block {
		s := []block{sh(1, "a\n"), sh(2, "b &\n"), sh(3, "c\n")}
		return slices.Insert(s, n, text(promised))
	}
	for _, c := range []struct {
		n        int
		promised string
		kept     bool
	}{
		{1, "one ... s\n", true}, {1, "one\n", false}, {1, "one 1x5 s\n", false}, {1, "two\n", false},
		{2, "two\nlate\n", true}, {2, "late\ntwo\n", false}, {2, "three\n", true}, {3, "three\n", true}, {3, "two\n", false},
	} {
		if err := kept(session(c.n, c.promised), out); (err == nil) != c.kept {
			t.Errorf("%q behind block %d: %v", c.promised, c.n, err)
		}
	}
}

// A harness that accepts everything would be worse than none.
func TestDocsFailures(t *testing.T) {
	for _, c := range []struct{ info, code, want string }{
		{"sh", "echo before\nfalse\necho after\n", "before\n"},
		{"sh", "tidings() { false; }\ntidings serve &\n", "f.md:7"}, // a server that ends instead of listening
		{"go", "usersig.Sing()\n", "f.md:7"},
		{"go", "package main\n\nimport _ \"" + module + "/internal/chat\"\n\nfunc main() {}\n", "internal"},
		{"go", "var x int = \"\"\n", "f.md:7"},
		{"go", "fmt.Printf(\"%d\", \"x\")\n", "f.md:7"},
		{"c", "#include <stdio.h>\nint main(void) { return nothing; }\n", "f.md:8"},
		{"c", "int unused;\n", ""},
	} {
		b := block{file: "f.md", line: 7, info: c.info, code: c.code}
		var out []byte
		var err error
		switch c.info {
		case "sh":
			out, err = runShell(t, []block{b})
		case "go":
			out, err = vetGo(t, []block{b})
		case "c":
			out, err = compileC(t, b)
		}
		if err == nil || !strings.Contains(string(out), c.want) || strings.Contains(string(out), "after") {
			t.Errorf("%s block %q: error %v, output\n%s", c.info, c.code, err, out)
		}
	}
}
