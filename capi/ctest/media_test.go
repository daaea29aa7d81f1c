package ctest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/usersig"
)

// uploaded uploads random bytes to the server at url as another user, and returns an element with them.
func uploaded(t *testing.T, url, user, sig string, size int) (elem *im.Elem, hash string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, url+"/ws", &websocket.DialOptions{Subprotocols: []string{im.Subprotocol}})
	must(err)
	defer ws.CloseNow()
	login := &im.LoginRequest{UserId: user, UserSig: sig, DeviceId: "u", Platform: im.Platform_PLATFORM_LINUX}
	must(ws.Write(ctx, websocket.MessageBinary, im.AppendMessage(nil, &im.Frame{Id: 1, Method: im.Method_LOGIN}, login)))
	_, answer, err := ws.Read(ctx)
	must(err)
	var reply im.LoginReply
	must(im.ReadFrames(answer, func(f *im.Frame) error { return im.Decode(f.Body, &reply) }))
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(size)}).Read(data)
	ask := func(method, path string, body io.Reader, headers ...string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, method, "http"+strings.TrimPrefix(url, "ws")+path, body)
		must(err)
		req.Header.Set("Authorization", "Bearer "+reply.UploadToken)
		req.Header.Set("Tus-Resumable", "1.0.0")
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		must(err)
		defer resp.Body.Close()
		if resp.StatusCode >= 300 {
			t.Fatal(resp.Status)
		}
		return resp.Header.Get("Location")
	}
	path := ask("POST", "/media/upload/", nil, "Upload-Length", strconv.Itoa(size))
	ask("PATCH", path, bytes.NewReader(data), "Upload-Offset", "0", "Content-Type", "application/offset+octet-stream")
	sum := sha256.Sum256(data)
	return &im.Elem{ElemType: im.ElemType_ELEM_TYPE_FILE, Body: &im.Elem_File{File: &im.FileElem{
		FileId: strings.TrimPrefix(path, "/media/upload/"), FileName: "a name", FileSize: int32(size)}}}, hex.EncodeToString(sum[:])
}

// fileElem is what a program reads of an element to download it.
type fileElem struct {
	ID   string `json:"file_elem_file_id"`
	URL  string `json:"file_elem_url"`
	Flag int    `json:"file_elem_download_flag"`
	Size int    `json:"file_elem_file_size"`
}

// param is the JSON that downloads it.
func (f fileElem) param() string {
	b, _ := json.Marshal(map[string]any{"msg_download_elem_param_flag": f.Flag, "msg_download_elem_param_type": 1, "msg_download_elem_param_id": f.ID,
		"msg_download_elem_param_business_id": 0, "msg_download_elem_param_url": f.URL})
	return string(b)
}

// firstFile is the first element of a message in JSON.
func firstFile(t *testing.T, msg string) fileElem {
	t.Helper()
	f := decode[struct {
		Elems []fileElem `json:"message_elem_array"`
	}](t, msg).Elems[0]
	if f.ID == "" || f.URL == "" || f.Flag != 2 {
		t.Fatalf("it has no file: %s", msg)
	}
	return f
}

type progress struct {
	Now   int `json:"msg_download_elem_result_current_size"`
	Total int `json:"msg_download_elem_result_total_size"`
}

// download downloads something and checks the progress: from 0, rising, all of it last, then one end.
func (d *device) download(param, path string) answer {
	d.t.Helper()
	from := d.position()
	r, _, id := d.callID("TIMMsgDownloadElemToPath", param, path, on)
	if r != 0 {
		d.t.Fatalf("it returned %d", r)
	}
	ours := func(l line) bool { return l.kind == "TIMCommCallback" && l.num(3) == id }
	end := d.wait(from, "the end of the download", func(l line) bool { return ours(l) && l.fields[1] != "downloading" })
	d.must("TIMConvGetConvList", on) // what would come after the end has come
	a := answer{end.num(0), end.fields[1], end.fields[2]}
	var told []progress
	over := false
	for _, l := range d.all()[from:] {
		switch {
		case !ours(l):
		case over:
			d.t.Errorf("after the end: %s", l)
		case l.fields[1] != "downloading":
			over = true
		default:
			p := decode[progress](d.t, l.fields[2])
			if n := len(told); l.num(0) != 0 || n == 0 && p.Now != 0 || n > 0 && (p.Now <= told[n-1].Now || p.Total != told[n-1].Total) {
				d.t.Errorf("after %v: %s", told, l)
			}
			told = append(told, p)
		}
	}
	switch n := len(told); {
	case a.code != 0:
		if a.json != "" || n > 0 && told[n-1].Now == told[n-1].Total {
			d.t.Errorf("it failed with %+v after %v", a, told)
		}
	case a.desc != "" || n < 2 || decode[progress](d.t, a.json) != told[n-1] || told[n-1].Now != told[n-1].Total:
		d.t.Errorf("it ended with %+v after %v", a, told)
	}
	return a
}

// wantFile checks the hash of a file.
func wantFile(t *testing.T, path, hash string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != hash {
		t.Errorf("%s is another file, of %d bytes", path, len(b))
	}
}

