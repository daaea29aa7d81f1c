package tables

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing/fstest"
	"text/template"

	"github.com/pressly/goose/v3"
)

// sources are the steps that create the schema. Each is a template for both dialects, which differ in types, in how rows are stored, and in what only one store
// needs. A step that is empty in a dialect does not exist there.
//
//go:embed migrations/*.sql
var sources embed.FS

// numbers are the steps that databases of SQLite know under another number than that of the file. All other steps have the number of their file in both dialects.
var numbers = map[string]string{"00005_content.sql": "00003_content.sql", "00007_sent.sql": "00004_sent.sql"}

// words are the functions that a template may call.
func words(d Dialect) template.FuncMap {
	choose := func(sqlite, postgres string) func() string {
		return func() string { return [...]string{SQLite: sqlite, Postgres: postgres}[d] }
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
	return template.FuncMap{
		"sqlite":   func() bool { return d == SQLite },
		"postgres": func() bool { return d == Postgres },
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

// Render returns the text of a template in a dialect.
func Render(d Dialect, source string) (string, error) {
	t, err := template.New("sql").Funcs(words(d)).Parse(source)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, nil)
	return b.String(), err
}

// steps returns the files of a dialect.
func steps(d Dialect) (fs.FS, error) {
	files, err := fs.Glob(sources, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	out := fstest.MapFS{}
	for _, file := range files {
		source, err := fs.ReadFile(sources, file)
		if err != nil {
			return nil, err
		}
		text, err := Render(d, string(source))
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(text) == "" {
			continue
		}
		name := path.Base(file)
		if other := numbers[name]; other != "" && d == SQLite {
			name = other
		}
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out, nil
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
