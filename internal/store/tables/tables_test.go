package tables

import (
	"context"
	"database/sql"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"text/template"

	_ "github.com/mattn/go-sqlite3"

	"github.com/tidings-im/tidings/internal/chat"
)

// memory is a database of SQLite in memory.
type memory struct{ *sql.DB }

func (m memory) Dialect() Dialect { return SQLite }

func (m memory) Ask(ctx context.Context, read func(Rows) error, text string, args ...any) error {
	rows, err := m.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	return read(rows)
}

func (m memory) Tell(ctx context.Context, text string, args ...any) error {
	_, err := m.ExecContext(ctx, text, args...)
	return err
}

func (m memory) Wrote() {}

func inMemory(t *testing.T) memory {
	t.Helper()
	db, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return memory{db}
}

type allRow struct {
	ID    chat.UID `sql:"id"`
	Big   uint64   `sql:"big"`
	Small int32    `sql:"small"`
	Yes   bool     `sql:"yes"`
	Text  string   `sql:"text"`
	Bytes []byte   `sql:"bytes"`
	Part  struct {
		N uint32 `sql:"n"`
	} `sql:"p"`
	Flat struct {
		M int64 `sql:"m"`
	}
}

// TestRowsByName: a row is read by the names of its columns, and a missing or unknown one is an error instead of a value in another field.
func TestRowsByName(t *testing.T) {
	db := inMemory(t)
	cols := []string{"7 AS id", "-1 AS big", "-2 AS small", "1 AS yes", "'x' AS text", "NULL AS bytes", `4294967295 AS "p.n"`, "9 AS m"}
	kind := NewKind[allRow]()
	for range len(cols) {
		cols = append(cols[1:], cols[0])
		q := NewQuery(kind, "SELECT "+strings.Join(cols, ", "))
		for range 2 {
			r, err := q.One(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			if r.ID != 7 || r.Big != math.MaxUint64 || r.Small != -2 || !r.Yes || r.Text != "x" || r.Bytes != nil || r.Part.N != math.MaxUint32 || r.Flat.M != 9 {
				t.Errorf("%s: %+v", q.Text(SQLite), r)
			}
		}
	}
	for _, c := range []struct{ text, want string }{
		{"SELECT " + strings.Join(cols[1:], ", "), "7 columns for 8 fields"},
		{"SELECT " + strings.Join(cols, ", ") + ", 1 AS other", `"other" has no field`},
		{"SELECT " + strings.Join(cols, ", ") + ", " + cols[0], "has no field of its own"},
	} {
		if _, err := NewQuery(kind, c.text).All(t.Context(), db); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.text, err)
		}
	}
	if _, err := NewQuery(Number, "SELECT 1 AS n WHERE 0").One(t.Context(), db); err != chat.ErrNotFound {
		t.Errorf("no row: %v", err)
	}
}

// TestWriteByName: a statement takes its values from the fields that its parameters name, and what was written is read back unchanged.
func TestWriteByName(t *testing.T) {
	db := inMemory(t)
	if err := db.Tell(t.Context(), `CREATE TABLE x (m, "p.n", bytes, text, yes, small, big, id)`); err != nil {
		t.Fatal(err)
	}
	w := NewWrite[allRow](`INSERT INTO x (m, "p.n", bytes, text, yes, small, big, id) SELECT :m, 3, :bytes, :text, :yes, :small, :big, :id WHERE :m <> 0 AND 'a::b' <> ''`)
	if want := `INSERT INTO x (m, "p.n", bytes, text, yes, small, big, id) SELECT $1, 3, $2, $3, $4, $5, $6, $7 WHERE $1 <> 0 AND 'a::b' <> ''`; w.text != want {
		t.Errorf("%s, want %s", w.text, want)
	}
	in := allRow{ID: 5, Big: 1 << 63, Small: -4, Yes: true, Text: "t"}
	in.Flat.M = 6
	if err := w.Tell(t.Context(), db, in); err != nil {
		t.Fatal(err)
	}
	out, err := NewQuery(NewKind[allRow](), "SELECT * FROM x").One(t.Context(), db)
	if err != nil || out.Bytes == nil {
		t.Fatal(out, err) // no bytes are none, not NULL
	}
	if out.ID != in.ID || out.Big != in.Big || out.Small != in.Small || !out.Yes || out.Text != in.Text || len(out.Bytes) != 0 || out.Part.N != 3 || out.Flat.M != 6 {
		t.Errorf("%+v, want %+v", out, in)
	}
	defer func() {
		if recover() == nil {
			t.Error("a parameter without a column was taken")
		}
	}()
	NewWrite[allRow]("UPDATE x SET m = :none")
}

