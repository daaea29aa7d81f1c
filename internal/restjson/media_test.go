package restjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tidings-im/tidings/im"
)

// uuid looks like what other servers name files by, upload is the id of one of ours, and formed its URL.
const (
	uuid   = "0123456789abcdef0123456789abcdef"
	upload = "0123456789abcdef0123456789abcde_"
)

func formed(path string) string {
	return "http://im.example/media/" + path + "?token=" + strings.Repeat("Ab-_", 19)
}

// TestFilesAreRead: the fields of elements with files become those of the SDK's elements; each size of an image has an id of its own.
func TestFilesAreRead(t *testing.T) {
	sample, err := os.ReadFile("testdata/msgbody.json")
	if err != nil {
		t.Fatal(err)
	}
	elems, err := ReadBody(sample)
	if err != nil {
		t.Fatal(err)
	}
	want := []*im.Elem{
		{ElemType: im.ElemType_ELEM_TYPE_SOUND, Body: &im.Elem_Sound{Sound: &im.SoundElem{FileId: "u-1", Url: "https://im.example/f/a.aac", FileSize: 6400, FileTime: 4, DownloadFlag: 2}}},
		{ElemType: im.ElemType_ELEM_TYPE_IMAGE, Body: &im.Elem_Image{Image: &im.ImageElem{Format: 1,
			OrigId: "u-2", OrigUrl: "https://im.example/f/o.jpg", OrigPicSize: 90000, OrigPicWidth: 1920, OrigPicHeight: 1080,
			LargeId: "u-2/large", LargeUrl: "https://im.example/f/l.jpg", LargePicSize: 20000, LargePicWidth: 720, LargePicHeight: 405,
			ThumbId: "u-2/thumb", ThumbUrl: "https://im.example/f/t.jpg", ThumbPicSize: 4000, ThumbPicWidth: 198, ThumbPicHeight: 111}}},
		{ElemType: im.ElemType_ELEM_TYPE_FILE, Body: &im.Elem_File{File: &im.FileElem{FileId: "u-3", Url: "https://im.example/f/d.pdf", FileSize: 1200, FileName: "d.pdf", DownloadFlag: 2}}},
		{ElemType: im.ElemType_ELEM_TYPE_VIDEO, Body: &im.Elem_Video{Video: &im.VideoElem{
			VideoId: "u-4", VideoUrl: "https://im.example/f/v.mp4", VideoSize: 500000, VideoDuration: 12, VideoType: "mp4", VideoDownloadFlag: 2,
			ImageId: "u-5", ImageUrl: "https://im.example/f/v.jpg", ImageSize: 9000, ImageWidth: 320, ImageHeight: 180, ImageType: "JPG", ImageDownloadFlag: 2}}},
	}
	for i, w := range want {
		if !proto.Equal(elems[4+i], w) {
			t.Errorf("read %v\nwant %v", elems[4+i], w)
		}
	}
}

// TestPlaces: a file of another server keeps its URL and its id; of an upload, the URL that the server has formed is not kept.
func TestPlaces(t *testing.T) {
	const foreign = "https://cdn.example/media/" + uuid
	for _, c := range []struct{ url, uuid, id, kept string }{
		{foreign, uuid, uuid, foreign},
		{foreign, "", "", foreign},
		{"https://cdn.example/x", upload, upload, "https://cdn.example/x"},
		{"", upload, upload, ""},
		{"", uuid, uuid, ""},
		{formed(upload), upload, upload, ""},
		{formed(upload), "", upload, ""},
		{formed(upload + "/thumb"), upload, upload + "/thumb", ""},
	} {
		elems, err := ReadBody(fmt.Appendf(nil, `[{"MsgType":"TIMFileElem","MsgContent":{"Url":%q,"UUID":%q}}]`, c.url, c.uuid))
		if err != nil {
			t.Fatal(err)
		}
		if f := elems[0].GetFile(); f.FileId != c.id || f.Url != c.kept {
			t.Errorf("%q with %q is read as %v", c.url, c.uuid, f)
		}
	}
	elems, err := ReadBody(fmt.Appendf(nil, `[{"MsgType":"TIMImageElem","MsgContent":{"UUID":%q,"ImageInfoArray":[{"Type":1,"URL":%q},{"Type":2},{"Type":3,"URL":%q}]}}]`,
		upload, formed(upload), formed(upload)))
	if err != nil {
		t.Fatal(err)
	}
	if f := elems[0].GetImage(); f.OrigId != upload || f.LargeId != upload+"/large" || f.ThumbId != upload || f.OrigUrl+f.LargeUrl+f.ThumbUrl != "" {
		t.Errorf("an image is read as %v", f)
	}
}

