package server

import (
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/internal/webhook"
)

// TestMetricsAreListed: docs/operating.md lists each metric of a server, and each limit, and names no other.
func TestMetricsAreListed(t *testing.T) {
	s, err := Start(t.Context(), Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Webhook: webhook.Config{URL: "http://127.0.0.1:1"}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	_, body := get(t, s, "/metrics")
	b, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	set := func(pattern, text string) (names []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	has := set(`(?m)^# TYPE (tidings_\w+)`, body)
	if len(has) < 16 {
		t.Errorf("only %v", has)
	}
	_, table, _ := strings.Cut(doc, "| Metric | Alert when |")
	table, _, _ = strings.Cut(table, "\n\n")
	if listed := set("`(tidings_\\w+)[^`]*`", table); !slices.Equal(listed, has) {
		t.Errorf("listed %v\nthere are %v", listed, has)
	}
	for _, name := range set(`(tidings_\w+)`, doc) {
		if !slices.Contains(has, name) {
			t.Errorf("there is no %s", name)
		}
	}
	_, limits, _ := strings.Cut(doc, "`limit` is one of")
	limits, _, _ = strings.Cut(limits, ".\n")
	if listed, there := set("`(\\w+)`", limits), set(`tidings_limited_total\{limit="(\w+)"\}`, body); len(there) == 0 || !slices.Equal(listed, there) {
		t.Errorf("limits listed %v\nthere are %v", listed, there)
	}
}
