//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// waitFor is a log that reports when it contains a text.
type waitFor struct {
	text  string
	found chan struct{}
	seen  []byte
}

func (w *waitFor) Write(b []byte) (int, error) {
	w.seen = append(w.seen, b...)
	if w.found != nil && bytes.Contains(w.seen, []byte(w.text)) {
		close(w.found)
		w.found = nil
	}
	return len(b), nil
}

// scrape reads a metric, over a connection that stays open.
func scrape(t *testing.T, c *http.Client, addr, name string) string {
	t.Helper()
	resp, err := c.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + ` (.*)$`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("there is no metric %s", name)
	}
	return string(m[1])
}

func silent(t *testing.T, addr string, n int) []net.Conn {
	t.Helper()
	var all []net.Conn
	for range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		all = append(all, c)
	}
	return all
}

// TestOutOfFiles: when connections have used up all open files, the log and a metric report it, and connected clients continue: messages are stored,
// and all the store's connections can read. When files are free again, others are let in.
func TestOutOfFiles(t *testing.T) {
	found := make(chan struct{})
	s := &served{t: t, dir: filepath.Join(t.TempDir(), "data"), files: 100, more: []string{"--max-connections", "100000", "--login-within", "1h"},
		log: &waitFor{text: "cannot be accepted", found: found}}
	s.start()
	bobHeard := newHeard()
	alice := sdk(t, s.addr, "alice", t.TempDir(), newHeard())
	sdk(t, s.addr, "bob", t.TempDir(), bobHeard)
	web := &http.Client{Timeout: 30 * time.Second}
	if v := scrape(t, web, s.addr, "tidings_accept_failures_total"); v != "0" {
		t.Errorf("%s failures at the beginning", v)
	}
	var links []*rawLink
	for i := range 12 {
		l, err := s.dial(fmt.Sprint("reader", i))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		links = append(links, l)
	}
	junk := silent(t, s.addr, 150)
	select {
	case <-found:
	case <-time.After(30 * time.Second):
		t.Fatal("the log does not say it")
	}

	for i := range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		if _, err := alice.SendMessage(ctx, client.C2C("bob"), im.Text(fmt.Sprint("amid it ", i))); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	bobHeard.await(t, "amid it 49 50")
	for range 20 {
		for _, l := range links { // all at once
			if err := l.write(im.AppendMessage(nil, &im.Frame{Id: 1, Method: im.Method_HEADS}, &im.HeadsRequest{})); err != nil {
				t.Fatal(err)
			}
		}
		for _, l := range links {
			msg, err := l.message()
			if err != nil {
				t.Fatal(err)
			}
			if err := im.ReadFrames(msg, func(f *im.Frame) error {
				if f.Code != 0 {
					t.Errorf("%d %s", f.Code, f.Desc)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if v := scrape(t, web, s.addr, "tidings_accept_failures_total"); v == "0" {
		t.Error("the metric counts none")
	}
	if v := scrape(t, web, s.addr, "tidings_call_failures_total"); v != "0" {
		t.Errorf("%s calls failed", v)
	}
	for _, c := range junk {
		c.Close()
	}
	sdk(t, s.addr, "carol", t.TempDir(), newHeard())
}

// TestFilesAreLeft: without max-connections, clients get as many connections as the limit of open files allows beside what the server itself needs;
// those above get a code.
func TestFilesAreLeft(t *testing.T) {
	s := &served{t: t, dir: filepath.Join(t.TempDir(), "data"), files: 400, more: []string{"--login-within", "1h"}}
	s.start()
	web := &http.Client{Timeout: 30 * time.Second}
	scrape(t, web, s.addr, "tidings_accept_failures_total")
	junk := silent(t, s.addr, 420)
	last := junk[len(junk)-1]
	last.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := last.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Fatalf("the last of %d connections stays: %v", len(junk), err)
	}
	if v := scrape(t, web, s.addr, "tidings_accept_failures_total"); v != "0" {
		t.Errorf("%s connections could not be accepted", v)
	}
	// The first ones were accepted. When some of them are closed, there is room for a response with the reason.
	for _, c := range junk[:30] {
		c.Close()
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		_, err := s.dial("alice")
		if err != nil && strings.Contains(err.Error(), "429") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("above the limit: %v", err)
		}
	}
}
