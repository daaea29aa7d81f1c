package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// TestLostKey: a server whose secret key is lost makes another one only if it is asked to, and only once.
func TestLostKey(t *testing.T) {
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			journal, log := logged(t)
			cfg := Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Log: log}
			if kind == "postgres" {
				cfg.Postgres = pgtest.DSN(t)
			}
			name := filepath.Join(cfg.Data, secretFile)
			begin := func() *Server {
				t.Helper()
				s, err := Start(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			refused := func(want string) {
				t.Helper()
				s, err := Start(t.Context(), cfg)
				if err == nil {
					stop(t, s)
				}
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("started: %v, want %q", err, want)
				}
			}
			s := begin()
			if err := s.chat.Import(t.Context(), "alice"); err != nil {
				t.Fatal(err)
			}
			old, err := s.Sig("alice", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			stop(t, s)
			cfg.NewKey = true
			refused("there is a secret key")
			cfg.NewKey = false

			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			refused("the secret key is lost")
			if _, err := os.Stat(name); !os.IsNotExist(err) {
				t.Fatal("a key was made:", err)
			}
			cfg.SecretKey, cfg.NewKey = "7a6c1e5d7cb04c5f93ab8b4f3a1d2e60", true
			refused("new-key")
			cfg.NewKey = false
			stop(t, begin())
			cfg.SecretKey, cfg.NewKey = "", true
			s = begin()
			if s.Fresh() || journal.count("a new secret key was made") != 1 {
				t.Error("the log does not say that another key was made")
			}
			if _, err := s.verify("alice", old); im.CodeOf(err) != im.CodeTicketMismatch {
				t.Error("a ticket of the lost key:", err)
			}
			stop(t, s)
			refused("there is a secret key")
			cfg.NewKey = false
			stop(t, begin())

			for _, bad := range []string{"", "\n", " key\n", "key \n", "key\nanother\n", "k\x00ey\n"} {
				write(t, name, []byte(bad))
				refused(name)
			}
			write(t, name, []byte("7a6c1e5d7cb04c5f93ab8b4f3a1d2e60\r\n"))
			if s = begin(); s.key != "7a6c1e5d7cb04c5f93ab8b4f3a1d2e60" {
				t.Errorf("the key is %q", s.key)
			}
			stop(t, s)
		})
	}
}

// TestKeyBeforeData: a first start that was interrupted after it made the key continues with that key.
func TestKeyBeforeData(t *testing.T) {
	dir := t.TempDir()
	if made, err := makeSecret(dir); !made || err != nil {
		t.Fatal(made, err)
	}
	key, err := Secret(dir)
	if err != nil {
		t.Fatal(err)
	}
	if made, err := makeSecret(dir); made || err != nil { // of a slower process
		t.Error(made, err)
	}
	s := start(t, dir)
	defer stop(t, s)
	if s.key != key || s.Fresh() {
		t.Error("another key was made")
	}
}

// TestWeakKeys: keys that can be guessed, and keys that others may read, are reported in the log, and no others.
func TestWeakKeys(t *testing.T) {
	for key, weak := range map[string]bool{
		"hunter2": true, "0123456789": true, strings.Repeat("a", 64): true, strings.Repeat("password", 8): true, strings.Repeat("0123456789abcdef", 4): true,
		"abcdefghijklmnopqrstuvwxyz": true, "a key of this test": true,
		"7a6c1e5d7cb04c5f93ab8b4f3a1d2e60":                                 false,
		"f5ed2a1b8c3d9e7f60418a2b5c7d9e1f3a5b7c9d1e3f5a7b9c1d3e5f7a9b1c3d": false,
		"Vq3jX8yTgk0ZrW2uLh5nPw":                                           false, "correct horse battery staple": false,
	} {
		for _, setting := range []string{"secret-key", "webhook-token"} {
			journal, log := logged(t)
			warnWeak(log, setting, key)
			if n := journal.count("setting=" + setting); n == 1 != weak {
				t.Errorf("%s %q: %d warnings, %g bits", setting, key, n, bits(key))
			}
			if journal.count(key) > 0 {
				t.Error("the key stands in the log")
			}
		}
	}
	ca, dir := newAuthority(t), t.TempDir()
	cert, key := ca.issue()
	cfg := Config{Listen: "127.0.0.1:0", Data: dir, TLSCert: filepath.Join(dir, "cert.pem"), TLSKey: filepath.Join(dir, "key.pem")}
	write(t, cfg.TLSCert, cert)
	write(t, cfg.TLSKey, key)
	cfg.SecretKey = "a weak one"
	for _, others := range []bool{false, true} {
		journal, log := logged(t)
		cfg.Log = log
		s, err := Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		stop(t, s)
		for words, want := range map[string]bool{"everybody may read the file of the TLS key": others, "the secret key could be read by others": others, "can be guessed": !others} {
			if n := journal.count(words); n == 1 != want {
				t.Errorf("readable by others: %v: %d times %q", others, n, words)
			}
		}
		if others {
			if fi, err := os.Stat(filepath.Join(dir, secretFile)); err != nil || fi.Mode().Perm() != 0o600 {
				t.Error("the secret key can still be read by others:", err)
			}
			break
		}
		cfg.SecretKey = ""
		if _, err := makeSecret(dir); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{cfg.TLSKey, filepath.Join(dir, secretFile)} {
			if err := os.Chmod(name, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
