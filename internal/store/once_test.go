package store_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// twice are the texts that may be in both stores, or in one of them and in package tables, with the reason. They are normalized.
var twice = map[string]string{
	"commit":   "each store ends its own transactions",
	"rollback": "each store ends its own transactions",
}

var (
	sqlText = regexp.MustCompile(`(?s)^(select|insert|update|delete|with|create|alter|drop|begin|commit|rollback|from|where|values|join|left join|on conflict|order by|returning)\b`)
	cast    = regexp.MustCompile(`::[a-z]+(\[\])?`)
	param   = regexp.MustCompile(`\?|\$[0-9]+|:[a-z_]+`)
	blank   = regexp.MustCompile(`\s+`)
)

// normal returns a text without what may differ between two places with the same meaning.
func normal(text string) string {
	text = cast.ReplaceAllString(strings.ToLower(text), "")
	text = param.ReplaceAllString(text, "?")
	return strings.TrimSpace(blank.ReplaceAllString(text, " "))
}

// texts finds the SQL in a file, and its place: texts that are joined with a plus are one, with a dot for what is not a literal.
func texts(file *ast.File, set *token.FileSet) map[string]string {
	out := make(map[string]string)
	var join func(e ast.Expr) string
	join = func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.BasicLit:
			if e.Kind == token.STRING {
				if s, err := strconv.Unquote(e.Value); err == nil {
					return s
				}
			}
		case *ast.ParenExpr:
			return join(e.X)
		case *ast.BinaryExpr:
			if e.Op == token.ADD {
				return join(e.X) + join(e.Y)
			}
		}
		return "."
	}
	add := func(text string, at token.Pos) {
		text = normal(text)
		if sqlText.MatchString(text) && (strings.Contains(text, " ") || twice[text] != "") {
			out[text] = set.Position(at).String()
		}
	}
	part := make(map[ast.Expr]bool) // of a text that was found
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			part[n.X], part[n.Y] = true, true
			if !part[n] {
				add(join(n), n.Pos())
			}
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				add(join(n), n.Pos())
			}
		}
		return true
	})
	return out
}

// textsIn finds those of all files in a folder except tests.
func textsIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	set := token.NewFileSet()
	out := make(map[string]string)
	files, err := fs.Glob(os.DirFS(dir), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, dir+"/"+name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for text, at := range texts(f, set) {
			out[text] = at
		}
	}
	if len(out) < 3 {
		t.Fatalf("%s has %d texts", dir, len(out))
	}
	return out
}

// TestSQLStandsOnce: SQL that both stores share is in package tables, and nowhere else.
func TestSQLStandsOnce(t *testing.T) {
	sqlite, postgres, tables := textsIn(t, "."), textsIn(t, "pg"), textsIn(t, "tables")
	if len(tables) < 50 {
		t.Fatalf("only %d texts were found in tables", len(tables))
	}
	var used []string
	for _, pair := range []struct {
		a, b map[string]string
	}{{sqlite, postgres}, {sqlite, tables}, {postgres, tables}} {
		for text, at := range pair.a {
			other := pair.b[text]
			switch {
			case other == "":
			case twice[text] != "":
				used = append(used, text)
			default:
				t.Errorf("at %s and at %s: %s", at, other, text)
			}
		}
	}
	for text := range twice {
		if !slices.Contains(used, text) {
			t.Errorf("%q no longer stands twice", text)
		}
	}
}

// TestSQLIsFound shows that the count ignores what differs between two places.
func TestSQLIsFound(t *testing.T) {
	find := func(src string) []string {
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, "x.go", "package x\n"+src, 0)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for text := range texts(f, set) {
			out = append(out, text)
		}
		slices.Sort(out)
		return out
	}
	a := find("var q = \"SELECT \" + cols + ` FROM conv\n\tWHERE id = $1::bigint`")
	b := find("func f() { ask(\"select \"+other(1)+\" from conv where id = ?\", 7) }")
	if !slices.Equal(a, b) || !slices.Contains(a, "select . from conv where id = ?") {
		t.Errorf("%q, %q", a, b)
	}
	if got := find(`var x = "COMMIT"; var y = "update"; var z = "nothing of it"`); !slices.Equal(got, []string{"commit"}) {
		t.Errorf("%q", got)
	}
}
