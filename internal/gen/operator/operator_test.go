package operator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/internal/gen/tsv"
)

const root = "../../.."

// TestEverythingBuilt generates from the tables as they will be when everything is built: the code compiles, with a handler that does nothing for each call,
// and reads and writes the shapes of the tables (testdata).
func TestEverythingBuilt(t *testing.T) {
	hooks, err := loadHooks(filepath.Join(root, "api", "webhooks.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	calls, err := loadCalls(filepath.Join(root, "api", "rest.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	if len(hooks) != 53 || len(calls) != 157 {
		t.Errorf("the tables have %d webhooks and %d calls", len(hooks), len(calls))
	}
	var stubs bytes.Buffer
	stubs.WriteString("package rest\n")
	for _, k := range calls {
		if !k.built {
			returns, value := "error", "nil"
			if k.reply != nil {
				returns, value = fmt.Sprintf("(*%sReply, error)", k.name), "nil, nil"
			}
			fmt.Fprintf(&stubs, "func (a *API) %s(*call, *%sRequest) %s { return %s }\n", k.name, k.name, returns, value)
		}
		k.built = true
	}
	for _, w := range hooks {
		w.built = true
	}
	files := map[string][]byte{"internal/rest/stubs.go": stubs.Bytes()}
	if files["internal/rest/calls_gen.go"], err = callTypes(calls); err != nil {
		t.Fatal(err)
	}
	if files["internal/hook/hook_gen.go"], err = hookTypes(hooks); err != nil {
		t.Fatal(err)
	}
	if files["internal/webhook/set_gen.go"], err = hookSet(hooks); err != nil {
		t.Fatal(err)
	}
	for _, pkg := range []string{"rest", "hook"} {
		if files["internal/"+pkg+"/built_test.go"], err = os.ReadFile("testdata/" + pkg + ".go.txt"); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for _, pkg := range []string{"rest", "hook", "webhook"} { // without the packages' own tests
		tests, err := filepath.Glob(filepath.Join(dir, "internal", pkg, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range tests {
			overlay.Replace[path] = ""
		}
	}
	tmp := t.TempDir()
	for name, text := range files {
		path := filepath.Join(tmp, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(dir, name)] = path
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	where := filepath.Join(tmp, "overlay.json")
	if err := os.WriteFile(where, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "test", "-count=1", "-overlay="+where, "./internal/rest", "./internal/hook", "./internal/webhook")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestFacts compares the tables with what is known of the calls and webhooks that are built: the same names, with the same older spellings.
func TestFacts(t *testing.T) {
	calls, err := loadCalls(filepath.Join(root, "api", "rest.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	facts, err := tsv.Read(filepath.Join(root, "internal", "rest", "testdata", "endpoints.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range facts {
		command := f["service"] + "/" + f["command"]
		i := slices.IndexFunc(calls, func(k *call) bool { return k.command == command })
		if i < 0 || !calls[i].built {
			t.Fatalf("%s is not built", command)
		}
		compareNames(t, command, f["request_fields"], calls[i].request)
		compareNames(t, command, f["response_fields"], calls[i].reply)
	}
	hooks, err := loadHooks(filepath.Join(root, "api", "webhooks.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	if facts, err = tsv.Read(filepath.Join(root, "internal", "webhook", "testdata", "webhooks.tsv")); err != nil {
		t.Fatal(err)
	}
	for _, f := range facts {
		i := slices.IndexFunc(hooks, func(w *webhook) bool { return w.command == f["callback_command"] })
		if i < 0 || !hooks[i].built {
			t.Fatalf("%s is not built", f["callback_command"])
		}
		body := slices.DeleteFunc(hooks[i].body, func(f *field) bool {
			return f.name == "ModifyFlag" || f.name == "MsgFrom_Account" || f.name == "MsgSeq" && hooks[i].command == "Group.CallbackBeforeSendMsg"
		}) // ours
		compareNames(t, hooks[i].command, f["request_fields"], body)
	}
}

func compareNames(t *testing.T, what, facts string, fields []*field) {
	t.Helper()
	var got, want []string
	var walk func(prefix string, fields []*field)
	walk = func(prefix string, fields []*field) {
		for _, f := range fields {
			name := prefix + f.name
			if f.aliases != nil {
				name += "(alias " + strings.Join(f.aliases, ",") + ")"
			}
			got = append(got, name)
			walk(name+map[bool]string{true: "[].", false: "."}[f.typ == "[object]"], f.fields)
		}
	}
	walk("", fields)
	if facts != "-" {
		for f := range strings.SplitSeq(facts, "; ") {
			name, _, _ := strings.Cut(f, ":")
			want = append(want, name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s has the fields %q, want %q", what, got, want)
	}
}

// TestMistakes: tables from which nothing can be generated are refused.
func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"A":                                 "cannot read",
		"A:strange":                         "unknown type",
		"A:string; A:int":                   "stands twice",
		"A:string; B(alias A):int":          "stands twice",
		"A.B:string":                        "a field of no object",
		"A:object; A[].B:string":            "a field of no object",
		"A:[object]; A.B:string":            "a field of no object",
		"A:string; A.B:string":              "a field of no object",
		"A:object":                          "has no fields",
		"A:[object]; A[].B:[object]":        "has no fields",
		"A:string@x":                        "cannot read",
		"A:string {1@2}":                    "cannot read",
		"A:[string]{1}":                     "cannot read",
		"A:[object]; A[].B:string; B[].C:x": "a field of no object",
	} {
		if _, err := parseFields(text, "1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	head := "command\tkind\tbuilt\twhen\tbody\trefused\town\tdrop\tanswer\tnote\n"
	for row, want := range map[string]string{
		"X\tbefore\tno\t\t\t\t\t\t\t\n":                                        "no command of its own",
		"A.CallbackB\tafter\tno\t\t\t1\t\t\t\t\n":                              "has no answer",
		"A.CallbackB\tafter\tno\t\t\t\t\t\t\t\nA.B\tafter\tno\t\t\t\t\t\t\t\n": "no command of its own",
		"A.CallbackB\tlater\tno\t\t\t\t\t\t\t\n":                               "has no answer",
		"A.CallbackB\tbefore\tno\t\tX:strange\t\t\t\t\t\n":                     "unknown type",
	} {
		path := filepath.Join(t.TempDir(), "webhooks.tsv")
		if err := os.WriteFile(path, []byte(head+row), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadHooks(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", row, err, want)
		}
	}
	head = "command\tname\tgroup\tbuilt\tsummary\trequest\treply\tbad\tfailed\tcodes\tnote\n"
	for row, want := range map[string]string{
		"a/b\tx\tg\tno\ts\t\t\t\t2\t\t\n":                                  "lacks a code",
		"a/b\tx\tg\tno\ts\t\t\t1\t2\t\t\na/c\tx\tg\tno\ts\t\t\t1\t2\t\t\n": "stands twice",
		"a/b\tx\tg\tno\ts\tA:strange\t\t1\t2\t\t\n":                        "unknown type",
	} {
		path := filepath.Join(t.TempDir(), "rest.tsv")
		if err := os.WriteFile(path, []byte(head+row), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadCalls(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", row, err, want)
		}
	}
}
