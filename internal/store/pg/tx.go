package pg

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// errBusy undoes a transaction that needs a row that another writer of this process holds. It is run again with that row among its keys.
var errBusy = errors.New("store: a row is held by another writer")

// attempts is how often an Update is run before its conflicts are an error.
const attempts = 50

// Update runs fn in a transaction of its own. Rows that fn uses beyond keys are locked when it does; if that meets another writer who waits for this
// one, the transaction is undone and runs again with all rows that it used locked beforehand, in order.
func (s *Store) Update(ctx context.Context, keys []chat.Key, fn func(chat.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.appended(ctx, keys); err != nil {
		return err
	}
	return s.update(ctx, keys, func(t *tx) error { return fn(&t.Tx) })
}

// update does not wait for what was appended before.
func (s *Store) update(ctx context.Context, keys []chat.Key, fn func(*tx) error) error {
	s.gate.RLock()
	if s.closed.Load() {
		s.gate.RUnlock()
		return chat.ErrClosed
	}
	s.running.Add(1)
	s.gate.RUnlock()
	defer s.running.Done()
	all := sorted(keys)
	var last error
	for range attempts {
		t, err := s.try(ctx, all, fn)
		if err == nil || !t.again {
			return err
		}
		last = err
		all = sorted(append(all, t.wanted...))
	}
	return failure(fmt.Errorf("%d attempts in vain: %w", attempts, last))
}

// tx is the inside of an Update.
type tx struct {
	tables.Tx // its Ctx ends when the transaction has taken too long, not when its caller gives up
	s         *Store
	conn      *pgxpool.Conn
	// xid and span identify this transaction.
	xid  string
	span span
	// left: the COMMIT is still unconfirmed, and the goroutine that waits for it gives the place and the connection back.
	left bool

	// held are the users and conversations whose gates and rows this transaction holds.
	held map[chat.Key]bool
	// wanted are the keys for when it is run again.
	wanted []chat.Key
	convs  map[chat.ConvID]*convState
	// late are statements whose result nobody needs; they are sent with the next query.
	late  *pgx.Batch
	wrote bool
	// batch is the number that the transaction has drawn with the rows of keys locked, drawn are the conversations whose entries may have it. entries are how
	// many it has stored.
	batch   int64
	drawn   map[chat.ConvID]bool
	entries int64
	// err is the first failure of the database; nothing works after it. again: the transaction is to be run again.
	err   error
	again bool
}

type convState struct {
	chat.Conv
	dirty bool
	// moved: there are new entries.
	moved bool
}

var _ tables.Holder = (*tx)(nil)

// try runs fn once. The returned tx says whether and with which keys it is to run again.
func (s *Store) try(ctx context.Context, keys []chat.Key, fn func(*tx) error) (t *tx, err error) {
	t = &tx{s: s, held: make(map[chat.Key]bool, len(keys)), convs: make(map[chat.ConvID]*convState), late: &pgx.Batch{}}
	t.Tx = tables.Tx{On: t, Users: make(map[chat.UID]*chat.User)}
	if err := s.gates.lock(ctx, keys); err != nil {
		return t, err
	}
	for _, k := range keys {
		t.held[k] = true
	}
	defer func() {
		out := make([]chat.Key, 0, len(t.held))
		for k := range t.held {
			out = append(out, k)
		}
		s.gates.unlock(out)
		t.wanted = append(t.wanted, out...)
	}()
	select {
	case s.updates <- struct{}{}:
	case <-ctx.Done():
		return t, ctx.Err()
	}
	defer func() {
		if !t.left {
			<-s.updates
		}
	}()
	if s.moved.Load() {
		return t, failure(ErrMoved)
	}

	limit, cancel := context.WithTimeout(ctx, s.cfg.Within)
	t.conn, err = s.pool.Acquire(limit)
	cancel()
	if err != nil {
		if ctx.Err() != nil {
			return t, ctx.Err()
		}
		return t, failure(err)
	}
	t.span = spanOf(t.conn.Conn().PgConn())
	t.Ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Within)
	defer cancel()
	over := false
	defer func() {
		if !over { // the goroutine ends inside fn
			t.conn.Conn().Close(t.Ctx)
			t.conn.Release()
		}
	}()
	if err = t.begin(keys); err == nil {
		err = t.run(fn)
	}
	over = true
	if t.err != nil {
		err = t.err // whatever fn did with it
	}
	if err != nil || !t.wrote {
		t.undo()
		switch {
		case conflict(t.err) || errors.Is(t.err, errBusy):
			t.again = true
		case t.err != nil:
			err = failure(t.err)
		}
		if err != nil {
			return t, err
		}
	} else if err = t.commit(); err != nil {
		return t, err
	}
	if len(t.After) > 0 {
		s.deliver <- []event{{after: t.After}}
	}
	return t, nil
}

