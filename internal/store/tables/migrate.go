package tables

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing/fstest"

	"github.com/pressly/goose/v3"
)

// sources are the steps that create the schema. Each is a template for both dialects, which differ in types, in how rows are stored, and in what only one store
// needs. A step that is empty in a dialect does not exist there.
//
//go:embed migrations/*.sql
var sources embed.FS

// numbers are the steps that databases of SQLite know under another number than that of the file. All other steps have the number of their file in both dialects.
var numbers = map[string]string{"00005_content.sql": "00003_content.sql", "00007_sent.sql": "00004_sent.sql"}

// words returns what the words of a template mean. A word may have a parameter in quotation marks.
func words(d Dialect) map[string]func(param string) string {
	choose := func(sqlite, postgres string) func(string) string {
		return func(string) string { return [...]string{SQLite: sqlite, Postgres: postgres}[d] }
	}
	kept := func(sqlite string) func(string) string {
		return func(params string) string {
			switch {
			case d == SQLite:
				return sqlite
			case params == "":
				return ""
			}
			return "WITH (" + params + ")"
		}
	}
	return map[string]func(string) string{
		// Types: numbers of 16 and 32 bits, bytes, text that is compared byte by byte, and the number of a row in its table.
		"small": choose("BIGINT", "SMALLINT"),
		"int":   choose("BIGINT", "INTEGER"),
		"bytes": choose("BLOB", "BYTEA"),
		"key":   choose("TEXT", `TEXT COLLATE "C"`),
		"rowid": choose("INTEGER", "BIGINT"),
		// How the rows of a table are stored: by primary key, or in the order of their insertion. The parameters are those of PostgreSQL.
		"keyed": kept("WITHOUT ROWID"),
		"rows":  kept(""),
	}
}

// space is what a minus sign in a tag takes away.
const space = " \t\r\n"

// tag is {{word}}, {{word "parameter"}}, {{if sqlite}}, {{else}} or {{end}}. A minus sign takes away the white space on its side.
type tag struct {
	text        string // as it stands in the template
	word, param string
	quoted      bool
	left, right bool // whether white space goes
}

// cutTag splits a template at its first tag.
func cutTag(source string) (before string, t tag, after string, ok bool) {
	from := strings.Index(source, "{{")
	to := strings.Index(source, "}}")
	if from < 0 || to < from {
		return source, t, "", from < 0 && to < 0
	}
	before, after = source[:from], source[to+2:]
	t.text = source[from : to+2]
	inside := source[from+2 : to]
	inside, t.left = strings.CutPrefix(inside, "- ")
	inside, t.right = strings.CutSuffix(inside, " -")
	t.word, t.param, _ = strings.Cut(inside, " ")
	if unquoted, begins := strings.CutPrefix(t.param, `"`); begins {
		var ends bool
		if t.param, ends = strings.CutSuffix(unquoted, `"`); !ends || strings.ContainsAny(t.param, `"{}`) {
			return before, t, after, false
		}
		t.quoted = true
	}
	if t.left {
		before = strings.TrimRight(before, space)
	}
	if t.right {
		after = strings.TrimLeft(after, space)
	}
	return before, t, after, true
}

