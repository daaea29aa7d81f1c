package client_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// logLines collects the lines of a log.
type logLines struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{}
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.more)
	l.more = make(chan struct{})
	return l.b.Write(p)
}

// until waits for a line that has all the parts, after those that were found before, and returns where the next one begins.
func (l *logLines) until(t testing.TB, from int, parts ...string) int {
	t.Helper()
	timeout := time.After(patience)
	for {
		l.mu.Lock()
		all, more := l.b.String(), l.more
		l.mu.Unlock()
		at := from
		for line := range strings.Lines(all[from:]) {
			at += len(line)
			found := true
			for _, part := range parts {
				found = found && strings.Contains(line, part)
			}
			if found {
				return at
			}
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("no line with %q behind byte %d of\n%s", parts, from, all)
		}
	}
}

// The log has at level info what happens to a session, at debug each call with its result, and nowhere a ticket or the content of a message.
func TestLogSaysWhatHappens(t *testing.T) {
	s := imtest.Start(t)
	dial(t, config(t, s, "bob"))
	proxy, url := newProxy(t, s.URL)
	log := &logLines{more: make(chan struct{})}
	cfg := config(t, s, "ann")
	cfg.Server, cfg.Log = url, newLogger(log)
	d := openWith(t, cfg, func(ev *client.Events) {
		told := ev.NewMessages
		ev.NewMessages = func(ms []*im.Message) {
			<-time.After(client.SlowCallback) // a slow callback
			told(ms)
		}
	})
	d.login()
	at := 0
	for _, parts := range [][]string{
		{"INFO", "opened", "version=" + client.Version, "user=ann", "folder=" + cfg.Dir}, {"INFO", "connecting", "server=" + url}, {"INFO", "connected", "server=" + url},
		{"INFO", "logged in", "user=ann", "resumed=false", "server_time="}, {"INFO", "sync started"}, {"INFO", "sync finished", "conversations=0", "messages=0"},
	} {
		at = log.until(t, at, parts...)
	}
	d.say("bob", "hush-hush")
	at = log.until(t, at, "DEBUG", "SendMessage", "took=")
	if _, err := d.SendMessage(within(t), client.C2C("hush-hush"), textMessage("hush-hush")); err == nil {
		t.Error("sent to nobody")
	}
	at = log.until(t, at, "DEBUG", "SendMessage", "(20003)")
	if _, err := d.SendMessage(within(t), client.C2C("no user \"hush-hush\""), textMessage("hush-hush")); err == nil {
		t.Error("sent to a user that there cannot be")
	}
	at = log.until(t, at, "DEBUG", "SendMessage", "(20003)")
	d.say("ann", "to myself, hush-hush")

	proxy.Cut()
	for _, parts := range [][]string{
		{"INFO", "disconnected", "code=", "cause="}, {"INFO", "waiting before the next try", "pause="}, {"INFO", "connecting"}, {"INFO", "connected"}, {"INFO", "logged in", "resumed=true"},
		{"INFO", "sync finished"},
	} {
		at = log.until(t, at, parts...)
	}
	bob := dial(t, config(t, s, "bob"))
	bob.say("ann", "hush-hush")
	at = log.until(t, at, "INFO", "a callback took long", "took=1")
	dial(t, config(t, s, "ann"))
	log.until(t, at, "INFO", "kicked offline")
	d.count(t, "kicked", 1)

	log.mu.Lock()
	defer log.mu.Unlock()
	for line := range strings.Lines(log.b.String()) {
		if strings.Contains(line, "hush-hush") || strings.Contains(line, cfg.UserSig) {
			t.Errorf("in the log: %s", line)
		}
	}
}

// No server: the log names the address and the pause until the next attempt, without the password and the query of the address.
func TestLogWithoutServer(t *testing.T) {
	log := &logLines{more: make(chan struct{})}
	c, err := client.Open(client.Config{Server: "ws://ann:hush-hush@127.0.0.1:1/path?token=hush-hush", UserID: "ann", UserSig: "x", Dir: t.TempDir(), Log: newLogger(log)}, client.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.LoginFunc(func(error) {})
	at := log.until(t, 0, "INFO", "connecting", "server=ws://127.0.0.1:1/path")
	at = log.until(t, at, "INFO", "connecting failed", "server=ws://127.0.0.1:1/path", "code=9511")
	at = log.until(t, at, "INFO", "waiting before the next try", "try=1")
	log.until(t, at, "INFO", "connecting failed")
	log.mu.Lock()
	defer log.mu.Unlock()
	if strings.Contains(log.b.String(), "hush-hush") {
		t.Errorf("in the log: %s", log.b.String())
	}
}
