package client_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// meter relays to a server and counts the bytes of both directions.
type meter struct {
	url   string
	bytes atomic.Int64
}

func newMeter(t testing.TB, url string) *meter {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &meter{url: "ws://" + l.Addr().String()}
	var relays sync.WaitGroup
	t.Cleanup(func() { l.Close(); relays.Wait() })
	relays.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", strings.TrimPrefix(url, "ws://"))
			if err != nil {
				c.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{c, to}, {to, c}} {
				relays.Go(func() {
					defer way[0].Close()
					defer way[1].Close()
					io.Copy(way[0], io.TeeReader(way[1], m))
				})
			}
		}
	})
	return m
}

func (m *meter) Write(p []byte) (int, error) {
	m.bytes.Add(int64(len(p)))
	return len(p), nil
}

// many makes the calls of a device, 200 of them at a time, and waits for all.
func many(n int, start func(i int, done func(error))) error {
	room, failed := make(chan bool, 200), make(chan error, n)
	var open sync.WaitGroup
	for i := range n {
		room <- true
		open.Add(1)
		start(i, func(err error) {
			if err != nil {
				failed <- err
			}
			<-room
			open.Done()
		})
	}
	open.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// A user with 3,000 friends and 1,000 blocked users: a fresh device has all of it within a second, in silence, and a login that brings nothing costs
// hardly more than without. A device that missed 11,000 changes, more than the server keeps, while more are made has the same as the other in the end,
// and hears each net difference once. Beside make soak it is a fifth of everything.
func TestManyRelations(t *testing.T) {
	part := soak.Pick(5, 1)
	friends, blocked, missed := 3000/part, 1000/part, 11_000/part
	s := imtest.Start(t, imtest.FeedKeep(10_000/part))
	for from := 0; from < friends+blocked; from += 100 {
		var names []string
		for i := range 100 {
			names = append(names, fmt.Sprintf(`"u%04d"`, from+i))
		}
		s.Operate("im_open_login_svc/multiaccount_import", `{"Accounts":[`+strings.Join(names, ",")+`]}`)
	}
	name := func(i int) string { return fmt.Sprintf("u%04d", i) }
	ann := dial(t, config(t, s, "ann"))
	if err := many(friends, func(i int, done func(error)) {
		ann.Friends().AddFunc(&im.AddFriendRequest{UserId: name(i), Remark: "friend " + name(i)}, func(r *im.FriendResult, err error) {
			if err == nil && r.Code != 0 {
				err = fmt.Errorf("%v", r)
			}
			done(err)
		})
	}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range blocked {
		names = append(names, name(friends+i))
	}
	if rs, err := ann.Friends().Block(within(t), names); err != nil || len(rs) != blocked {
		t.Fatal(err)
	}
	eventually(t, "the blacklist", func() bool { all, err := ann.Friends().Blacklist(within(t)); return err == nil && len(all) == blocked })

	m := newMeter(t, s.URL)
	cfg := phone(t, s, "ann")
	cfg.Server = m.url
	began := time.Now()
	d := dial(t, cfg)
	took := time.Since(began)
	if all, err := d.Friends().List(within(t)); err != nil || len(all) != friends || len(d.heard()) > 0 || d.related() != ann.related() {
		t.Fatalf("%d friends, %v, heard %d", len(all), err, len(d.heard()))
	}
	t.Logf("the first login of a fresh device took %v and %d KB", took, m.bytes.Load()>>10)
	if took > 5*time.Second { // it takes 0.12 s; the machine may be busy, and the race detector slow
		t.Errorf("the first login took %v", took)
	}
	login := func(cfg *device, m *meter) int64 {
		cfg.Close()
		before := m.bytes.Load()
		*cfg = *dial(t, cfg.cfg)
		return m.bytes.Load() - before
	}
	few := newMeter(t, s.URL)
	other := config(t, s, "u0001")
	other.Server = few.url
	loner := dial(t, other)
	with, without := login(d, m), login(loner, few)
	t.Logf("a login that brings nothing is %d bytes, without relations %d", with, without)
	if with > without+2048 {
		t.Errorf("a login that brings nothing is %d bytes, without relations %d", with, without)
	}

	d.Close()
	change := func(i int, remark string, done func(error)) {
		ann.Friends().UpdateFunc(name(i), &im.FriendProfileItem{Remark: &remark}, done)
	}
	if err := many(missed, func(i int, done func(error)) { change(i%100, fmt.Sprint("remark ", i/100), done) }); err != nil {
		t.Fatal(err)
	}
	during := make(chan error, 1)
	go func() {
		during <- many(300, func(i int, done func(error)) { change(50+i%100, fmt.Sprint("during ", i/100), done) })
	}()
	began = time.Now()
	d = dial(t, cfg)
	t.Logf("a login after %d missed changes took %v", missed, time.Since(began))
	if err := <-during; err != nil {
		t.Fatal(err)
	}
	eventually(t, "the same lists", func() bool { return d.related() == ann.related() })
	d.settled()
	told := map[string]string{}
	for _, line := range shortFriends(d.heard()) {
		var who, remark string
		if rest, ok := strings.CutPrefix(line, "remark "); ok {
			who, remark, _ = strings.Cut(rest, " ")
		}
		if who == "" || told[who] == remark {
			t.Fatalf("%q was told again, or should not be", line)
		}
		told[who] = remark
	}
	all, err := d.Friends().List(within(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if r, ok := told[p.Identifier]; ok != !strings.HasPrefix(p.Remark, "friend ") || ok && r != p.Remark {
			t.Errorf("%s has the remark %q, and was told %q (%v)", p.Identifier, p.Remark, r, ok)
		}
	}
	if len(told) != 150 {
		t.Errorf("%d friends were told", len(told))
	}
}
