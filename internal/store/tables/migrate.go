package tables

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
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

// tag matches {{word}}, {{word "parameter"}}, {{if sqlite}}, {{else}} and {{end}}. A minus sign takes away the white space on its side.
var tag = regexp.MustCompile(`(?:\s*\{\{- |\{\{)([a-z]+)(?: ([a-z]+)| "([^"{}]*)")?(?: -\}\}\s*|\}\})`)

// Render returns the text of a template in a dialect. Templates are those of text/template, as far as they are used here; a program that contains the
// package itself is 5 MB larger, because it looks methods up by name and so the linker must keep those of every type.
func Render(d Dialect, source string) (string, error) {
	if tags := len(tag.FindAllString(source, -1)); tags != strings.Count(source, "{{") || tags != strings.Count(source, "}}") {
		return "", errors.New("a tag of the template cannot be read")
	}
	dialects, meaning := map[string]Dialect{"sqlite": SQLite, "postgres": Postgres}, words(d)
	var b strings.Builder
	const outside, first, second = 0, 1, 2 // of the parts of an if
	shown, inside, at := true, outside, 0
	for _, m := range tag.FindAllStringSubmatchIndex(source, -1) {
		part := func(i int) string {
			if m[2*i] < 0 {
				return ""
			}
			return source[m[2*i]:m[2*i+1]]
		}
		if shown {
			b.WriteString(source[at:m[0]])
		}
		at = m[1]
		of, known := dialects[part(2)]
		word := meaning[part(1)]
		switch part(1) {
		case "if":
			if inside != outside || !known {
				return "", fmt.Errorf("the template has %s", part(0))
			}
			shown, inside = of == d, first
		case "else":
			if inside != first {
				return "", fmt.Errorf("the template has %s", part(0))
			}
			shown, inside = !shown, second
		case "end":
			if inside == outside {
				return "", fmt.Errorf("the template has %s", part(0))
			}
			shown, inside = true, outside
		default:
			if word == nil || part(2) != "" {
				return "", fmt.Errorf("the template has %s", part(0))
			}
			if shown {
				b.WriteString(word(part(3)))
			}
		}
	}
	if inside != outside {
		return "", errors.New("the template has an {{if}} without an {{end}}")
	}
	b.WriteString(source[at:])
	return b.String(), nil
}

// rendered are templates as a file system. Each is rendered when it is opened, and goose opens the steps that a database does not have yet.
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
	dialect := [...]goose.Dialect{SQLite: goose.DialectSQLite3, Postgres: goose.DialectPostgres}[d]
	p, err := goose.NewProvider(dialect, db, files, append(options, goose.WithDisableGlobalRegistry(true))...)
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
