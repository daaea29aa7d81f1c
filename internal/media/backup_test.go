package media

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHold: while a backup holds the folder, nothing is deleted that went away meanwhile, and no file that no row knows; one that has died holds it for an hour.
func TestHold(t *testing.T) {
	p := start(t, Config{})
	_, token := p.user("alice")
	f := p.media.folder
	sweep := func(want int) {
		t.Helper()
		p.ok(p.media.Sweep(context.Background()))
		if files := p.files(); len(files) != want {
			t.Errorf("%d files, want %d: %q", len(files), want, files)
		}
	}
	path := p.put(token, "file", []byte("something"))
	stray := f.path(nameOf(hashOf([]byte("stray"))))
	p.ok(os.WriteFile(stray, []byte("stray"), 0o600))
	h, err := f.Hold()
	p.ok(err)
	p.wantStatus(p.ask("DELETE", uploadPrefix+strings.TrimPrefix(path, prefix), token, nil), 204)
	p.later(2 * grace)
	now := p.now()
	p.ok(os.Chtimes(h.name, now, now)) // as a backup that goes on
	sweep(3)                           // two, and the one that holds
	p.ok(h.Release())
	sweep(0)

	p.put(token, "file", []byte("something else"))
	p.ok(os.WriteFile(stray, []byte("stray"), 0o600))
	dead := filepath.Join(p.blob(), holdPrefix+newID(8))
	p.ok(os.WriteFile(dead, nil, 0o600))
	now = p.now()
	p.ok(os.Chtimes(dead, now, now))
	p.ok(os.Chtimes(stray, now.Add(-2*grace), now.Add(-2*grace)))
	sweep(3)
	p.later(grace + time.Second)
	sweep(1)
	if _, err := os.Stat(dead); err == nil {
		t.Error("what a dead backup has left stays")
	}
}

// TestHeldUp: a backup that was not renewed in time fails, and so does one whose file was taken away.
func TestHeldUp(t *testing.T) {
	p := start(t, Config{})
	p.user("alice")
	h, err := p.media.folder.hold(time.Hour, 0)
	p.ok(err)
	if err := h.Release(); !errors.Is(err, errHeldUp) {
		t.Error(err)
	}
	h, err = p.media.folder.Hold()
	p.ok(err)
	p.ok(os.Remove(h.name))
	if err := h.Release(); err == nil {
		t.Error("a hold that was taken away is good")
	}
	if list, _ := filepath.Glob(filepath.Join(p.blob(), holdPrefix+"*")); len(list) > 0 {
		t.Errorf("left are %q", list)
	}
}

// TestNames: only what this package has made is a name of a file.
func TestNames(t *testing.T) {
	hash := hashOf([]byte("x"))
	if hashIn(nameOf(hash)) != hash {
		t.Error("a name is none")
	}
	for _, name := range []string{"", hash, hash + "-", hash + "-../../../../../x", hash + "-" + strings.Repeat("g", 16), strings.ToUpper(hash) + "-0123456789abcdef", hash[1:] + "-0123456789abcdef"} {
		if hashIn(name) != "" {
			t.Errorf("%q is a name", name)
		}
	}
}
