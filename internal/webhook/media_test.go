package webhook_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// onBoth runs a test with a webhook on both databases. The folder of files is named, because PostgreSQL has no default.
func onBoth(t *testing.T, f func(t *testing.T, r *receiver, s *imtest.Server)) {
	for _, db := range []string{"sqlite", "postgres"} {
		t.Run(db, func(t *testing.T) {
			r := listen(t)
			options := []imtest.Option{imtest.Webhook(r.URL, ""), quick, func(c *server.Config) { c.Blob = t.TempDir() }}
			if db == "postgres" {
				options = append(options, imtest.Postgres(pgtest.DSN(t)))
			}
			f(t, r, imtest.Start(t, options...))
		})
	}
}

// upload uploads a file as a client does, and returns its id.
func (c *conn) upload(s *imtest.Server, kind, content string) string {
	c.t.Helper()
	var tokens im.MediaTokensReply
	c.call(im.Method_MEDIA_TOKENS, &im.Empty{}, &tokens)
	base := "http" + strings.TrimPrefix(s.URL, "ws")
	do := func(method, url string, status int, body io.Reader, header ...string) *http.Response {
		c.t.Helper()
		req, err := http.NewRequest(method, url, body)
		if err != nil {
			c.t.Fatal(err)
		}
		header = append(header, "Authorization", "Bearer "+tokens.UploadToken, "Tus-Resumable", "1.0.0")
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			c.t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			c.t.Fatalf("%s is answered with %s", method, resp.Status)
		}
		return resp
	}
	path := do("POST", base+"/media/upload/", http.StatusCreated, nil, "Upload-Length", fmt.Sprint(len(content)),
		"Upload-Metadata", "kind "+base64.StdEncoding.EncodeToString([]byte(kind))).Header.Get("Location")
	do("PATCH", base+path, http.StatusNoContent, strings.NewReader(content), "Upload-Offset", "0", "Content-Type", "application/offset+octet-stream")
	return path[strings.LastIndex(path, "/")+1:]
}

// fileOf is an element with an upload.
func fileOf(id, content string) *im.Elem {
	return &im.Elem{ElemType: im.ElemType_ELEM_TYPE_FILE, Body: &im.Elem_File{File: &im.FileElem{FileId: id, FileSize: int32(len(content)), FileName: "a.txt", BusinessId: 7}}}
}

var urls = regexp.MustCompile(`"(?:Video|Thumb)?U(?:rl|RL)":"([^"]*)"`)

// opens checks that the URLs in a body load these contents, and returns them.
func (e *event) opens(t *testing.T, contents ...string) (found []string) {
	t.Helper()
	for _, m := range urls.FindAllStringSubmatch(e.body, -1) {
		found = append(found, m[1])
	}
	if len(found) != len(contents) {
		t.Fatalf("%s has the URLs %q, want %d", e.body, found, len(contents))
	}
	for i, url := range found {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || string(b) != contents[i] {
			t.Errorf("URL %d loads %s %q (%v), want %q", i, resp.Status, b, err, contents[i])
		}
	}
	return found
}

// stored returns the elements of the last message between two people, as the log has them.
func (c *conn) stored(key *im.ConvKey) []*im.Elem {
	c.t.Helper()
	var heads im.HeadsReply
	c.call(im.Method_HEADS, &im.HeadsRequest{Only: []*im.ConvKey{key}}, &heads)
	var r im.PullReply
	c.call(im.Method_PULL, &im.PullRequest{Conv: key, Epoch: heads.Heads[0].Epoch, From: heads.Heads[0].Seq, To: heads.Heads[0].Seq}, &r)
	return r.Entries[0].Message.GetElemArray()
}

func sameElems(t *testing.T, what string, got, want []*im.Elem) {
	t.Helper()
	if !proto.Equal(&im.Message{ElemArray: got}, &im.Message{ElemArray: want}) {
		t.Errorf("%s: %v\nwant %v", what, got, want)
	}
}

func c2c(user string) *im.ConvKey { return &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: user} }

func (c *conn) say(n uint32, to *im.ConvKey, elems ...*im.Elem) int32 {
	c.t.Helper()
	return c.try(im.Method_SEND, &im.SendRequest{Conv: to, ClientTime: uint64(time.Now().Unix()), Random: n, Message: &im.Message{ElemArray: elems}}, &im.SendReply{})
}

