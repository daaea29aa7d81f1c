package webhook_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/hook"
	"github.com/tidings-im/tidings/internal/webhook"
)

// program is a webhook that answers every connection with the same bytes, and repeats the last ones for as long as somebody reads them.
func program(t testing.TB, answer, endless string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.Read(make([]byte, 64<<10))
				io.WriteString(c, answer)
				for endless != "" {
					if _, err := io.WriteString(c, endless); err != nil {
						return
					}
				}
				c.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, c)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func ask(t testing.TB, h *webhook.Hook) hook.C2CBeforeSendMsgVerdict {
	return h.Set().C2CBeforeSendMsg(t.Context(), &hook.C2CBeforeSendMsg{From_Account: "alice", To_Account: "bob", MsgSeq: 1700000000, MsgRandom: 1, MsgTime: 1700000000,
		MsgBody: im.Text("hi").ElemArray}, hook.Source{})
}

func askOnce(t testing.TB, url string) hook.C2CBeforeSendMsgVerdict {
	h, err := webhook.New(webhook.Config{URL: url, Refuse: true, Deadline: 2 * time.Second, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	return ask(t, h)
}

// TestHostileAnswers: what no program should answer counts as unanswered, within limited time and memory.
func TestHostileAnswers(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	for range 100 {
		z.Write(make([]byte, 1<<20))
	}
	z.Close()
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, c := range map[string]struct{ answer, endless string }{
		"nothing":                   {"", ""},
		"no HTTP":                   {"hello\r\n", ""},
		"headers without end":       {ok, "X: " + strings.Repeat("y", 1000) + "\r\n"},
		"a header without end":      {ok + "X: ", strings.Repeat("y", 1000)},
		"informations without end":  {"", "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"},
		"a body without end":        {ok + "\r\n{", strings.Repeat(" ", 1000)},
		"chunks without end":        {ok + "Transfer-Encoding: chunked\r\n\r\n", "3\r\n[[[\r\n"},
		"a chunk of 2^64":           {ok + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}", ""},
		"a length of 2^63":          {ok + "Content-Length: 9223372036854775807\r\n\r\n{}", ""},
		"zeros behind gzip":         {ok + "Content-Encoding: gzip\r\n\r\n" + bomb.String(), ""},
		"no gzip":                   {ok + "Content-Encoding: gzip\r\n\r\n{}", ""},
		"a redirect":                {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", ""},
		"depth":                     {ok + "\r\n" + `{"ErrorCode":0,"MsgBody":` + strings.Repeat("[", 500<<10), ""},
		"another protocol":          {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", strings.Repeat("z", 1000)},
		"a body of the wrong types": {ok + "\r\n" + `{"ErrorCode":0,"MsgBody":[{"MsgType":1}]}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := askOnce(t, program(t, c.answer, c.endless))
			if im.CodeOf(v.Err) != im.CodeWebhookFailed {
				t.Errorf("%+v, want %d", v, im.CodeWebhookFailed)
			}
		})
	}
}

// FuzzAnswer gives the before-hook any body of a response. The verdict is always one of the existing ones.
func FuzzAnswer(f *testing.F) {
	for _, b := range []string{`{"ErrorCode":0}`, `{"ErrorCode":2}`, `{"ErrorCode":120001,"ErrorInfo":"no"}`, `{"ErrorCode":0,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]}`,
		`{"ErrorCode":0,"CloudCustomData":"x"}`, `{"ErrorCode":0,"MsgBody":[{"MsgType":"TIMLocationElem","MsgContent":{"Desc":"","Latitude":1e999,"Longitude":0}}]}`} {
		f.Add([]byte(b))
	}
	r := listen(f)
	h, err := webhook.New(webhook.Config{URL: r.URL, Refuse: true, Deadline: 20 * time.Second, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(h.Close)
	f.Fuzz(func(t *testing.T, body []byte) {
		r.mu.Lock()
		r.answer = func(*event) string { return string(body) }
		r.mu.Unlock()
		v := ask(t, h)
		<-r.heard
		if v.Err != nil && (im.CodeOf(v.Err) == 0 || v.Drop) {
			t.Errorf("%+v", v)
		}
	})
}