func (t *tx) run(fn func(*tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("store: panic in Update: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(t)
}

var (
	lockUsers = tables.NewQuery(tables.User, "SELECT "+tables.User.Cols("u")+" FROM users u WHERE u.uid = ANY ($1::bigint[]) ORDER BY u.uid"+tables.ForUpdate)
	lockConvs = tables.NewQuery(tables.Conv, "SELECT "+tables.Conv.Cols("c")+" FROM conv c WHERE c.id = ANY ($1::bigint[]) ORDER BY c.id"+tables.ForUpdate)
)

// begin locks the rows of keys, and reads them and the clock.
func (t *tx) begin(keys []chat.Key) error {
	var users, convs []int64
	for _, k := range keys {
		if k.Conv != 0 {
			convs = append(convs, int64(k.Conv))
		} else {
			users = append(users, int64(k.UID))
		}
	}
	b := &pgx.Batch{}
	b.Queue("BEGIN")
	if len(users) > 0 {
		b.Queue(lockUsers.Text(tables.Postgres), users).Query(func(r pgx.Rows) error {
			return lockUsers.Each(tables.Postgres, rows{r}, func(u chat.User) bool { t.Users[u.UID] = &u; return true })
		})
	}
	if len(convs) > 0 {
		b.Queue(lockConvs.Text(tables.Postgres), convs).Query(func(r pgx.Rows) error {
			return lockConvs.Each(tables.Postgres, rows{r}, func(c chat.Conv) bool { t.convs[c.ID] = &convState{Conv: c}; return true })
		})
	}
	var sample int64
	// The number shows others that something may still be committed with this time (horizon.go).
	b.Queue("SELECT pg_current_xact_id()::text, draw_batch(), " + sampleSQL).QueryRow(func(row pgx.Row) error { return row.Scan(&t.xid, &t.batch, &sample) })
	if err := t.failed(t.conn.SendBatch(t.Ctx, b).Close()); err != nil {
		return err
	}
	var last int64
	t.drawn = make(map[chat.ConvID]bool, len(t.convs))
	for id, c := range t.convs {
		last = max(last, c.Changed)
		t.drawn[id] = true
	}
	t.Time = t.s.clock.commit(sample, last)
	return nil
}

// failed records that the database no longer takes part.
func (t *tx) failed(err error) error {
	if err != nil && t.err == nil {
		t.err = err
	}
	return err
}

// hold takes the gate of a row that is not among the keys.
func (t *tx) hold(k chat.Key) error {
	if t.err != nil {
		return t.err
	}
	if t.held[k] {
		return nil
	}
	if !t.s.gates.try(k) {
		t.wanted = append(t.wanted, k)
		return t.failed(errBusy)
	}
	t.held[k] = true
	return nil
}

// undo ends the transaction without effect, and gives the connection back.
func (t *tx) undo() {
	if !t.conn.Conn().IsClosed() {
		if _, err := t.conn.Exec(t.Ctx, "ROLLBACK"); err != nil {
			t.conn.Conn().Close(t.Ctx)
		}
	}
	t.conn.Release()
}

// putHead leaves the ends of the log alone: the writer moves them with the entries.
var (
	putHead = tables.NewWrite[tables.ConvRow](`UPDATE conv SET grp = :grp, rev = :rev, changed = :changed, policy = :policy, member_set = :member_set, dissolved = :dissolved, flags = :flags,
		type = :type, owner = :owner, info_seq = :info_seq, attr_ver = :attr_ver, members = :members WHERE id = :id`)
	putEnds = tables.NewWrite[tables.ConvRow]("UPDATE conv SET seq = :seq, time = :time WHERE id = :id")
	insert  = tables.NewWrite[tables.EntryRow](`INSERT INTO entry (id, conv, seq, client_time, random, sender, time, idx, own, prev, hash, flags, body)
		VALUES (:id, :conv, :seq, :client_time, :random, :sender, :time, :idx, :own, 0, :hash, :flags, :body)`)
	drawBatch = tables.NewQuery(tables.Number, "SELECT draw_batch() AS n")
	holdName  = tables.NewQuery(tables.Number, "SELECT 1 AS n FROM (SELECT pg_advisory_xact_lock($1, hashtext($2))) x")
)

// groupNames is the class of advisory locks of the names of groups. Those of batches are of another kind.
const groupNames = int32(1)

// HoldName locks the name also against other servers.
func (t *tx) HoldName(group string) error {
	if _, whole := t.Dialect().Text(group); !whole {
		return nil // no group has it
	}
	_, err := holdName.One(t.Ctx, t, groupNames, group)
	return err
}

// Stood has nothing to do: each batch reads what its senders are.
func (t *tx) Stood(chat.Member) {}

// Insert draws another number if the conversation was locked after the first one was drawn: within a conversation positions rise with seq.
func (t *tx) Insert(st *chat.Stored) error {
	if !t.drawn[st.Conv] {
		n, err := drawBatch.One(t.Ctx, t)
		if err != nil {
			return err
		}
		t.batch, t.entries = n, 0
		for id := range t.convs {
			t.drawn[id] = true
		}
	}
	if t.entries == drawnFor {
		return fmt.Errorf("store: more than %d entries in an Update", drawnFor)
	}
	c := t.convs[st.Conv]
	c.moved = true
	row := tables.EntryRowOf(st)
	row.ID = t.batch<<12 | t.entries
	t.entries++
	if err := insert.Tell(t.Ctx, t, row); err != nil {
		return err
	}
	return tables.PutBeside(t.Ctx, t, st)
}

// drawnFor is how many entries a number of a batch is for.
const drawnFor = 1 << 12

// commit sends what is still to be written, commits, and finds out the outcome if the connection is lost.
func (t *tx) commit() error {
	for _, c := range t.convs {
		if c.dirty {
			if err := putHead.Tell(t.Ctx, t, tables.ConvRow(c.Conv)); err != nil {
				return err
			}
		}
		if c.moved {
			if err := putEnds.Tell(t.Ctx, t, tables.ConvRow(c.Conv)); err != nil {
				return err
			}
		}
	}
	t.late.Queue("COMMIT")
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	t.s.running.Go(func() { ended <- t.send(ctx) })
	var err error
	select {
	case err = <-ended:
		stop()
	case <-t.Ctx.Done():
		// A COMMIT that waits for its standby is not cancelled: it keeps its place and its connection, so only so many can wait.
		t.left = true
		t.s.running.Go(func() {
			defer stop()
			defer context.AfterFunc(t.s.closing, stop)()
			if <-ended != nil {
				t.conn.Conn().Close(ctx)
			}
			t.conn.Release()
			<-t.s.updates
		})
		return t.settle(t.Ctx.Err())
	}
	switch {
	case err == nil:
		t.conn.Release() // which closes it if it is broken
		return nil
	case undone(err):
		t.failed(err)
		t.undo()
		t.again = conflict(err)
		return failure(err)
	}
	t.conn.Conn().Close(t.Ctx)
	t.conn.Release()
	return t.settle(err)
}

// send sends the last statements and the COMMIT.
func (t *tx) send(ctx context.Context) error {
	pc := t.conn.Conn().PgConn()
	quiet(pc)
	n := t.late.Len()
	res := t.conn.SendBatch(ctx, t.late)
	var err error
	committed := false
	for i := 0; i < n && err == nil; i++ {
		tag, e := res.Exec()
		err = e
		if committed = e == nil && i == n-1; committed && tag.String() != sqlCommit {
			committed, err = false, fmt.Errorf("%w: COMMIT was answered with %s", errRow, tag)
		}
	}
	if e := res.Close(); err == nil {
		err = e
	}
	if committed {
		return waited(pc) // whatever became of the connection afterwards
	}
	return err
}

// settle finds out the outcome of a transaction whose COMMIT was not confirmed, or did not wait for its standby.
func (t *tx) settle(lost error) error {
	begun := time.Now()
	wait := 20 * time.Millisecond
	for time.Since(begun) < within {
		switch status, err := t.outcome(); {
		case err == nil && status == "committed":
			return nil
		case err == nil && status == "aborted":
			t.again = true
			return failure(lost)
		case errors.Is(err, errSpan) || errors.Is(err, ErrMoved):
			return fmt.Errorf("%w: %w", errUnknown, err)
		}
		pause := time.NewTimer(wait)
		wait = min(2*wait, time.Second)
		select {
		case <-pause.C:
		case <-t.s.closing.Done():
			begun = begun.Add(-within / 4) // a few more times
			<-pause.C
		}
	}
	return fmt.Errorf("%w: %w", errUnknown, lost)
}

// errSpan: PostgreSQL has recovered since, so that the number of a transaction that was lost may belong to another one.
var errSpan = errors.New("store: the database was started again meanwhile")

// outcome returns what PostgreSQL reports about the transaction. It may report that it is committed while its standby does not have it: so a commit
// of ours follows.
func (t *tx) outcome() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), connectWithin)
	defer cancel()
	c, err := t.s.pool.Acquire(ctx)
	if err != nil {
		return "", err
	}
	defer c.Release()
	pc := c.Conn().PgConn()
	var status *string
	if err := c.QueryRow(ctx, "SELECT pg_xact_status($1::text::xid8)", t.xid).Scan(&status); err != nil || status == nil {
		return "", err
	}
	if *status == "committed" {
		if spanOf(pc) != t.span {
			return "", errSpan
		}
		return *status, fence(ctx, pc)
	}
	return *status, nil
}

