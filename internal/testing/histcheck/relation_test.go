package histcheck_test

import (
	"database/sql"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/histcheck"
)

// feedKeep is how many entries of a feed the server keeps: so few that devices that were away load everything.
const feedKeep = 5

// TestRelationHistory runs histories of relations of 8 users with two devices each, as TestHistory does those of messages.
func TestRelationHistory(t *testing.T) { kind{"histories of relations", 2, relationHistory}.run(t) }

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

func relationHistory(t *testing.T, seed uint64, sum *total) {
	log := logOf(t, "relations", seed)
	notices := histcheck.NewNotices(seed)
	web := httptest.NewServer(notices)
	t.Cleanup(web.Close)
	s := start(t, seed, log, web.URL, []string{"--feed-keep", fmt.Sprint(feedKeep)}, imtest.WebhookRetry(50*time.Millisecond, time.Second), imtest.FeedKeep(feedKeep))
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
	report(t, h, histcheck.CheckRelations(h), sum, "relations", "TestRelationHistory", seed)
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
			s := &inside{s: imtest.Start(t, imtest.Webhook(web.URL, ""), imtest.WebhookRetry(50*time.Millisecond, time.Second), imtest.FeedKeep(feedKeep))}
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
