package ctest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/imtest"
)

// TestSendFile: a C program sends an image and a file of its disk. Its callback gets the progress, and the result and the receiver the keys of the TIM API; what cannot be
// uploaded fails with its code, and an upload can be cancelled.
func TestSendFile(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := newDevice(t, s, "ann", ""), newDevice(t, s, "bob", "")
	ann.call("TIMSetMsgElemUploadProgressCallback", on)
	ann.login()
	bob.login()
	bob.synced(0)
	dir := t.TempDir()
	pic := image.NewGray(image.Rect(0, 0, 300, 400))
	for i := range 300 {
		pic.Set(i, i, color.White)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, pic); err != nil {
		t.Fatal(err)
	}
	file := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	imagePath, filePath := write("ü.png", b.Bytes()), write("notes.txt", file)
	elems := func(image, file string) string {
		return fmt.Sprintf(`{"message_elem_array":[{"elem_type":0,"text_elem_content":"see"},{"elem_type":1,"image_elem_orig_path":%q,"image_elem_level":0},{"elem_type":4,"file_elem_file_path":%q}]}`,
			image, file)
	}
	r, id, call := ann.callID("TIMMsgSendMessage", "bob", 1, elems(imagePath, filePath), on, on)
	a := ann.answerOf(call, "TIMMsgSendMessage")
	if r != 0 || a.code != 0 {
		t.Fatalf("send: %d, %+v", r, a)
	}
	type full struct {
		ID     string           `json:"message_msg_id"`
		Status int              `json:"message_status"`
		Elems  []map[string]any `json:"message_elem_array"`
	}
	read := func(text string) full {
		t.Helper()
		return decode[full](t, text)
	}
	// keys checks that an element has exactly these keys, and that those with a value have it.
	keys := func(who string, e map[string]any, want map[string]any) {
		t.Helper()
		for k, v := range want {
			if n, ok := v.(int); ok {
				v = float64(n)
			}
			if got, ok := e[k]; !ok || v != nil && fmt.Sprint(got) != fmt.Sprint(v) {
				t.Errorf("%s: %s is %v, want %v", who, k, got, v)
			}
		}
		for k := range e {
			if _, ok := want[k]; !ok {
				t.Errorf("%s: there is %s", who, k)
			}
		}
	}
	load := func(e map[string]any, key string, want int) {
		t.Helper()
		url, _ := e[key].(string)
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || len(b) != want {
			t.Errorf("%s: %d, %d bytes, want %d", key, resp.StatusCode, len(b), want)
		}
	}
	check := func(who, text, imageAt, fileAt string) {
		t.Helper()
		m := read(text)
		if m.ID != id || m.Status != 2 || len(m.Elems) != 3 {
			t.Fatalf("%s: %s", who, text)
		}
		e := m.Elems[1]
		keys(who, e, map[string]any{"elem_type": 1, "image_elem_orig_path": imageAt, "image_elem_level": 0, "image_elem_format": 3,
			"image_elem_orig_id": nil, "image_elem_orig_pic_width": 300, "image_elem_orig_pic_height": 400, "image_elem_orig_pic_size": b.Len(), "image_elem_orig_url": nil,
			"image_elem_large_id": nil, "image_elem_large_pic_width": 300, "image_elem_large_pic_height": 400, "image_elem_large_pic_size": b.Len(), "image_elem_large_url": nil,
			"image_elem_thumb_id": nil, "image_elem_thumb_pic_width": 198, "image_elem_thumb_pic_height": 264, "image_elem_thumb_pic_size": nil, "image_elem_thumb_url": nil})
		load(e, "image_elem_orig_url", b.Len())
		load(e, "image_elem_thumb_url", int(e["image_elem_thumb_pic_size"].(float64)))
		f := m.Elems[2]
		keys(who, f, map[string]any{"elem_type": 4, "file_elem_file_path": fileAt, "file_elem_file_name": "notes.txt", "file_elem_file_size": len(file), "file_elem_file_id": nil,
			"file_elem_business_id": 0, "file_elem_url": nil, "file_elem_download_flag": 2})
		load(f, "file_elem_url", len(file))
	}
	check("the result", a.json, imagePath, filePath)
	got := bob.wait(0, "the message", func(l line) bool { return l.kind == "TIMRecvNewMsgCallback" })
	check("bob", string(decode[[]json.RawMessage](t, got.fields[0])[0]), "", "")

	// The calls before the result: (message, index, bytes, all bytes).
	lines := ann.all()
	progress := map[int][]int{}
	sizes := map[int]int{1: b.Len(), 2: len(file)}
	result := -1
	for i, l := range lines {
		switch {
		case l.kind == "TIMMsgElemUploadProgressCallback":
			m := decode[message](t, l.fields[0])
			if m.ID != id || m.Status != 1 || !m.Self || result >= 0 || l.num(3) != sizes[l.num(1)] {
				t.Errorf("call %s", l)
			}
			progress[l.num(1)] = append(progress[l.num(1)], l.num(2))
		case strings.Contains(l.String(), `"message_status":2`) && strings.Contains(l.String(), id) && l.kind == "TIMCommCallback":
			result = i
		}
	}
	for index, size := range sizes {
		p := progress[index]
		if len(p) < 2 || p[0] != 0 || p[len(p)-1] != size {
			t.Errorf("progress of element %d: %v", index, p)
		}
		for i := 1; i < len(p); i++ {
			if p[i] <= p[i-1] {
				t.Errorf("progress of element %d: %v", index, p)
			}
		}
	}

	// What cannot be uploaded.
	before := len(ann.all())
	for path, code := range map[string]int{filepath.Join(dir, "none"): 7004, dir: 7007, write("empty", nil): 7006} {
		if a := ann.ask("TIMMsgSendMessage", "bob", 1, elems(imagePath, path), on, on); a.code != code || decode[message](t, a.json).Status != 3 {
			t.Errorf("%s: %+v, want %d", path, a, code)
		}
	}
	if a := ann.ask("TIMMsgSendMessage", "bob", 1, elems(filePath, filePath), on, on); a.code != 6031 {
		t.Errorf("a text as an image: %+v", a)
	}
	for _, l := range ann.all()[before:] {
		if l.kind == "TIMMsgElemUploadProgressCallback" {
			t.Errorf("call %s", l)
		}
	}

	// An upload is cancelled.
	big := write("big", bytes.Repeat(file, 60))
	from := ann.position()
	_, id, call = ann.callID("TIMMsgSendMessage", "bob", 1, elems(imagePath, big), on, on)
	ann.wait(from, "the beginning", func(l line) bool { return l.kind == "TIMMsgElemUploadProgressCallback" })
	if a := ann.ask("TIMMsgCancelSend", "bob", 1, id, on); a.code != 0 || decode[message](t, a.json).Status != 7 {
		t.Errorf("cancelled: %+v", a)
	}
	if a := ann.answerOf(call, "TIMMsgSendMessage"); a.code != 8021 || decode[message](t, a.json).Status != 7 {
		t.Errorf("the send: %+v", a)
	}
	// To many users, with one upload.
	at := bob.position()
	batch := ann.must("TIMMsgBatchSend", `{"msg_batch_send_param_identifier_array":["bob","ann"],"msg_batch_send_param_msg":`+elems(imagePath, filePath)+`}`, on)
	if strings.Count(batch, `"msg_batch_send_result_code":0`) != 2 {
		t.Errorf("batch: %s", batch)
	}
	bob.wait(at, "the message to many", func(l line) bool {
		return l.kind == "TIMRecvNewMsgCallback" && strings.Contains(l.fields[0], "notes.txt")
	})
}
