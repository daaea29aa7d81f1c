package pg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// op is one item for a writer: an entry, a barrier, or a function to deliver.
type op struct {
	entry chat.Entry
	done  func(chat.Stored, bool, error)
	// tell is called behind what is in the queue before it of the conversation of entry.
	tell    func()
	barrier *barrier
}

func (o *op) conv() chat.ConvID { return o.entry.Conv }

// writer commits the entries of its conversations, batch after batch, on a connection of its own.
type writer struct {
	s     *Store
	queue chan op
	// waiting counts what is in the queue or in a batch.
	waiting atomic.Int64
	// kind is how it waits, next is the lane for what it does not get, before the lane that this one is behind. load is what is in a lane.
	kind         kind
	next, before *writer
	load         load
	// ahead was taken from the queue and does not belong to the batch's conversation.
	ahead *op
	// hurry: the lane has waited for the rows of this batch.
	hurry bool

	conn *pgx.Conn
	// columns are the names of the columns of each statement.
	columns map[string][]string
	// down: the last batch could not be written in time, so the next ones are tried only once.
	down bool
	// said: the log says so, and its end will be logged too.
	said bool

	// Scratch of one batch.
	ops  []op
	keys []chat.Key // of ops
	// dropped are the entries that are dropped.
	dropped []*chat.Entry
	heads   map[chat.ConvID]*head
	known   map[chat.SendKey]answer
	senders map[ownKey]*own
	media   map[string]tables.HeldMedia // the uploads that the batch refers to
	groups  []ownKey
	ids     array
	args    arrays
	// sent is what attempts at this batch have sent to be committed. unknown: the last one's COMMIT was not confirmed.
	sent    map[chat.SendKey]sent
	unknown bool
	// c2c says which conversations are not groups; that never changes.
	c2c map[chat.ConvID]bool
}

// head is a conversation whose row the batch has locked.
type head struct {
	chat.Conv
	moved bool
}

type ownKey struct {
	conv chat.ConvID
	uid  chat.UID
}

// own is how many countable messages a user has sent to a group, and the seq of the last.
type own struct {
	n, last int64
	moved   bool
	stands  chat.Standing
}

// answer is an entry that is stored, or that this batch stores.
type answer struct {
	chat.Stored
	prev int64
	told bool // an op of the batch has it as its own
}

type sent struct {
	seq  uint64
	time int64
}

const c2cKnown = 1 << 17

func newWriter(s *Store, kind kind, next *writer) *writer {
	return &writer{
		s: s, kind: kind, next: next, load: load{n: make(map[chat.ConvID]int)}, queue: make(chan op, queueLen), ops: make([]op, 0, batchMax),
		heads: make(map[chat.ConvID]*head), known: make(map[chat.SendKey]answer), senders: make(map[ownKey]*own), media: make(map[string]tables.HeldMedia),
		sent: make(map[chat.SendKey]sent), c2c: make(map[chat.ConvID]bool),
	}
}

const (
	sqlBegin  = "BEGIN"
	sqlCommit = "COMMIT"
	sqlUndo   = "ROLLBACK"
	sqlInsert = `INSERT INTO entry (id, conv, seq, client_time, random, sender, time, idx, own, prev, hash, flags, body)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
			$10::bigint[], $11::bigint[], $12::bigint[], $13::bytea[])`
	sqlDrop = "DELETE FROM entry WHERE id = ANY ($1::bigint[])"
	sqlMove = `UPDATE conv c SET seq = u.seq, time = u.time, changed = greatest(c.changed, u.time), idx = u.idx, own_a = u.own_a, own_b = u.own_b
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) u (id, seq, time, idx, own_a, own_b) WHERE c.id = u.id`
	sqlCount = `INSERT INTO sender (conv, uid, own, last) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])
		ON CONFLICT (conv, uid) DO UPDATE SET own = excluded.own, last = excluded.last`
	sqlMention = `INSERT INTO mention (conv, seq, uid, sender) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) ON CONFLICT (conv, seq, uid) DO NOTHING`
	sqlAddress = `INSERT INTO addressee (conv, seq, uid) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) ON CONFLICT (conv, seq, uid) DO NOTHING`
	sqlRefer   = `INSERT INTO media_ref (conv, seq, media) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[]) ON CONFLICT (conv, seq, media) DO NOTHING`
	sqlKeep    = `UPDATE media m SET until = u.until FROM unnest($1::bigint[], $2::text[]) u (until, id) WHERE m.id = u.id`
	sqlSentBy  = `INSERT INTO sent_by (conv, seq, admin) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[])`
	sqlUnseen  = `INSERT INTO deleted (uid, conv, seq) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) ON CONFLICT (uid, conv, seq) DO NOTHING`
)

