package tables

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"testing/fstest"
	"text/template"

	"github.com/pressly/goose/v3"
)

// sources are the steps that have made the schema what it is. Each is a template from which either dialect is made: what differs are types, how rows
// are kept, and what only one store needs. A step that is empty in a dialect does not exist there.
//
//go:embed migrations/*.sql
var sources embed.FS

// numbers are those under which SQLite databases know a step, if they differ from the file's.
var numbers = map[string]string{"00005_content.sql": "00003_content.sql", "00007_sent.sql": "00004_sent.sql"}

// words are what a template may say.
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
		// Types. A number that needs less than 64 bits, bytes, a text that is compared by its bytes, the number of a row among all.
		"small": choose("BIGINT", "SMALLINT"),
		"int":   choose("BIGINT", "INTEGER"),
		"bytes": choose("BLOB", "BYTEA"),
		"key":   choose("TEXT", `TEXT COLLATE "C"`),
		"rowid": choose("INTEGER", "BIGINT"),
		// How the rows of a table are kept: by its key, or each at the end. The parameters are PostgreSQL's.
		"keyed": kept("WITHOUT ROWID"),
		"rows":  kept(""),
	}
}

// steps makes the files of a dialect.
func steps(d Dialect) (fs.FS, error) {
	files, err := fs.Glob(sources, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	out := fstest.MapFS{}
	for _, file := range files {
		name := path.Base(file)
		t, err := template.New(name).Funcs(words(d)).ParseFS(sources, file)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, nil); err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(b.Bytes())) == 0 {
			continue
		}
		if other := numbers[name]; other != "" && d == SQLite {
			name = other
		}
		out[name] = &fstest.MapFile{Data: b.Bytes()}
	}
	return out, nil
}

// Migrate brings the schema to what this program knows. A schema from a newer program is refused: writing by old rules would damage it.
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