// gets waits for a new message with an element, and returns its JSON.
func (d *device) gets(has string) string {
	d.t.Helper()
	l := d.wait(0, "the message", func(l line) bool { return l.kind == "TIMRecvNewMsgCallback" && strings.Contains(l.fields[0], has) })
	return raw(d.t, l.fields[0])[0]
}

// TestDownload: programs download the file of a message that they got, also of one that is merged and with a URL of another session, and what cannot be
// downloaded has its code and leaves nothing.
func TestDownload(t *testing.T) {
	s, ann, bob := pair(t)
	file, hash := uploaded(t, s.URL, "dora", s.Sig("dora"), 700<<10)
	carol := s.Dial("carol", client.Events{})
	msg := &im.Message{ElemArray: []*im.Elem{file}}
	for _, to := range []string{"ann", "bob"} {
		if _, err := carol.SendMessage(t.Context(), client.C2C(to), msg); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	of := map[string]fileElem{}
	for _, d := range []*device{ann, bob} {
		f := firstFile(t, d.gets("file_elem_file_id"))
		of[d.user] = f
		path := filepath.Join(dir, "für "+d.user)
		if a := d.download(f.param(), path); a.code != 0 {
			t.Fatalf("%s: %+v", d.user, a)
		}
		wantFile(t, path, hash)
	}
	if of["ann"].URL == of["bob"].URL {
		t.Error("both have one token")
	}
	old := filepath.Join(dir, "old")
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := of["bob"]
	unknown := f
	unknown.ID = strings.Repeat("A", 32)
	unknown.URL = strings.ReplaceAll(f.URL, f.ID, unknown.ID)
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	defer elsewhere.Close()
	for what, c := range map[string]struct {
		param, path string
		code        int
	}{
		"no such folder":        {f.param(), filepath.Join(dir, "none", "x"), 6022},
		"a folder":              {f.param(), dir, 6022},
		"not writable":          {f.param(), "/proc/version", 6022},
		"an unknown id":         {unknown.param(), old, 6009},
		"not there":             {fileElem{ID: "x", URL: elsewhere.URL}.param(), old, 6009},
		"neither id nor URL":    {`{"msg_download_elem_param_type":1}`, old, 6017},
		"no address":            {fileElem{URL: "ftp://127.0.0.1/x"}.param(), old, 6010},
		"an unknown type":       {strings.ReplaceAll(unknown.param(), `type":1`, `type":77`), old, 6009},
		"a flag that is no URL": {strings.ReplaceAll(unknown.param(), `flag":2`, `flag":0`), old, 6009},
	} {
		if a := bob.download(c.param, c.path); a.code != c.code {
			t.Errorf("%s: %+v, want %d", what, a, c.code)
		}
	}
	for _, json := range []string{"{", "[]", "{}", "null", `{"msg_download_elem_param_id":7}`} {
		if r, _ := bob.call("TIMMsgDownloadElemToPath", json, old, on); r != -3 {
			t.Errorf("%s: %d", json, r)
		}
	}
	if b, _ := os.ReadFile(old); string(b) != "old" {
		t.Errorf("the old file is %.20q", b)
	}
	// The URL of another session, and one whose token is not good; the old file is replaced.
	f.URL = of["ann"].URL
	if a := bob.download(f.param(), old); a.code != 0 {
		t.Errorf("with another's URL: %+v", a)
	}
	wantFile(t, old, hash)
	f.ID, f.URL = "", f.URL[:len(f.URL)-3]
	if a := bob.download(f.param(), old); a.code != 0 {
		t.Errorf("by a URL alone, with a token that is not good: %+v", a)
	}
	// Of a merged message.
	merged := &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: &im.MergerElem{Title: "t", CompatibleText: "c",
		MessageArray: []*im.Message{{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: &im.MergerElem{Title: "inner", CompatibleText: "c",
			MessageArray: []*im.Message{msg}}}}}}}}}}}}
	if _, err := carol.SendMessage(t.Context(), client.C2C("bob"), merged); err != nil {
		t.Fatal(err)
	}
	outer := raw(t, bob.must("TIMMsgDownloadMergerMessage", bob.gets("merge_elem_title"), on))
	inner := raw(t, bob.must("TIMMsgDownloadMergerMessage", outer[0], on))
	if a := bob.download(firstFile(t, inner[0]).param(), filepath.Join(dir, "merged")); a.code != 0 {
		t.Errorf("merged: %+v", a)
	}
	wantFile(t, filepath.Join(dir, "merged"), hash)
	if list, _ := os.ReadDir(dir); len(list) != 4 {
		t.Errorf("the folder has %v", list)
	}
	ann.quit()
	bob.quit()
}

