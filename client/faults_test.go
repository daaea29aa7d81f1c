package client_test

import (
	"database/sql"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// owing returns a device that is closed and owes the messages 2 to n of ben: their callbacks have not begun.
func owing(t *testing.T, f *fake, n uint64) *device {
	t.Helper()
	in, hold := make(chan bool, n), make(chan bool)
	d := openWith(t, fakeConfig(t, f), func(ev *client.Events) {
		ev.NewMessages = func([]*im.Message) { in <- true; <-hold }
	})
	d.login()
	l := <-f.links
	l.push(benPush(1, "1"))
	<-in
	for seq := uint64(2); seq <= n; seq++ {
		l.push(benPush(seq, fmt.Sprint(seq)))
	}
	eventually(t, "the messages", func() bool {
		ms, err := d.Messages(within(t), client.C2C("ben"), nil)
		return err == nil && len(ms) == int(n)
	})
	d.Close()
	close(hold)
	return d
}

// texts returns the texts of the new messages that fired, in order.
func (d *device) texts() (all []string) {
	for _, e := range d.of("new") {
		all = append(all, e.text)
	}
	return all
}

// What an earlier run owed fires once and before anything newer, also if the batch of the login cannot be committed.
func TestOwedAfterUndoneLogin(t *testing.T) {
	f := newFake(t)
	cfg := owing(t, f, 3).cfg
	d := open(t, cfg)
	if err := d.FailCommits(1); err != nil {
		t.Fatal(err)
	}
	if err := d.Login(within(t)); err != nil {
		t.Fatal(err)
	}
	<-f.links
	l := <-f.links // it connects again
	l.push(benPush(4, "4"))
	d.until(t, "all messages", func([]event) bool { return len(d.of("new")) >= 3 })
	d.settled()
	if got := d.texts(); !slices.Equal(got, []string{"2", "3", "4"}) {
		t.Errorf("fired %q", got)
	}
	d.Close()
	d = dial(t, cfg)
	d.settled()
	if got := d.texts(); len(got) != 0 {
		t.Errorf("the next run fired %q", got)
	}
}

// A push that arrives right behind the answer to the login counts, also when the engine was busy while both came.
func TestPushBehindTheLogin(t *testing.T) {
	for range 10 { // the engine chooses by chance between what is posted and what has arrived
		f := newFake(t)
		d := open(t, owing(t, f, 1).cfg)
		busy, release, idle := make(chan bool), make(chan bool), make(chan error, 1)
		f.answer(im.Method_LOGIN, func(l *fakeLink, fr *im.Frame) {
			go func() { idle <- d.Inside(within(t), func() { busy <- true; <-release }) }()
			<-busy
			f.usual(l, fr)
		})
		d.LoginFunc(func(error) {})
		(<-f.links).push(benPush(2, "two"))
		eventually(t, "the push", func() bool { return d.Arrived() == 1 })
		close(release)
		if err := <-idle; err != nil {
			t.Error(err)
		}
		d.count(t, "new", 1)
		d.Close()
	}
}

// A message whose row cannot be read spoils nothing else: not the events of others, nor the list, nor what arrives.
func TestUnreadableRow(t *testing.T) {
	for _, column := range []string{"sender_tiny", "body"} {
		for _, seq := range []int{2, 3} { // in the middle, and the last one
			t.Run(fmt.Sprint(column, " ", seq), func(t *testing.T) {
				f := newFake(t)
				cfg := owing(t, f, 3).cfg
				db, err := sql.Open("sqlite3", databases(t, cfg.Dir)[0])
				if err != nil {
					t.Fatal(err)
				}
				if _, err := db.Exec("UPDATE message SET "+column+" = x'ff' WHERE seq = ?", seq); err != nil {
					t.Fatal(err)
				}
				db.Close()
				d := dial(t, cfg)
				l := <-f.links
				d.settled()
				if convs, err := d.Conversations(within(t)); err != nil || len(convs) != 1 || convs[0].Id != "ben" {
					t.Errorf("listed are %v, %v", convs, err)
				}
				l.push(benPush(4, "4"))
				d.until(t, "the messages", func([]event) bool { return len(d.of("new")) >= 2 })
				d.settled()
				if got := d.texts(); !slices.Equal(got, []string{fmt.Sprint(5 - seq), "4"}) {
					t.Errorf("fired %q", got)
				}
				if len(f.links) != 0 {
					t.Error("the device connected again")
				}
			})
		}
	}
}

// A login and a logout are accepted when as many other calls are open as may be.
func TestLogoutAboveTheLimit(t *testing.T) {
	f := newFake(t)
	f.answer(im.Method_READ, func(*fakeLink, *im.Frame) {})
	d := dial(t, fakeConfig(t, f))
	l := <-f.links
	l.push(benPush(1, "one"))
	d.count(t, "new", 1)
	d.settled()
	var ended atomic.Int64
	for range 1000 {
		d.MarkReadFunc(client.C2C("ben"), nil, func(error) { ended.Add(1) })
	}
	wantCode(t, d.MarkRead(within(t), client.C2C("ben"), nil), im.CodeTooManyRequests)
	if err := d.Login(within(t)); err != nil {
		t.Error(err)
	}
	if err := d.Logout(within(t)); err != nil {
		t.Error(err)
	}
	eventually(t, "the ends of the calls", func() bool { return ended.Load() == 1000 })
}

// A row that cannot be read fails one batch at most: it is removed, and the device goes on.
func TestUnreadableRowIsRemoved(t *testing.T) {
	for _, column := range []string{"sender_tiny", "body"} {
		t.Run(column, func(t *testing.T) {
			f := newFake(t)
			d := dial(t, fakeConfig(t, f))
			l := <-f.links
			l.push(benPush(1, "1"), benPush(2, "2"), benPush(3, "3"))
			d.count(t, "new", 3)
			d.Close()
			db, err := sql.Open("sqlite3", databases(t, d.cfg.Dir)[0])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec("UPDATE message SET " + column + " = x'ff' WHERE seq = 2"); err != nil {
				t.Fatal(err)
			}
			db.Close()
			d = dial(t, d.cfg)
			l = <-f.links
			local := false
			eventually(t, "the others", func() bool {
				ms, err := d.Messages(within(t), client.C2C("ben"), &im.GetMsgListParam{IsRamble: &local})
				return err == nil && len(ms) == 2 && text(ms[0]) == "3" && text(ms[1]) == "1"
			})
			if column == "sender_tiny" { // the batch that met it was undone
				l = <-f.links
			}
			l.push(benPush(4, "4"))
			if es := d.count(t, "new", 1); es[0].text != "4" {
				t.Errorf("fired %v", es)
			}
		})
	}
}
