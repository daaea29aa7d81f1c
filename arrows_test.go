package tidings_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tidings-im/tidings"

// public are the packages that users of Tidings import, and that our own programs and examples import in the same way.
var public = []string{"im", "usersig", "client", "imtest"}

// parts are the packages that internal/server puts together. They know the rules, and not each other.
var parts = []string{
	"internal/gateway", "internal/rest", "internal/webhook", "internal/media", "internal/console", "internal/store",
	"internal/bus",
}

// arrows lists which of our folders a folder may import; it may also import itself and its subfolders. A package belongs to the longest folder that
// is a prefix of its path. A package outside all folders breaks the rule: whoever adds one decides here where its arrows point.
//
// Tests are free: they reach no user, and need a server for a client or a store for the rules.
var arrows = func() map[string][]string {
	m := map[string][]string{
		"":                   {},
		"im":                 {},
		"usersig":            {},
		"client":             {"im", "client/internal/engine", "client/internal/link", "client/internal/local", "client/internal/transfer"},
		"capi":               {"im", "client", "internal/private"},
		"imtest":             {"im", "usersig", "client", "internal/server"},
		"cmd":                append([]string{"internal/server", "internal/private"}, public...),
		"examples":           public,
		"internal/chat":      {"im", "usersig", "internal/hook", "internal/restjson"},
		"internal/server":    append([]string{"im", "usersig", "internal/chat", "internal/private"}, parts...),
		"internal/private":   {},
		"internal/rate":      {},
		"internal/websocket": {},
		"internal/gen":       {"im"},
		"internal/tools":     append([]string{"internal/store", "internal/chat"}, public...),
		// The bottom of the client.
		"client/internal/link":     {"im", "client/internal/ws"},
		"client/internal/ws":       {"internal/websocket"},
		"client/internal/local":    {"im", "internal/private"},
		"client/internal/engine":   {"im", "client/internal/link", "client/internal/local"},
		"client/internal/transfer": {"im", "client/internal/link", "client/internal/ws"},
		// For tests.
		"internal/testing/faultproxy": {},
		"internal/testing/needs":      {},
		"internal/testing/pgtest":     {"internal/testing/needs"},
		"internal/testing/soak":       {},
		"internal/testing/storetest":  {"im", "internal/chat", "internal/store", "internal/testing/soak"},
		"internal/testing/histcheck":  {"im", "client", "internal/testing/faultproxy", "internal/testing/soak"},
		"internal/testing/scenario":   {"imtest", "internal/testing/soak"},
	}
	for _, part := range parts {
		m[part] = []string{"im", "usersig", "internal/chat"}
	}
	m["internal/store"] = append(m["internal/store"], "internal/private")
	m["internal/media"] = append(m["internal/media"], "internal/private", "internal/rate")
	m["internal/gateway"] = append(m["internal/gateway"], "internal/websocket", "internal/rate")
	// The JSON that the admin API and webhooks share.
	m["internal/restjson"] = []string{"im"}
	// What webhooks are asked and notified of.
	m["internal/hook"] = []string{"im", "internal/restjson"}
	m["internal/webhook"] = append(m["internal/webhook"], "internal/hook")
	for _, part := range []string{"internal/rest", "internal/webhook"} {
		m[part] = append(m[part], "internal/restjson")
	}
	return m
}()

// walls restrict packages that are not ours, with everything below them, to a few of our folders. Only imports in our own code count: a driver may
// well use cgo itself.
var walls = []struct {
	what    string
	paths   []string
	folders []string
}{
	{"a SQL driver", drivers, []string{"internal/store", "client/internal/local", "internal/testing/pgtest", "internal/tools"}},
	{"a decoder of images or types", []string{"golang.org/x/image", "github.com/gabriel-vasile/mimetype"}, []string{"internal/media"}},
	{"NATS", []string{"github.com/nats-io"}, []string{"internal/bus"}},
	{"cgo", []string{"C"}, []string{"capi"}},
	// They look methods up by name, so the linker keeps those of every type: 5 MB of the server.
	{"a package of templates", []string{"text/template", "html/template"}, []string{"internal/gen"}},
}

var drivers = []string{
	"github.com/mattn/go-sqlite3", "github.com/jackc/pgx", "github.com/lib/pq", "github.com/go-sql-driver",
	"github.com/ncruces/go-sqlite3", "modernc.org/sqlite", "zombiezen.com/go/sqlite",
}

