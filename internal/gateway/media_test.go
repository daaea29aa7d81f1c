package gateway

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// TestPlacesStayBehind: paths and URLs of files inside a merger do not leave the sender, nor may a modification have them.
func TestPlacesStayBehind(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	image := &im.ImageElem{OrigPath: "/home/alice/a.png", Level: 1, OrigId: "o", OrigPicSize: 3, OrigUrl: "https://x/media/" + strings.Repeat("x", 32) + "?token=" + strings.Repeat("t", 76), LargeUrl: "u", ThumbUrl: "u"}
	m := merger(2)
	inner := m.ElemArray[0].GetMerger().MessageArray[0].ElemArray[0].GetMerger()
	inner.MessageArray = append(inner.MessageArray, &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_IMAGE, Body: &im.Elem_Image{Image: image}}}})
	want := proto.CloneOf(m)
	alice.id++
	epoch := &im.SendReply{}
	alice.call(im.Method_SEND, &im.SendRequest{Conv: key("bob"), ClientTime: 1700000000, Random: uint32(alice.id), Message: m}, 0, epoch)
	got := want.ElemArray[0].GetMerger().MessageArray[0].ElemArray[0].GetMerger().MessageArray[1].ElemArray[0].GetImage()
	got.OrigPath, got.OrigUrl, got.LargeUrl, got.ThumbUrl = "", "", "", ""
	p := &im.EntryPush{}
	bob.push(im.Method_ENTRY, p)
	if !proto.Equal(p.Entry.Message.ElemArray[0], want.ElemArray[0]) {
		t.Errorf("pushed %v, want %v", p.Entry.Message, want)
	}
	m.CloudCustomStr = "note" // with the places, as the sender's application has it
	ch := bob.modify("alice", epoch.Epoch, 1, 0, m).Change
	if ch.GetMessage().GetCloudCustomStr() != "note" || !proto.Equal(ch.Message.ElemArray[0], want.ElemArray[0]) {
		t.Errorf("modified, it is %v", ch)
	}
}

// files are uploads in the store of a node, as they are after they have ended.
type files struct {
	n    *node
	uid  chat.UID
	last int
}

// upload returns the id of an upload that is done.
func (f *files) upload(kind chat.MediaKind, size int64, parts ...int32) string {
	f.n.t.Helper()
	f.last++
	id := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%024d", f.last))
	if err := f.n.store.Update(f.n.t.Context(), nil, func(tx chat.Tx) error {
		if err := tx.AddMedia(chat.Media{ID: id, Owner: f.uid, Kind: kind, Size: size, Until: tx.Now() + 3600_000}); err != nil || size == 0 {
			return err
		}
		all := []chat.MediaPart{{Hash: "h" + id, File: "f" + id, Size: size}}
		for _, p := range parts {
			all = append(all, chat.MediaPart{Part: p, Hash: fmt.Sprint("h", p, id), File: fmt.Sprint("f", p, id), Size: size / int64(p+1)})
		}
		_, err := tx.EndMedia(id, tx.Now()+3600_000, all)
		return err
	}); err != nil {
		f.n.t.Fatal(err)
	}
	return id
}

// ends reports whether an upload ends if no further message refers to it.
func (f *files) ends(id string) bool {
	f.n.t.Helper()
	m, _, err := f.n.store.Media(f.n.t.Context(), id)
	if err != nil {
		f.n.t.Fatal(err)
	}
	return m.Until != 0
}

func fileElem(id string, size int32) *im.Elem {
	return &im.Elem{ElemType: im.ElemType_ELEM_TYPE_FILE, Body: &im.Elem_File{File: &im.FileElem{FileName: "a.pdf", FileSize: size, FileId: id}}}
}

func imageElem(e *im.ImageElem) *im.Elem {
	return &im.Elem{ElemType: im.ElemType_ELEM_TYPE_IMAGE, Body: &im.Elem_Image{Image: e}}
}