// TestDownloadEnds: while a download runs, a second one to its path is refused with 6015; a logout and TIMUninit end it with 7009, once, and nothing of it is left.
func TestDownloadEnds(t *testing.T) {
	s := imtest.Start(t)
	half := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		w.Write(make([]byte, 500_000))
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer half.Close()
	param := fileElem{URL: half.URL}.param()
	for _, end := range []string{"TIMLogout", "TIMUninit"} {
		ann := newDevice(t, s, "ann", "")
		ann.login()
		dir := t.TempDir()
		path := filepath.Join(dir, "x")
		_, _, id := ann.callID("TIMMsgDownloadElemToPath", param, path, on)
		ours := func(l line) bool { return l.kind == "TIMCommCallback" && l.num(3) == id }
		ann.wait(0, "the beginning", ours)
		if a := ann.download(param, path); a.code != 6015 {
			t.Errorf("twice: %+v", a)
		}
		if end == "TIMLogout" {
			ann.must(end, on)
		} else {
			ann.call(end)
		}
		list, err := os.ReadDir(dir)
		if err != nil || len(list) > 0 {
			t.Errorf("after %s the folder has %v", end, list)
		}
		ann.quit()
		var ends []string
		for _, l := range ann.all() {
			if ours(l) && (l.fields[1] != "downloading" || len(ends) > 0) {
				ends = append(ends, l.fields[0])
			}
		}
		if len(ends) != 1 || ends[0] != "7009" {
			t.Errorf("%s: it ends with %v", end, ends)
		}
	}
}

// cutter relays to a server, and cuts each download after so many bytes.
type cutter struct {
	net.Listener
	after int64
	cut   func(n int) // is called before the connection is closed
	mu    sync.Mutex
	cuts  int
	conns []net.Conn
}

func newCutter(t *testing.T, addr string, after int64, cut func(int)) *cutter {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l, after: after, cut: cut}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				in.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, in, out)
			c.mu.Unlock()
			all.Go(func() { c.relay(in, out, &all) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.mu.Lock()
		for _, x := range c.conns {
			x.Close()
		}
		c.mu.Unlock()
		all.Wait()
	})
	return c
}

func (c *cutter) relay(in, out net.Conn, all *sync.WaitGroup) {
	defer in.Close()
	defer out.Close()
	from := bufio.NewReader(in)
	first, err := from.Peek(11)
	if err != nil {
		return
	}
	all.Go(func() {
		io.Copy(out, from)
		out.Close()
	})
	if string(first) != "GET /media/" {
		io.Copy(in, out)
		return
	}
	if n, _ := io.CopyN(in, out, c.after); n == c.after {
		c.mu.Lock()
		c.cuts++
		n := c.cuts
		c.mu.Unlock()
		c.cut(n)
	}
}

// TestDownloadCut: a download goes on where it was when its connection is cut ten times, and the server killed with -9 in between.
func TestDownloadCut(t *testing.T) {
	tidings := filepath.Join(t.TempDir(), "tidings")
	build := exec.Command("go", "build", "-o", tidings, "./cmd/tidings")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	const key = "the key of this test"
	data, addr := t.TempDir(), "127.0.0.1:0"
	serve := func() *exec.Cmd {
		cmd := exec.Command(tidings, "serve", "--listen", addr, "--data", data, "--secret-key", key, "--media-reserve", "0")
		log, err := cmd.StderrPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Error(err)
			return nil
		}
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			if _, rest, ok := strings.Cut(lines.Text(), "addr="); ok {
				addr, _, _ = strings.Cut(rest, " ")
				break
			}
		}
		go io.Copy(io.Discard, log)
		return cmd
	}
	end := func(cmd *exec.Cmd) {
		cmd.Process.Kill()
		cmd.Wait()
	}
	var mu sync.Mutex // protects cmd: the cutter replaces it
	cmd := serve()
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		end(cmd)
	}()
	sig := func(user string) string {
		sig, err := usersig.Sign(server.DefaultAppID, key, user, time.Hour, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	const size = 3 << 20
	c := newCutter(t, addr, size/12, func(n int) {
		if n == 5 {
			mu.Lock()
			defer mu.Unlock()
			end(cmd)
			cmd = serve()
		}
	})
	bob := &device{driver: start(t, "TIDINGS_SERVER=ws://"+c.Addr().String()), user: "bob", dir: t.TempDir()}
	bob.init()
	bob.must("TIMLogin", "bob", sig("bob"), on)
	file, hash := uploaded(t, "ws://"+addr, "dora", sig("dora"), size)
	carol, err := client.Dial(t.Context(), client.Config{Server: "ws://" + addr, UserID: "carol", UserSig: sig("carol"), Dir: t.TempDir(), Platform: im.Platform_PLATFORM_LINUX}, noEvents)
	if err != nil {
		t.Fatal(err)
	}
	_, err = carol.SendMessage(t.Context(), client.C2C("bob"), &im.Message{ElemArray: []*im.Elem{file}})
	carol.Close()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if a := bob.download(firstFile(t, bob.gets("file_elem_file_id")).param(), path); a.code != 0 {
		t.Errorf("%+v", a)
	}
	wantFile(t, path, hash)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cuts < 10 {
		t.Errorf("it was cut %d times", c.cuts)
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("the folder has %v", list)
	}
	bob.quit()
}
