package server

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestAsWritten: a setting that cannot be used exactly as it is written is refused, wherever it is written, and no text of a secret one is repeated.
func TestAsWritten(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, bad := range map[string][]string{
		"listen":                 {"", " 127.0.0.1:0", "127.0.0.1:0\n", "127.0.0.1:0 "},
		"data":                   {"", "d ", "d\x00", "d\n", "d\xff"},
		"app-id":                 {"0", "-1", "+7", "07", "0x7", "1e3", "1_000", "1.0", " 7", "7 ", "18446744073709551616", ""},
		"secret-key":             {"hunter2 ", " hunter2", "hun\nter2", "hunter2\n", "hunter2\xff"},
		"drain":                  {"0s", "-1s", "5", "5 s", "5s ", ""},
		"log-level":              {"", "loud", "info "},
		"tls-cert":               {"cert.pem "},
		"admins":                 {"", ",", "a,,b", "a,", "a b", "a\tb", "ä", strings.Repeat("a", 33)},
		"classes":                {"mac", "mac=", "=web", "mac=web,mac=pad", "mac=web,", "mac=sofa", "sofa=web"},
		"heartbeat":              {"1500ms", "2h", "0s"},
		"lock-wait":              {"1500us", "2m", "0s"},
		"queue-bytes":            {"0", "-1", "01", "1000000000001", "99999999999999999999"},
		"trusted-proxies":        {"10.1.2.3/8", "fe80::1%eth0", "::ffff:10.0.0.0/104", "10.0.0.0/8,", "10.0.0.0/8 10.0.0.1", "here", "10.0.0.1:80"},
		"allowed-origins":        {"https://a.example/path", "https://a.example,", "a.example"},
		"revoke-window":          {"1500us", "0s"},
		"strangers":              {"", "allow ", "true"},
		"blocked-send":           {"", "drop"},
		"blocked-friend":         {"", "false"},
		"feed-keep":              {"0", "-1"},
		"max-group-members":      {"public", "public=0", "public=1000001", "public=-1", "chatroom=5", "public=2 0"},
		"max-groups-per-user":    {"0", "-1"},
		"max-live-room-messages": {"0", "-1", "1000001", "1/s"},
		"max-live-rooms":         {"-1", ""},
		"max-attribute-writes":   {"-1", ""},
		"webhook-unanswered":     {"", "maybe", "refuse "},
		"webhook-deadline":       {"0s", "2"},
		"webhook-token":          {"hunter2 ", "hunter2\n"},
		"webhook-url": {"ftp://hunter2@a", "a.example/hook", "http://", "http:///hook", "http://a.example/hook#hunter2", "http://a.example/#", "http://a.example:99999/hunter2",
			"http://a.example:0/", "http://a.example/?a=%zz&hunter2", "http://a.example/?a=1;b=hunter2", "http://a.example/?Sign=hunter2", "http://a.example/?SdkAppid=1",
			"http://a.example/hunter2 ", "http://a.exa mple/hunter2", "http://u:hunter2@a.example:x/"},
		"postgres": {"postgres://u:hunter2#3@127.0.0.1:1/db", "postgres://u:hunter2@127.0.0.1:1/db?sslmode=%zz", "postgres://u:hunter2@127.0.0.1:1/db?sslmode=disable;a=b",
			"postgres://u:hunter2@127.0.0.1:1/db?sslmode=disable&sslmode=require", "postgres://u:hunter2@127.0.0.1:1/db ", "postgres://u:hu@nter2:w@127.0.0.1:1/db",
			"postgres://u:hunter2@127.0.0.1:x/db", "host=127.0.0.1 password='hunter2 port=1", "postgres://u:hunter2@127.0.0.1:1/db?sslmode=hmm",
			"postgres://u:hunter2%zz@127.0.0.1:1/db"},
		"nats": {"nats://hunter2@a"},
		"blob": {"s3://hunter2@a", "file://hunter2@a/blob", "hunter2", "http://u:hunter2@a.example/%zz", "file:///blob?key=hunter2"},
	} {
		for _, text := range bad {
			set := DefaultSettings()
			flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
			for _, k := range set.Keys() {
				flags.VarPF(k, k.Name, "", k.Help)
			}
			err := flags.Set(name, text)
			if err == nil {
				set.Listen = "127.0.0.1:0"
				if name == "listen" {
					set.Listen = text
				}
				var cfg Config
				if cfg, err = set.Config(slog.New(slog.DiscardHandler)); err == nil {
					if name == "log-level" {
						_, err = set.Level()
					}
					var s *Server
					if err == nil {
						s, err = Start(t.Context(), cfg)
					}
					if err == nil {
						stop(t, s)
					}
				}
			}
			if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "dial error") { // it was not even tried
				t.Errorf("%s: %q: %v", name, text, err)
				continue
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "nter2") {
				t.Errorf("%s: the error repeats a secret: %v", name, err)
			}
		}
	}
	for _, file := range []string{
		"listen: !!binary eA==\n", "listen: [a, b]\n", "data: {a: b}\n", "secret-key: [hunter2]\n", "queue-frames: 010\n", "queue-frames: 0x10\n", "admins: [a, '']\n",
		"admins: ['a,b']\n", "classes: {mac: [web]}\n", "classes: {mac: web, mac: pad}\n", "log-level: !other info\n", "new-key: true\n", "config: x\n",
	} {
		if v, err := ReadSettings([]byte(file)); err == nil {
			t.Errorf("%q is read as %v", file, v)
		}
	}
}