// TestMessagesWithFiles: a message names files that were uploaded, by anybody, and is refused with 6016 if one is not there or is not what the message says; what
// is refused keeps nothing, and takes no number. The files stay as long as a message with them stands.
func TestMessagesWithFiles(t *testing.T) {
	onBoth(t, options{}, func(t *testing.T, n *node) {
		alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
		u, err := n.store.UserByName(t.Context(), "bob")
		if err != nil {
			t.Fatal(err)
		}
		f := &files{n: n, uid: u.UID}
		request := func(elems ...*im.Elem) *im.SendRequest {
			alice.id++
			return &im.SendRequest{Conv: key("bob"), ClientTime: 1700000000, Random: uint32(alice.id), Message: &im.Message{ElemArray: elems}}
		}
		seq := uint64(0)
		var epoch uint64
		sent := func(elems ...*im.Elem) *im.SendRequest {
			t.Helper()
			req, r := request(elems...), &im.SendReply{}
			alice.call(im.Method_SEND, req, 0, r)
			seq++
			epoch = r.Epoch
			p := &im.EntryPush{}
			bob.push(im.Method_ENTRY, p)
			if r.Entry.Seq != seq || p.Entry.Seq != seq || !proto.Equal(&im.Message{ElemArray: p.Entry.Message.ElemArray}, req.Message) {
				t.Errorf("%v is answered with %v and pushed as %v", req, r, p)
			}
			return req
		}
		refused := func(elems ...*im.Elem) {
			t.Helper()
			alice.call(im.Method_SEND, request(elems...), im.CodeInvalidElem, nil)
		}
		file, open := f.upload(chat.MediaFile, 7), f.upload(chat.MediaFile, 0)
		image := f.upload(chat.MediaImage, 60, chat.PartLarge, chat.PartThumb)
		film, picture, sound := f.upload(chat.MediaVideo, 9), f.upload(chat.MediaImage, 3), f.upload(chat.MediaSound, 5)
		unknown := base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{255}, 24))

		refused(fileElem("", 7))
		refused(fileElem("7", 7))
		refused(fileElem(unknown, 7))
		refused(fileElem(open, 0))
		refused(fileElem(file, 8))
		refused(fileElem(file+"/thumb", 7))
		refused(fileElem(image, 60))
		refused(fileElem(file, 7), fileElem(unknown, 7))
		refused(imageElem(&im.ImageElem{OrigId: image, OrigPicSize: 60, LargeId: image + "/huge", LargePicSize: 60}))
		refused(imageElem(&im.ImageElem{OrigId: image, OrigPicSize: 60, ThumbId: picture + "/thumb"}))
		refused(&im.Elem{ElemType: im.ElemType_ELEM_TYPE_VIDEO, Body: &im.Elem_Video{Video: &im.VideoElem{VideoId: film, VideoSize: 9}}})
		if !f.ends(file) || !f.ends(image) || !f.ends(film) {
			t.Error("a message that was refused keeps a file")
		}
		first := sent(fileElem(file, 7))
		sent(imageElem(&im.ImageElem{OrigId: image, OrigPicSize: 60, OrigPicWidth: 3, LargeId: image + "/large", LargePicSize: 30, ThumbId: image + "/thumb", ThumbPicSize: 20}))
		sent(&im.Elem{ElemType: im.ElemType_ELEM_TYPE_VIDEO, Body: &im.Elem_Video{Video: &im.VideoElem{VideoId: film, VideoSize: 9, ImageId: picture, ImageSize: 3}}})
		sent(&im.Elem{ElemType: im.ElemType_ELEM_TYPE_SOUND, Body: &im.Elem_Sound{Sound: &im.SoundElem{FileId: sound, FileSize: 5, FileTime: 1}}}, im.Text("x").ElemArray[0])
		for _, id := range []string{file, image, film, picture, sound} {
			if f.ends(id) {
				t.Errorf("the file %s of a message ends", id)
			}
		}
		// Merged messages keep what is there, and may name what is not.
		merged := merger(1)
		inner := merged.ElemArray[0].GetMerger()
		inner.MessageArray = append(inner.MessageArray, &im.Message{ElemArray: []*im.Elem{fileElem(unknown, 7), fileElem(file, 7), fileElem("an operator's", 1)}})
		sent(merged.ElemArray...)
		inner.MessageArray[1].ElemArray[1].GetFile().FileSize = 8
		refused(merged.ElemArray...)

		alice.call(im.Method_REVOKE, &im.RevokeRequest{Conv: key("bob"), Epoch: epoch, Seq: 1}, 0, nil)
		bob.push(im.Method_CHANGE, &im.ChangePush{})
		if f.ends(file) {
			t.Error("the file of a merged message ends with the message that was merged")
		}
		alice.call(im.Method_REVOKE, &im.RevokeRequest{Conv: key("bob"), Epoch: epoch, Seq: seq}, 0, nil)
		bob.push(im.Method_CHANGE, &im.ChangePush{})
		if !f.ends(file) {
			t.Error("the file of a message that was recalled does not end")
		}
		refused(fileElem(file, 7))
		again := &im.SendReply{}
		alice.call(im.Method_SEND, first, 0, again)
		if again.Entry.Seq != 1 {
			t.Errorf("sent again, the first message is %v", again)
		}

		// What is not stored keeps nothing, and its files must be there.
		online := request(fileElem(f.upload(chat.MediaFile, 2), 2))
		online.Message.IsOnlineMsg = true
		alice.call(im.Method_SEND, online, 0, nil)
		bob.push(im.Method_ENTRY, &im.EntryPush{})
		if !f.ends(online.Message.ElemArray[0].GetFile().FileId) {
			t.Error("the file of a message that is not stored is kept")
		}
		online.Message.ElemArray[0].GetFile().FileId = unknown
		online.Random++
		alice.call(im.Method_SEND, online, im.CodeInvalidElem, nil)
	})
}

