package client_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/client/internal/transfer"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/faultproxy"
)

// Elements whose files are on this device.

func imageElem(path string) *im.Elem {
	return &im.Elem{ElemType: im.ElemType_ELEM_TYPE_IMAGE, Body: &im.Elem_Image{Image: &im.ImageElem{OrigPath: path, Level: 1}}}
}

func soundElem(path string) *im.Elem {
	return &im.Elem{ElemType: im.ElemType_ELEM_TYPE_SOUND, Body: &im.Elem_Sound{Sound: &im.SoundElem{FilePath: path, FileTime: 7, FileSize: 99}}}
}

func fileElem(path string) *im.Elem {
	return &im.Elem{ElemType: im.ElemType_ELEM_TYPE_FILE, Body: &im.Elem_File{File: &im.FileElem{FilePath: path}}}
}

func videoElem(path, picture string) *im.Elem {
	return &im.Elem{ElemType: im.ElemType_ELEM_TYPE_VIDEO, Body: &im.Elem_Video{Video: &im.VideoElem{VideoPath: path, VideoType: "mp4", VideoDuration: 12, ImagePath: picture, ImageType: "png",
		ImageWidth: 800, ImageHeight: 760}}}
}

func textElem(s string) *im.Elem { return textMessage(s).ElemArray[0] }

// made writes a file of random content, and returns its path and its hash.
func made(t testing.TB, name string, size int) (path, hash string) {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(size)}).Read(b)
	return written(t, name, b)
}