// TestRender: a template means what text/template makes of it, and what cannot be read is refused.
func TestRender(t *testing.T) {
	texts := []string{
		"", "a", "{{small}}", " {{int}} {{key}}\n{{bytes}}", `) {{rows "a = 1"}};{{keyed ""}}{{keyed "b, c = 0.5"}}`, "a\n{{- if sqlite}}\nb {{rowid}}\n{{- end}}\nc",
		"{{if postgres -}}\n a {{small}}\n\n{{end -}}\n b", "x\n{{- if sqlite}}\n y\n{{- else}}\n z {{int}}\n{{- end}}\n", "{{if sqlite}}{{end}}{{if postgres}}a{{else}}b{{end}}c",
		"{{if sqlite}}{{if postgres}}{{end}}{{end}}", "{{none}}", "{{if none}}{{end}}", "{{if sqlite}}", "{{end}}", "{{else}}", "{{if sqlite}}a{{else}}b{{else}}c{{end}}", "{{small",
		`{{rows 'a'}}`, "{{if small}}a{{end}}", "{{small int}}",
	}
	files, err := fs.Glob(sources, "migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		b, err := fs.ReadFile(sources, file)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	taken := 0
	for _, d := range []Dialect{SQLite, Postgres} {
		funcs := template.FuncMap{"sqlite": func() bool { return d == SQLite }, "postgres": func() bool { return d == Postgres }}
		for word, meaning := range words(d) {
			funcs[word] = func() string { return meaning("") }
			if word == "rows" || word == "keyed" {
				funcs[word] = meaning
			}
		}
		for _, text := range texts {
			got, err := Render(d, text)
			if err != nil {
				continue
			}
			taken++
			var want strings.Builder
			if p, err := template.New("").Funcs(funcs).Parse(text); err != nil {
				t.Errorf("%q is taken: %v", text, err)
			} else if err := p.Execute(&want, nil); err != nil || want.String() != got {
				t.Errorf("%q is\n%s\nnot\n%s\n%v", text, got, want.String(), err)
			}
		}
	}
	if want := 2 * (9 + len(files)); taken != want {
		t.Errorf("%d are taken, want %d", taken, want)
	}
}

// TestSteps: the one source gives each dialect the steps that its databases know, under the numbers that they know.
func TestSteps(t *testing.T) {
	for d, want := range map[Dialect]string{
		SQLite:   "00001_first.sql 00002_kick.sql 00003_content.sql 00004_sent.sql",
		Postgres: "00001_first.sql 00003_timeline.sql 00004_horizon.sql 00005_content.sql 00006_lease.sql 00007_sent.sql",
	} {
		files, err := steps(d)
		if err != nil {
			t.Fatal(err)
		}
		names, err := fs.Glob(files, "*")
		if err != nil {
			t.Fatal(err)
		}
		if n := len(strings.Fields(want)); len(names) < n || !slices.Equal(names[:n], strings.Fields(want)) {
			t.Errorf("dialect %d: %q, want %q first", d, names, want)
		}
		for _, name := range names {
			text, err := fs.ReadFile(files, name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.TrimSpace(string(text)) == "" {
				t.Errorf("dialect %d: %s is empty", d, name)
			}
			foreign := []string{"WITHOUT ROWID", "BLOB"}
			if d == SQLite {
				foreign = []string{"WITH (", "COLLATE", "SMALLINT", "BYTEA"}
			}
			for _, word := range foreign {
				if strings.Contains(string(text), word) {
					t.Errorf("dialect %d: %s says %s", d, name, word)
				}
			}
		}
		full := 0
		templates, _ := fs.Glob(sources, "migrations/*.sql")
		for _, file := range templates {
			source, _ := fs.ReadFile(sources, file)
			if text, err := Render(d, string(source)); err != nil {
				t.Error(err)
			} else if strings.TrimSpace(text) != "" {
				full++
			}
		}
		if len(names) != full {
			t.Errorf("dialect %d has %q, and %d templates are not empty", d, names, full)
		}
	}
}

// TestStepsRenderedLate: listing the steps renders none, and one that cannot be rendered gives the error when it is opened.
func TestStepsRenderedLate(t *testing.T) {
	bad := rendered{SQLite, fstest.MapFS{"00001_first.sql": {Data: []byte("{{none}}")}}}
	names, err := fs.Glob(bad, "*.sql")
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	if _, err := fs.ReadFile(bad, names[0]); err == nil || !strings.Contains(err.Error(), "{{none}}") {
		t.Errorf("a template that means nothing is rendered: %v", err)
	}
	if emptyIn(SQLite, "{{if postgres -}}\na\n{{- end}}\nb") || emptyIn(SQLite, "{{if postgres -}}a{{else}}b{{- end}}") || emptyIn(SQLite, "{{if postgres -}}a{{- end}}b{{if postgres}}c{{- end}}") {
		t.Error("a template is taken as empty that has a part for everybody")
	}
}
