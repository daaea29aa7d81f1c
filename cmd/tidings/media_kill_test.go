package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/media"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/internal/store"
	"github.com/tidings-im/tidings/internal/testing/soak"
	"github.com/tidings-im/tidings/usersig"
)

// mediaAsk makes a request to /media/ of a server that may be killed meanwhile.
func mediaAsk(s *served, method, path, token string, body io.Reader, headers ...string) (status int, h http.Header, data []byte, err error) {
	req, err := http.NewRequest(method, "http://"+s.addr+path, body)
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Tus-Resumable", "1.0.0")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	data, err = io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, data, err
}

// TestKill9Media: uploads go on after kill -9 of the server, and end equal: none that was answered is lost, and after the sweep there is no file without an
// upload. The file of a message stays.
func TestKill9Media(t *testing.T) {
	s := &served{t: t, dir: t.TempDir(), more: []string{"--media-reserve", "0"}}
	s.start()
	sizes := soak.Pick([]int{1, 3 << 20}, []int{1, 3 << 20, 28 << 20, 100 << 20, 100 << 20})
	var key [32]byte
	rnd := rand.NewChaCha8(key)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var read, token string
	login := func() *rawLink {
		t.Helper()
		l, err := dialRaw(s.addr)
		must(err)
		sig, err := usersig.Sign(server.DefaultAppID, killKey, "alice", time.Hour, time.Now())
		must(err)
		reply, err := l.loginAs(&im.LoginRequest{UserId: "alice", UserSig: sig, DeviceId: "a", Platform: im.Platform_PLATFORM_LINUX})
		must(err)
		read, token = reply.MediaToken, reply.UploadToken
		return l
	}
	login().Close()
	var paths []string
	var hashes [][sha256.Size]byte
	kills := 0
	for _, size := range sizes {
		data := make([]byte, size)
		rnd.Read(data)
		status, h, b, err := mediaAsk(s, "POST", "/media/upload/", token, nil, "Upload-Length", strconv.Itoa(size), "Upload-Metadata", "kind "+base64.StdEncoding.EncodeToString([]byte("file")))
		if err != nil || status != 201 {
			t.Fatal(status, string(b), err)
		}
		path := h.Get("Location")
		at, left := 0, 4
		for at < size {
			var killed chan struct{}
			if left > 0 && size > 1 {
				left--
				kills++
				killed = make(chan struct{})
				limit := at + int(rnd.Uint64()%uint64(size-at)) + left%2 // the last ones kill it at the end too
				go func() {
					defer close(killed)
					for name := ""; ; {
						list, _ := filepath.Glob(filepath.Join(s.dir, "blob", "open", "[0-9a-f]*"))
						for _, n := range list {
							name = n
						}
						fi, err := os.Stat(name)
						if err == nil && fi.Size() >= int64(min(limit, size)) || err != nil && name != "" {
							break
						}
						time.Sleep(100 * time.Microsecond)
					}
					s.kill()
				}()
			}
			status, _, b, err := mediaAsk(s, "PATCH", path, token, bytes.NewReader(data[at:]), "Upload-Offset", strconv.Itoa(at), "Content-Type", "application/offset+octet-stream")
			if killed != nil {
				<-killed
				s.start()
			} else if err != nil || status != 204 {
				t.Fatal(status, string(b), err)
			}
			answered := err == nil && status == 204
			status, h, b, err = mediaAsk(s, "HEAD", path, token, nil)
			if err != nil || status != 200 {
				t.Fatal(status, string(b), err)
			}
			at, err = strconv.Atoi(h.Get("Upload-Offset"))
			must(err)
			if answered && at < size {
				t.Fatalf("an upload of %d bytes that was answered is at %d", size, at)
			}
		}
		paths, hashes = append(paths, strings.Replace(path, "/upload/", "/", 1)), append(hashes, sha256.Sum256(data))
	}
	s.kill()
	kills++
	s.start()
	for i, path := range paths {
		status, _, b, err := mediaAsk(s, "GET", path, read, nil)
		if err != nil || status != 200 || sha256.Sum256(b) != hashes[i] {
			t.Fatalf("the file of %d bytes came back with %d and %d bytes: %v", sizes[i], status, len(b), err)
		}
	}
	// A message with the first file. The server is killed as soon as it has answered.
	l := login()
	must(l.write(im.AppendMessage(nil, &im.Frame{Id: 2, Method: im.Method_SEND}, &im.SendRequest{
		Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: "alice"}, ClientTime: 1, Random: 1,
		Message: &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_FILE, Body: &im.Elem_File{File: &im.FileElem{
			FileId: strings.TrimPrefix(paths[0], "/media/"), FileSize: int32(sizes[0])}}}}},
	})))
	for answered := false; !answered; {
		msg, err := l.message()
		must(err)
		must(im.ReadFrames(msg, func(f *im.Frame) error {
			if answered = answered || f.Id == 2; f.Code != 0 {
				return im.Errorf(f.Code, "%s", f.Desc)
			}
			return nil
		}))
	}
	s.kill()
	kills++
	l.Close()
	s.start()
	// An upload that is never finished.
	_, h, _, err := mediaAsk(s, "POST", "/media/upload/", token, nil, "Upload-Length", "10")
	must(err)
	if status, _, _, err := mediaAsk(s, "PATCH", h.Get("Location"), token, strings.NewReader("x"), "Upload-Offset", "0", "Content-Type", "application/offset+octet-stream"); err != nil || status != 204 {
		t.Fatal(status, err)
	}
	s.kill()
	files := func(ahead time.Duration) (n int) {
		now := func() time.Time { return time.Now().Add(ahead) }
		log := slog.New(slog.DiscardHandler)
		st, err := store.Open(t.Context(), store.Config{Dir: s.dir, Log: log, Clock: now})
		must(err)
		defer st.Close()
		folder, err := media.OpenFolder(t.Context(), filepath.Join(s.dir, "blob"), st, false, log)
		must(err)
		m := media.New(st, chat.New(st, chat.Config{Log: log}), media.Config{Folder: folder, Log: log, Now: now})
		defer m.Close()
		must(m.Sweep(context.Background()))
		err = filepath.WalkDir(filepath.Join(s.dir, "blob"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && d.Name() != "folder-id" {
				n++
			}
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
			return err
		})
		must(err)
		return n
	}
	// Two hours later there is a file of each upload, and what has arrived of the open one, and perhaps of those that were killed at their end.
	if n := files(2 * time.Hour); n < len(sizes)+1 || n > len(sizes)+1+kills {
		t.Errorf("%d files of %d uploads", n, len(sizes))
	}
	files(26 * time.Hour) // all uploads end that no message refers to
	if n := files(28 * time.Hour); n != 1 {
		t.Errorf("%d files are left, of one message", n)
	}
	s.start()
	status, _, b, err := mediaAsk(s, "GET", paths[0], read, nil)
	if err != nil || status != 200 || sha256.Sum256(b) != hashes[0] {
		t.Errorf("the file of the message came back with %d and %d bytes: %v", status, len(b), err)
	}
	s.kill()
	t.Logf("%d kills", kills)
}