// TestMediaTokens: a session gets new media tokens while it is connected, which are good for longer than those of its login; all of them end with the session.
func TestMediaTokens(t *testing.T) {
	now := &clock{t: time.Now()}
	later := func(d time.Duration) {
		now.mu.Lock()
		defer now.mu.Unlock()
		now.t = now.t.Add(d)
	}
	onBoth(t, options{chat: chat.Config{Clock: now.now, MediaKey: []byte("a key of this test")}}, func(t *testing.T, n *node) {
		alice := n.login(device{user: "alice", device: "a"})
		good := func(token string, upload bool) bool {
			t.Helper()
			uid, err := n.rules.CheckMedia(t.Context(), token, upload)
			if err != nil && im.CodeOf(err) != im.CodeMediaForbidden {
				t.Fatal(err)
			}
			if err == nil && uid != chat.UID(alice.reply.TinyId) {
				t.Errorf("it is the token of user %d, not of %d", uid, alice.reply.TinyId)
			}
			return err == nil
		}
		later(6 * 24 * time.Hour)
		var renewed im.MediaTokensReply
		alice.call(im.Method_MEDIA_TOKENS, &im.Empty{}, 0, &renewed)
		if !good(alice.reply.UploadToken, true) || !good(renewed.UploadToken, true) || !good(renewed.MediaToken, false) || good(renewed.MediaToken, true) {
			t.Error("after six days, the old or the new tokens are not good for what they should be")
		}
		later(2 * 24 * time.Hour)
		if good(alice.reply.UploadToken, true) || good(alice.reply.MediaToken, false) || !good(renewed.UploadToken, true) || !good(renewed.MediaToken, false) {
			t.Error("after eight days, the old tokens are good, or the new ones are not")
		}
		n.login(device{user: "alice", device: "another"}) // it kicks the first one
		if good(renewed.UploadToken, true) || good(renewed.MediaToken, false) {
			t.Error("the tokens outlived the session")
		}
		alice.push(im.Method_KICKED, &im.KickedPush{})
		alice.call(im.Method_MEDIA_TOKENS, &im.Empty{}, im.CodeNotLoggedIn, nil)
	})
}
