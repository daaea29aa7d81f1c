package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSendFile: a file that was sent from the command line is downloaded equal by its receiver; an image is sent as one; nothing or both to send is refused, and
// so is a file that is not there.
func TestSendFile(t *testing.T) {
	s := &served{t: t, dir: t.TempDir()}
	s.start()
	dir := t.TempDir()
	run := func(args ...string) (string, error) {
		t.Helper()
		var stderr bytes.Buffer
		cmd := program(append([]string{args[0], "--server", "ws://" + s.addr, "--secret-key", killKey, "--dir", filepath.Join(dir, "of "+args[2])}, args[1:]...)...)
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if strings.Contains(stderr.String(), "[#") {
			t.Errorf("it shows progress where there is no terminal: %s", &stderr)
		}
		return string(out) + stderr.String(), err
	}
	ok := func(args ...string) string {
		t.Helper()
		out, err := run(args...)
		if err != nil {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
		return out
	}
	ok("send", "--user", "bob", "--to", "bob", "here I am")
	var img bytes.Buffer
	if err := png.Encode(&img, image.NewGray(image.Rect(0, 0, 3, 3))); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"a file.bin": bytes.Repeat([]byte("0123456789"), 300_000), "picture": img.Bytes()} {
		path, to := filepath.Join(dir, name), filepath.Join(dir, "copy of "+name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		var m struct {
			Elems []struct {
				Type  int    `json:"elem_type"`
				File  string `json:"file_elem_file_id"`
				Image string `json:"image_elem_orig_id"`
			} `json:"message_elem_array"`
		}
		if err := json.Unmarshal([]byte(ok("send", "--user", "alice", "--to", "bob", "--file", path)), &m); err != nil {
			t.Fatal(err)
		}
		if image := name == "picture"; image != (m.Elems[0].Type == 1) || image != (m.Elems[0].Image != "") {
			t.Errorf("%s is sent as %+v", name, m)
		}
		ok("download", "--user", "bob", "--id", m.Elems[0].File+m.Elems[0].Image, to)
		if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: it is another file, of %d bytes: %v", name, len(got), err)
		}
	}
	for what, args := range map[string][]string{
		"nothing": {"send", "--user", "alice", "--to", "bob"}, "both": {"send", "--user", "alice", "--to", "bob", "--file", "x", "hi"},
		"no such file": {"send", "--user", "alice", "--to", "bob", "--file", filepath.Join(dir, "none")}, "no id": {"download", "--user", "bob", filepath.Join(dir, "x")},
		"an unknown id": {"download", "--user", "bob", "--id", strings.Repeat("A", 32), filepath.Join(dir, "x")},
	} {
		if out, err := run(args...); err == nil {
			t.Errorf("%s: %s", what, out)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "x")); !os.IsNotExist(err) {
		t.Error("there is a file of a download that failed")
	}
}

// TestBar: the bar grows, and a new line ends it.
func TestBar(t *testing.T) {
	var out strings.Builder
	b := &bar{&out}
	for _, n := range []int64{0, 1 << 20, 100 << 20} {
		b.show(n, 100<<20)
	}
	b.show(0, 0)
	want := "\r[" + strings.Repeat(".", 40) + "]   0 %\r[" + strings.Repeat(".", 40) + "]   1 %\r[" + strings.Repeat("#", 40) + "] 100 %\n"
	if out.String() != want {
		t.Errorf("it shows %q, want %q", &out, want)
	}
}