// The lock is lockConvs. If it waits for another transaction, it returns the row as that one left it; it would still show other tables as they were
// before. So everything else is queried in later statements.
var (
	sqlHeads = lockConvs.Text(tables.Postgres)
	// Without waiting: a transaction that holds a row may hang.
	sqlFree    = sqlHeads + " SKIP LOCKED"
	sqlSenders = "SELECT " + tables.StandingCols + ` FROM unnest($1::bigint[], $2::bigint[]) k (conv, uid) LEFT JOIN sender o ON o.conv = k.conv AND o.uid = k.uid
		LEFT JOIN member m ON m.conv = k.conv AND m.uid = k.uid`
	sqlKnown = "SELECT " + tables.Entry.Cols("e") + ` FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) k (client_time, random, conv, sender)
		JOIN entry e ON e.client_time = k.client_time AND e.random = k.random AND e.conv = k.conv AND e.sender = k.sender`
	sqlDraw = "SELECT draw_batch() AS batch, " + sampleSQL + " AS sample"
)

type drawnRow struct {
	Batch  int64 `sql:"batch"`
	Sample int64 `sql:"sample"`
}

var drawn = tables.NewKind[drawnRow]()

var prepared = map[string]string{
	"begin": sqlBegin, "commit": sqlCommit, "undo": sqlUndo, "heads": sqlHeads, "free": sqlFree, "senders": sqlSenders, "known": sqlKnown,
	"draw": sqlDraw, "mark": sqlMark, "insert": sqlInsert, "move": sqlMove, "count": sqlCount, "unseen": sqlUnseen,
	"drop": sqlDrop, "mention": sqlMention, "address": sqlAddress, "sentby": sqlSentBy,
	"media": tables.HoldAll, "refer": sqlRefer, "keep": sqlKeep,
}

// write is the writer goroutine.
func (w *writer) write() {
	defer w.disconnect()
	for {
		o, ok := w.ahead, true
		if o == nil {
			var first op
			first, ok = <-w.queue
			o = &first
		}
		if !ok {
			return
		}
		w.ahead = nil
		if o.tell != nil {
			w.told(*o)
			continue
		}
		w.ops = append(w.ops[:0], *o)
		w.more()
		w.batch()
		clear(w.ops)
	}
}

// more takes what waits, up to a full batch. A function to deliver ends it, and in the last lane another conversation does.
func (w *writer) more() {
	for len(w.ops) < batchMax {
		select {
		case o, ok := <-w.queue:
			if !ok {
				return
			}
			if o.tell != nil || w.kind == stuck && o.conv() != w.ops[0].conv() {
				w.ahead = &o
				return
			}
			w.ops = append(w.ops, o)
		default:
			return
		}
	}
}

// told delivers something in its place.
func (w *writer) told(o op) {
	if w.next != nil && w.next.load.has(o.conv()) && w.pass(o) {
		return
	}
	w.s.deliver <- []event{{after: []func(){o.tell}}}
	w.over(o)
}