// TestFilesInWebhooks: the program gets URLs that open the uploads of a message without a session, each only its own; neither they nor their tokens are stored.
func TestFilesInWebhooks(t *testing.T) {
	onBoth(t, func(t *testing.T, r *receiver, s *imtest.Server) {
		ann := connect(t, s, "ann")
		connect(t, s, "bob")
		film, picture, doc := ann.upload(s, "video", "a film"), ann.upload(s, "image", "a picture"), ann.upload(s, "file", "a text")
		elems := []*im.Elem{
			{ElemType: im.ElemType_ELEM_TYPE_VIDEO, Body: &im.Elem_Video{Video: &im.VideoElem{VideoId: film, VideoSize: 6, VideoDuration: 1, ImageId: picture, ImageSize: 9}}},
			{ElemType: im.ElemType_ELEM_TYPE_MERGER, Body: &im.Elem_Merger{Merger: &im.MergerElem{Title: "t", CompatibleText: "c", MessageArray: []*im.Message{{ElemArray: []*im.Elem{fileOf(doc, "a text")}}}}}},
		}
		contents := []string{"a film", "a picture", "a text"}
		if code := ann.say(1, c2c("bob"), elems...); code != 0 {
			t.Fatalf("answered with %d", code)
		}
		before, after := r.next(beforeSend), r.next(afterSend)
		found := before.opens(t, contents...)
		after.opens(t, contents...)
		sameElems(t, "stored", ann.stored(c2c("bob")), elems)
		for _, url := range []string{found[0][:len(found[0])-2], strings.Replace(found[0], film, doc, 1), strings.Replace(found[0], "/"+film, "/upload/"+film, 1)} {
			if resp, err := http.Get(url); err != nil || resp.StatusCode == http.StatusOK {
				t.Errorf("another file is opened: %v", err)
			} else {
				resp.Body.Close()
			}
		}
		if code := ann.say(2, c2c("bob"), fileOf(strings.Repeat("x", 32), "1")); code != im.CodeInvalidElem || r.count(beforeSend) != 1 {
			t.Errorf("a file that was not uploaded: %d, asked %d times", code, r.count(beforeSend))
		}

		// To groups, and in live rooms, whose notifications wait in the database.
		ann.found("g", im.GroupType_GROUP_TYPE_PUBLIC, "bob")
		ann.found("hall", im.GroupType_GROUP_TYPE_AVCHATROOM)
		ann.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: group("hall")}, &im.JoinGroupReply{})
		for i, id := range []string{"g", "hall"} {
			if code := ann.say(uint32(3+i), toGroup(id, 0, "").Conv, fileOf(doc, "a text")); code != 0 {
				t.Fatalf("%s: answered with %d", id, code)
			}
			for _, command := range []string{beforeGroup, afterGroup} {
				e := r.next(command)
				e.opens(t, "a text")
			}
		}
	})
}

// TestFilesInAnswers: what the program sends back of a message stays as it is, with the file; another URL is a file of another server; and an answer that
// names a file that is not there, or not as it is, counts as none.
func TestFilesInAnswers(t *testing.T) {
	onBoth(t, func(t *testing.T, r *receiver, s *imtest.Server) {
		ann := connect(t, s, "ann")
		connect(t, s, "bob")
		id := ann.upload(s, "file", "a text")
		own := fileOf(id, "a text")
		renamed := fileOf(id, "a text")
		renamed.GetFile().FileName, renamed.GetFile().BusinessId = "b.txt", 0
		foreign := &im.Elem{ElemType: im.ElemType_ELEM_TYPE_FILE, Body: &im.Elem_File{File: &im.FileElem{FileId: "u", Url: "https://cdn.example/f", FileSize: 6, FileName: "a.txt", DownloadFlag: 2}}}
		content := func(e *event) string {
			var elems []struct{ MsgContent json.RawMessage }
			if err := json.Unmarshal(e.MsgBody, &elems); err != nil {
				t.Error(err)
			}
			return string(elems[0].MsgContent)
		}
		with := func(change func(content string) string) func(e *event) string {
			return func(e *event) string {
				return `{"ErrorCode":0,"MsgBody":[{"MsgType":"TIMFileElem","MsgContent":` + change(content(e)) + `},{"MsgType":"TIMTextElem","MsgContent":{"Text":"seen"}}]}`
			}
		}
		replaced := func(pattern, by string) func(e *event) string {
			return with(func(c string) string { return regexp.MustCompile(pattern).ReplaceAllString(c, by) })
		}
		seen := im.Text("seen").ElemArray[0]
		for i, c := range []struct {
			name   string
			answer func(e *event) string
			want   []*im.Elem
		}{
			{"all of it", func(e *event) string { return `{"ErrorCode":0,"MsgBody":` + string(e.MsgBody) + `}` }, []*im.Elem{own}},
			{"with a text", with(func(c string) string { return c }), []*im.Elem{own, seen}},
			{"another name", replaced(`a\.txt`, "b.txt"), []*im.Elem{renamed, seen}},
			{"another server", replaced(`"Url":"[^"]*","UUID":"[^"]*"`, `"Url":"https://cdn.example/f","UUID":"u"`), []*im.Elem{foreign, seen}},
			{"no URL", replaced(`"Url":"[^"]*"`, `"Url":""`), []*im.Elem{own, seen}},
			{"no http", replaced(`"Url":"[^"]*"`, `"Url":"file:///etc/passwd"`), []*im.Elem{own}},
			{"another UUID", replaced(`"UUID":"[^"]*"`, `"UUID":"`+strings.Repeat("x", 32)+`"`), []*im.Elem{own}},
			{"another upload", replaced(id, strings.Repeat("x", 32)), []*im.Elem{own}},
			{"another size", replaced(`"FileSize":6`, `"FileSize":7`), []*im.Elem{own}},
		} {
			r.on(beforeSend, c.answer)
			if code := ann.say(uint32(1+i), c2c("bob"), own); code != 0 {
				t.Errorf("%s: answered with %d", c.name, code)
			}
			sameElems(t, c.name, ann.stored(c2c("bob")), c.want)
		}
	})
}

