package im

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"
)

// mediaElems returns an element of each kind, with all that an application may put into it.
func mediaElems() []*Elem {
	return []*Elem{
		{ElemType: ElemType_ELEM_TYPE_IMAGE, Body: &Elem_Image{&ImageElem{OrigPath: "/p", Level: 2, Format: 1, OrigId: "o", OrigPicWidth: 3, OrigUrl: "u", LargeId: "l",
			LargeUrl: "u", ThumbId: "t", ThumbUrl: "u", ThumbPicSize: 9}}},
		{ElemType: ElemType_ELEM_TYPE_SOUND, Body: &Elem_Sound{&SoundElem{FilePath: "/p", FileSize: 1, FileTime: 2, FileId: "s", Url: "u"}}},
		{ElemType: ElemType_ELEM_TYPE_FILE, Body: &Elem_File{&FileElem{FilePath: "/p", FileName: "p", FileSize: 3, FileId: "f", Url: "u"}}},
		{ElemType: ElemType_ELEM_TYPE_VIDEO, Body: &Elem_Video{&VideoElem{VideoType: "mp4", VideoSize: 4, VideoPath: "/p", VideoId: "v", VideoUrl: "u", ImageType: "png",
			ImagePath: "/p", ImageId: "i", ImageUrl: "u"}}},
	}
}

// TestMediaKeys: all keys of elements with files are read and written.
func TestMediaKeys(t *testing.T) {
	for _, s := range []string{
		`{"elem_type":1,"image_elem_format":13,"image_elem_large_id":"v22","image_elem_large_pic_height":23,"image_elem_large_pic_size":25` +
			`,"image_elem_large_pic_width":24,"image_elem_large_url":"v28","image_elem_level":12,"image_elem_orig_id":"v14","image_elem_orig_path":"v11"` +
			`,"image_elem_orig_pic_height":15,"image_elem_orig_pic_size":17,"image_elem_orig_pic_width":16,"image_elem_orig_url":"v26","image_elem_thumb_id":"v18"` +
			`,"image_elem_thumb_pic_height":19,"image_elem_thumb_pic_size":21,"image_elem_thumb_pic_width":20,"image_elem_thumb_url":"v27"}`,
		`{"elem_type":2,"sound_elem_business_id":33,"sound_elem_download_flag":35,"sound_elem_file_id":"v32","sound_elem_file_path":"v29"` +
			`,"sound_elem_file_size":30,"sound_elem_file_time":31,"sound_elem_url":"v34"}`,
		`{"elem_type":4,"file_elem_business_id":40,"file_elem_download_flag":42,"file_elem_file_id":"v39","file_elem_file_name":"v37"` +
			`,"file_elem_file_path":"v36","file_elem_file_size":38,"file_elem_url":"v41"}`,
		`{"elem_type":9,"video_elem_business_id":48,"video_elem_image_download_flag":58,"video_elem_image_height":53,"video_elem_image_id":"v55"` +
			`,"video_elem_image_path":"v54","video_elem_image_size":51,"video_elem_image_type":"v50","video_elem_image_url":"v56","video_elem_image_width":52` +
			`,"video_elem_video_download_flag":57,"video_elem_video_duration":45,"video_elem_video_id":"v47","video_elem_video_path":"v46"` +
			`,"video_elem_video_size":44,"video_elem_video_type":"v43","video_elem_video_url":"v49"}`,
	} {
		e := &Elem{}
		if err := FromJSON(s, e); err != nil || e.Raw != nil {
			t.Errorf("%s is read as %v: %v", s, e, err)
		}
		if got := ToJSON(e); got != s {
			t.Errorf("read and written is\n%s\nwant\n%s", got, s)
		}
	}
}

// clearNamed clears the fields of a message whose keys end in one of these, at any depth.
func clearNamed(m protoreflect.Message, ends ...string) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() != nil && f.IsList():
			for i := range v.List().Len() {
				clearNamed(v.List().Get(i).Message(), ends...)
			}
		case f.Message() != nil:
			clearNamed(v.Message(), ends...)
		default:
			for _, end := range ends {
				if name := f.JSONName(); strings.Contains(name, "_elem_") && strings.HasSuffix(name, end) {
					m.Clear(f)
				}
			}
		}
		return true
	})
}

// anUpload is the id of an upload, urlOfUpload its URL as the server at a place and SDKs form it.
const anUpload = "0123456789abcdef0123456789abcde_"

func urlOfUpload(place, id, size string) string {
	return place + "/media/" + id + size + "?token=" + strings.Repeat("Ab-_", 19)
}

