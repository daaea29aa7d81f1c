package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/tidings-im/tidings/internal/private"
)

// certificate is the server's certificate and key. The files are checked when a client connects, at most once a second, so that a renewed certificate
// is used without any action.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	every             time.Duration

	mu     sync.Mutex
	cert   *tls.Certificate
	seen   [2]fileState
	looked time.Time
}

type fileState struct {
	size int64
	time time.Time
}

func loadCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	if certFile == "" || keyFile == "" {
		return nil, errors.New("tls-cert and tls-key must be set both, or none")
	}
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, every: time.Second}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c, c.load()
}

// load reads both files. If they cannot be used, the present pair stays.
func (c *certificate) load() error {
	c.looked, c.seen = time.Now(), c.states()
	cert, err := os.ReadFile(c.certFile)
	if err != nil {
		return fmt.Errorf("tls-cert: %w", err)
	}
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		return fmt.Errorf("tls-key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("tls-cert %s with tls-key %s: %w", c.certFile, c.keyFile, err)
	}
	if fi, err := os.Stat(c.keyFile); err == nil && private.Others(fi) == "everybody" {
		c.log.Warn("everybody may read the file of the TLS key", "file", c.keyFile)
	}
	c.cert = &pair
	return nil
}

func (c *certificate) states() (s [2]fileState) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if fi, err := os.Stat(name); err == nil {
			s[i] = fileState{fi.Size(), fi.ModTime()}
		}
	}
	return s
}

// reload reads the files now.
func (c *certificate) reload(certFile, keyFile string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	oldCert, oldKey := c.certFile, c.keyFile
	c.certFile, c.keyFile = certFile, keyFile
	err := c.load()
	if err != nil {
		c.certFile, c.keyFile = oldCert, oldKey
	}
	return err
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) >= c.every {
		c.looked = time.Now()
		if s := c.states(); s != c.seen {
			if err := c.load(); err != nil {
				// One of the two may be written before the other: the next check finds both.
				c.log.Warn("the certificate has changed and cannot be used; the old one stays", "err", err)
			} else {
				c.log.Info("the certificate was read again", "file", c.certFile)
			}
		}
	}
	return c.cert, nil
}

func (c *certificate) config() *tls.Config {
	// No HTTP/2: WebSockets need HTTP/1.1 requests.
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: c.get}
}