// TestFilesOfOperators: the admin API sends files of other servers and uploads, and a user forwards them; a message is modified to have other files.
func TestFilesOfOperators(t *testing.T) {
	const uuid = "0123456789abcdef0123456789abcdef"
	onBoth(t, func(t *testing.T, r *receiver, s *imtest.Server) {
		ann := connect(t, s, "ann")
		connect(t, s, "bob")
		ann.found("g", im.GroupType_GROUP_TYPE_PUBLIC, "bob")
		id := ann.upload(s, "file", "a text")
		foreign := fmt.Sprintf(`[{"MsgType":"TIMSoundElem","MsgContent":{"Url":"https://cdn.example/media/%[1]s","UUID":"%[1]s","Size":6400,"Second":4,"Download_Flag":2}},
			{"MsgType":"TIMImageElem","MsgContent":{"UUID":"%[1]s","ImageFormat":1,"ImageInfoArray":[{"Type":1,"Size":9,"Width":3,"Height":3,"URL":"https://cdn.example/o"},{"Type":3,"Size":4,"Width":1,"Height":1,"URL":"https://cdn.example/t"}]}},
			{"MsgType":"TIMVideoFileElem","MsgContent":{"VideoUrl":"https://cdn.example/v","VideoUUID":"v","VideoSize":5,"VideoSecond":1,"VideoFormat":"mp4","VideoDownloadFlag":2}}]`, uuid)
		want := []*im.Elem{
			{ElemType: im.ElemType_ELEM_TYPE_SOUND, Body: &im.Elem_Sound{Sound: &im.SoundElem{FileId: uuid, Url: "https://cdn.example/media/" + uuid, FileSize: 6400, FileTime: 4, DownloadFlag: 2}}},
			{ElemType: im.ElemType_ELEM_TYPE_IMAGE, Body: &im.Elem_Image{Image: &im.ImageElem{Format: 1, OrigId: uuid, OrigPicSize: 9, OrigPicWidth: 3, OrigPicHeight: 3, OrigUrl: "https://cdn.example/o",
				ThumbId: uuid + "/thumb", ThumbPicSize: 4, ThumbPicWidth: 1, ThumbPicHeight: 1, ThumbUrl: "https://cdn.example/t"}}},
			{ElemType: im.ElemType_ELEM_TYPE_VIDEO, Body: &im.Elem_Video{Video: &im.VideoElem{VideoId: "v", VideoUrl: "https://cdn.example/v", VideoSize: 5, VideoDuration: 1, VideoType: "mp4", VideoDownloadFlag: 2}}},
		}
		key := s.Operate("openim/sendmsg", `{"From_Account":"bob","To_Account":"ann","MsgRandom":1,"MsgBody":`+foreign+`}`)
		sameElems(t, "to a user", ann.stored(c2c("bob")), want)
		e := r.next(afterSend)
		if got := urls.FindAllStringSubmatch(e.body, -1); len(got) != 5 || got[0][1] != "https://cdn.example/media/"+uuid || strings.Contains(e.body, "token") {
			t.Errorf("the program is told %s", e.body)
		}
		s.Operate("group_open_http_svc/send_group_msg", `{"GroupId":"g","Random":1,"MsgBody":`+foreign+`}`)
		sameElems(t, "to a group", ann.stored(toGroup("g", 0, "").Conv), want)

		// A user forwards it. The flag is the reader's.
		forward := proto.CloneOf(&im.Message{ElemArray: want})
		forwarded := proto.CloneOf(forward)
		im.FileURLs(forwarded, func(_ string, _ *string, flag *int32) {
			if flag != nil {
				*flag = 0
			}
		})
		if code := ann.say(2, c2c("bob"), forward.ElemArray...); code != 0 {
			t.Errorf("a forward is answered with %d", code)
		}
		sameElems(t, "forwarded", ann.stored(c2c("bob")), forwarded.ElemArray)
		// But not under the id of an upload.
		claimed := fileOf(id, "a text")
		claimed.GetFile().Url = "https://evil.example/x"
		if code := ann.say(3, c2c("bob"), claimed); code != 0 {
			t.Errorf("answered with %d", code)
		}
		sameElems(t, "claimed", ann.stored(c2c("bob")), []*im.Elem{fileOf(id, "a text")})

		// An upload, by its id or as the program was shown it.
		shown := regexp.MustCompile(`"MsgBody":(\[.*\]),"Cloud`).FindStringSubmatch(nextWith(r, id).body)[1]
		s.Operate("openim/sendmsg", `{"From_Account":"bob","To_Account":"ann","MsgRandom":4,"MsgBody":`+shown+`}`)
		plain := fileOf(id, "a text")
		plain.GetFile().BusinessId = 0
		sameElems(t, "as shown", ann.stored(c2c("bob")), []*im.Elem{plain})

		// Another file instead, or none.
		var sent struct{ MsgKey string }
		if err := json.Unmarshal([]byte(key), &sent); err != nil {
			t.Fatal(err)
		}
		modified := func(body string) *im.Message {
			t.Helper()
			s.Operate("openim/modify_c2c_msg", fmt.Sprintf(`{"From_Account":"bob","To_Account":"ann","MsgKey":%q,"MsgBody":%s}`, sent.MsgKey, body))
			var heads im.HeadsReply
			ann.call(im.Method_HEADS, &im.HeadsRequest{Only: []*im.ConvKey{c2c("bob")}}, &heads)
			var p im.PullReply
			ann.call(im.Method_PULL, &im.PullRequest{Conv: c2c("bob"), Epoch: heads.Heads[0].Epoch, From: 1, To: 1}, &p)
			return p.Entries[0].Message
		}
		if m := modified(`[{"MsgType":"TIMFileElem","MsgContent":{"Url":"https://cdn.example/other","UUID":"o","FileSize":1,"FileName":"o"}}]`); m.ElemArray[0].GetFile().GetUrl() != "https://cdn.example/other" {
			t.Errorf("modified to %v", m)
		}
		if m := modified(`[{"MsgType":"TIMTextElem","MsgContent":{"Text":"removed"}}]`); im.TextOf(m) != "removed" {
			t.Errorf("modified to %v", m)
		}
	})
}