func written(t testing.TB, name string, b []byte) (path, hash string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, hashOf(b)
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// fetched downloads a file with the device's token and returns its hash.
func (d *device) fetched(id string) string {
	d.t.Helper()
	tr, err := transfer.New(transfer.Config{Server: d.cfg.Server, Token: func(context.Context, string) (string, error) { return d.UploadToken(), nil }})
	if err != nil {
		d.t.Fatal(err)
	}
	defer tr.Close(context.Background())
	path := filepath.Join(d.t.TempDir(), "fetched")
	if err := tr.Download(within(d.t), transfer.Fetch{ID: id, Path: path}, nil); err != nil {
		d.t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		d.t.Fatal(err)
	}
	return hashOf(b)
}

// idsOf returns the ids of the files of a message.
func idsOf(m *im.Message) (ids []string) {
	for _, e := range m.GetElemArray() {
		if i := e.GetImage(); i != nil {
			ids = append(ids, i.OrigId)
		}
		if s := e.GetSound(); s != nil {
			ids = append(ids, s.FileId)
		}
		if f := e.GetFile(); f != nil {
			ids = append(ids, f.FileId)
		}
		if v := e.GetVideo(); v != nil {
			ids = append(ids, v.VideoId, v.ImageId)
		}
	}
	return ids
}

// upStep is one call of UploadProgress.
type upStep struct {
	msg               string
	index, sent, size uint32
}

// uploads are the calls of UploadProgress and the ends of sends, of one device.
type uploads struct {
	mu    sync.Mutex
	steps map[string][]upStep // by message
	ended map[string]bool
	wrong []string
	// at is called with each step.
	at func(upStep)
}

func newUploads() *uploads { return &uploads{steps: map[string][]upStep{}, ended: map[string]bool{}} }

func (u *uploads) listen(ev *client.Events) {
	ev.UploadProgress = func(m *im.Message, index, sent, size uint32) {
		s := upStep{m.MsgId, index, sent, size}
		u.mu.Lock()
		if u.ended[m.MsgId] {
			u.wrong = append(u.wrong, fmt.Sprintf("%v after the end", s))
		}
		if m.Status != im.MessageStatus_MESSAGE_STATUS_SENDING {
			u.wrong = append(u.wrong, fmt.Sprintf("%v of a message with status %v", s, m.Status))
		}
		u.steps[m.MsgId] = append(u.steps[m.MsgId], s)
		at := u.at
		u.mu.Unlock()
		if at != nil {
			at(s)
		}
	}
}

// end records the result of a send.
func (u *uploads) end(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended[id] = true
}

// check checks the calls for a message: element by element from 0, rising; with done to the size of each.
func (u *uploads) check(t testing.TB, id string, done bool, sizes map[uint32]int) {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, w := range u.wrong {
		t.Error(w)
	}
	seen := map[uint32]bool{}
	for i, s := range u.steps[id] {
		first := i == 0 || u.steps[id][i-1].index != s.index
		switch {
		case first && (seen[s.index] || s.sent != 0), !first && s.sent <= u.steps[id][i-1].sent, s.sent > s.size, int(s.size) != sizes[s.index],
			first && done && i > 0 && u.steps[id][i-1].sent != u.steps[id][i-1].size:
			t.Fatalf("call %d among %v", i, u.steps[id])
		}
		seen[s.index] = true
	}
	if n := len(u.steps[id]); done && (len(seen) != len(sizes) || n == 0 || u.steps[id][n-1].sent != u.steps[id][n-1].size) {
		t.Fatalf("calls %v", u.steps[id])
	}
}

// TestSendFiles: a message with files arrives at all devices with what was uploaded, and the sender keeps the paths; the application is told how far it is.
func TestSendFiles(t *testing.T) {
	s := imtest.Start(t)
	u := newUploads()
	ann := openWith(t, config(t, s, "ann"), u.listen)
	ann.login()
	bob := dial(t, config(t, s, "bob"))
	phone := config(t, s, "bob")
	phone.Platform = im.Platform_PLATFORM_ANDROID
	other := dial(t, phone)

	pic := picture(t)
	imagePath, imageHash := written(t, "a.png", pic)
	soundPath, soundHash := made(t, "a.wav", 1)
	filePath, fileHash := made(t, "a b.txt", 3<<20)
	videoPath, videoHash := made(t, "a.mp4", 400<<10)
	m := &im.Message{CustomStr: "mine", ElemArray: []*im.Elem{textElem("files"), imageElem(imagePath), soundElem(soundPath), fileElem(filePath), videoElem(videoPath, imagePath)}}
	id := make(chan string, 1)
	type result struct {
		m   *im.Message
		err error
	}
	got := make(chan result, 1)
	ended := func(m *im.Message, err error) { u.end(m.GetMsgId()); got <- result{m, err} }
	msgID, err := ann.SendMessageFunc(client.C2C("bob"), m, ended)
	if err != nil {
		t.Fatal(err)
	}
	id <- msgID
	r := <-got
	if r.err != nil {
		t.Fatal(r.err)
	}
	u.check(t, msgID, true, map[uint32]int{1: len(pic), 2: 1, 3: 3 << 20, 4: 400<<10 + len(pic)})

	want := []string{imageHash, soundHash, fileHash, videoHash, imageHash}
	for _, d := range []*device{bob, other} {
		e := d.count(t, "new", 1)[0]
		var hashes []string
		for _, id := range idsOf(e.msg) {
			hashes = append(hashes, d.fetched(id))
		}
		if !slices.Equal(hashes, want) {
			t.Errorf("%v, want %v", hashes, want)
		}
		es := e.msg.ElemArray
		if i := es[1].GetImage(); i.OrigPath != "" || i.Format != 3 || i.OrigPicWidth != 800 || i.LargePicHeight != 720 || i.ThumbPicHeight != 198 || int(i.OrigPicSize) != len(pic) ||
			i.ThumbId != i.OrigId+"/thumb" || i.LargeId != i.OrigId+"/large" || i.Level != 1 || i.ThumbUrl == "" {
			t.Errorf("image %v", i)
		}
		if x := es[2].GetSound(); x.FilePath != "" || x.FileSize != 1 || x.FileTime != 7 {
			t.Errorf("sound %v", x)
		}
		if x := es[3].GetFile(); x.FilePath != "" || x.FileSize != 3<<20 || x.FileName != "a b.txt" {
			t.Errorf("file %v", x)
		}
		if x := es[4].GetVideo(); x.VideoPath != "" || x.ImagePath != "" || x.VideoSize != 400<<10 || int(x.ImageSize) != len(pic) || x.VideoDuration != 12 || x.VideoType != "mp4" || x.ImageWidth != 800 {
			t.Errorf("video %v", x)
		}
	}
	own := func(when string, m *im.Message) {
		t.Helper()
		es := m.ElemArray
		if es[1].GetImage().OrigPath != imagePath || es[2].GetSound().FilePath != soundPath || es[3].GetFile().FilePath != filePath || es[4].GetVideo().VideoPath != videoPath ||
			es[4].GetVideo().ImagePath != imagePath || m.CustomStr != "mine" || !slices.Equal(idsOf(m), idsOf(bob.of("new")[0].msg)) || es[2].GetSound().Url == "" {
			t.Errorf("%s: %v", when, m)
		}
	}
	own("the result", r.m)
	// Whatever brings the message back, it is what was sent, with the paths: from the log, and after a modification.
	ann = ann.again()
	ms, err := ann.Messages(within(t), client.C2C("bob"), &im.GetMsgListParam{Count: 10})
	if err != nil || len(ms) != 1 {
		t.Fatal(ms, err)
	}
	own("the history", ms[0])
	changed := ms[0]
	changed.CloudCustomStr = "changed"
	if changed, err = ann.ModifyMessage(within(t), client.C2C("bob"), changed); err != nil || changed.CloudCustomStr != "changed" {
		t.Fatal(changed, err)
	}
	own("the modified message", changed)
	ann.WaitQuiet()
	if es := ann.of("update"); len(es) != 1 {
		t.Errorf("updates: %s", list(es))
	} else {
		own("the update", es[0].msg)
	}

	// What the sender has goes on without an upload: forwarded, and merged.
	forward := &im.Message{IsForwardMessage: true, ElemArray: ms[0].ElemArray}
	merger := &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: &im.MergerElem{Title: "t", CompatibleText: "c", MessageArray: ms}}}}}
	if err := os.Remove(filePath); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*im.Message{forward, merger} {
		if _, err := ann.SendMessage(within(t), client.C2C("bob"), m); err != nil {
			t.Fatal(err)
		}
	}
	es := bob.count(t, "new", 3)
	inner, err := bob.MergedMessages(es[2].msg)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*im.Message{es[1].msg, inner[0]} {
		if ids := idsOf(m); !slices.Equal(ids, idsOf(ms[0])) || bob.fetched(ids[2]) != fileHash || m.ElemArray[3].GetFile().FilePath != "" {
			t.Errorf("sent on: %v", m)
		}
	}
	if n := len(ann.of("upload_progress")); n != 0 {
		t.Errorf("%d calls of progress for what is there", n)
	}
}

