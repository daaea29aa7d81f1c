package client_test

import (
	"database/sql"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// databases returns the local database files of a device.
func databases(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "users", "*.db"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no database in %s: %v", dir, err)
	}
	return files
}

// A damaged local database is set aside, and the server brings everything again.
func TestDamagedDatabase(t *testing.T) {
	s := imtest.Start(t)
	alice := dial(t, config(t, s, "alice"))
	bob := dial(t, config(t, s, "bob"))
	alice.say("bob", "kept by the server")
	bob.count(t, "new", 1)
	bob.Close()
	file := databases(t, bob.cfg.Dir)[0]
	if err := os.WriteFile(file, []byte(strings.Repeat("this is no database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Remove(file + "-wal")
	bob = dial(t, bob.cfg)
	if es := bob.count(t, "new", 1); es[0].text != "kept by the server" {
		t.Fatalf("after the damage: %v", es)
	}
	if kept, _ := filepath.Glob(file + ".damaged-*"); len(kept) == 0 {
		t.Fatal("the damaged file is gone")
	}
}

// A database of a newer version is refused, not touched.
func TestNewerDatabase(t *testing.T) {
	s := imtest.Start(t)
	d := dial(t, config(t, s, "ann"))
	d.Close()
	file := databases(t, d.cfg.Dir)[0]
	setUserVersion(t, file, 99)
	before, _ := os.ReadFile(file)
	err := open(t, d.cfg).Login(within(t))
	wantCode(t, err, im.CodeDatabase)
	if !strings.Contains(err.Error(), "newer version") {
		t.Fatalf("unclear: %v", err)
	}
	if after, _ := os.ReadFile(file); string(after) != string(before) {
		t.Fatal("the file was changed")
	}
}

// setUserVersion makes a database look like one of another version.
func setUserVersion(t *testing.T, file string, v int) {
	t.Helper()
	db, err := sql.Open("sqlite3", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(fmt.Sprintf("PRAGMA user_version = %d", v)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
}

// A call whose effect was undone with its batch does not succeed.
func TestUndoneCallsFail(t *testing.T) {
	d := dial(t, fakeConfig(t, newFake(t)))
	key := client.C2C("ben")
	kept, err := d.SaveMessage(within(t), key, textMessage("kept"))
	if err != nil {
		t.Fatal(err)
	}
	kept.CustomInt = 7
	d.settled()
	for _, call := range []struct {
		what string
		make func() error
	}{
		{"clear", func() error { return d.ClearHistory(within(t), key) }}, // the first: it needs a connection
		{"save", func() error { _, err := d.SaveMessage(within(t), key, textMessage("lost")); return err }},
		{"import", func() error { return d.ImportMessages(within(t), key, []*im.Message{textMessage("lost")}) }},
		{"create", func() error { _, err := d.CreateConversation(within(t), client.C2C("lost")); return err }},
		{"draft", func() error { return d.SetDraft(key, &im.Draft{Msg: textMessage("lost")}) }},
		{"delete", func() error { return d.DeleteLocalMessages(within(t), key, []*im.Message{kept}) }},
		{"data", func() error { return d.SetLocalCustomData(within(t), kept) }},
	} {
		// All commits: one that fails may be that of a sync, which reconnects for it.
		if err := d.FailCommits(math.MaxInt); err != nil {
			t.Fatal(err)
		}
		if err := call.make(); im.CodeOf(err) != im.CodeDatabase {
			t.Errorf("%s: %v, want 6019", call.what, err)
		}
		if err := d.FailCommits(0); err != nil {
			t.Fatal(err)
		}
		ms, err := d.Messages(within(t), key, nil)
		if err != nil || len(ms) != 1 || ms[0].CustomInt != 0 {
			t.Errorf("%s: %v %v", call.what, ms, err)
		}
		if list, err := d.Conversations(within(t)); err != nil || len(list) != 1 || list[0].IsHasDraft {
			t.Errorf("%s: %v %v", call.what, list, err)
		}
	}
}
