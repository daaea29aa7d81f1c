package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/media"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/internal/store"
	"github.com/tidings-im/tidings/internal/testing/soak"
	"github.com/tidings-im/tidings/usersig"
)

// uploader uploads files that nobody has uploaded before.
type uploader struct {
	s           *served
	read, token string
	seed        atomic.Uint64
}

func (s *served) uploader(user string) (*uploader, *rawLink) {
	s.t.Helper()
	l, err := dialRaw(s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	sig, err := usersig.Sign(server.DefaultAppID, killKey, user, time.Hour, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	reply, err := l.loginAs(&im.LoginRequest{UserId: user, UserSig: sig, DeviceId: "u", Platform: im.Platform_PLATFORM_LINUX})
	if err != nil {
		s.t.Fatal(err)
	}
	return &uploader{s: s, read: reply.MediaToken, token: reply.UploadToken}, l
}

// file uploads some bytes, and returns the element that names them. Its name is their hash.
func (u *uploader) file(size int) (*im.Message, error) {
	data := make([]byte, size)
	var key [32]byte
	key[0], key[1], key[2] = byte(size), byte(u.seed.Add(1)), byte(u.seed.Load()>>8)
	rand.NewChaCha8(key).Read(data)
	status, h, b, err := mediaAsk(u.s, "POST", "/media/upload/", u.token, nil, "Upload-Length", strconv.Itoa(size))
	for err == nil && status == 429 { // as many per second as the server lets a user create
		time.Sleep(50 * time.Millisecond)
		status, h, b, err = mediaAsk(u.s, "POST", "/media/upload/", u.token, nil, "Upload-Length", strconv.Itoa(size))
	}
	if err != nil || status != 201 {
		return nil, fmt.Errorf("%d %s: %w", status, b, err)
	}
	path := h.Get("Location")
	status, _, b, err = mediaAsk(u.s, "PATCH", path, u.token, bytes.NewReader(data), "Upload-Offset", "0", "Content-Type", "application/offset+octet-stream")
	if err != nil || status != 204 {
		return nil, fmt.Errorf("%d %s: %w", status, b, err)
	}
	sum := sha256.Sum256(data)
	return &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_FILE, Body: &im.Elem_File{File: &im.FileElem{
		FileId: strings.TrimPrefix(path, "/media/upload/"), FileName: hex.EncodeToString(sum[:]), FileSize: int32(size)}}}}}, nil
}

// loaded reads the whole conversation of alice and bob, and loads the files of all messages. It returns how many there are.
func (s *served) loaded() (n int) {
	s.t.Helper()
	u, l := s.uploader("bob")
	key := &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: "alice"}
	var heads im.HeadsReply
	ask(s.t, l, im.Method_HEADS, &im.HeadsRequest{Only: []*im.ConvKey{key}}, &heads)
	var seq uint64
	for head := heads.Heads[0]; seq < head.Seq; {
		var r im.PullReply
		ask(s.t, l, im.Method_PULL, &im.PullRequest{Conv: key, Epoch: head.Epoch, From: seq + 1, To: head.Seq}, &r)
		for _, e := range r.Entries {
			seq = e.Seq
			if e.Status == im.MessageStatus_MESSAGE_STATUS_REVOKED {
				continue
			}
			f := e.Message.ElemArray[0].GetFile()
			status, _, b, err := mediaAsk(s, "GET", "/media/"+f.FileId, u.read, nil)
			if sum := sha256.Sum256(b); err != nil || status != 200 || hex.EncodeToString(sum[:]) != f.FileName {
				s.t.Errorf("the file of message %d came back with %d and %d bytes of %d: %v", e.Seq, status, len(b), f.FileSize, err)
			}
			n++
		}
	}
	return n
}