// TestSendWithoutFiles: what cannot be uploaded fails the message before anything is sent; the message stays, and is not sent by a later run.
func TestSendWithoutFiles(t *testing.T) {
	folder := t.TempDir()
	s := imtest.Start(t, imtest.Dir(folder))
	u := newUploads()
	ann := openWith(t, config(t, s, "ann"), u.listen)
	ann.login()
	bob := dial(t, config(t, s, "bob"))
	dir := t.TempDir()
	sparse := func(name, head string, size int64) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(head), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, _ := made(t, "good", 10)
	png := "\x89PNG\r\n\x1a\n"
	cases := []struct {
		name string
		elem *im.Elem
		code int32
	}{
		{"missing", fileElem(filepath.Join(dir, "missing")), 7004},
		{"no path", soundElem(""), 7004},
		{"film without a picture", videoElem(good, ""), 7004},
		{"folder", fileElem(dir), 7007},
		{"empty", fileElem(sparse("empty", "", 0)), 7006},
		{"text", imageElem(sparse("text.png", "this is a text, not an image", 28)), 6031},
		{"29 MB image", imageElem(sparse("a.png", png, 29<<20)), 7005},
		{"29 MB sound", soundElem(sparse("a.wav", "RIFF", 29<<20)), 7005},
		{"101 MB film", videoElem(sparse("a.mp4", "x", 101<<20), sparse("b.png", png, 100)), 7005},
		{"101 MB", fileElem(sparse("a.zip", "x", 101<<20)), 7005},
	}
	for _, c := range cases {
		m, err := ann.SendMessage(within(t), client.C2C("bob"), &im.Message{ElemArray: []*im.Elem{fileElem(good), c.elem}})
		if im.CodeOf(err) != c.code || m.GetStatus() != im.MessageStatus_MESSAGE_STATUS_FAILED {
			t.Errorf("%s: %v, %v; want %d", c.name, err, m, c.code)
		}
	}
	long := strings.Repeat("x", 4097)
	if m, err := ann.SendMessage(within(t), client.C2C("bob"), &im.Message{ElemArray: []*im.Elem{fileElem(long)}}); im.CodeOf(err) != im.CodeInvalidParameters || m != nil {
		t.Errorf("a path of %d bytes: %v", len(long), err)
	}
	full := textElem(strings.Repeat("x", im.MaxContent-50)) // without the ids that the files get, it is not too large
	if m, err := ann.SendMessage(within(t), client.C2C("bob"), &im.Message{ElemArray: []*im.Elem{full, imageElem(good)}}); im.CodeOf(err) != im.CodeBodySize || m != nil {
		t.Errorf("a message that is too large: %v", err)
	}
	ann = ann.again()
	ms, err := ann.Messages(within(t), client.C2C("bob"), &im.GetMsgListParam{Count: 100})
	if err != nil || len(ms) != len(cases) {
		t.Fatal(len(ms), err)
	}
	for i, m := range ms {
		if m.Status != im.MessageStatus_MESSAGE_STATUS_FAILED || m.ElemArray[0].GetFile().FilePath != good || idsOf(m)[0] != "" {
			t.Errorf("%d: %v", i, m)
		}
	}
	// Drafts and what is only saved are not uploaded, and keep their paths.
	saved, err := ann.SaveMessage(within(t), client.C2C("bob"), &im.Message{ElemArray: []*im.Elem{fileElem(good)}})
	if err != nil || saved.ElemArray[0].GetFile().FilePath != good || saved.ElemArray[0].GetFile().FileId != "" {
		t.Errorf("saved: %v, %v", saved, err)
	}
	if err := ann.SetDraft(client.C2C("bob"), &im.Draft{Msg: &im.Message{ElemArray: []*im.Elem{fileElem(good)}}}); err != nil {
		t.Error(err)
	}
	ann.WaitQuiet()
	if len(u.steps) > 0 {
		t.Errorf("progress %v", u.steps)
	}
	blobs(t, folder, 0)
	ann.say("bob", "end")
	if es := bob.count(t, "new", 1); es[0].text != "end" {
		t.Errorf("bob has %s", list(es))
	}
}

