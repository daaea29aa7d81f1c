package main

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/internal/server"
)

// everything returns a hash of all files below a folder, except the index that SQLite keeps beside a database.
func everything(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "-shm") {
			return err
		}
		b, err := os.ReadFile(path)
		if len(b) > 0 || !strings.HasSuffix(path, "-wal") {
			fmt.Fprintf(h, "%s %d %s\n", path, len(b), b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(h.Sum(nil))
}

// TestCheck: everything that is wrong with files is found and named, and nothing is changed by that. A backup is checked in the same way.
func TestCheck(t *testing.T) {
	base := withFiles(t, 4, 1000)
	swept(t, base) // closes the database in an orderly way
	type seed struct {
		name   string
		damage func(t *testing.T, dir string)
		hash   bool
		// want are parts of the lines that there must be, each in one of its own.
		want []string
	}
	do := func(text string, args ...any) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			db, err := sql.Open("sqlite3", filepath.Join(dir, "tidings.db"))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if r, err := db.Exec(text, args...); err != nil {
				t.Fatal(err)
			} else if n, _ := r.RowsAffected(); n != 1 {
				t.Fatalf("%d rows", n)
			}
		}
	}
	file := func(change func(name string) error) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := change(fileNames(t, dir)[0]); err != nil {
				t.Fatal(err)
			}
		}
	}
	first := filepath.Base(fileNames(t, base)[0])
	hash := first[:64]
	add := func(name string, age time.Duration) func(string) error {
		return func(beside string) error {
			path := filepath.Join(filepath.Dir(beside), name)
			when := time.Now().Add(-age)
			if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
				return err
			}
			return os.Chtimes(path, when, when)
		}
	}
	stray := first[:65] + "0123456789abcdef"
	seeds := []seed{
		{name: "nothing", damage: func(*testing.T, string) {}, hash: true},
		{name: "missing", damage: file(os.Remove), want: []string{"wrong: the file " + first + " is not there"}},
		{name: "cut off", damage: file(func(n string) error { return os.Truncate(n, 999) }), want: []string{"wrong: the file " + first + " has another size"}},
		{name: "other bytes", damage: file(func(n string) error { return os.WriteFile(n, make([]byte, 1000), 0o600) }), hash: true, want: []string{"wrong: the file " + first + " has other bytes"}},
		{name: "other bytes, not read", damage: file(func(n string) error { return os.WriteFile(n, make([]byte, 1000), 0o600) })},
		{name: "extra", damage: file(add(stray, 2*time.Hour)), want: []string{"left over: no upload refers to the file " + stray}},
		{name: "just made", damage: file(add(stray, 0))},
		{name: "strange", damage: file(add("holiday.jpg", 0)), want: []string{"left over: the file " + filepath.Join("files", hash[:2], "holiday.jpg")}},
		{name: "left of an upload", damage: func(t *testing.T, dir string) {
			when := time.Now().Add(-2 * time.Hour)
			name := filepath.Join(dir, "blob", "open", strings.Repeat("a", 32))
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			os.Chtimes(name, when, when)
		}, want: []string{"left over: no upload refers to the file " + filepath.Join("open", strings.Repeat("a", 32))}},
		{name: "name", damage: do("UPDATE blob SET file = '../../../secret.key' WHERE hash = ?", hash), want: []string{`wrong: the database gives a file the name "../../../secret.key"`}},
		{name: "no name", damage: do("DELETE FROM blob WHERE hash = ?", hash), want: []string{"an upload refers to a file with the hash " + hash}},
		{name: "no reason", damage: do("DELETE FROM media_part WHERE hash = ?", hash), want: []string{
			"nothing refers to the file " + first, "an upload of carol, begun at "}},
		{name: "ends though used", damage: do("UPDATE blob SET unused = 1 WHERE hash = ?", hash), want: []string{"the file " + first + " is to be deleted, although"}},
		{name: "part of nothing", damage: do("INSERT INTO media_part (id, part, hash, type, width, height) VALUES ('x', 0, ?, '', 0, 0)", hash), want: []string{
			"an upload that is not there, or not complete, refers to the file with the hash " + hash}},
		{name: "size", damage: do("UPDATE media SET size = 999 WHERE id = (SELECT id FROM media_part WHERE hash = ?)", hash), want: []string{
			"the file " + first + " has 1000 bytes, and an upload of it 999", "the uploads of carol have 3999 bytes, and are counted as 4000"}},
		{name: "count", damage: do("UPDATE media_use SET bytes = 5 WHERE hour = 0"), want: []string{"the uploads of carol have 4000 bytes, and are counted as 5"}},
		{name: "dangling reference", damage: do("INSERT INTO media_ref (conv, seq, media) VALUES (1, 2, 'nothing')"), want: []string{
			"message 2 of conversation 1 refers to an upload that is not there"}},
		{name: "reference of nothing", damage: do("INSERT INTO media_ref (conv, seq, media) SELECT 1, 99, id FROM media LIMIT 1"), want: []string{
			"message 99 of conversation 1, which is not there, refers to an upload"}},
		{name: "lost reference", damage: do("DELETE FROM media_ref WHERE seq = 1"), want: []string{"is kept for ever, and no message refers to it"}},
	}
	for _, c := range seeds {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			c.damage(t, dir)
			before := everything(t, dir)
			r, err := server.Check(t.Context(), server.CheckConfig{Data: dir, Blob: filepath.Join(dir, "blob"), Hash: c.hash, Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			if everything(t, dir) != before {
				t.Error("the folder was changed")
			}
			var lines []string
			for _, what := range r.Damage {
				lines = append(lines, "wrong: "+what)
			}
			for _, what := range r.Waste {
				lines = append(lines, "left over: "+what)
			}
			if len(lines) != len(c.want) {
				t.Errorf("found %q, want %q", lines, c.want)
			}
			for _, w := range c.want {
				if !strings.Contains(strings.Join(lines, "\n"), w) {
					t.Errorf("found %q, want %q", lines, w)
				}
			}
		})
	}
	backup := filepath.Join(t.TempDir(), "backup")
	backUp(t, base, backup)
	if out, err := program("check", "--data", backup, "--hash").CombinedOutput(); err != nil || string(out) != "4 files with 4000 bytes, 4 uploads, 4 references of messages: 0 are wrong, 0 left over.\n" {
		t.Errorf("of the backup: %s %v", out, err)
	}
	if err := os.Remove(fileNames(t, backup)[0]); err != nil {
		t.Fatal(err)
	}
	if out, err := program("check", "--data", backup).CombinedOutput(); err == nil || !strings.Contains(string(out), "wrong: the file "+first+" is not there\n") {
		t.Errorf("of the backup without a file: %s %v", out, err)
	}
	if out, err := program("check", "--data", base, "--blob", "file://"+filepath.Join(backup, "blob")).CombinedOutput(); err == nil || !strings.Contains(string(out), "--blob") {
		t.Errorf("with another folder: %s %v", out, err)
	}
}
