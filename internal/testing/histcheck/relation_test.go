package histcheck_test

import (
	"database/sql"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/histcheck"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// feedKeep is how many entries of a feed the server keeps: so few that devices that were away load everything.
const feedKeep = 5

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
		for seed := uint64(1); seed <= soak.Pick[uint64](2, 12); seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) { t.Parallel(); relationHistory(t, seed) })
		}
	}
}

// disk reads the relations on the disk of a device that is closed.
func disk(dir, user string) ([]*im.Relation, error) {
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "users", hex.EncodeToString([]byte(user))+".db")+"?mode=ro")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.Query("SELECT kind, ver, body FROM relation")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []*im.Relation
	for rows.Next() {
		var kind im.RelationKind
		var ver uint64
		var body []byte
		if err := rows.Scan(&kind, &ver, &body); err != nil {
			return nil, err
		}
		r := &im.Relation{}
		if err := r.UnmarshalVT(body); err != nil {
			return nil, err
		}
		r.Kind, r.Ver = kind, ver
		all = append(all, r)
	}
	return all, rows.Err()
}

// serve runs a program that stands between devices and their server.
func serve(t *testing.T, h http.Handler) (url string) {
	web := httptest.NewServer(h)
	t.Cleanup(web.Close)
	return strings.Replace(web.URL, "http", "ws", 1)
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
		if onPostgres(seed) {
			opts = append(opts, imtest.Postgres(pgtest.DSN(t)))
		}
		s = &inside{imtest.Start(t, opts...)}
	} else {
		more := []string{"--feed-keep", fmt.Sprint(feedKeep)}
		if onPostgres(seed) {
			more = append(more, "--postgres", pgtest.DSN(t))
		}
		s = startChild(t, log, web.URL, more...)
	}
	cfg := histcheck.Config{Seed: seed, Ops: *opsFlag, Users: 8, Server: s, Bounces: *bouncesFlag, Children: 5, Log: log, LogDir: *dumpFlag, Disk: disk}
	wholes := histcheck.NewWholes(s.URL(), 200*time.Millisecond)
	if seed%3 == 1 {
		cfg.Via = serve(t, wholes)
	}
	h := histcheck.RunRelations(t, cfg, notices)
	entries := 0
	for _, feed := range h.Feeds {
		entries += len(feed)
	}
	t.Logf("%d of 8 feeds with %d entries, %d notices, %d wholes were slow", len(h.Feeds), entries, len(h.Notices), wholes.Total())
	report(t, h, histcheck.CheckRelations(h), &relationSum, "relations", "TestRelationHistory", seed)
}

// TestWholeWithoutVer shows that the checker detects a server whose rows have no numbers: a device that loads the whole while it changes is told states that
// are over. The same history with numbers is correct.
func TestWholeWithoutVer(t *testing.T) {
	for _, bare := range []bool{false, true} {
		t.Run(fmt.Sprint("bare ", bare), func(t *testing.T) {
			t.Parallel()
			notices := histcheck.NewNotices(1)
			web := httptest.NewServer(notices)
			t.Cleanup(web.Close)
			s := &inside{imtest.Start(t, imtest.Webhook(web.URL, ""), imtest.WebhookRetry(50*time.Millisecond, time.Second), imtest.FeedKeep(feedKeep))}
			wholes := histcheck.NewWholes(s.URL(), 0)
			wholes.Bare = bare
			log := slog.New(slog.DiscardHandler)
			h := histcheck.RunWhole(t, histcheck.Config{Seed: 1, Ops: 3 * feedKeep, Users: 3, Server: s, Log: log, Disk: disk, Via: serve(t, wholes)}, notices, wholes)
			bad := histcheck.CheckRelations(h)
			late := slices.ContainsFunc(bad, func(s string) bool { return strings.HasPrefix(s, "user0-0: told after what is later in the feed") })
			if bare != late || !bare && len(bad) > 0 {
				t.Errorf("found %d: %s", len(bad), strings.Join(bad, "\n"))
			}
		})
	}
}
