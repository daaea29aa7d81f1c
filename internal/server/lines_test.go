package server

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidings-im/tidings/im"
)

// TestLines: a fixed number of lines with the same text is written per minute, whatever else they contain and whichever part writes them; the others
// are counted.
func TestLines(t *testing.T) {
	var b bytes.Buffer
	l := newLines(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	at := time.Now()
	say := func(h slog.Handler, level slog.Level, text string) {
		t.Helper()
		if err := h.Handle(t.Context(), slog.NewRecord(at, level, text, 0)); err != nil {
			t.Fatal(err)
		}
	}
	const twice = 2 * linesMost
	for i := range twice {
		h := l.WithAttrs([]slog.Attr{slog.Int("i", i)}).WithGroup("g")
		say(h, slog.LevelInfo, "often")
		say(l, slog.LevelDebug, "asked for")
		at = at.Add(linesWithin / (twice + 1))
	}
	say(l, slog.LevelInfo, "rare")
	lines := strings.Split(b.String(), "\n")
	count := func(text string) (n int) {
		for _, line := range lines {
			if strings.Contains(line, text) {
				n++
			}
		}
		return n
	}
	if count("msg=often") != linesMost || count(`msg="asked for"`) != twice || count("msg=rare") != 1 || count("left out for up to") != 1 || l.count.leftOut.Load() != linesMost {
		t.Errorf("%d often, %d asked for, %d rare, %d left out", count("msg=often"), count(`msg="asked for"`), count("msg=rare"), l.count.leftOut.Load())
	}
	at = at.Add(linesWithin)
	b.Reset()
	say(l, slog.LevelInfo, "often")
	say(l, slog.LevelInfo, "often")
	if got := b.String(); strings.Count(got, "msg=often") != 2 || strings.Count(got, `"left out before"=200`) != 1 {
		t.Errorf("then %s", got)
	}
	if again := newLines(slog.New(l).Handler()); again.count != l.count {
		t.Error("a server that starts anew counts twice")
	}
}

// TestLogIsBounded: clients that are not logged in cannot fill the log.
func TestLogIsBounded(t *testing.T) {
	journal, log := logged(t)
	s, err := Start(t.Context(), Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	ws, _, err := websocket.Dial(t.Context(), s.URL()+"/ws", &websocket.DialOptions{Subprotocols: []string{im.Subprotocol}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	ws.SetReadLimit(-1)
	const logins = 3000
	var b []byte
	for id := range uint64(logins) {
		b = im.AppendFrame(b, &im.Frame{Id: id + 1, Method: im.Method_LOGIN})
	}
	if err := ws.Write(t.Context(), websocket.MessageBinary, b); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < logins; {
		_, b, err := ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = im.ReadFrames(b, func(f *im.Frame) error {
			if n++; f.Code != im.CodeInvalidUserID {
				t.Errorf("login %d is answered %d", f.Id, f.Code)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := journal.count("login refused"); n == 0 || n > 2*linesMost { // a minute may end in between
		t.Errorf("%d logins leave %d lines", logins, n)
	}
	if _, body := get(t, s, "/metrics"); strings.Contains(body, "tidings_log_lines_left_out_total 0\n") {
		t.Error("none is counted as left out")
	}
}
