package histcheck_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/histcheck"
)

// feedKeep is how many entries of a feed the server keeps: so few that devices that were away load everything.
const feedKeep = 12

// TestRelationHistory runs histories of relations of 8 users with two devices each, as TestHistory does those of messages.
func TestRelationHistory(t *testing.T) {
	switch {
	case *timeFlag > 0:
		t.Parallel()
		end := time.Now().Add(*timeFlag)
		var next atomic.Uint64
		next.Store(max(*seedFlag, 1))
		t.Run("seed", func(t *testing.T) {
			for n := range max(*parallelFlag, 1) {
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					t.Parallel()
					for time.Now().Before(end) && !t.Failed() {
						seed := next.Add(1) - 1
						if *killOnlyFlag {
							seed = 2*seed - 1
						}
						t.Run(fmt.Sprint(seed), func(t *testing.T) { relationHistory(t, seed) })
					}
				})
			}
		})
		t.Logf("%d histories of relations, %d operations, %d messages, %d records: the server was killed %d times and restarted %d times, clients were killed %d times; %d violations",
			relationSum.histories, relationSum.ops, relationSum.sends, relationSum.records, relationSum.killed, relationSum.bounces-relationSum.killed, relationSum.kills, relationSum.violations)
	case *seedFlag != 0:
		relationHistory(t, *seedFlag)
	default:
		for seed := uint64(1); seed <= 4; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) { t.Parallel(); relationHistory(t, seed) })
		}
	}
}

func relationHistory(t *testing.T, seed uint64) {
	logFile := io.Discard
	if *dumpFlag != "" {
		f, err := os.Create(filepath.Join(*dumpFlag, fmt.Sprintf("relations%d.log", seed)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		logFile = f
	}
	log := slog.New(slog.NewTextHandler(logFile, &slog.HandlerOptions{Level: slog.LevelDebug}))
	notices := histcheck.NewNotices(seed)
	web := httptest.NewServer(notices)
	t.Cleanup(web.Close)
	var s histcheck.Server
	if seed%2 == 0 {
		opts := []imtest.Option{imtest.Webhook(web.URL, ""), imtest.WebhookRetry(50*time.Millisecond, time.Second), imtest.Listen(freeAddr(t)), imtest.FeedKeep(feedKeep)}
		if seed%4 == 0 {
			opts = append(opts, imtest.Queue(24, 64<<10))
		}
		s = &inside{imtest.Start(t, opts...)}
	} else {
		s = startChild(t, log, web.URL, "--feed-keep", fmt.Sprint(feedKeep))
	}
	h := histcheck.RunRelations(t, histcheck.Config{Seed: seed, Ops: *opsFlag, Users: 8, Server: s, Bounces: *bouncesFlag, Children: 5, Log: log, LogDir: *dumpFlag}, notices)
	report(t, h, histcheck.CheckRelations(h), &relationSum, "relations", "TestRelationHistory", seed)
}
