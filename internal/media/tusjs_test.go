package media

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidings-im/tidings/internal/testing/needs"
)

// TestTusClient: tus-js-client, which others have made, uploads here under the rules of a browser for pages of another origin: in parts, with a cut connection,
// after a stop, with checksums; it terminates an upload, and learns why one is refused.
func TestTusClient(t *testing.T) {
	node, dir := needs.Program(t, "node", "nodejs"), filepath.Join("testdata", "tusjs")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "tus-js-client")); err != nil {
		needs.Missing(t, "no tus-js-client. To have it: npm ci --prefix internal/media/%s", filepath.ToSlash(dir))
	}
	p := start(t, Config{})
	p.stop()
	p.cfg.Origins = []string{"https://chat.example"}
	p.start()
	read, token := p.user("alice")
	var parts atomic.Int64
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch && parts.Add(1) == 3 {
			r.Body = io.NopCloser(io.MultiReader(io.LimitReader(r.Body, 100<<10), breaks(func() {})))
		}
		p.media.ServeHTTP(w, r)
	}))
	defer front.Close()
	cmd := exec.CommandContext(t.Context(), node, "upload.mjs", front.URL+uploadPrefix, token)
	cmd.Dir = dir
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.StdoutPipe()
	p.ok(err)
	p.ok(cmd.Start())
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		words := strings.Fields(lines.Text())
		switch words[0] {
		case "whole", "resumed", "checked":
			a := p.ask("GET", p.read(strings.TrimPrefix(words[1], front.URL)), read, nil)
			if a.status != 200 || hashOf(a.body) != words[2] {
				t.Errorf("%s: it came back with %d and %d bytes", words[0], a.status, len(a.body))
			}
		case "terminated":
			p.wantStatus(p.ask("HEAD", strings.TrimPrefix(words[1], front.URL), token, nil), 404)
		default:
			words = append([]string{""}, lines.Text())
			words[0] = words[1]
		}
		said = append(said, words[0])
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, failed.String())
	}
	if got, want := strings.Join(said, ", "), "cut, whole, resumed, refused 460, checked, terminated, too large 413 7005"; got != want {
		t.Errorf("it says %s, want %s", got, want)
	}
}