// TestUploadOf: a URL of an upload is known by its path and its token, at whatever place; every other http or https URL is a foreign one.
func TestUploadOf(t *testing.T) {
	for text, id := range map[string]string{
		urlOfUpload("https://im.example", anUpload, ""):            anUpload,
		urlOfUpload("http://[::1]:7070/media/im", anUpload, ""):    anUpload,
		urlOfUpload("http://x", anUpload, "/thumb") + "&w=3#t=1":   anUpload + "/thumb",
		urlOfUpload("http://x", anUpload, "")[:100]:                "",
		urlOfUpload("http://x", strings.Repeat("a", 32), ""):       "",
		"https://cdn.example/media/" + anUpload:                    "",
		"https://cdn.example/media/" + anUpload + "?token=letmein": "",
		"http://cdn.example/a b.png?x=1":                           "",
		"https://cdn.example/" + strings.Repeat("a", MaxURL-20):    "",
		"HTTPS://user:word@cdn.example/a":                          "",
	} {
		got, size, ours := UploadOf(text)
		if size != "" {
			got += "/" + size
		}
		if ours != (id != "") || ours && got != id || IsForeignURL(text) == ours {
			t.Errorf("%q is the upload %q (%t), and foreign: %t", text, got, ours, IsForeignURL(text))
		}
	}
	for _, text := range []string{"", "u", "/media/x", "//cdn.example/a", "ftp://cdn.example/a", "file:///etc/passwd", "javascript:alert(1)", "http:/x", "http://", "http://:80/x", "http://x\n/",
		"data:text/html,x", "https://cdn.example/" + strings.Repeat("a", MaxURL-19)} {
		if _, _, ours := UploadOf(text); ours || IsForeignURL(text) {
			t.Errorf("%q is a URL", text)
		}
	}
}

// withoutPlaces is what Sendable leaves of a message from a user.
func withoutPlaces(m *Message) {
	clearNamed(m.ProtoReflect(), "_path", "_download_flag")
	FileURLs(m, func(id string, url *string, _ *int32) {
		if id, _, _ = strings.Cut(id, "/"); ValidMediaID(id) || !IsForeignURL(*url) {
			*url = ""
		}
	})
}

// foreignElems returns elements with URLs of their own, and ids that are or are not those of uploads.
func foreignElems() []*Elem {
	const url, uuid = "https://cdn.example/media/0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"
	return []*Elem{
		{ElemType: ElemType_ELEM_TYPE_IMAGE, Body: &Elem_Image{&ImageElem{OrigPath: "/p", OrigId: uuid, OrigUrl: url, LargeId: uuid + "/large", LargeUrl: url, ThumbId: anUpload + "/thumb", ThumbUrl: url}}},
		{ElemType: ElemType_ELEM_TYPE_SOUND, Body: &Elem_Sound{&SoundElem{FileSize: 1, Url: url, DownloadFlag: 2}}},
		{ElemType: ElemType_ELEM_TYPE_FILE, Body: &Elem_File{&FileElem{FileName: "p", FileId: "id", Url: urlOfUpload("https://x", anUpload, "")}}},
		{ElemType: ElemType_ELEM_TYPE_VIDEO, Body: &Elem_Video{&VideoElem{VideoId: anUpload, VideoUrl: urlOfUpload("https://x", anUpload, ""), ImageId: "i", ImageUrl: url}}},
	}
}

// TestSendableURLs: a user sends the URL of another server on, but not with the id of an upload, and nobody sends the URL of an upload.
func TestSendableURLs(t *testing.T) {
	sent := func(operator bool) (urls []string) {
		t.Helper()
		m := &Message{}
		if err := m.UnmarshalVT(Sendable(wireOf(t, layered(2, &Message{ElemArray: foreignElems()})), operator)); err != nil {
			t.Fatal(err)
		}
		FileURLs(m, func(_ string, url *string, flag *int32) {
			urls = append(urls, *url)
			if flag != nil && *flag != 0 && !operator {
				t.Error("a user sends a flag")
			}
		})
		return urls
	}
	const url = "https://cdn.example/media/0123456789abcdef0123456789abcdef"
	if got, want := sent(false), []string{url, url, "", url, "", "", url}; !slices.Equal(got, want) {
		t.Errorf("a user sends %q, want %q", got, want)
	}
	if got, want := sent(true), []string{url, url, url, url, "", "", url}; !slices.Equal(got, want) {
		t.Errorf("an operator sends %q, want %q", got, want)
	}
	// A field that occurs more than once is what it is when it is decoded.
	text := func(num protowire.Number, s string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, num, protowire.BytesType), s)
	}
	for _, c := range []struct{ first, last, want string }{{url, "u", ""}, {"u", url, url}, {urlOfUpload("http://x", anUpload, ""), url, url}} {
		body := slices.Concat(text(4, "id"), text(6, c.first), text(6, c.last))
		b := field(1, append([]byte{8, 4}, field(11, body...)...)...)
		m := &Message{}
		if err := m.UnmarshalVT(Sendable(b, false)); err != nil || m.ElemArray[0].GetFile().Url != c.want {
			t.Errorf("%q and %q are sent as %v (%v)", c.first, c.last, m, err)
		}
	}
}

