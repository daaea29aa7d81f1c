package client_test

import (
	"bytes"
	"context"
	"image"
	"image/png"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/client/internal/transfer"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// upload uploads a file as the device's user, and returns its id.
func (d *device) upload(kind transfer.Kind, content []byte) string {
	d.t.Helper()
	path := filepath.Join(d.t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		d.t.Fatal(err)
	}
	tr, err := transfer.New(transfer.Config{Server: d.cfg.Server, Token: func(context.Context, string) (string, error) { return d.UploadToken(), nil }})
	if err != nil {
		d.t.Fatal(err)
	}
	defer tr.Close(context.Background())
	done, err := tr.Upload(within(d.t), []transfer.File{{Path: path, Kind: kind}}, func(int64, int64) {})
	if err != nil {
		d.t.Fatal(err)
	}
	return done[0].ID
}

// picture returns an image that has smaller sizes.
func picture(t *testing.T) []byte {
	img := image.NewGray(image.Rect(0, 0, 800, 760))
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range img.Pix {
		img.Pix[i] = byte(rnd.Uint32())
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// load gets a file as a program does that knows only its URL.
func load(t *testing.T, url string) []byte {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return b
}

// contains reports which files below a folder contain a text.
func contains(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			found = append(found, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

// TestURLs: whoever reads a message gets URLs that load its files, merged ones and smaller sizes too, with a token of their own. No token is stored or sent, and a
// new one changes no conversation.
func TestURLs(t *testing.T) {
	folder := t.TempDir()
	s := imtest.Start(t, imtest.Dir(folder))
	ann, carol := dial(t, config(t, s, "ann")), dial(t, config(t, s, "carol"))
	cfg := config(t, s, "bob")
	var got []*im.Message
	bob := openWith(t, cfg, func(ev *client.Events) {
		was := ev.NewMessages
		ev.NewMessages = func(ms []*im.Message) { got = append(got, ms...); was(ms) }
	})
	bob.login()
	content := picture(t)
	id, text := ann.upload(transfer.Image, content), []byte("hello")
	thumb := load(t, "http"+strings.TrimPrefix(s.URL, "ws")+"/media/"+id+"/thumb?token="+ann.ReadToken())
	doc := ann.upload(transfer.Any, text)
	m := &im.Message{ElemArray: []*im.Elem{
		{ElemType: im.ElemType_ELEM_TYPE_IMAGE, Body: &im.Elem_Image{Image: &im.ImageElem{OrigPath: "/secret/path.png", OrigId: id, OrigPicSize: int32(len(content)), OrigUrl: "http://elsewhere/x",
			ThumbId: id + "/thumb", ThumbPicSize: int32(len(thumb))}}},
		{ElemType: im.ElemType_ELEM_TYPE_FILE, Body: &im.Elem_File{File: &im.FileElem{FileName: "a.txt", FileSize: 5, FileId: doc}}},
	}}
	sent, err := ann.SendMessage(within(t), client.C2C("bob"), m)
	if err != nil {
		t.Fatal(err)
	}
	bob.count(t, "new", 1)
	bob.WaitQuiet()
	check := func(who string, m *im.Message, token string) {
		t.Helper()
		i, f := m.ElemArray[0].GetImage(), m.ElemArray[1].GetFile()
		if i.OrigPath != "" || !strings.Contains(i.OrigUrl, token) || token == "" || f.DownloadFlag != 2 {
			t.Errorf("%s has %v", who, m)
		}
		if !bytes.Equal(load(t, i.OrigUrl), content) || !bytes.Equal(load(t, i.ThumbUrl), thumb) || !bytes.Equal(load(t, f.Url), text) {
			t.Errorf("%s does not load the files", who)
		}
	}
	check("ann", sent, ann.ReadToken())
	check("bob", got[0], bob.ReadToken())
	tokens := []string{ann.ReadToken(), bob.ReadToken()}

	// What an application has got goes on without its tokens: merged, forwarded, saved, as a draft.
	forward := &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: &im.MergerElem{
		Title: "t", CompatibleText: "c", MessageArray: []*im.Message{got[0]}}}}}}
	for _, m := range []*im.Message{forward, got[0]} {
		if _, err := bob.SendMessage(within(t), client.C2C("carol"), m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := bob.SaveMessage(within(t), client.C2C("carol"), got[0]); err != nil {
		t.Fatal(err)
	}
	if err := bob.SetDraft(client.C2C("ann"), &im.Draft{Msg: got[0]}); err != nil {
		t.Fatal(err)
	}
	carol.count(t, "new", 2)
	ms, err := carol.Messages(within(t), client.C2C("bob"), &im.GetMsgListParam{Count: 10})
	if err != nil || len(ms) != 2 {
		t.Fatal(ms, err)
	}
	check("carol, forwarded,", ms[0], carol.ReadToken())
	inner, err := carol.MergedMessages(ms[1])
	if err != nil {
		t.Fatal(err)
	}
	check("carol, merged,", inner[0], carol.ReadToken())

	// Each login has another token, and no conversation has changed by it.
	bob.WaitQuiet()
	for range 10 {
		before := bob.ReadToken()
		bob = bob.again()
		bob.WaitQuiet()
		if bob.ReadToken() == before || bob.ReadToken() == "" {
			t.Fatal("the token is that of the login before")
		}
		tokens = append(tokens, bob.ReadToken())
		if es := bob.of("add", "upd", "del", "new"); len(es) > 0 {
			t.Fatalf("a login tells %s", list(es))
		}
	}
	convs, err := bob.ConversationsByKey(within(t), []client.Conv{client.C2C("ann"), client.C2C("carol")})
	if err != nil || len(convs) != 2 {
		t.Fatal(convs, err)
	}
	check("bob, as the last message,", convs[0].LastMsg, bob.ReadToken())

	folders := []string{folder, ann.cfg.Dir, bob.cfg.Dir, carol.cfg.Dir}
	ann.Close()
	bob.Close()
	carol.Close()
	s.Stop()
	for _, dir := range folders {
		for _, token := range append(tokens, "/secret/path.png", "http://elsewhere/x", "?token=") {
			if found := contains(t, dir, token); len(found) > 0 {
				t.Errorf("%s is stored in %v", token, found)
			}
		}
	}
}