// TestBadFiles: what no element can have is refused, with the name of the field.
func TestBadFiles(t *testing.T) {
	for _, c := range []struct{ content, says string }{
		{`"TIMFileElem","MsgContent":{"Url":"ftp://x/y"}`, "Url is not"},
		{`"TIMFileElem","MsgContent":{"Url":"/f/d.pdf"}`, "Url is not"},
		{`"TIMFileElem","MsgContent":{"Url":"https://x/` + strings.Repeat("a", im.MaxURL) + `"}`, "Url is not"},
		{`"TIMFileElem","MsgContent":{"Url":"` + formed(upload) + `","UUID":"other"}`, "UUID is not the upload"},
		{`"TIMFileElem","MsgContent":{"Url":"https://x","UUID":"` + strings.Repeat("a", 257) + `"}`, "file_id has 257 bytes"},
		{`"TIMFileElem","MsgContent":{"Url":"https://x","FileName":"` + strings.Repeat("a", 1025) + `"}`, "file_name has 1025 bytes"},
		{`"TIMFileElem","MsgContent":{"Url":"https://x","FileSize":-1}`, "file_size"},
		{`"TIMFileElem","MsgContent":{"Url":"https://x","FileSize":2147483648}`, "FileSize"},
		{`"TIMFileElem","MsgContent":{"Url":7}`, "Url"},
		{`"TIMSoundElem","MsgContent":{"Url":"https://x","Second":-1}`, "file_time"},
		{`"TIMSoundElem","MsgContent":{"Url":"https://x","Size":"1"}`, "Size"},
		{`"TIMVideoFileElem","MsgContent":{"VideoUrl":"x"}`, "VideoUrl is not"},
		{`"TIMVideoFileElem","MsgContent":{"VideoUrl":"https://x","ThumbUrl":"x"}`, "ThumbUrl is not"},
		{`"TIMVideoFileElem","MsgContent":{"VideoUrl":"https://x","VideoSize":-1}`, "VideoSize"},
		{`"TIMVideoFileElem","MsgContent":{"VideoUrl":"https://x","VideoFormat":"` + strings.Repeat("a", 65) + `"}`, "video_type"},
		{`"TIMImageElem","MsgContent":{"ImageInfoArray":[{"Type":4,"URL":"https://x"}]}`, "ImageInfoArray[0]"},
		{`"TIMImageElem","MsgContent":{"ImageInfoArray":[{"Type":1,"URL":"https://x"},{"Type":1,"URL":"https://x"}]}`, "ImageInfoArray[1]"},
		{`"TIMImageElem","MsgContent":{"ImageInfoArray":[{"Type":1,"URL":"javascript:x"}]}`, "URL is not"},
		{`"TIMImageElem","MsgContent":{"ImageFormat":256,"ImageInfoArray":[{"Type":1,"URL":"https://x"}]}`, "image_elem_format"},
		{`"TIMImageElem","MsgContent":{"ImageInfoArray":{}}`, "ImageInfoArray"},
	} {
		_, err := ReadBody([]byte(`[{"MsgType":` + c.content + `}]`))
		if im.CodeOf(err) != CodeElement || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "token") {
			t.Errorf("%.200s: %v, want %q", c.content, err, c.says)
		}
	}
}

// FuzzBody: what can be read is the same after it was written and read again, and was never more than a message may have.
func FuzzBody(f *testing.F) {
	sample, err := os.ReadFile("testdata/msgbody.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(sample))
	for _, url := range []string{formed(upload), formed(upload + "/large"), "https://cdn.example/a", "", "x"} {
		f.Add(fmt.Sprintf(`[{"MsgType":"TIMImageElem","MsgContent":{"UUID":%q,"ImageInfoArray":[{"Type":1,"URL":%[2]q},{"Type":2,"URL":%[2]q}]}}]`, upload, url))
		f.Add(fmt.Sprintf(`[{"MsgType":"TIMRelayElem","MsgContent":{"MsgList":[{"MsgBody":[{"MsgType":"TIMVideoFileElem","MsgContent":{"VideoUrl":%q,"ThumbUUID":%q}}]}]}}]`, url, uuid))
	}
	f.Fuzz(func(t *testing.T, text string) {
		elems, err := ReadBody(json.RawMessage(text))
		if err != nil {
			return
		}
		im.FileURLs(&im.Message{ElemArray: elems}, func(_ string, url *string, _ *int32) {
			if *url != "" && !im.IsForeignURL(*url) {
				t.Errorf("%q is kept", *url)
			}
		})
		first, err := Marshal(Elems(elems))
		if err != nil {
			return
		}
		again, err := ReadBody(first)
		if err != nil {
			t.Fatalf("%s cannot be read again: %v", first, err)
		}
		if second, err := Marshal(Elems(again)); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%s\nbecomes\n%s (%v)", first, second, err)
		}
	})
}