// blobs checks how many files the server has, finished or not.
func blobs(t testing.TB, folder string, want int) {
	t.Helper()
	var files []string
	err := filepath.WalkDir(filepath.Join(folder, "blob"), func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && len(e.Name()) > 20 {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) != want {
		t.Errorf("the server has the files %v, want %d: %v", files, want, err)
	}
}

// uploading opens a device whose upload stands still: after the first part of a file, the server's responses are held back.
func uploading(t *testing.T, s *imtest.Server, cfg client.Config, m *im.Message) (*device, *faultproxy.Proxy, *uploads, string, chan error) {
	t.Helper()
	u := newUploads()
	proxy := faultproxy.Start(t, s.URL)
	cfg.Server = proxy.URL
	d := openWith(t, cfg, u.listen)
	d.login()
	moving := make(chan struct{})
	var once sync.Once
	u.mu.Lock()
	u.at = func(st upStep) {
		if st.sent > 0 {
			once.Do(func() { proxy.Stall(); close(moving) })
		}
	}
	u.mu.Unlock()
	done := make(chan error, 1)
	id, err := d.SendMessageFunc(client.C2C("bob"), m, func(m *im.Message, err error) {
		u.end(m.GetMsgId())
		done <- err
	})
	if err != nil {
		t.Fatal(err)
	}
	<-moving
	return d, proxy, u, id, done
}

// TestEndWhileUploading: the end of a session or of a client fails a message whose file is being uploaded. It is not sent later.
func TestEndWhileUploading(t *testing.T) {
	path, _ := made(t, "a", 20<<20)
	for name, c := range map[string]struct {
		end  func(t *testing.T, s *imtest.Server, d *device, p *faultproxy.Proxy)
		code int32
		left int
	}{
		"logout": {func(t *testing.T, _ *imtest.Server, d *device, p *faultproxy.Proxy) {
			p.Release()
			if err := d.Logout(within(t)); err != nil {
				t.Error(err)
			}
		}, im.CodeNotLoggedIn, 0},
		"close": {func(t *testing.T, _ *imtest.Server, d *device, p *faultproxy.Proxy) {
			p.Release()
			d.Close()
		}, im.CodeInterrupted, 0},
		"kick": {func(t *testing.T, s *imtest.Server, d *device, p *faultproxy.Proxy) {
			dial(t, config(t, s, "ann")).Close()
			p.Release()
			d.until(t, "kick", func([]event) bool { return len(d.of("kicked")) > 0 })
		}, im.CodeNotLoggedIn, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			s := imtest.Start(t, imtest.Dir(folder))
			bob := dial(t, config(t, s, "bob"))
			d, proxy, u, id, done := uploading(t, s, config(t, s, "ann"), &im.Message{ElemArray: []*im.Elem{fileElem(path)}})
			c.end(t, s, d, proxy)
			if err := <-done; im.CodeOf(err) != c.code {
				t.Errorf("%v, want %d", err, c.code)
			}
			u.check(t, id, false, map[uint32]int{0: 20 << 20})
			d.Close()
			blobs(t, folder, c.left)
			cfg := d.cfg
			cfg.Server = s.URL
			d = dial(t, cfg)
			ms, err := d.Messages(within(t), client.C2C("bob"), &im.GetMsgListParam{Count: 10})
			if err != nil || len(ms) != 1 || ms[0].Status != im.MessageStatus_MESSAGE_STATUS_FAILED || ms[0].ElemArray[0].GetFile().FilePath != path {
				t.Fatal(ms, err)
			}
			// As it is there, it can be sent again.
			sent, err := d.SendMessage(within(t), client.C2C("bob"), ms[0])
			if err != nil {
				t.Fatal(err)
			}
			es := bob.count(t, "new", 1)
			if es[0].msg.MsgId != sent.MsgId || sent.MsgId == id {
				t.Errorf("bob has %v", es[0].msg)
			}
		})
	}
}