// batch stores ops, or refuses them, and passes the results on.
func (w *writer) batch() {
	w.follow()
	w.keysOfOps()
	gated := w.keys
	switch w.kind {
	case mainQueue:
		gated = w.s.gates.some(w.keys, gateWait)
	case contended:
		gated = w.s.gates.some(w.keys, laneWait)
	default:
		w.s.gates.lock(context.Background(), w.keys) // whoever holds one is limited in time, and waits for no batch
	}
	if len(gated) < len(w.keys) {
		w.divert(func(id chat.ConvID) bool {
			_, ours := slices.BinarySearchFunc(gated, chat.Key{Conv: id}, compareKeys)
			return !ours
		})
	}
	if len(w.keys) > 0 {
		w.s.deliver <- w.store()
	}
	w.s.gates.unlock(gated)
	for _, o := range w.ops {
		w.over(o)
		if o.barrier != nil {
			w.arrived(o.barrier)
		}
	}
}

// keysOfOps sets keys to the conversations of the batch.
func (w *writer) keysOfOps() {
	w.keys = w.keys[:0]
	for i := range w.ops {
		if w.ops[i].barrier == nil {
			w.keys = append(w.keys, chat.Key{Conv: w.ops[i].conv()})
		}
	}
	slices.SortFunc(w.keys, func(a, b chat.Key) int { return cmp.Compare(a.Conv, b.Conv) })
	w.keys = slices.Compact(w.keys)
}

// store tries until the batch is stored, or refused because it certainly is not.
func (w *writer) store() []event {
	begun := time.Now()
	clear(w.sent)
	w.unknown, w.hurry = false, false
	for wait := 20 * time.Millisecond; ; wait = min(wait*2, time.Second) {
		events, err := w.attempt()
		if err == nil {
			if w.said {
				w.s.cfg.Log.Info("store: messages are stored again")
			}
			w.down, w.said = false, false
			w.s.full.Store(false)
			return events
		}
		if w.kind == contended && !w.hurry && code(err) == lockTimeout {
			w.hurry = true
			continue
		}
		late := w.down || time.Since(begun) > w.s.cfg.Patience
		switch {
		case !w.unknown && (late || !passing(err) || w.s.closing.Err() != nil):
			switch {
			case w.down:
			case gone(err):
				w.s.lost(err)
			default:
				w.said = passing(err)
				w.s.cfg.Log.Error("store: messages could not be stored", "messages", len(w.ops), "err", err)
			}
			w.down = w.down || passing(err)
			w.s.full.Store(code(err) == diskFull)
			return w.refused(failure(err))
		case w.unknown && (errors.Is(err, ErrMoved) || w.s.closing.Err() != nil && late):
			w.s.cfg.Log.Error("store: nobody knows yet whether messages were stored", "messages", len(w.sent), "err", err)
			return w.refused(fmt.Errorf("%w: %w", errUnknown, err))
		case late: // what waits behind it is certainly not stored
			w.refuseQueued(failure(err))
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-w.s.closing.Done():
			if w.unknown {
				<-pause.C
			}
		}
		pause.Stop()
	}
}

// refused fails all of a batch with an error.
func (w *writer) refused(err error) []event {
	events := make([]event, 0, len(w.ops))
	for i := range w.ops {
		if w.ops[i].barrier == nil {
			events = append(events, event{done: w.ops[i].done, err: err})
		}
	}
	return events
}

// refuseQueued fails what is in the queue, without an attempt.
func (w *writer) refuseQueued(err error) {
	for range cap(w.queue) {
		select {
		case o, ok := <-w.queue:
			if !ok {
				return
			}
			switch {
			case o.tell != nil:
				w.told(o)
				continue
			case o.barrier == nil:
				w.s.deliver <- []event{{done: o.done, err: err}}
			}
			w.over(o)
			if o.barrier != nil {
				w.arrived(o.barrier)
			}
		default:
			return
		}
	}
}

func (w *writer) disconnect() {
	if w.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectWithin)
	defer cancel()
	w.conn.Close(ctx)
	w.conn = nil
}

