package client_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client/internal/transfer"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// TestTokensRenewed: tokens for files are renewed when the server refuses one, and when it is time; not after the end of the session.
func TestTokensRenewed(t *testing.T) {
	s := imtest.Start(t)
	ann := dial(t, config(t, s, "ann"))
	first := ann.UploadToken()
	if token, err := ann.UploadTokenAgain(within(t), first); err != nil || token != first {
		t.Errorf("a token that is new was renewed: %v", err)
	}
	ann.SpoilTokens()
	if ann.UploadToken() != "old" {
		t.Error("a token that was not refused was renewed")
	}
	if token, err := ann.UploadTokenAgain(within(t), "old"); err != nil || token == "old" || token != ann.UploadToken() || ann.ReadToken() == "old" {
		t.Fatalf("it is not renewed: %v", err)
	}
	ann.upload(transfer.Any, []byte("x")) // it is good
	ann.SpoilTokens()
	ann.RenewTokens()
	for ctx := within(t); ann.ReadToken() == "old" && ctx.Err() == nil; ann.WaitQuiet() {
	}
	if ann.ReadToken() == "old" {
		t.Error("it was not renewed in time")
	}
	ann.SpoilTokens()
	if err := ann.Logout(within(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := ann.UploadTokenAgain(within(t), "old"); im.CodeOf(err) != im.CodeNotLoggedIn {
		t.Error(err)
	}
	if err := ann.Linked(within(t)); im.CodeOf(err) != im.CodeNotLoggedIn {
		t.Error(err)
	}
}

// TestTokensAskedOnce: many that need new tokens make one call and get its answer, and do not wait longer than their context; a call that fails or is lost is
// no reason to give up, and a server without files is.
func TestTokensAskedOnce(t *testing.T) {
	f := newFake(t)
	with := func(token string) {
		f.answer(im.Method_LOGIN, func(l *fakeLink, fr *im.Frame) {
			now := time.Now()
			l.reply(fr, &im.LoginReply{TinyId: 1, Generation: 1, StoreId: "store", ServerTime: now.UnixMilli(), TicketExpires: now.Add(time.Hour).UnixMilli(),
				HeartbeatSeconds: 3600, MediaToken: token, UploadToken: token})
			f.links <- l
		})
	}
	with("first")
	type question struct {
		l  *fakeLink
		fr *im.Frame
	}
	asked := make(chan question, 100)
	f.answer(im.Method_MEDIA_TOKENS, func(l *fakeLink, fr *im.Frame) { asked <- question{l, fr} })
	ann := dial(t, fakeConfig(t, f))
	if token := ann.UploadToken(); token != "first" {
		t.Fatal(token)
	}
	need := func(callers int, answer func(question), check func(string, error)) {
		t.Helper()
		ann.SpoilTokens()
		var all sync.WaitGroup
		for range callers {
			all.Go(func() { check(ann.UploadTokenAgain(within(t), "old")) })
		}
		q := <-asked
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := ann.UploadTokenAgain(ctx, "old"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		answer(q)
		all.Wait()
		if len(asked) > 0 {
			t.Errorf("it was asked %d times more", len(asked))
		}
	}
	var known *im.Error
	again := func(_ string, err error) {
		if err == nil || errors.As(err, &known) {
			t.Errorf("a failure is final: %v", err)
		}
	}
	for i := range 3 {
		want := strconv.Itoa(i)
		need(20, func(q question) { q.l.reply(q.fr, &im.MediaTokensReply{MediaToken: want, UploadToken: want}) }, func(token string, err error) {
			if token != want || err != nil {
				t.Errorf("token %q: %v", token, err)
			}
		})
	}
	need(1, func(q question) { q.l.refuse(q.fr, im.CodeServerInternal) }, again)
	need(1, func(q question) { q.l.reply(q.fr, &im.MediaTokensReply{}) }, again)
	with("after the cut")
	need(1, func(q question) { q.l.ws.CloseNow() }, again)
	if err := ann.Linked(within(t)); err != nil || ann.UploadToken() != "after the cut" {
		t.Errorf("after the cut: %v", err)
	}
	with("")
	if _, err := dial(t, fakeConfig(t, f)).UploadTokenAgain(within(t), ""); im.CodeOf(err) != im.CodeHTTP {
		t.Errorf("a server without files: %v", err)
	}
}
