package storetest

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// mediaTables are those whose statements are explained.
var mediaTables = []string{" media ", " media_part ", " media_use ", " media_ref ", " blob "}

// plans notes how statements are run that read a table of media or change it.
type plans struct {
	sync.Mutex
	of map[string]string
}

func (p *plans) explain(ctx context.Context, on tables.Asker, text string, args []any) error {
	if strings.HasPrefix(text, "INSERT") {
		return nil
	}
	found := false
	for _, table := range mediaTables {
		found = found || strings.Contains(text+" ", table)
	}
	if !found {
		return nil
	}
	steps, err := Plan(ctx, on, text, args...)
	if err == nil {
		p.Lock()
		defer p.Unlock()
		p.of[text] = strings.Join(steps, "\n")
	}
	return err
}

// Plan returns the steps in which the database would run a statement.
func Plan(ctx context.Context, on tables.Asker, text string, args ...any) (steps []string, err error) {
	explain, row := "EXPLAIN ", make([]any, 1)
	if on.Dialect() == tables.SQLite {
		explain, row = "EXPLAIN QUERY PLAN ", []any{new(int64), new(int64), new(int64), nil}
	}
	err = on.Ask(ctx, func(r tables.Rows) error {
		steps = nil // it may run again
		for r.Next() {
			var step string
			row[len(row)-1] = &step
			if err := r.Scan(row...); err != nil {
				return err
			}
			steps = append(steps, step)
		}
		return r.Err()
	}, explain+text, args...)
	return steps, err
}

type explainedReads struct {
	tables.Base
	*plans
}

func (e explainedReads) Ask(ctx context.Context, read func(tables.Rows) error, text string, args ...any) error {
	if err := e.explain(ctx, e.Base, text, args); err != nil {
		return err
	}
	return e.Base.Ask(ctx, read, text, args...)
}

type explainedTx struct {
	tables.Holder
	*plans
}

func (e explainedTx) Ask(ctx context.Context, read func(tables.Rows) error, text string, args ...any) error {
	if err := e.explain(ctx, e.Holder, text, args); err != nil {
		return err
	}
	return e.Holder.Ask(ctx, read, text, args...)
}

func (e explainedTx) Tell(ctx context.Context, text string, args ...any) error {
	if err := e.explain(ctx, e.Holder, text, args); err != nil {
		return err
	}
	return e.Holder.Tell(ctx, text, args...)
}

// MediaByIndex: among 100,000 uploads, no statement about them reads a whole table. analyze makes the database count its rows: one about which it knows nothing
// must do as well.
func MediaByIndex(t *testing.T, s chat.Store, reads *tables.Both, analyze func()) {
	e := &env{T: t, ctx: t.Context(), s: s}
	uid := e.user("a")
	tell := func(texts ...string) {
		t.Helper()
		for _, text := range texts {
			e.ok(s.Update(e.ctx, nil, func(tx chat.Tx) error {
				return tx.(*tables.Tx).On.Tell(e.ctx, strings.ReplaceAll(text, "FROM n", "FROM (WITH RECURSIVE m(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM m WHERE i < 100000) SELECT i FROM m) n"))
			}))
		}
	}
	// One in 100 is open, one in 10 has ended, all users have some, and all files are unused.
	tell("INSERT INTO media (id, uid, kind, size, made, until, done) SELECT 'm' || i, i % 1000, 0, 10, 1700000000000 + i, CASE WHEN i % 10 = 0 THEN 1 ELSE 9000000000000 END, CASE WHEN i % 100 = 0 THEN 0 ELSE 1 END FROM n",
		"INSERT INTO media_part (id, part, hash, type, width, height) SELECT 'm' || i, 0, 'h' || i, 'x', 0, 0 FROM n",
		"INSERT INTO blob (hash, file, size, unused) SELECT 'h' || i, 'f' || i, 10, i FROM n",
		"INSERT INTO media_use (uid, hour, bytes) SELECT 1000000 + i, i % 25, 10 FROM n",
		"INSERT INTO media_ref (conv, seq, media) SELECT i, 1, 'm' || i FROM n")
	cv := e.c2c(uid, e.user("b")).ID
	for _, known := range []bool{false, true} {
		if known {
			analyze()
		}
		noted := &plans{of: make(map[string]string)}
		on := reads.On
		reads.On = explainedReads{on, noted}
		update := func(fn func(chat.Tx) error) {
			t.Helper()
			e.ok(s.Update(e.ctx, nil, func(tx chat.Tx) error {
				x := tx.(*tables.Tx)
				x.On = explainedTx{x.On, noted}
				return fn(x)
			}))
		}
		now := s.Now()
		_, err := s.OldMedia(e.ctx, now, 100)
		e.ok(err)
		_, err = s.OpenMedia(e.ctx, now)
		e.ok(err)
		_, err = s.OpenMediaOf(e.ctx, uid, now, 100)
		e.ok(err)
		_, _, err = s.Media(e.ctx, "m1")
		e.ok(err)
		_, err = s.BlobFile(e.ctx, "h1")
		e.ok(err)
		update(func(tx chat.Tx) error { return tx.AddMedia(chat.Media{ID: "new", Owner: uid, Size: 1, Until: now + 1}) })
		update(func(tx chat.Tx) error { _, err := tx.MediaUse(uid, now); return err })
		update(func(tx chat.Tx) error {
			_, err := tx.EndMedia("new", now+60_000, []chat.MediaPart{{Hash: "h1", File: "f", Size: 1}})
			return err
		})
		sent := e.attach(s, cv, uid, &chat.Attached{IDs: []string{"new"}})
		update(func(tx chat.Tx) error {
			st, err := tx.Entry(cv, sent.Seq)
			if err != nil {
				return err
			}
			st.Status = int32(im.MessageStatus_MESSAGE_STATUS_REVOKED)
			return tx.SetEntry(st)
		})
		update(func(tx chat.Tx) error { return tx.DropMedia("new", tx.Now(), 0) })
		update(func(tx chat.Tx) error { _, err := tx.DropBlobs(10, 100); return err })
		update(func(tx chat.Tx) error { return tx.ForgetMediaUse(3600_000) })
		reads.On = on
		if len(noted.of) < 17 {
			t.Errorf("only %d statements were explained", len(noted.of))
		}
		for text, plan := range noted.of {
			if strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "SCAN m") || strings.Contains(plan, "SCAN b") || strings.Contains(plan, "SCAN u") || strings.Contains(plan, "SCAN p") || strings.Contains(plan, "SCAN r") {
				t.Errorf("counted %t: %s\nis done by\n%s", known, text, plan)
			}
		}
	}
}
