package client_test

import (
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store"
	"github.com/tidings-im/tidings/internal/testing/faultproxy"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// unique writes a file whose content no other one has.
func unique(t testing.TB, dir string, size int) string {
	t.Helper()
	b := make([]byte, size+16)
	rand.Read(b)
	path := filepath.Join(dir, "unique")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCancelUpload: a send that is cancelled at any moment is either cancelled, and nothing of it is left anywhere, or it is too late and the message arrives; to a
// person and in a live room.
func TestCancelUpload(t *testing.T) {
	folder := t.TempDir()
	s := imtest.Start(t, imtest.Dir(folder))
	u := newUploads()
	ann := openWith(t, config(t, s, "ann"), u.listen)
	ann.login()
	bob := dial(t, config(t, s, "bob"))
	ann.group("hall", liveRoom)
	ann.joinGroup("hall")
	bob.joinGroup("hall")
	random := mathrand.New(mathrand.NewPCG(1, 2))
	dir := t.TempDir()
	var arrived []string
	cancelled := 0
	var bytes int64
	for n := range soak.Pick(60, 1000) {
		to := client.C2C("bob")
		if n%4 == 3 {
			to = client.Group("hall")
		}
		elems := []*im.Elem{fileElem(unique(t, dir, random.IntN(400<<10)))}
		if n%3 == 0 {
			elems = append(elems, soundElem(filepath.Join(dir, "unique")))
		}
		// The moment: after one of the calls of progress, or after a time; sometimes after the result.
		moment, after, limit := make(chan struct{}), random.IntN(6), time.Duration(random.IntN(20))*time.Millisecond
		if n%5 == 4 {
			after, limit = 0, patience
		}
		var calls atomic.Int64
		u.mu.Lock()
		u.at = func(upStep) {
			if int(calls.Add(1)) == after {
				close(moment)
			}
		}
		u.mu.Unlock()
		type result struct {
			m   *im.Message
			err error
		}
		done := make(chan result, 1)
		id, err := ann.SendMessageFunc(to, &im.Message{ElemArray: elems}, func(m *im.Message, err error) {
			u.end(m.GetMsgId())
			done <- result{m, err}
		})
		if err != nil {
			t.Fatal(err)
		}
		var sent *result
		timer := time.NewTimer(limit)
		select {
		case <-moment:
		case <-timer.C:
		case r := <-done:
			sent = &r
		}
		timer.Stop()
		_, err = ann.CancelSend(within(t), to, id)
		if sent == nil {
			r := <-done
			sent = &r
		}
		switch {
		case err == nil && im.CodeOf(sent.err) == im.CodeSendCancelled && sent.m.Status == im.MessageStatus_MESSAGE_STATUS_CANCELLED:
			cancelled++
		case im.CodeOf(err) == im.CodeSendTooLate && sent.err == nil && sent.m.Status == im.MessageStatus_MESSAGE_STATUS_SENT:
			arrived = append(arrived, id)
			for _, e := range sent.m.ElemArray {
				bytes += int64(e.GetFile().GetFileSize() + e.GetSound().GetFileSize())
			}
		default:
			t.Fatalf("the cancellation says %v, the send %v, %v", err, sent.err, sent.m)
		}
	}
	u.mu.Lock()
	u.at = nil
	u.mu.Unlock()
	ann.say("bob", "end")
	for _, w := range u.wrong {
		t.Error(w)
	}
	if cancelled == 0 || len(arrived) == 0 {
		t.Errorf("%d cancelled, %d sent", cancelled, len(arrived))
	}
	bob.until(t, "the end", func([]event) bool { e, ok := last(bob.of("new"), "new"); return ok && e.text == "end" })
	var got []string
	for _, e := range bob.of("new") {
		if len(idsOf(e.msg)) > 0 {
			got = append(got, e.msg.MsgId)
		}
	}
	slices.Sort(got)
	slices.Sort(arrived)
	if !slices.Equal(got, arrived) {
		t.Errorf("%d arrived, %d were sent", len(got), len(arrived))
	}
	states := map[im.MessageStatus]int{}
	var from *im.Message
	for {
		ms, err := ann.Messages(within(t), client.C2C("bob"), &im.GetMsgListParam{Count: 20, LastMsg: from})
		if err != nil {
			t.Fatal(err)
		}
		if len(ms) == 0 {
			break
		}
		for _, m := range ms {
			states[m.Status]++
		}
		from = ms[len(ms)-1]
	}
	if n := states[im.MessageStatus_MESSAGE_STATUS_SENDING] + states[im.MessageStatus_MESSAGE_STATUS_FAILED]; n > 0 {
		t.Errorf("the history has %v", states)
	}
	ann.Close()
	bob.Close()
	s.Stop()
	if open, kept := uploadsOf(t, folder, "ann"); open != 0 || kept != bytes {
		t.Errorf("%d uploads are open, %d bytes are kept, want %d", open, kept, bytes)
	}
}

// uploadsOf returns how many uploads a user has at a stopped server that are not done, and the bytes of all of them.
func uploadsOf(t testing.TB, folder, user string) (open int, bytes int64) {
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{Dir: folder, Log: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	u, err := st.UserByName(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	err = st.Update(t.Context(), nil, func(tx chat.Tx) error {
		use, err := tx.MediaUse(u.UID, 0)
		open, bytes = use.Open, use.Kept
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return open, bytes
}

// TestBatchUploadsOnce: the files of a message to many users are uploaded once for all of them, and one that is cancelled leaves the others.
func TestBatchUploadsOnce(t *testing.T) {
	folder := t.TempDir()
	s := imtest.Start(t, imtest.Dir(folder))
	u := newUploads()
	ann := openWith(t, config(t, s, "ann"), u.listen)
	ann.login()
	bob, carol := dial(t, config(t, s, "bob")), dial(t, config(t, s, "carol"))
	path, hash := made(t, "a", 2<<20)
	m := &im.Message{ElemArray: []*im.Elem{fileElem(path)}}
	results, err := ann.BatchSend(within(t), []string{"bob", "carol", "nobody", "not\na user"}, m)
	if err != nil || len(results) != 4 || results[0].Code != 0 || results[1].Code != 0 || results[2].Code != 20003 || results[3].Code == 0 {
		t.Fatal(results, err)
	}
	u.check(t, results[0].Msg.MsgId, true, map[uint32]int{0: 2 << 20})
	if len(u.steps) != 1 {
		t.Errorf("progress of %d messages", len(u.steps))
	}
	if failed := results[2].Msg; failed.Status != im.MessageStatus_MESSAGE_STATUS_FAILED || idsOf(failed)[0] != "" || failed.ElemArray[0].GetFile().FilePath != path {
		t.Errorf("to nobody: %v", failed)
	}
	b, c := bob.count(t, "new", 1)[0].msg, carol.count(t, "new", 1)[0].msg
	if !slices.Equal(idsOf(b), idsOf(c)) || carol.fetched(idsOf(c)[0]) != hash {
		t.Errorf("bob has %v, carol %v", b, c)
	}
	blobs(t, folder, 1)

	// The first is cancelled at the beginning.
	u.mu.Lock()
	u.at = func(st upStep) {
		if st.sent == 0 {
			ann.CancelSendFunc(client.C2C("bob"), st.msg, func(_ *im.Message, err error) {
				if err != nil {
					t.Errorf("the cancellation: %v", err)
				}
				u.end(st.msg)
			})
		}
	}
	u.mu.Unlock()
	path = unique(t, t.TempDir(), 4<<20)
	results, err = ann.BatchSend(within(t), []string{"bob", "carol"}, &im.Message{ElemArray: []*im.Elem{fileElem(path)}})
	if err != nil || results[0].Code != im.CodeSendCancelled || results[0].Msg.Status != im.MessageStatus_MESSAGE_STATUS_CANCELLED || results[1].Code != 0 {
		t.Fatal(results, err)
	}
	carol.count(t, "new", 2)
	bob.count(t, "new", 1)
	for _, w := range u.wrong {
		t.Error(w)
	}
	blobs(t, folder, 2)

	// Without a file, each of them fails.
	u.mu.Lock()
	u.at = nil
	u.mu.Unlock()
	missing := &im.Message{ElemArray: []*im.Elem{fileElem(filepath.Join(t.TempDir(), "missing"))}}
	if results, err = ann.BatchSend(within(t), []string{"bob", "carol"}, missing); err != nil || results[0].Code != 7004 || results[1].Code != 7004 {
		t.Error(results, err)
	}
}

// TestSendFilesElsewhere: groups, live rooms and messages for who is connected have files, too.
func TestSendFilesElsewhere(t *testing.T) {
	s := imtest.Start(t)
	u := newUploads()
	ann := openWith(t, config(t, s, "ann"), u.listen)
	ann.login()
	bob := dial(t, config(t, s, "bob"))
	ann.openGroup("club", publicGroup, "bob")
	ann.group("hall", liveRoom)
	ann.joinGroup("hall")
	bob.joinGroup("hall")
	path, hash := made(t, "a", 1<<20)
	for name, c := range map[string]struct {
		to     client.Conv
		online bool
	}{"group": {client.Group("club"), false}, "live room": {client.Group("hall"), false}, "online": {client.C2C("bob"), true}} {
		m := &im.Message{IsOnlineMsg: c.online, ElemArray: []*im.Elem{textElem(name), fileElem(path)}}
		sent, err := ann.SendMessage(within(t), c.to, m)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		u.check(t, sent.MsgId, true, map[uint32]int{1: 1 << 20})
		var got *im.Message
		bob.until(t, name, func([]event) bool {
			for _, e := range bob.of("new") {
				if e.text == name {
					got = e.msg
				}
			}
			return got != nil
		})
		if f := sent.ElemArray[1].GetFile(); f.FilePath != path || f.FileId == "" || f.Url == "" || got.ElemArray[1].GetFile().FileId != f.FileId || got.ElemArray[1].GetFile().FilePath != "" {
			t.Errorf("%s: sent %v, got %v", name, sent, got)
		}
		if bob.fetched(idsOf(got)[0]) != hash {
			t.Errorf("%s: another file", name)
		}
	}
	if es := ann.of("update"); len(es) > 0 {
		t.Errorf("updates %s", list(es))
	}
	// What is refused after the upload has failed, and would be uploaded again.
	if m, err := bob.SendMessage(within(t), client.Group("nowhere"), &im.Message{ElemArray: []*im.Elem{fileElem(path)}}); err == nil || m.Status != im.MessageStatus_MESSAGE_STATUS_FAILED || idsOf(m)[0] != "" {
		t.Errorf("to no group: %v, %v", m, err)
	}
}

// TestUploadProgress: files of random sizes, over a connection that is cut and with tokens that go bad, in a slow application: the progress of each element begins at 0,
// rises, and ends at the size before the result, and the message arrives once.
func TestUploadProgress(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	proxy := faultproxy.Start(t, s.URL)
	cfg := config(t, s, "ann")
	cfg.Server, cfg.Limits.Reconnect = proxy.URL, 50*time.Millisecond
	u := newUploads()
	ann := openWith(t, cfg, u.listen)
	ann.login()
	random := mathrand.New(mathrand.NewPCG(3, 4))
	var steps atomic.Int64
	var cut atomic.Int64
	cut.Store(3)
	u.mu.Lock()
	u.at = func(st upStep) {
		switch n := steps.Add(1); {
		case n%cut.Load() == 0:
			proxy.Cut()
		case n%7 == 0:
			ann.SpoilTokens()
		case n%5 == 0:
			time.Sleep(10 * time.Millisecond) // a slow application
		}
	}
	u.mu.Unlock()
	sizes := []int{1, 256<<10 - 16, 256 << 10, 1 << 20}
	rounds := soak.Pick(8, 200)
	for range rounds {
		var elems []*im.Elem
		want := map[uint32]int{}
		for i := range 1 + random.IntN(3) {
			size := sizes[random.IntN(len(sizes))]
			if random.IntN(2) == 0 {
				size = 1 + random.IntN(soak.Pick(2<<20, 100<<20-16))
			}
			elems = append(elems, fileElem(unique(t, t.TempDir(), size)))
			want[uint32(i)] = size + 16
		}
		var m *im.Message
		err := errors.New("no link")
		for im.CodeOf(err) == im.CodeDisconnected || m == nil { // the link may be away at the call
			done := make(chan struct{})
			if _, e := ann.SendMessageFunc(client.C2C("bob"), &im.Message{ElemArray: elems}, func(sent *im.Message, e error) {
				u.end(sent.GetMsgId())
				m, err = sent, e
				close(done)
			}); e != nil {
				t.Fatal(e)
			}
			<-done
		}
		if err != nil {
			t.Fatal(err)
		}
		u.check(t, m.MsgId, true, want)
		cut.Store(int64(1 + random.IntN(9)))
	}
	bob.count(t, "new", rounds)
}

// TestUploadUndone: a failure of the local database ends the uploads as it ends all calls; the client goes on.
func TestUploadUndone(t *testing.T) {
	folder := t.TempDir()
	s := imtest.Start(t, imtest.Dir(folder))
	bob := dial(t, config(t, s, "bob"))
	path, _ := made(t, "a", 20<<20)
	cfg := config(t, s, "ann")
	cfg.Limits.Reconnect = 20 * time.Millisecond
	d, proxy, u, id, done := uploading(t, s, cfg, &im.Message{ElemArray: []*im.Elem{fileElem(path)}})
	if err := d.FailCommits(1); err != nil {
		t.Fatal(err)
	}
	if err := d.SetDraft(client.C2C("bob"), &im.Draft{Msg: textMessage("x")}); im.CodeOf(err) != im.CodeDatabase {
		t.Fatal(err)
	}
	proxy.Release()
	if err := <-done; im.CodeOf(err) != im.CodeDatabase {
		t.Errorf("%v", err)
	}
	u.check(t, id, false, map[uint32]int{0: 20 << 20})
	var err error
	for range 100 { // it reconnects
		if _, err = d.SendMessage(within(t), client.C2C("bob"), textMessage("later")); im.CodeOf(err) != im.CodeDisconnected {
			break
		}
		d.until(t, "the link", func(es []event) bool { e, ok := last(es, "net"); return ok && e.n == int(client.NetworkConnected) })
	}
	if err != nil {
		t.Fatal(err)
	}
	bob.count(t, "new", 1)
	ms, err := d.Messages(within(t), client.C2C("bob"), &im.GetMsgListParam{Count: 100})
	if err != nil || !slices.ContainsFunc(ms, func(m *im.Message) bool { return m.MsgId == id && m.Status == im.MessageStatus_MESSAGE_STATUS_FAILED }) {
		t.Errorf("%v, %v", ms, err)
	}
	d.Close()
	blobs(t, folder, 0)
}