// pure are the folders that do no I/O: none of the remote packages may be reached, even indirectly.
var (
	pure   = []string{"im", "usersig", "internal/chat"}
	remote = append([]string{"net/http", "database/sql"}, drivers...)
)

// light are the folders that the C library is made of. Every program carries what they depend on, so none of the heavy packages may be among it.
var (
	light = []string{"client", "client/internal/link", "client/internal/local", "client/internal/transfer", "client/internal/ws", "capi"}
	heavy = []string{"net/http", "text/template", "regexp"}
)

// brokenImport returns what is wrong with an import of one package in another, or nothing. Packages of ours are given without the module's path.
func brokenImport(from, to string, ours bool) string {
	folder, ok := folderOf(from)
	if !ok {
		return from + " stands in no folder that the arrows know"
	}
	if ours {
		target, ok := folderOf(to)
		if !ok {
			return to + " stands in no folder that the arrows know"
		}
		if target != folder && !slices.Contains(arrows[folder], target) {
			return fmt.Sprintf("%s may not import %s: arrows from %q lead to %q only", from, to, folder, arrows[folder])
		}
		return ""
	}
	for _, wall := range walls {
		if under(to, wall.paths) && !slices.Contains(wall.folders, folder) {
			return fmt.Sprintf("%s may not import %s: %s is for %q only", from, to, wall.what, wall.folders)
		}
	}
	return ""
}

// brokenReach is the same for a package that another one depends on, directly or not.
func brokenReach(from, to string) string {
	if folder, _ := folderOf(from); slices.Contains(pure, folder) && under(to, remote) {
		return fmt.Sprintf("%s may not depend on %s: it does no I/O", from, to)
	}
	if folder, _ := folderOf(from); slices.Contains(light, folder) && under(to, heavy) {
		return fmt.Sprintf("%s may not depend on %s: the C library would carry it", from, to)
	}
	return ""
}

func folderOf(pkg string) (string, bool) {
	best, found := "", pkg == ""
	for folder := range arrows {
		if folder != "" && under(pkg, []string{folder}) && len(folder) >= len(best) {
			best, found = folder, true
		}
	}
	return best, found
}

// under reports whether a package is one of the roots or below one.
func under(pkg string, roots []string) bool {
	for _, root := range roots {
		if pkg == root || strings.HasPrefix(pkg, root+"/") {
			return true
		}
	}
	return false
}

// within strips the module's path. It reports false for a package that is not ours.
func within(path string) (string, bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

// TestArrows checks the direction of imports between the folders of this module.
func TestArrows(t *testing.T) {
	// -e: other tests report whether the packages compile.
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,Deps", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	seen := make(map[string]bool)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct {
			ImportPath    string
			Imports, Deps []string
		}
		if err := dec.Decode(&pkg); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		from, ok := within(pkg.ImportPath)
		if !ok {
			t.Fatalf("go list answers with %s", pkg.ImportPath)
		}
		seen[from] = true
		if _, ok := folderOf(from); !ok {
			t.Errorf("%s stands in no folder that the arrows know", from)
		}
		for _, path := range pkg.Imports {
			to, ours := within(path)
			if !ours {
				to = path
			}
			if broken := brokenImport(from, to, ours); broken != "" {
				t.Error(broken)
			}
		}
		for _, path := range pkg.Deps {
			if broken := brokenReach(from, path); broken != "" {
				t.Error(broken)
			}
		}
	}
	if !seen["usersig"] {
		t.Errorf("go list did not find the packages of this module: %v", seen)
	}
}