func (t *tx) Dialect() tables.Dialect { return tables.Postgres }

// Ask sends what is to be written and a query with it.
func (t *tx) Ask(ctx context.Context, read func(tables.Rows) error, text string, args ...any) error {
	if t.err != nil {
		return t.err
	}
	b := t.late
	t.late = &pgx.Batch{}
	b.Queue(text, args...).Query(func(r pgx.Rows) error { return read(rows{r}) })
	return t.failed(t.conn.SendBatch(ctx, b).Close())
}

// Tell keeps a statement until the next query or the commit.
func (t *tx) Tell(_ context.Context, text string, args ...any) error {
	t.wrote = true
	if t.err == nil {
		t.late.Queue(text, args...)
	}
	return t.err
}

func (t *tx) Wrote() { t.wrote = true }

var (
	drawUID    = tables.NewQuery(tables.Number, "SELECT nextval('user_uid') AS n")
	drawConvID = tables.NewQuery(tables.Number, "SELECT nextval('conv_id') AS n")
)

func (t *tx) NewUID() (chat.UID, error) {
	n, err := drawUID.One(t.Ctx, t)
	return chat.UID(n), err
}

func (t *tx) NewConvID() (chat.ConvID, error) {
	n, err := drawConvID.One(t.Ctx, t)
	return chat.ConvID(n), err
}