// TestTextsOvertakeFiles: texts do not wait for files that were sent before them, and messages with files are sent when these are uploaded.
func TestTextsOvertakeFiles(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	phone := config(t, s, "ann")
	phone.Platform = im.Platform_PLATFORM_ANDROID
	other := dial(t, phone)
	u := newUploads()
	proxy := faultproxy.Start(t, s.URL)
	cfg := config(t, s, "ann")
	cfg.Server = proxy.URL
	ann := openWith(t, cfg, u.listen)
	ann.login()
	large, largeHash := made(t, "large", 5<<20)
	small, smallHash := made(t, "small", 1)
	cuts := 0
	u.mu.Lock()
	u.at = func(st upStep) {
		if st.sent > 0 && cuts < 5 {
			cuts++
			proxy.Cut()
		}
	}
	u.mu.Unlock()
	done := make(chan error, 5)
	for _, e := range []*im.Elem{textElem("1"), fileElem(large), textElem("2"), fileElem(small), textElem("3")} {
		if _, err := ann.SendMessageFunc(client.C2C("bob"), &im.Message{ElemArray: []*im.Elem{e}}, func(m *im.Message, err error) {
			u.end(m.GetMsgId())
			done <- err
		}); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if cuts < 5 {
		t.Errorf("%d cuts", cuts)
	}
	log := func(d *device, peer string) (texts string, all []string) {
		ms, err := d.Messages(within(t), client.C2C(peer), &im.GetMsgListParam{Count: 10})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range slices.Backward(ms) {
			texts += text(m)
			all = append(all, fmt.Sprint(m.Seq, m.MsgId, idsOf(m)))
		}
		return texts, all
	}
	for _, d := range []*device{bob, other} {
		d.count(t, "new", 5)
	}
	texts, want := log(ann, "bob")
	if texts != "123" || len(want) != 5 {
		t.Errorf("texts %q of %v", texts, want)
	}
	for d, peer := range map[*device]string{bob: "ann", other: "bob"} {
		if _, all := log(d, peer); !slices.Equal(all, want) {
			t.Errorf("%v, want %v", all, want)
		}
	}
	var hashes []string
	for _, e := range bob.of("new") {
		for _, id := range idsOf(e.msg) {
			hashes = append(hashes, bob.fetched(id))
		}
	}
	slices.Sort(hashes)
	if both := slices.Sorted(slices.Values([]string{largeHash, smallHash})); !slices.Equal(hashes, both) {
		t.Errorf("%v, want %v", hashes, both)
	}
	if es := ann.of("update"); len(es) > 0 {
		t.Errorf("updates: %s", list(es))
	}
}

// crashed returns the configuration of a device whose application ends here without a word.
func (d *device) crashed() client.Config {
	d.t.Helper()
	cfg := d.cfg
	cfg.Dir = d.t.TempDir()
	if out, err := exec.Command("cp", "-a", d.cfg.Dir+"/.", cfg.Dir).CombinedOutput(); err != nil {
		d.t.Fatalf("%v: %s", err, out)
	}
	return cfg
}

// TestUploadOfAnEarlierRun: a message whose file was being uploaded when the application ended has failed. One that the server has is sent, with its file.
func TestUploadOfAnEarlierRun(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	path, hash := made(t, "a", 4<<20)
	d, proxy, _, id, done := uploading(t, s, config(t, s, "ann"), &im.Message{ElemArray: []*im.Elem{fileElem(path)}})
	cfg := d.crashed()
	proxy.Cut()
	d.Close()
	if err := <-done; err == nil {
		t.Fatal("it was sent")
	}
	cfg.Server = s.URL
	again := dial(t, cfg)
	history := func(status im.MessageStatus) (m *im.Message) {
		again.until(t, "settled", func([]event) bool {
			ms, err := again.Messages(within(t), client.C2C("bob"), nil)
			if err == nil && len(ms) > 0 && ms[0].Status == status {
				m = ms[0]
			}
			return m != nil
		})
		return m
	}
	if m := history(im.MessageStatus_MESSAGE_STATUS_FAILED); m.MsgId != id {
		t.Errorf("%v", m)
	}
	again.say("bob", "later")
	if es := bob.count(t, "new", 1); es[0].text != "later" {
		t.Errorf("bob has %s", list(es))
	}

	u := newUploads()
	proxy = faultproxy.Start(t, s.URL)
	cfg.Server = proxy.URL
	again.Close()
	d = openWith(t, cfg, u.listen)
	d.login()
	gate, held := make(chan struct{}), make(chan struct{})
	u.mu.Lock()
	u.at = func(st upStep) {
		if st.sent == 0 {
			d.OnEngine(func() { close(held); <-gate })
		}
	}
	u.mu.Unlock()
	id, err := d.SendMessageFunc(client.C2C("bob"), &im.Message{ElemArray: []*im.Elem{fileElem(path)}}, func(_ *im.Message, err error) { done <- err })
	if err != nil {
		t.Fatal(err)
	}
	<-held
	d.WaitUploads()
	proxy.Stall()
	close(gate)
	bob.count(t, "new", 2)
	cfg = d.crashed()
	proxy.Cut()
	d.Close()
	<-done
	cfg.Server = s.URL
	again = dial(t, cfg)
	m := history(im.MessageStatus_MESSAGE_STATUS_SENT)
	if ids := idsOf(m); m.MsgId != id || m.ElemArray[0].GetFile().FilePath != path || again.fetched(ids[0]) != hash {
		t.Errorf("%v", m)
	}
	again.WaitQuiet()
	if es := again.of("new", "update"); len(es) > 0 {
		t.Errorf("its own message is told: %s", list(es))
	}
}