// TestBackupMedia: while users upload, send and recall, backups are made, the second one over the first. A server on what is restored, with another folder for the
// files, has the file of every message.
func TestBackupMedia(t *testing.T) {
	dir := t.TempDir()
	s := &served{t: t, dir: filepath.Join(dir, "data"), more: []string{"--media-reserve", "0", "--blob", "file://" + filepath.Join(dir, "blob")}}
	s.start()
	alice := sdk(t, s.addr, "alice", t.TempDir(), newHeard())
	s.uploader("bob") // so that there is one
	var us []*uploader
	for i := range 6 {
		u, _ := s.uploader(fmt.Sprint("carol", i))
		us = append(us, u)
	}
	say := func(i int) error {
		m, err := us[i%len(us)].file(1000*len(us) + 1 + i)
		if err != nil {
			return err
		}
		if m, err = alice.SendMessage(t.Context(), client.C2C("bob"), m); err == nil && i%3 == 0 {
			err = alice.Revoke(t.Context(), client.C2C("bob"), m, "")
		}
		return err
	}
	for i := range 30 {
		if err := say(i); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var said atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := say(i); err != nil {
				t.Errorf("during the backup: %v", err)
				return
			}
			said.Add(1)
		}
	})
	to := filepath.Join(dir, "backup")
	var sums []string
	for i := range 2 {
		before := said.Load()
		cmd := program("backup", "--data", s.dir, "--to", to, "--blob", "file://"+filepath.Join(dir, "blob"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("backup %d: %v: %s", i, err, out)
		}
		if said.Load() == before {
			t.Error("nothing was sent during a backup")
		}
		sums = append(sums, string(out))
	}
	close(stop)
	wg.Wait()
	s.kill()
	restored := &served{t: t, dir: filepath.Join(dir, "restored"), more: []string{"--blob", "file://" + filepath.Join(dir, "elsewhere")}}
	if out, err := program("restore", "--from", to, "--data", restored.dir, "--blob", "file://"+filepath.Join(dir, "elsewhere")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	restored.start()
	if n := restored.loaded(); n < 20 {
		t.Errorf("%d files, after %q", n, sums)
	}
	restored.kill()
	// Neither server takes the folder of the other.
	for _, c := range []struct{ data, blob string }{{s.dir, "elsewhere"}, {restored.dir, "blob"}, {s.dir, "backup/blob"}, {restored.dir, "backup/blob"}} {
		out, err := program("serve", "--listen", "127.0.0.1:0", "--data", c.data, "--secret-key", killKey, "--blob", "file://"+filepath.Join(dir, c.blob)).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "blob: ") {
			t.Errorf("%s with %s: %v, %s", c.data, c.blob, err, out)
		}
	}
}

