package media

import (
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// TestProgramOpens: the app's program opens a file with the token in the URL that it was shown, for seven days, and nothing else with it.
func TestProgramOpens(t *testing.T) {
	p := start(t, Config{Unused: 30 * 24 * time.Hour})
	_, token := p.user("alice")
	id, other := strings.TrimPrefix(p.put(token, "image", encoded(t, "image/png", picture(300, 300))), prefix), strings.TrimPrefix(p.put(token, "file", []byte("another")), prefix)
	shown := func(rules *chat.Chat, id string) string {
		t.Helper()
		m := &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_FILE, Body: &im.Elem_File{File: &im.FileElem{FileId: id}}}}}
		rules.FormURLs(m)
		return m.ElemArray[0].GetFile().Url
	}
	if url := shown(p.rules, id); url != "" {
		t.Errorf("a server that does not know its address shows %q", url)
	}
	program := func(app uint64, key string) *chat.Chat {
		return chat.New(p.store, chat.Config{Clock: p.now, MediaKey: []byte(key), MediaURL: "http://im.example/x", AppID: app})
	}
	const key = "a key of this test"
	url := shown(program(0, key), id+"/thumb")
	path, ok := strings.CutPrefix(url, "http://im.example/x")
	if upload, size, known := im.UploadOf(url); !ok || !known || upload != id || size != "thumb" {
		t.Fatalf("shown %q", url)
	}
	_, good, _ := strings.Cut(path, "?token=")
	p.wantStatus(p.ask("GET", path, "", nil), 200)
	p.wantStatus(p.ask("GET", prefix+id+"/large", good, nil), 200)
	p.wantStatus(p.ask("GET", prefix+id+"/info?token="+good, "", nil), 200)
	p.wantStatus(p.ask("GET", prefix+other, good, nil), 403)
	p.wantStatus(p.ask("GET", prefix+newMediaID(), good, nil), 403)
	p.wantStatus(p.ask("POST", uploadPrefix, good, nil, "Upload-Length", "1"), 403)
	p.wantStatus(p.ask("DELETE", uploadPrefix+id, good, nil), 403)
	for name, rules := range map[string]*chat.Chat{"another app": program(7, key), "another key": program(0, "another key")} {
		if _, token, _ := strings.Cut(shown(rules, id), "?token="); token == "" || p.ask("GET", prefix+id, token, nil).status != 403 {
			t.Errorf("the token of %s opens a file", name)
		}
	}
	p.later(7*24*time.Hour - time.Second)
	p.wantStatus(p.ask("GET", path, "", nil), 200)
	p.later(2 * time.Second)
	p.wantStatus(p.ask("GET", path, "", nil), 403)
	if strings.Contains(p.log.String(), good) {
		t.Error("the token is in the log")
	}
}