func (w *writer) connect(ctx context.Context) error {
	if w.s.moved.Load() {
		return ErrMoved
	}
	if w.conn != nil && !w.conn.IsClosed() {
		if !w.s.stale(w.conn.PgConn()) {
			return nil
		}
		w.disconnect()
	}
	w.conn = nil
	cfg := w.s.conn
	if w.kind == contended {
		cfg = cfg.Copy()
		cfg.RuntimeParams["lock_timeout"] = strconv.Itoa(int(laneWait.Milliseconds()))
	}
	c, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	columns := make(map[string][]string)
	for name, sql := range prepared {
		st, err := c.PgConn().Prepare(ctx, name, sql, nil)
		if err != nil {
			c.Close(ctx)
			return fmt.Errorf("statement %s: %w", name, err)
		}
		for i := range st.Fields {
			columns[name] = append(columns[name], st.Fields[i].Name)
		}
	}
	w.conn, w.columns = c, columns
	return nil
}

// attempt runs one transaction. After an error the connection has none open.
func (w *writer) attempt() (_ []event, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), w.s.cfg.Within)
	defer cancel()
	if err := w.connect(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && !w.conn.IsClosed() {
			if e := w.round(ctx, step{name: "undo"}); e != nil {
				w.disconnect()
			}
		}
	}()
	// What an attempt has sent to be committed stays with this writer, which knows of it.
	free := w.next != nil && len(w.sent) == 0 && (w.kind == mainQueue || w.hurry)
	batch, sample, err := w.lock(ctx, free)
	if err != nil {
		return nil, err
	}
	if free && len(w.heads) < len(w.keys) {
		w.divert(func(id chat.ConvID) bool { return w.heads[id] == nil })
	}
	// The rows are locked by us, so other transactions are done with them: known has all keys that are stored.
	events, fresh := w.number(sample)
	w.unknown = false
	if len(fresh) == 0 {
		if !slices.ContainsFunc(events, func(e event) bool { return e.err == nil || errors.Is(e.err, chat.ErrDropped) }) {
			if w.round(ctx, step{name: "undo"}) != nil {
				w.disconnect()
			}
			return events, nil
		}
		// An entry that is found stored may have been committed by somebody who did not wait for the standby: so a commit of ours does.
		steps := []step{{name: "mark"}, {name: "commit"}}
		if len(w.dropped) > 0 {
			steps = w.insertDropped(batch)
		}
		if err := w.round(ctx, steps...); err != nil {
			w.unknown = true
			return nil, err
		}
		return events, nil
	}
	steps := w.insert(batch, events, fresh)
	for _, i := range fresh {
		st := &events[i].stored
		w.sent[tables.KeyOf(&st.Entry)] = sent{st.Seq, st.Time}
	}
	if err := w.round(ctx, steps...); err != nil {
		w.unknown = !undone(err)
		return nil, err
	}
	return events, nil
}

// step is a statement of a round trip, and what takes its rows.
type step struct {
	name string
	args [][]byte
	row  func([][]byte) error
}

var binaryFormat = []int16{pgx.BinaryFormatCode}

// errRow is a result that cannot be read.
var errRow = errors.New("store: an unexpected answer")

// round sends statements together and reads their results.
func (w *writer) round(ctx context.Context, steps ...step) error {
	quiet(w.conn.PgConn())
	p := w.conn.PgConn().StartPipeline(ctx)
	for _, st := range steps {
		p.SendQueryPrepared(st.name, st.args, binaryFormat, binaryFormat)
	}
	committed := false
	err := p.Sync()
	for i := 0; err == nil && i <= len(steps); i++ {
		var res any
		if res, err = p.GetResults(); err != nil {
			break
		}
		r, ok := res.(*pgconn.ResultReader)
		if !ok {
			break // the end
		}
		for r.NextRow() {
			if st := &steps[i]; st.row != nil && err == nil {
				err = st.row(r.Values())
			}
		}
		tag, e := r.Close()
		if err == nil {
			err = e
		}
		if err == nil && steps[i].name == "commit" {
			if committed = tag.String() == sqlCommit; !committed {
				err = fmt.Errorf("%w: COMMIT was answered with %s", errRow, tag)
			}
		}
	}
	if e := p.Close(); err == nil {
		err = e
	}
	if committed {
		return waited(w.conn.PgConn()) // whatever became of the connection afterwards
	}
	return err
}