// TestForeignFiles: a file with the URL of another server is no upload, whatever its id; a film of another server may have no picture.
func TestForeignFiles(t *testing.T) {
	elems := append(foreignElems(), &Elem{ElemType: ElemType_ELEM_TYPE_VIDEO, Body: &Elem_Video{&VideoElem{VideoId: "v", VideoUrl: "http://x/v"}}})
	got, err := MediaFiles(wireOf(t, &Message{ElemArray: elems}))
	want := []MediaFile{{ID: "id", Kind: ElemType_ELEM_TYPE_FILE, Field: "file_elem_file_id"}, {ID: anUpload, Kind: ElemType_ELEM_TYPE_VIDEO, Field: "video_elem_video_id"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("found %v (%v), want %v", got, err, want)
	}
}

// TestSendable: no path and, unless an operator sends it, no URL is left in what is sent, at any depth, and everything else is.
func TestSendable(t *testing.T) {
	for _, c := range []struct {
		name     string
		operator bool
		ends     []string
	}{{"user", false, []string{"_path", "_url", "_download_flag"}}, {"operator", true, []string{"_path"}}} {
		t.Run(c.name, rapid.MakeCheck(func(t *rapid.T) {
			m := &Message{}
			fill(t, m.ProtoReflect(), false, 2)
			m.ElemArray = append(m.ElemArray, mediaElems()...)
			if layers := rapid.IntRange(0, 4).Draw(t, "layers"); layers > 0 {
				m = merger(m, layered(layers-1, &Message{ElemArray: mediaElems()}))
			}
			got, want := &Message{}, proto.CloneOf(m)
			clearNamed(want.ProtoReflect(), c.ends...)
			b, err := m.MarshalVT()
			if err != nil {
				t.Fatal(err)
			}
			out := Sendable(b, c.operator)
			if err := got.UnmarshalVT(out); err != nil || !proto.Equal(got, want) {
				t.Fatalf("%v\nis sent as\n%v (%v), want\n%v", m, got, err, want)
			}
			if again := Sendable(out, c.operator); !bytes.Equal(again, out) {
				t.Fatalf("sent again it is %x, before %x", again, out)
			}
		}))
	}
	text := wireOf(t, Text("x"))
	if got := Sendable(text, false); &got[0] != &text[0] {
		t.Error("a message without files is copied")
	}
	deep := wireOf(t, layered(MaxLayers+1, &Message{ElemArray: mediaElems()}))
	for name, b := range map[string][]byte{"too deep": deep, "cut": deep[:len(deep)-1], "no message": {0xff}} {
		if got := Sendable(b, false); !bytes.Equal(got, b) {
			t.Errorf("%s: it is not what it was", name)
		}
	}
}

// TestMediaFiles: all files that a message names are found, at any depth; merged elements without an id name none.
func TestMediaFiles(t *testing.T) {
	elems := append(mediaElems(), &Elem{ElemType: ElemType_ELEM_TYPE_SOUND, Body: &Elem_Sound{&SoundElem{}}},
		&Elem{ElemType: ElemType_ELEM_TYPE_IMAGE, Body: &Elem_Image{&ImageElem{OrigId: "x", ThumbId: "x/thumb", ThumbPicSize: 2}}})
	want := []MediaFile{
		{ID: "o", Kind: ElemType_ELEM_TYPE_IMAGE, Field: "image_elem_orig_id"}, {ID: "l", Kind: ElemType_ELEM_TYPE_IMAGE, Field: "image_elem_large_id"},
		{ID: "t", Bytes: 9, Kind: ElemType_ELEM_TYPE_IMAGE, Field: "image_elem_thumb_id"}, {ID: "s", Bytes: 1, Kind: ElemType_ELEM_TYPE_SOUND, Field: "sound_elem_file_id"},
		{ID: "f", Bytes: 3, Kind: ElemType_ELEM_TYPE_FILE, Field: "file_elem_file_id"}, {ID: "v", Bytes: 4, Kind: ElemType_ELEM_TYPE_VIDEO, Field: "video_elem_video_id"},
		{ID: "i", Kind: ElemType_ELEM_TYPE_IMAGE, Field: "video_elem_image_id"}, {Kind: ElemType_ELEM_TYPE_SOUND, Field: "sound_elem_file_id"},
		{ID: "x", Kind: ElemType_ELEM_TYPE_IMAGE, Field: "image_elem_orig_id"}, {ID: "x", Size: MediaThumb, Bytes: 2, Kind: ElemType_ELEM_TYPE_IMAGE, Field: "image_elem_thumb_id"},
	}
	got, err := MediaFiles(wireOf(t, &Message{ElemArray: elems}))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("found %v (%v), want %v", got, err, want)
	}
	want = slices.DeleteFunc(want, func(f MediaFile) bool { return f.ID == "" })
	for i := range want {
		want[i].Merged = true
	}
	b := wireOf(t, layered(3, &Message{ElemArray: elems}))
	if got, err := MediaFiles(b); err != nil || !slices.Equal(got, want) {
		t.Errorf("merged, found %v (%v), want %v", got, err, want)
	}
	for i := range b {
		MediaFiles(b[:i]) // whatever it returns
	}
	for id, want := range map[string]bool{"": false, strings.Repeat("x", 32): true, strings.Repeat("x", 31): false, strings.Repeat("x", 33): false, strings.Repeat("x", 31) + "/": false,
		strings.Repeat("x", 31) + "\n": false, strings.Repeat("-", 32): true, strings.Repeat("a", 31) + "x": true,
		"0123456789abcdefABCDEF0123456789": false} { // a UUID
		if got := ValidMediaID(id); got != want {
			t.Errorf("%q may be an id: %t", id, got)
		}
	}
}