// TestArrowsRule shows that the rule accepts the right imports and refuses the wrong ones.
func TestArrowsRule(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"im", "fmt", true},
		{"im", "client", false},
		{"im", "usersig", false},
		{"im", "internal/chat", false},
		{"usersig", "im", false},
		{"client", "im", true},
		{"client", "client/localdb", true},
		{"client", "client/internal/link", true},
		{"client/internal/link", "im", true},
		{"client/internal/link", "client", false},
		{"client/internal/link", "client/internal/ws", true},
		{"client/internal/ws", "im", false},
		{"client/internal/link", "github.com/mattn/go-sqlite3", false},
		{"capi", "client/internal/link", false},
		{"client", "github.com/mattn/go-sqlite3", false},
		{"client/internal/local", "im", true},
		{"client/internal/local", "github.com/mattn/go-sqlite3", true},
		{"client/internal/local", "client/internal/link", false},
		{"client", "client/internal/local", true},
		{"client", "client/internal/engine", true},
		{"client/internal/engine", "client/internal/local", true},
		{"client/internal/local", "client/internal/engine", false},
		{"client/internal/engine", "client", false},
		{"client", "internal/chat", false},
		{"client", "internal/server", false},
		{"client", "imtest", false},
		{"capi", "client", true},
		{"capi", "im", true},
		{"capi", "C", true},
		{"capi", "client/localdb", true},
		{"capi", "usersig", false},
		{"capi", "internal/server", false},
		{"client", "C", false},
		{"internal/store", "C", false},
		{"internal/store/tables", "text/template", false},
		{"internal/gen/capi", "text/template", true},
		{"imtest", "internal/server", true},
		{"imtest", "client", true},
		{"imtest", "internal/store", false},
		{"cmd/tidings", "internal/server", true},
		{"cmd/tidings", "client", true},
		{"cmd/tidings", "internal/store", false},
		{"examples/demo", "client", true},
		{"examples/demo", "imtest", true},
		{"examples/demo", "internal/server", false},
		{"internal/chat", "im", true},
		{"internal/chat", "net/netip", true},
		{"internal/chat", "internal/store", false},
		{"internal/chat", "github.com/jackc/pgx/v5", false},
		{"internal/server", "internal/gateway", true},
		{"internal/server", "internal/chat", true},
		{"internal/server", "client", false},
		{"internal/gateway", "internal/chat", true},
		{"internal/gateway", "usersig", true},
		{"internal/gateway", "internal/store", false},
		{"internal/rest", "internal/gateway", false},
		{"internal/rest", "internal/server", false},
		{"internal/rest", "internal/restjson", true},
		{"internal/webhook", "internal/restjson", true},
		{"internal/gateway", "internal/restjson", false},
		{"internal/restjson", "internal/chat", false},
		{"internal/chat", "internal/hook", true},
		{"internal/hook", "internal/restjson", true},
		{"internal/hook", "internal/chat", false},
		{"internal/rest", "internal/hook", false},
		{"internal/webhook", "internal/bus", false},
		{"internal/media", "internal/store", false},
		{"internal/console", "internal/rest", false},
		{"internal/store", "internal/testing/storetest", false},
		{"internal/testing/storetest", "internal/chat", true},
		{"internal/store", "internal/bus", false},
		{"internal/store", "github.com/jackc/pgx/v5/pgxpool", true},
		{"internal/gateway", "github.com/jackc/pgx/v5/pgxpool", false},
		{"internal/server", "github.com/mattn/go-sqlite3", false},
		{"internal/bus", "github.com/nats-io/nats.go", true},
		{"internal/gateway", "github.com/nats-io/nats.go", false},
		{"internal/bus", "internal/chat", true},
		{"internal/bus", "im", true},
		{"internal/gen", "im", true},
		{"internal/gen", "internal/chat", false},
		{"internal/unheard", "im", false},
		{"client", "internal/unheard", false},
		{"internal/chatter", "im", false},
	} {
		first, _, _ := strings.Cut(c.to, "/")
		ours := slices.Contains([]string{"im", "usersig", "client", "capi", "imtest", "cmd", "examples", "internal"}, first)
		if broken := brokenImport(c.from, c.to, ours); (broken == "") != c.ok {
			t.Errorf("%s imports %s: %q, want ok %v", c.from, c.to, broken, c.ok)
		}
	}

	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"internal/chat", "net/http", false},
		{"internal/chat", "database/sql", false},
		{"internal/chat", "github.com/mattn/go-sqlite3", false},
		{"internal/chat", "github.com/jackc/pgx/v5/pgconn", false},
		{"internal/chat", "time", true},
		{"im", "net/http", false},
		{"usersig", "net/http", false},
		{"usersig", "encoding/json", true},
		{"internal/gateway", "net/http", true},
		{"client", "net/http", false},
		{"client", "database/sql", true},
		{"capi", "text/template", false},
	} {
		if broken := brokenReach(c.from, c.to); (broken == "") != c.ok {
			t.Errorf("%s depends on %s: %q, want ok %v", c.from, c.to, broken, c.ok)
		}
	}
}