// withFiles makes a data folder in which alice has sent bob some files.
func withFiles(t *testing.T, n, size int) (dir string) {
	t.Helper()
	s := &served{t: t, dir: filepath.Join(t.TempDir(), "data"), more: []string{"--media-reserve", "0"}}
	s.start()
	alice := sdk(t, s.addr, "alice", t.TempDir(), newHeard())
	s.uploader("bob") // so that there is one
	u, _ := s.uploader("carol")
	for range n {
		m, err := u.file(size)
		if err == nil {
			_, err = alice.SendMessage(t.Context(), client.C2C("bob"), m)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.kill()
	return s.dir
}

// backUp makes a backup in this process.
func backUp(t *testing.T, data, to string) media.Copied {
	t.Helper()
	c, err := server.Backup(t.Context(), data, filepath.Join(data, "blob"), to)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// swept ends what is unused in a data folder, as a server would that runs on for two days.
func swept(t *testing.T, dir string) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	for _, ahead := range []time.Duration{26 * time.Hour, 28 * time.Hour} {
		now := func() time.Time { return time.Now().Add(ahead) }
		st, err := store.Open(t.Context(), store.Config{Dir: dir, Log: log, Clock: now})
		if err != nil {
			t.Fatal(err)
		}
		folder, err := media.OpenFolder(t.Context(), filepath.Join(dir, "blob"), st, false, log)
		if err != nil {
			t.Fatal(err)
		}
		m := media.New(st, chat.New(st, chat.Config{Log: log}), media.Config{Folder: folder, Log: log, Now: now})
		err = m.Sweep(context.Background())
		m.Close()
		if err = errors.Join(err, st.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// fileNames returns the names of the files of users below a folder.
func fileNames(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "blob", "files"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return names
}

// TestBackupAgain: what an earlier backup has is not copied again, what is not used any more leaves it, what was damaged since is still in it, and no backup
// of another server, data folder or anything else is written over.
func TestBackupAgain(t *testing.T) {
	data, to := withFiles(t, 5, 1000), filepath.Join(t.TempDir(), "backup")
	if c := backUp(t, data, to); c.Files != 5 || c.New != 5 || c.Bytes != 5000 || c.AllBad != 0 {
		t.Errorf("the first: %+v", c)
	}
	if c := backUp(t, data, to); c.Files != 5 || c.New != 0 {
		t.Errorf("the second: %+v", c)
	}
	s := &served{t: t, dir: data, more: []string{"--media-reserve", "0"}}
	s.start()
	u, _ := s.uploader("carol")
	if _, err := u.file(500); err != nil {
		t.Fatal(err)
	}
	s.kill()
	if c := backUp(t, data, to); c.Files != 6 || c.New != 1 || c.Bytes != 500 {
		t.Errorf("with another file: %+v", c)
	}
	swept(t, data) // no message refers to it
	if c := backUp(t, data, to); c.Files != 5 || len(fileNames(t, to)) != 5 {
		t.Errorf("without it: %+v, and %q", c, fileNames(t, to))
	}
	names := fileNames(t, data)
	if err := errors.Join(os.Remove(names[0]), os.WriteFile(names[1], make([]byte, 1000), 0o600)); err != nil {
		t.Fatal(err)
	}
	if c := backUp(t, data, to); c.Files != 5 || c.AllBad != 0 {
		t.Errorf("over whole ones: %+v", c)
	}
	other := filepath.Join(t.TempDir(), "other")
	if c := backUp(t, data, other); c.Files != 3 || c.AllBad != 2 || len(c.Bad) != 2 || !strings.Contains(strings.Join(names[:2], " "), c.Bad[0]) {
		t.Errorf("without two: %+v", c)
	}
	if c, err := server.Restore(t.Context(), to, filepath.Join(t.TempDir(), "restored"), filepath.Join(t.TempDir(), "blob")); err != nil || c.Files != 5 || c.AllBad != 0 {
		t.Errorf("restored: %+v, %v", c, err)
	}
	foreign, strange := withFiles(t, 1, 10), t.TempDir()
	if err := os.WriteFile(filepath.Join(strange, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{foreign, strange} {
		if _, err := server.Backup(t.Context(), data, filepath.Join(data, "blob"), target); err == nil || !strings.Contains(err.Error(), "not empty") {
			t.Errorf("over %s: %v", target, err)
		}
	}
	if _, err := server.Backup(t.Context(), foreign, filepath.Join(foreign, "blob"), to); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("over the backup of another server: %v", err)
	}
	if _, err := server.Backup(t.Context(), data, filepath.Join(foreign, "blob"), to); err == nil || !strings.Contains(err.Error(), "--blob") {
		t.Errorf("with the files of another server: %v", err)
	}
}

// TestKill9Backup: a backup that is killed at any moment leaves nothing under its name, or a whole one, also over an earlier one, of which it leaves nothing that
// the next one does not remove.
func TestKill9Backup(t *testing.T) {
	data, dir := withFiles(t, 15, 200_000), t.TempDir()
	rounds, unfinished := soak.Pick(8, 200), 0
	to := filepath.Join(dir, "backup")
	for i := range rounds {
		if i == rounds/2 && len(fileNames(t, to)) == 0 {
			backUp(t, data, to)
		}
		if i > rounds/2 { // something to do
			names := fileNames(t, to)
			for _, name := range names[:len(names)/2] {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
		}
		cmd := program("backup", "--data", data, "--to", to)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// It is killed when it has made so many files, of 18: the database, the key and those of users under their names or others.
		at := len(fileNames(t, to)) + 1 + i%(17-len(fileNames(t, to)))
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for running := true; running; {
			select {
			case err := <-ended:
				if running = false; err != nil {
					unfinished++
				}
			case <-time.After(time.Millisecond):
				made, _ := filepath.Glob(filepath.Join(dir, "backup*", "blob", "files", "*", "*"))
				more, _ := filepath.Glob(filepath.Join(dir, "backup*", "*.new*"))
				if len(made)+len(more) >= at {
					cmd.Process.Kill()
				}
			}
		}
		if _, err := os.Stat(to); i > rounds/2 || err == nil {
			place := t.TempDir()
			c, err := server.Restore(t.Context(), to, filepath.Join(place, "data"), filepath.Join(place, "blob"))
			if err != nil || i <= rounds/2 && (c.Files != 15 || c.AllBad != 0) || c.Files+c.AllBad != 15 {
				t.Fatalf("round %d leaves what is restored as %+v: %v", i, c, err)
			}
		}
		left, _ := filepath.Glob(to + ".*.tmp")
		if i < rounds/2 {
			left = append(left, to)
		}
		for _, name := range left {
			if err := os.RemoveAll(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if c := backUp(t, data, to); c.Files != 15 || c.AllBad != 0 {
		t.Errorf("after the kills: %+v", c)
	}
	list, err := os.ReadDir(to)
	if err != nil || len(list) != 3 || len(fileNames(t, to)) != 15 { // blob, the database, the lock
		t.Errorf("the backup has %v, and %d files: %v", list, len(fileNames(t, to)), err)
	}
	t.Logf("%d of %d were killed", unfinished, rounds)
}
