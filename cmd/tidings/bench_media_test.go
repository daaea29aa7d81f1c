package main

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/internal/testing/soak"
)

// TestBenchMedia: files go up and come down, images are made smaller, and messages of others are measured before and meanwhile. The long form is the load that
// the server must bear: 50 uploads of 100 MB at a time, over a line of 50 MB/s, cost a message between two people no more than twice the time and the server at most 256 MB, and 20 images
// of 12 megapixels at a time at most 512 MB.
func TestBenchMedia(t *testing.T) {
	args := soak.Pick([]string{"--file-size", "100000", "--uploads", "3", "--images", "2", "--megapixels", "1", "--pairs", "2", "--c2c-rate", "50", "--seconds", "0.5"},
		[]string{"--file-size", "104857600", "--uploads", "50", "--images", "20", "--megapixels", "12", "--line", "50", "--seconds", "60"})
	out, err := program(append([]string{"bench", "media", "--json", "--dir", t.TempDir()}, args...)...).Output()
	var r mediaResult
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil || r.Files < 3 || r.Up <= 0 || r.Down <= 0 || r.ImagesPerS <= 0 || r.C2CAlone <= 0 || r.C2CUp <= 0 || r.C2CDown <= 0 || r.C2CImages <= 0 || r.RSS <= 0 {
		text := ""
		if e := (*exec.ExitError)(nil); errors.As(err, &e) {
			text = string(e.Stderr)
		}
		t.Errorf("%s: %v: %s", out, err, text)
	}
	if r.RSSUp > 256 || r.RSSImages > 512 {
		t.Errorf("the server's memory: %s", out)
	}
	if soak.On() && r.UpRatio > 2 {
		t.Errorf("messages of others: %s", out)
	}
	t.Logf("%s", out)
	for _, args := range [][]string{{"--file-size", "1"}, {"--uploads", "0"}, {"--images", "-1"}, {"--megapixels", "41"}, {"--seconds", "0"}, {"--line", "-1"}} {
		out, err := program(append([]string{"bench", "media"}, args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "all numbers are positive") {
			t.Errorf("%v: %v, %s", args, err, out)
		}
	}
}
