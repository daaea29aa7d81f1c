package local

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidings-im/tidings/internal/private"
)

// OpenDevice finds the device's folder in dir, or that of an app in it, and the device id in it. With a folder that cannot be written, the device
// exists for as long as the process lives.
func OpenDevice(dir string, app uint64, log *slog.Logger) (string, string) {
	if app != 0 {
		dir = appFolder(dir, app, log)
	}
	name := filepath.Join(dir, "device")
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		var b []byte
		if b, err = os.ReadFile(name); err == nil && len(strings.TrimSpace(string(b))) == 32 {
			if err := private.Narrow(name); err != nil {
				log.Warn("others may be able to read the device's id", "file", name, "error", err)
			}
			return dir, strings.TrimSpace(string(b))
		}
	}
	fresh := make([]byte, 16)
	rand.Read(fresh)
	id := hex.EncodeToString(fresh)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		err = writeOnce(name, id)
		if b, again := os.ReadFile(name); again == nil && len(b) == 32 {
			return dir, string(b) // ours, or the one of a process that was faster
		}
	}
	log.Warn("the folder cannot be written; this device keeps everything in memory", "folder", dir, "error", err)
	return "", id
}

// appFolder returns the folder of an app in the device's folder. The app that is opened first gets files that are there without an app.
func appFolder(dir string, app uint64, log *slog.Logger) string {
	own := filepath.Join(dir, fmt.Sprintf("app-%d", app))
	if os.MkdirAll(dir, 0o700) != nil || os.Mkdir(own, 0o700) != nil { // it exists, or OpenDevice reports why it does not
		return own
	}
	for _, part := range []string{"users", "device"} {
		err := os.Rename(filepath.Join(dir, part), filepath.Join(own, part))
		if err == nil {
			log.Info("local data is taken over by the app", "file", filepath.Join(dir, part), "app", app)
		} else if !errors.Is(err, os.ErrNotExist) {
			log.Warn("local data cannot be taken over by the app", "file", filepath.Join(dir, part), "app", app, "error", err)
		}
	}
	return own
}

// writeOnce makes a file with a content, whole or not at all, unless it exists.
func writeOnce(name, content string) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), "device-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(content)
	if err = errors.Join(err, tmp.Chmod(private.Mode), tmp.Close()); err != nil {
		return err
	}
	if b, err := os.ReadFile(name); err == nil && len(strings.TrimSpace(string(b))) != 32 {
		return os.Rename(tmp.Name(), name) // a damaged id is replaced
	}
	return os.Link(tmp.Name(), name)
}
