package server

import (
	"context"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestReference: the page that documents the settings is what `make gen` makes from the struct.
func TestReference(t *testing.T) {
	b, err := os.ReadFile("../../docs/reference/configuration.md")
	if err != nil || string(b) != Reference() {
		t.Errorf("docs/reference/configuration.md is out of date, run make gen: %v", err)
	}
	for _, k := range DefaultSettings().Keys() {
		if k.Name == "" || k.Group == "" || k.Help == "" {
			t.Errorf("setting %+v is not documented", k)
		}
		if k.Default != "" && k.String() != k.Default {
			t.Errorf("%s: default %q is shown as %q", k.Name, k.Default, k.String())
		}
	}
}

func TestReadSettings(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"lisen: x\n", `line 1: there is no setting "lisen"`},
		{"app-id: 1\ngateway:\n  queue: 1\n", `line 2: there is no setting "gateway"`},
		{"app-id: -1\n", "app-id"},
		{"app-id: x\nheartbeat: 5\n", "heartbeat"},
		{"drain: 0s\n", "drain"},
		{"listen: {a: b}\napp-id: [1, {a: b}]\n", "app-id"},
		{"listen:\n", "missing"},
		{"listen: a\nlisten: b\n", "listen"},
		{"- listen\n", "mapping"},
		{"listen: a\n---\nlisten: b\n", "more than one"},
		{"{", ""},
	} {
		if v, err := ReadSettings([]byte(c.file)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, %v, want %q", c.file, v, err, c.want)
		}
	}
	for _, empty := range []string{"", "# nothing\n", "---\n"} {
		if v, err := ReadSettings([]byte(empty)); err != nil || len(v) != 0 {
			t.Errorf("%q: %v, %v", empty, v, err)
		}
	}
	v, err := ReadSettings([]byte("listen: 0.0.0.0:1\ndrain: 1m\nclasses: {mac: any, linux: web}\ntrusted-proxies:\n  - 10.0.0.0/8\n  - ::1\n"))
	want := map[string]string{"listen": "0.0.0.0:1", "drain": "1m", "classes": "mac=any,linux=web", "trusted-proxies": "10.0.0.0/8,::1"}
	if err != nil || !reflect.DeepEqual(v, want) {
		t.Error(v, err)
	}
}

func TestSettingsConfig(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	cfg, err := DefaultSettings().Config(log)
	if err != nil || cfg.Gateway.PerAddress != 10_000 || cfg.Gateway.SendRate != -1 || cfg.Chat.Heartbeat != 30 || cfg.Chat.RevokeWindow != 2*time.Minute {
		t.Errorf("%+v, %v", cfg, err)
	}
	for want, change := range map[string]func(*Settings){
		"class":           func(s *Settings) { s.Classes = map[string]string{"mac": "sofa"} },
		"platform":        func(s *Settings) { s.Classes = map[string]string{"sofa": "web"} },
		"trusted-proxies": func(s *Settings) { s.TrustedProxies = "10.0.0.0/8, here" },
		"heartbeat":       func(s *Settings) { s.Heartbeat = 1500 * time.Millisecond },
		"queue-bytes":     func(s *Settings) { s.QueueBytes = 0 },
		"tls-key":         func(s *Settings) { s.TLSCert = "x" },
	} {
		s := DefaultSettings()
		change(s)
		if _, err := s.Config(log); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// FuzzSettings: whatever a settings file contains, it is accepted or refused, and accepted values are stable when they are set again.
func FuzzSettings(f *testing.F) {
	for _, s := range []string{
		"listen: 127.0.0.1:1\napp-id: 7\n", "classes:\n  mac: any\n", "trusted-proxies: [10.0.0.0/8]\n", "drain: 1h2m\n", "&a [*a]", "lisen: x", "listen: !!binary eA==",
		"a: &a [x]\nclasses: *a\n", "queue-bytes: 0x10\n", "? [a]\n: b\n", "<<: {listen: x}\n",
	} {
		f.Add([]byte(s))
	}
	log := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, file []byte) {
		values, err := ReadSettings(file)
		if err != nil {
			return
		}
		s := DefaultSettings()
		for _, k := range s.Keys() {
			text, ok := values[k.Name]
			if !ok {
				continue
			}
			if err := k.Set(text); err != nil {
				t.Fatalf("%s was read as %q, which it cannot be: %v", k.Name, text, err)
			}
			again := k.String()
			if err := k.Set(again); err != nil || k.String() != again {
				t.Fatalf("%s: %q is shown as %q, and then as %q: %v", k.Name, text, again, k.String(), err)
			}
		}
		s.Config(log)
	})
}

// TestPublicURL: the address for URLs in webhooks is that of the setting, or the port.
func TestPublicURL(t *testing.T) {
	for text, want := range map[string]string{"": "", "https://im.example": "https://im.example", "http://im.example:7070/im/": "http://im.example:7070/im", "HTTPS://[::1]/": "https://[::1]"} {
		set := DefaultSettings()
		set.PublicURL = text
		if cfg, err := set.Config(slog.New(slog.DiscardHandler)); err != nil || cfg.PublicURL != want {
			t.Errorf("%q is %q (%v)", text, cfg.PublicURL, err)
		}
	}
	for _, text := range []string{"im.example", "ftp://im.example", "https://", "https://user:word@im.example", "https://im.example?x=1", "https://im.example#x", "https://im.example/" + strings.Repeat("x", 256)} {
		set := DefaultSettings()
		set.PublicURL = text
		if _, err := set.Config(slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "public-url") || strings.Contains(err.Error(), "word") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for listen, host := range map[string]string{"127.0.0.1:0": "http://127.0.0.1:", "0.0.0.0:0": "http://127.0.0.1:"} {
		s, err := Start(t.Context(), Config{Listen: listen, Data: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.mediaURL(); !strings.HasPrefix(got, host) || strings.HasSuffix(got, ":0") {
			t.Errorf("listening on %s, it is %s", listen, got)
		}
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