// TestLimitsOfMedia: each text and each number of an element with a file has a limit, which is exact and holds inside mergers.
func TestLimitsOfMedia(t *testing.T) {
	for _, e := range mediaElems() {
		body := e.ProtoReflect().WhichOneof(e.ProtoReflect().Descriptor().Oneofs().Get(0))
		fields := body.Message().Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			most, ok := proto.GetExtension(f.Options(), E_Max).(uint64)
			if !ok || most == 0 {
				t.Errorf("%s has no limit", f.FullName())
				continue
			}
			put := func(v []byte) []byte {
				elem := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(e.ElemType))
				return field(1, append(elem, field(body.Number(), v...)...)...)
			}
			number := func(n uint64) []byte {
				return put(protowire.AppendVarint(protowire.AppendTag(nil, f.Number(), protowire.VarintType), n))
			}
			good, bad := number(most), [][]byte{number(most + 1), number(1<<64 - 1)}
			if f.Kind() == protoreflect.StringKind {
				good, bad = put(field(f.Number(), many(int(most), byte('x'))...)), [][]byte{put(field(f.Number(), many(int(most)+1, byte('x'))...))}
			}
			inside := func(b []byte) []byte { // of a merger
				merger := append(field(3, 'c'), field(4, b...)...)
				return field(1, append([]byte{8, 12}, field(6, merger...)...)...)
			}
			for _, b := range [][]byte{good, inside(good)} {
				if _, err := CheckForm(b); err != nil {
					t.Errorf("%s at its limit: %v", f.FullName(), err)
				}
				if err := new(Message).UnmarshalVT(b); err != nil {
					t.Errorf("%s at its limit is not decoded: %v", f.FullName(), err)
				}
			}
			for _, b := range bad {
				for _, b := range [][]byte{b, inside(b)} {
					if _, err := CheckForm(b); err == nil || err.Code != CodeInvalidParameters || !strings.HasPrefix(err.Desc, f.JSONName()) {
						t.Errorf("%s above its limit: %v", f.FullName(), err)
					}
				}
			}
		}
	}
}

// FuzzSendable: whatever is sent has no path and only foreign URLs, and stays what it is otherwise.
func FuzzSendable(f *testing.F) {
	f.Add(wireOf(f, &Message{ElemArray: mediaElems()}))
	f.Add(wireOf(f, layered(3, &Message{ElemArray: mediaElems()})))
	f.Add(wireOf(f, layered(1, &Message{ElemArray: foreignElems()})))
	f.Add(wireOf(f, Text("x")))
	f.Fuzz(func(t *testing.T, b []byte) {
		out := Sendable(b, false)
		if _, err := CheckForm(b); err != nil {
			return
		}
		var m, got Message
		if err := m.UnmarshalVT(b); err != nil {
			t.Fatal(err)
		}
		if err := got.UnmarshalVT(out); err != nil {
			t.Fatalf("%x passes and is sent as %x, which is not decoded: %v", b, out, err)
		}
		withoutPlaces(&m)
		if !proto.Equal(&m, &got) {
			t.Fatalf("%x is sent as %v, want %v", b, &got, &m)
		}
	})
}
