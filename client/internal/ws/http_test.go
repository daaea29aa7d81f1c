package ws

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestBodies: the ends of responses, as servers tell them. What is not ended as it should be is an error, and nothing is allocated for what is only announced.
func TestBodies(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, c := range map[string]struct {
		answer, body string
		fails        string // the text of the error
	}{
		"a length":             {ok + "Content-Length: 5\r\n\r\nhello, and more", "hello", ""},
		"no bytes":             {ok + "Content-Length: 0\r\n\r\n", "", ""},
		"cut off":              {ok + "Content-Length: 6\r\n\r\nhello", "hello", "unexpected EOF"},
		"to the end":           {ok + "\r\nhello", "hello", ""},
		"chunks":               {ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", "hello", ""},
		"chunks and trailers":  {ok + "Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n", "hello", ""},
		"chunks, cut off":      {ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "hello", "unexpected EOF"},
		"a chunk, cut off":     {ok + "Transfer-Encoding: chunked\r\n\r\n9\r\nhello", "hello", "unexpected EOF"},
		"no chunk":             {ok + "Transfer-Encoding: chunked\r\n\r\nhello\r\n", "", "invalid chunk"},
		"a chunk without end":  {ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n", "hel", "invalid chunk"},
		"a negative chunk":     {ok + "Transfer-Encoding: chunked\r\n\r\n-1\r\n", "", "invalid chunk"},
		"a long line":          {ok + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("0", 10_000), "", "invalid chunk"},
		"endless trailers":     {ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("A: b\r\n", 1000), "", "invalid chunk"},
		"a huge chunk":         {ok + "Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\nhello", "hello", "unexpected EOF"},
		"a huge length":        {ok + "Content-Length: 9223372036854775807\r\n\r\nhello", "hello", "unexpected EOF"},
		"a negative length":    {ok + "Content-Length: -1\r\n\r\nhello", "", "invalid length"},
		"two lengths":          {ok + "Content-Length: 5\r\nContent-Length: 4\r\n\r\nhello", "", "invalid length"},
		"an unknown encoding":  {ok + "Transfer-Encoding: gzip, chunked\r\n\r\nhello", "", "unknown encoding"},
		"no content":           {"HTTP/1.1 204 No Content\r\n\r\n", "", ""},
		"an answer in between": {"HTTP/1.1 103 Early Hints\r\n\r\n" + ok + "Content-Length: 5\r\n\r\nhello", "hello", ""},
		"a long head":          {ok + strings.Repeat("A: b\r\n", 20_000), "", "the head of the answer"},
		"not HTTP":             {"SSH-2.0-OpenSSH\r\n", "", "does not speak HTTP"},
	} {
		h := &HTTP{Dialer: &Dialer{}, Idle: 10 * time.Second}
		u := &url.URL{Scheme: "http", Host: answers(t, c.answer), Path: "/"}
		var body []byte
		resp, err := h.Do(t.Context(), &Request{Method: "GET", URL: u})
		if err == nil {
			body, err = io.ReadAll(resp.Body)
		}
		h.Close()
		if string(body) != c.body || (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %q, %v", name, body, err)
		}
	}
}

// TestRequests: requests use one connection as long as they can, and arrive as they were made; an address from elsewhere adds no line to one.
func TestRequests(t *testing.T) {
	remotes := make(map[string]int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		remotes[r.RemoteAddr]++
		if r.URL.Path == "/refused" {
			w.WriteHeader(413)
			return
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		io.WriteString(w, strings.Join([]string{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("A"), string(b)}, "|"))
	}))
	defer server.Close()
	h := &HTTP{Dialer: &Dialer{}, Idle: 10 * time.Second}
	defer h.Close()
	do := func(method, path, body string, header ...string) (int, string) {
		u, err := url.Parse(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := h.Do(t.Context(), &Request{Method: method, URL: u, Header: header, Body: []byte(body)})
		if err != nil {
			return 0, err.Error()
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		return resp.Answer.Code, string(b)
	}
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/a%2fb?c d=é", "", "GET|/a/b|c%20d=%C3%A9||"},
		{"POST", "/", "", "POST|/|||"},
		{"PATCH", "/x", strings.Repeat("y", 100_000), "PATCH|/x|||" + strings.Repeat("y", 100_000)},
		{"HEAD", "/x", "", ""},
		{"GET", "/x", "", "GET|/x|||"},
	} {
		if code, got := do(c.method, c.path, c.body); code != 200 || got != c.want {
			t.Errorf("%s %s: %d %.100s", c.method, c.path, code, got)
		}
	}
	if len(remotes) != 1 {
		t.Errorf("%d connections", len(remotes))
	}
	if code, got := do("GET", "/", "", "A", "b\r\nC: d"); code != 0 || !strings.Contains(got, "line end") {
		t.Errorf("a header with a line end: %d %s", code, got)
	}
	if code, got := do("PATCH", "/refused", strings.Repeat("y", 32<<20)); code != 413 && !strings.Contains(got, "did not take") {
		t.Errorf("a request that is refused early: %d %s", code, got)
	}
	if code, got := do("GET", "/x", "", "A", "b"); code != 200 || got != "GET|/x||b|" {
		t.Errorf("after that: %d %s", code, got)
	}
}

// TestSilence: a connection on which nothing moves ends in time, and so does one whose context ends, while the head is awaited and within the body.
func TestSilence(t *testing.T) {
	for _, answer := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"} {
		quiet := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(conn, answer)
			<-quiet
		}))
		u, err := url.Parse(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		get := func(ctx context.Context, idle time.Duration, begun func()) error {
			h := &HTTP{Dialer: &Dialer{}, Idle: idle}
			defer h.Close()
			resp, err := h.Do(ctx, &Request{Method: "GET", URL: u})
			if err != nil {
				return err
			}
			begun()
			_, err = io.ReadAll(resp.Body)
			return err
		}
		if err := get(t.Context(), 50*time.Millisecond, func() {}); err == nil || !strings.Contains(err.Error(), "timeout") {
			t.Errorf("%.20q: %v", answer, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if answer == "" {
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		if err := get(ctx, time.Hour, cancel); err == nil || answer == "" && !errors.Is(err, context.Canceled) {
			t.Errorf("%.20q: %v", answer, err)
		}
		cancel()
		close(quiet)
		server.Close()
	}
}

// TestLastResponse: a connection on which no other response comes is not used again.
func TestLastResponse(t *testing.T) {
	for _, head := range []string{"HTTP/1.0 200 OK\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n", "HTTP/1.1 200 OK\r\nConnection: upgrade, Close\r\n"} {
		h := &HTTP{Dialer: &Dialer{}, Idle: 10 * time.Second}
		u := &url.URL{Scheme: "http", Host: answers(t, head+"Content-Length: 5\r\n\r\nhello"), Path: "/"}
		for range 3 {
			resp, err := h.Do(t.Context(), &Request{Method: "PATCH", URL: u, Body: []byte("x")})
			if err != nil {
				t.Errorf("%q: %v", head, err)
				break
			}
			if b, err := io.ReadAll(resp.Body); string(b) != "hello" || err != nil {
				t.Errorf("%q: %q, %v", head, b, err)
			}
		}
		h.Close()
	}
}