// HoldUser takes the gate, which is taken before the row is locked.
func (t *tx) HoldUser(uid chat.UID) error { return t.hold(chat.Key{UID: uid}) }

func (t *tx) Made(c chat.Conv) error {
	if err := t.hold(chat.Key{Conv: c.ID}); err != nil {
		return err
	}
	t.convs[c.ID] = &convState{Conv: c}
	t.drawn[c.ID] = true // nobody else can have appended to it
	return nil
}

// head finds a conversation, locked.
func (t *tx) head(id chat.ConvID) (*convState, error) {
	if t.err != nil {
		return nil, t.err
	}
	if c := t.convs[id]; c != nil {
		return c, nil
	}
	if err := t.hold(chat.Key{Conv: id}); err != nil {
		return nil, err
	}
	c, err := lockConvs.One(t.Ctx, t, []int64{int64(id)})
	if err != nil {
		return nil, err
	}
	t.convs[id] = &convState{Conv: c}
	return t.convs[id], nil
}

func (t *tx) Head(id chat.ConvID) (*chat.Conv, error) {
	c, err := t.head(id)
	if err != nil {
		return nil, err
	}
	return &c.Conv, nil
}

func (t *tx) Change(id chat.ConvID) (*chat.Conv, error) {
	c, err := t.head(id)
	if err != nil {
		return nil, err
	}
	c.dirty, t.wrote = true, true
	return &c.Conv, nil
}

func (t *tx) SenderOf(id chat.ConvID, uid chat.UID) (own, last uint64, err error) {
	o, err := tables.SenderOf.One(t.Ctx, t, int64(id), int64(uid))
	if errors.Is(err, chat.ErrNotFound) {
		err = nil
	}
	return o.Own, o.Last, err
}