// nextWith waits for the next notification with a text in it.
func nextWith(r *receiver, text string) event {
	for {
		if e := r.next(afterSend); strings.Contains(e.body, text) {
			return e
		}
	}
}

// refusal returns the code of a call of the admin API.
func refusal(t *testing.T, s *imtest.Server, command, body string) int {
	t.Helper()
	resp, err := http.Post(fmt.Sprintf("http%s/v4/%s?sdkappid=%d&identifier=%s&usersig=%s", strings.TrimPrefix(s.URL, "ws"), command, s.AppID, imtest.Admin, url.QueryEscape(s.Sig(imtest.Admin))),
		"application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ ErrorCode int }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.ErrorCode
}

// TestRefusedFiles: files that are not there, or whose fields are not right, are refused with the code for elements.
func TestRefusedFiles(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), quick)
	connect(t, s, "ann").found("g", im.GroupType_GROUP_TYPE_PUBLIC)
	var codes []int
	for _, content := range []string{`{"UUID":"0123456789abcdef0123456789abcdef","FileSize":1}`, `{"UUID":"` + strings.Repeat("x", 32) + `","FileSize":1}`, `{"FileSize":1}`, `{"Url":"x"}`} {
		body := `"MsgBody":[{"MsgType":"TIMFileElem","MsgContent":` + content + `}]}`
		codes = append(codes, refusal(t, s, "openim/sendmsg", `{"To_Account":"ann","MsgRandom":1,`+body), refusal(t, s, "group_open_http_svc/send_group_msg", `{"GroupId":"g","Random":1,`+body))
	}
	if !slices.Equal(codes, []int{90010, 10004, 90010, 10004, 90010, 10004, 90010, 10004}) {
		t.Errorf("refused with %d", codes)
	}
}
