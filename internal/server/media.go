package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/media"
)

// blobFolder is the folder of files in the data folder.
const blobFolder = "blob"

// errBlob does not repeat the setting: the URL of a store elsewhere may contain a secret.
var errBlob = errors.New("this is not a URL such as file:///var/lib/tidings/blob")

// blobDir returns the folder that the setting blob names.
func blobDir(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme == "":
		return "", errBlob
	case u.Scheme == "s3":
		return "", errors.New("s3 is not built yet in this version")
	case u.Scheme != "file" || u.Host != "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || !filepath.IsAbs(u.Path):
		return "", errBlob
	}
	return filepath.Clean(u.Path), nil
}

// publicURL returns the setting public-url without a slash at its end.
func publicURL(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	if err != nil || len(text) > 256 || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(text, "?#") {
		return "", errors.New("this is not a URL of up to 256 bytes such as https://im.example")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// mediaURL returns where the app's program finds /media/: by default at the port, on this computer if it listens on all addresses.
func (s *Server) mediaURL() string {
	if s.cfg.PublicURL != "" {
		return s.cfg.PublicURL
	}
	at := s.Addr()
	if a, err := netip.ParseAddrPort(at); err == nil && a.Addr().IsUnspecified() {
		at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port()).String()
	}
	if s.cert != nil {
		return "https://" + at
	}
	return "http://" + at
}

// openFolder opens the folder of files. Several servers that share a database have data folders of their own, so there it must be named: a server without it
// has no media, and does not start if another one has.
func (s *Server) openFolder(ctx context.Context) (err error) {
	dir := s.cfg.Blob
	if dir == "" && s.cfg.Postgres == "" {
		dir = filepath.Join(s.cfg.Data, blobFolder)
	}
	if dir == "" {
		switch _, err := s.store.BlobFolder(ctx, ""); {
		case s.cfg.NewBlobFolder:
			return errors.New("new-blob-folder: name the folder with --blob")
		case err == nil:
			return errors.New("blob: this database has files in a folder that other servers have named: name the same one with --blob")
		case !errors.Is(err, chat.ErrNotFound):
			return err
		}
		s.log.Info("there are no uploads: with postgres, their folder must be named with --blob")
		return nil
	}
	s.folder, err = media.OpenFolder(ctx, dir, s.store, s.cfg.NewBlobFolder, s.log)
	return err
}

// mediaKey returns the key that signs media tokens: one that is made from the secret key, so that it changes with it. Without media, there is none.
func (s *Server) mediaKey() []byte {
	if s.folder == nil {
		return nil
	}
	m := hmac.New(sha256.New, []byte(s.key))
	m.Write([]byte("tidings media token"))
	return m.Sum(nil)
}

// serveMedia returns the handler of /media/.
func (s *Server) serveMedia(reg prometheus.Registerer) http.Handler {
	if s.folder == nil {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, "this server has no folder for media", http.StatusNotImplemented)
		})
	}
	cfg := s.cfg.Media
	cfg.Folder, cfg.Origins, cfg.Log, cfg.Metrics, cfg.Now = s.folder, s.cfg.Gateway.Origins, s.log, reg, s.cfg.Clock
	s.media = media.New(s.store, s.chat, cfg)
	return s.media
}