// Render returns the text of a template in a dialect. Templates are those of text/template, as far as they are used here; a program that contains the
// package itself is 5 MB larger, because it looks methods up by name and so the linker must keep those of every type.
func Render(d Dialect, source string) (string, error) {
	dialects, meaning := map[string]Dialect{"sqlite": SQLite, "postgres": Postgres}, words(d)
	var b strings.Builder
	const outside, first, second = 0, 1, 2 // of the parts of an if
	shown, inside := true, outside
	for {
		before, t, after, ok := cutTag(source)
		if !ok {
			return "", errors.New("a tag of the template cannot be read")
		}
		if shown {
			b.WriteString(before)
		}
		if t.text == "" {
			break
		}
		source = after
		of, known := dialects[t.param]
		word := meaning[t.word]
		switch t.word {
		case "if":
			if inside != outside || !known || t.quoted {
				return "", fmt.Errorf("the template has %s", t.text)
			}
			shown, inside = of == d, first
		case "else":
			if inside != first {
				return "", fmt.Errorf("the template has %s", t.text)
			}
			shown, inside = !shown, second
		case "end":
			if inside == outside {
				return "", fmt.Errorf("the template has %s", t.text)
			}
			shown, inside = true, outside
		default:
			if word == nil || t.param != "" && !t.quoted {
				return "", fmt.Errorf("the template has %s", t.text)
			}
			if shown {
				b.WriteString(word(t.param))
			}
		}
	}
	if inside != outside {
		return "", errors.New("the template has an {{if}} without an {{end}}")
	}
	return b.String(), nil
}

// rendered are templates as a file system. Each is rendered when it is opened, which is when a database needs the step.
type rendered struct {
	d         Dialect
	templates fstest.MapFS
}

func (r rendered) Open(name string) (fs.File, error) {
	file := r.templates[name]
	if file == nil {
		return r.templates.Open(name)
	}
	text, err := Render(r.d, string(file.Data))
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return fstest.MapFS{name: {Data: []byte(text)}}.Open(name)
}

// steps returns the files of a dialect.
func steps(d Dialect) (fs.FS, error) {
	files, err := fs.Glob(sources, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	out := rendered{d, fstest.MapFS{}}
	for _, file := range files {
		source, err := fs.ReadFile(sources, file)
		if err != nil {
			return nil, err
		}
		if emptyIn(d, string(source)) {
			continue
		}
		name := path.Base(file)
		if other := numbers[name]; other != "" && d == SQLite {
			name = other
		}
		out.templates[name] = &fstest.MapFile{Data: source}
	}
	return out, nil
}

// migrations returns the steps for goose. Each file is executed as it is: goose would split it into statements in buffers of 4 MB.
func migrations(files fs.FS) ([]*goose.Migration, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	var out []*goose.Migration
	for _, name := range names {
		version, err := goose.NumericComponent(name)
		if err != nil {
			return nil, err
		}
		run := func(ctx context.Context, tx *sql.Tx) error {
			text, err := fs.ReadFile(files, name)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, string(text)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		}
		out = append(out, goose.NewGoMigration(version, &goose.GoFunc{RunTx: run}, nil))
	}
	return out, nil
}

// emptyIn reports whether a template is one {{if}} of the other dialect.
func emptyIn(d Dialect, source string) bool {
	other := [...]string{SQLite: "postgres", Postgres: "sqlite"}[d]
	inside, begins := strings.CutPrefix(strings.TrimSpace(source), "{{if "+other+" -}}")
	inside, ends := strings.CutSuffix(inside, "{{- end}}")
	return begins && ends && !strings.Contains(inside, "{{if") && !strings.Contains(inside, "{{else")
}

// Migrate brings the schema to the newest version. A schema of a newer program is refused: writing by old rules would damage it.
func Migrate(ctx context.Context, db *sql.DB, d Dialect, options ...goose.ProviderOption) error {
	files, err := steps(d)
	if err != nil {
		return err
	}
	all, err := migrations(files)
	if err != nil {
		return err
	}
	dialect := [...]goose.Dialect{SQLite: goose.DialectSQLite3, Postgres: goose.DialectPostgres}[d]
	p, err := goose.NewProvider(dialect, db, nil, append(options, goose.WithGoMigrations(all...), goose.WithDisableGlobalRegistry(true))...)
	if err != nil {
		return err
	}
	have, know, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("schema version: %w", err)
	}
	if have > know {
		return fmt.Errorf("the data was written by a newer version of this program (schema %d; this one knows up to %d)", have, know)
	}
	if have == know {
		return nil
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	return nil
}