// lock begins the transaction, locks the rows of the batch's conversations, and reads what numbering needs: heads, known, senders.
func (w *writer) lock(ctx context.Context, free bool) (batch, sample int64, err error) {
	clear(w.heads)
	clear(w.known)
	clear(w.senders)
	clear(w.media)
	w.ids.start(pgtype.Int8OID)
	for _, k := range w.keys {
		w.ids.int(int64(k.Conv))
	}
	w.groups = w.groups[:0]
	w.args.start(4)
	for i := range w.ops {
		if w.ops[i].barrier != nil {
			continue
		}
		e := &w.ops[i].entry
		w.args.row(int64(e.ClientTime), int64(e.Random), int64(e.Conv), int64(e.Sender))
		if !w.c2c[e.Conv] {
			w.groups = append(w.groups, ownKey{e.Conv, e.Sender})
		}
	}
	heads := "heads"
	if free {
		heads = "free"
	}
	steps := []step{
		{name: "begin"},
		asking(w, heads, [][]byte{w.ids.bytes()}, tables.Conv, func(c chat.Conv) { w.heads[c.ID] = &head{Conv: c} }),
		asking(w, "known", w.args.bytes(4), tables.Entry, func(st chat.Stored) { w.known[tables.KeyOf(&st.Entry)] = answer{Stored: st} }),
	}
	if len(w.groups) > 0 {
		slices.SortFunc(w.groups, func(a, b ownKey) int { return cmp.Or(cmp.Compare(a.conv, b.conv), cmp.Compare(a.uid, b.uid)) })
		w.groups = slices.Compact(w.groups)
		var args arrays
		args.start(2)
		for _, k := range w.groups {
			args.row(int64(k.conv), int64(k.uid))
		}
		steps = append(steps, asking(w, "senders", args.bytes(2), tables.Standing, func(r tables.StandingRow) {
			w.senders[ownKey{r.Conv, r.UID}] = &own{n: int64(r.Own), last: int64(r.Last), stands: r.Standing()}
		}))
	}
	if ids := w.uploads(); len(ids) > 0 {
		var list array
		list.start(pgtype.TextOID)
		for _, id := range ids {
			list.blob([]byte(id))
		}
		steps = append(steps, asking(w, "media", [][]byte{list.bytes()}, tables.Held, func(h tables.HeldMedia) { w.media[h.ID] = h }))
	}
	// Last, so that the number is drawn and the clock read with the rows locked.
	steps = append(steps, asking(w, "draw", nil, drawn, func(r drawnRow) { batch, sample = r.Batch, r.Sample }))
	err = w.round(ctx, steps...)
	return batch, sample, err
}

// asking returns a step that reads rows of a kind.
func asking[V any](w *writer, name string, args [][]byte, kind *tables.Kind[V], take func(V)) step {
	r, err := kind.Reader(w.columns[name])
	if err != nil {
		err = fmt.Errorf("%w: %w", errRow, err)
	}
	return step{name: name, args: args, row: func(row [][]byte) error {
		if err == nil {
			err = scan(row, r.Dest)
		}
		if err == nil {
			take(r.Value())
		}
		return err
	}}
}

// uploads returns the ids of the uploads that the batch refers to.
func (w *writer) uploads() (ids []string) {
	for i := range w.ops {
		if a := w.ops[i].entry.Attached; a != nil && w.ops[i].barrier == nil {
			ids = append(append(ids, a.IDs...), a.May...)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
