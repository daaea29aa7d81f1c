package client_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/faultproxy"
)

// TestCancelAfterACut: it is too late to cancel a message with a file that was sent on a connection which broke before the reply, because the server may have it.
func TestCancelAfterACut(t *testing.T) {
	s, asked, release := holding(t)
	bob := dial(t, config(t, s, "bob"))
	proxy := faultproxy.Start(t, s.URL)
	cfg := config(t, s, "ann")
	cfg.Server, cfg.Limits.Reconnect = proxy.URL, 20*time.Millisecond
	ann := dial(t, cfg)
	path, _ := made(t, "a", 1000)
	done := make(chan error, 1)
	id, err := ann.SendMessageFunc(client.C2C("bob"), &im.Message{ElemArray: []*im.Elem{fileElem(path)}}, func(_ *im.Message, err error) { done <- err })
	if err != nil {
		t.Fatal(err)
	}
	<-asked
	proxy.Refuse(true)
	proxy.Cut()
	ann.until(t, "the cut", func(es []event) bool { e, _ := last(es, "net"); return e.n != 0 })
	_, err = ann.CancelSend(within(t), client.C2C("bob"), id)
	wantCode(t, err, im.CodeSendTooLate)
	release()
	proxy.Refuse(false)
	if err := <-done; err != nil {
		t.Errorf("the send: %v", err)
	}
	if es := bob.count(t, "new", 1); es[0].msg.MsgId != id {
		t.Errorf("bob got %v", list(es))
	}
}

// TestUploadEndsUndone: a message that cannot be stored when its file is uploaded fails, and is not sent.
func TestUploadEndsUndone(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	path, _ := made(t, "a", 4<<20)
	cfg := config(t, s, "ann")
	cfg.Limits.Reconnect = 20 * time.Millisecond
	d, proxy, _, id, done := uploading(t, s, cfg, &im.Message{ElemArray: []*im.Elem{fileElem(path)}})
	if err := d.FailCommits(1); err != nil {
		t.Fatal(err)
	}
	proxy.Release()
	if err := <-done; im.CodeOf(err) != im.CodeDatabase {
		t.Errorf("the send: %v", err)
	}
	d.until(t, "the link", func(es []event) bool {
		e, _ := last(es, "net")
		return e.n == int(client.NetworkConnected) && len(d.of("net")) > 3
	})
	d.say("bob", "later")
	if es := bob.count(t, "new", 1); es[0].text != "later" {
		t.Errorf("bob got %v", list(es))
	}
	ms, err := d.Messages(within(t), client.C2C("bob"), &im.GetMsgListParam{Count: 100})
	if err != nil || !slices.ContainsFunc(ms, func(m *im.Message) bool { return m.MsgId == id && m.Status == im.MessageStatus_MESSAGE_STATUS_FAILED }) {
		t.Errorf("%v, %v", ms, err)
	}
}

// TestCustomDataWhileUploading: what the application keeps with a message whose file is being uploaded stays with it.
func TestCustomDataWhileUploading(t *testing.T) {
	s := imtest.Start(t)
	dial(t, config(t, s, "bob"))
	path, _ := made(t, "a", 4<<20)
	d, proxy, _, id, done := uploading(t, s, config(t, s, "ann"), &im.Message{ElemArray: []*im.Elem{fileElem(path)}})
	if err := d.SetLocalCustomData(within(t), &im.Message{MsgId: id, ConvId: "bob", ConvType: im.ConvType_CONV_TYPE_C2C, CustomInt: 7, CustomStr: "mine"}); err != nil {
		t.Fatal(err)
	}
	proxy.Release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	ms, err := d.Messages(within(t), client.C2C("bob"), &im.GetMsgListParam{Count: 1})
	if err != nil || len(ms) != 1 || ms[0].CustomInt != 7 || ms[0].CustomStr != "mine" || ms[0].ElemArray[0].GetFile().FilePath != path {
		t.Errorf("%v, %v", ms, err)
	}
}

// TestForeignFilesAreSentOn: files of other servers need no ids, and a film there no picture.
func TestForeignFilesAreSentOn(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
	file := fileElem("")
	file.GetFile().FileName, file.GetFile().Url = "a.pdf", "https://files.example/a.pdf"
	film := videoElem("", "")
	film.GetVideo().VideoUrl = "https://files.example/a.mp4"
	if _, err := ann.SendMessage(within(t), client.C2C("bob"), &im.Message{ElemArray: []*im.Elem{file, film}}); err != nil {
		t.Fatal(err)
	}
	got := bob.count(t, "new", 1)[0].msg
	if f, v := got.ElemArray[0].GetFile(), got.ElemArray[1].GetVideo(); f.Url != file.GetFile().Url || v.VideoUrl != film.GetVideo().VideoUrl {
		t.Fatalf("bob got %v", got)
	}
	// As the SDK has handed them out.
	if _, err := bob.SendMessage(within(t), client.C2C("ann"), got); err != nil {
		t.Fatal(err)
	}
	if back := ann.count(t, "new", 1)[0].msg; back.ElemArray[1].GetVideo().VideoUrl != film.GetVideo().VideoUrl {
		t.Errorf("ann got %v", back)
	}
}

// TestBatchCutShort: a batch of which not all sends could be made ends its upload with those that were.
func TestBatchCutShort(t *testing.T) {
	s := imtest.Start(t)
	proxy := faultproxy.Start(t, s.URL)
	cfg := config(t, s, "ann")
	cfg.Server = proxy.URL
	ann := dial(t, cfg)
	proxy.Stall()
	for range 996 {
		if _, err := ann.SendMessageFunc(client.C2C("bob"), textMessage("waits"), func(*im.Message, error) {}); err != nil {
			t.Fatal(err)
		}
	}
	path, _ := made(t, "a", 1000)
	done := make(chan []*im.BatchSendResult, 1)
	users := make([]string, 10)
	for i := range users {
		users[i] = "bob"
	}
	ann.BatchSendFunc(users, &im.Message{ElemArray: []*im.Elem{fileElem(path)}}, func(results []*im.BatchSendResult, err error) {
		if err != nil {
			t.Error(err)
		}
		done <- results
	})
	ann.settled() // which is refused, too, until something has ended
	closed := make(chan struct{})
	go func() { ann.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("the client is not closed while the upload of a batch runs")
	}
	if results := <-done; results[len(results)-1].Code != im.CodeTooManyRequests || results[0].Code != im.CodeInterrupted {
		t.Errorf("%v", results)
	}
}
