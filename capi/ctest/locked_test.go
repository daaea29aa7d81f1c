package ctest

import (
	"database/sql"
	"encoding/hex"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/mattn/go-sqlite3"

	"github.com/tidings-im/tidings/imtest"
)

// lockLocal opens a connection of this process to the local database of a user, and begins to write to it when the program releases it.
func lockLocal(t *testing.T, d *device, user string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+localFile(d, user)+"?_busy_timeout=60000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	return db
}

func localFile(d *device, user string) string {
	return filepath.Join(d.dir, "app-1400000000", "users", hex.EncodeToString([]byte(user))+".db")
}

// No function waits on the program's thread for another process that has the local database: each returns while the lock is held, and its callback
// reports the result. Once the database is open, nobody can lock it.
func TestNoCallWaitsForALock(t *testing.T) {
	s := imtest.Start(t)
	d := newDevice(t, s, "ann", "", "TIDINGS_CONSOLE_LOG=info")
	d.login()
	d.must("TIMConvCreate", "ben", 1, on)
	d.call("TIMUninit")
	draft := `{"draft_msg":` + textJSON("not yet") + `}`
	quick := func(when string) {
		t.Helper()
		for call, args := range map[string][]any{"TIMConvSetDraft": {"ben", 1, draft}, "TIMConvCancelDraft": {"ben", 1}, "TIMGetLoginUserID": {on}} {
			if r, _ := d.call(call, args...); r != 0 {
				t.Errorf("%s: %s returns %d", when, call, r)
			}
		}
		if r, _ := d.call("TIMGetLoginStatus"); r == 1 {
			t.Errorf("%s: logged in without the local data", when)
		}
	}
	// A login waits 5 s for the lock, which a slow machine may need: busy reports that.
	busy := func(a answer) bool { return a.code == 6019 && strings.Contains(a.desc, "in use by another process") }
	ended := func(id int) {
		t.Helper()
		if a := d.answerOf(id, "TIMLogin"); a.code != 7009 && !busy(a) {
			t.Errorf("the login that was ended: %+v", a)
		}
	}
	answered := func(id int, user string) {
		t.Helper()
		if a := d.answerOf(id, "TIMLogin"); busy(a) {
			d.must("TIMLogin", user, s.Sig(user), on)
		} else if a.code != 0 {
			t.Fatalf("the login of %s: %+v", user, a)
		}
	}

	d.init()
	lock := lockLocal(t, d, "ann")
	_, _, id := d.callID("TIMLogin", "ann", s.Sig("ann"), on)
	quick("first login")
	d.call("TIMUninit")
	ended(id)
	quick("ended")

	d.init()
	quick("begun again")
	_, _, id = d.callID("TIMLogin", "ann", s.Sig("ann"), on)
	quick("login after TIMInit")
	lock.Close()
	answered(id, "ann")
	if a, err := sql.Open("sqlite3", "file:"+localFile(d, "ann")+"?_busy_timeout=0"); err != nil {
		t.Fatal(err)
	} else if _, err := a.Exec("BEGIN IMMEDIATE"); err == nil {
		t.Error("another process can lock the database that is in use")
	} else {
		a.Close()
	}
	if r, _ := d.call("TIMConvSetDraft", "ben", 1, draft); r != 0 {
		t.Errorf("TIMConvSetDraft: %d", r)
	}
	if list := d.must("TIMConvGetConvList", on); !strings.Contains(list, "not yet") {
		t.Errorf("the draft is not in %s", list)
	}

	d.must("TIMLogout", on)
	lock = lockLocal(t, d, "ann")
	d.must("TIMLogin", "bob", s.Sig("bob"), on) // closes ann's client
	d.must("TIMLogout", on)
	_, _, id = d.callID("TIMLogin", "ann", s.Sig("ann"), on)
	quick("back to the first user")
	if r, _, logout := d.callID("TIMLogout", on); r != 0 {
		t.Errorf("TIMLogout: %d", r)
	} else if a := d.answerOf(logout, "TIMLogout"); a.code != 0 && a.code != 6014 {
		t.Errorf("TIMLogout: %+v", a)
	}
	ended(id)
	_, _, id = d.callID("TIMLogin", "ann", s.Sig("ann"), on)
	lock.Close()
	answered(id, "ann")
	if list := d.must("TIMConvGetConvList", on); !strings.Contains(list, "not yet") {
		t.Errorf("the draft is not in %s", list)
	}
	d.quit()
	if log := d.stderr.String(); !strings.Contains(log, "in use by another process") || strings.Contains(log, "cannot be opened") {
		t.Errorf("the log says:\n%s", log)
	}
}
