package server

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOperatorSettings(t *testing.T) {
	set := DefaultSettings()
	cfg, err := set.Config(slog.New(slog.DiscardHandler))
	if err != nil || !slices.Equal(cfg.Admins, []string{"administrator"}) || cfg.Webhook.URL != "" || cfg.Webhook.Deadline != 2*time.Second || cfg.Webhook.Refuse {
		t.Errorf("%+v, %v", cfg.Webhook, err)
	}
	set.Admins, set.WebhookURL, set.WebhookToken, set.WebhookUnanswered = "root, ops", "http://127.0.0.1:9/x", "token", "refuse"
	cfg, err = set.Config(slog.New(slog.DiscardHandler))
	if err != nil || !slices.Equal(cfg.Admins, []string{"root", "ops"}) || cfg.Webhook.URL != set.WebhookURL || cfg.Webhook.Token != "token" || !cfg.Webhook.Refuse {
		t.Errorf("%q, %+v, %v", cfg.Admins, cfg.Webhook, err)
	}
	set.WebhookUnanswered = "maybe"
	if _, err := set.Config(slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "webhook-unanswered") {
		t.Error(err)
	}
}

func TestStandbySetting(t *testing.T) {
	for value, want := range map[string]bool{"none": false, "synchronous": true} {
		set := DefaultSettings()
		set.Standby = value
		if cfg, err := set.Config(slog.New(slog.DiscardHandler)); err != nil || cfg.SynchronousStandby != want {
			t.Error(value, cfg.SynchronousStandby, err)
		}
	}
	set := DefaultSettings()
	if cfg, err := set.Config(slog.New(slog.DiscardHandler)); err != nil || cfg.SynchronousStandby {
		t.Error("default:", cfg.SynchronousStandby, err)
	}
	set.Standby = "maybe"
	if _, err := set.Config(slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "postgres-standby") {
		t.Error(err)
	}
}

func TestBadWebhookURL(t *testing.T) {
	cfg := Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	cfg.Webhook.URL = "ftp://x"
	if s, err := Start(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "webhook-url") {
		t.Errorf("%v, %v", s, err)
	}
	cfg.Webhook.URL = "" // the folder is unlocked
	s, err := Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}
