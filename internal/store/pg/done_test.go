package pg_test

import (
	"context"
	"testing"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// TestDoneLocksNoOthers: a call that is kept locks, until it commits, only the rows that it deletes: the oldest one beyond the number. Other servers delete and renew
// the rest.
func TestDoneLocksNoOthers(t *testing.T) {
	const most = 10
	dsn := pgtest.DSN(t)
	s := open(t, pg.Config{DSN: dsn})
	defer s.Close()
	ctx := t.Context()
	u, err := s.CreateUser(ctx, "ann")
	if err != nil {
		t.Fatal(err)
	}
	keys := []chat.Key{{UID: u.UID}}
	put := func(call uint64, then func(chat.Tx) error) {
		t.Helper()
		err := s.Update(ctx, keys, func(tx chat.Tx) error {
			if err := tx.PutDone(chat.Done{UID: u.UID, Run: 1, Call: call, Reply: []byte{}}, 0, most); err != nil {
				return err
			}
			return then(tx)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	c := connect(t, dsn)
	free := func() (calls []int64) {
		t.Helper()
		rows, err := c.Query(context.Background(), "SELECT call FROM done WHERE uid = $1 ORDER BY call FOR UPDATE SKIP LOCKED", int64(u.UID))
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var call int64
			if err := rows.Scan(&call); err != nil {
				t.Fatal(err)
			}
			calls = append(calls, call)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return calls
	}
	for i := range uint64(most) {
		put(i, func(chat.Tx) error { return nil })
	}
	// `at` is the same for calls within a millisecond; the first one is the oldest for sure.
	if _, err := c.Exec(ctx, "UPDATE done SET at = at - 1000 + call"); err != nil {
		t.Fatal(err)
	}
	put(most, func(tx chat.Tx) error {
		if _, err := tx.Profile(u.UID); err != nil { // sends what was waiting
			return err
		}
		if got := free(); len(got) != most-1 || got[0] != 1 {
			t.Errorf("while a call commits, others may have %v of its account", got)
		}
		return nil
	})
	if got := free(); len(got) != most || got[0] != 1 {
		t.Errorf("kept are %v", got)
	}
}
