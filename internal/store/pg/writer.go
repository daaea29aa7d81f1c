package pg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// op is one thing for a writer: an entry, or a barrier that is closed when what came before it is done.
type op struct {
	entry chat.Entry
	done  func(chat.Stored, bool, error)
	// tell is called behind what stands in the queue before it; barrier is closed then.
	tell    func()
	barrier chan struct{}
}

// writer commits the entries of its conversations, batch after batch, on a connection of its own.
type writer struct {
	s     *Store
	queue chan op
	// waiting counts what is in the queue or in a batch.
	waiting atomic.Int64

	conn *pgx.Conn
	// down: the last batch could not be written in time, so the next ones are tried once only.
	down bool

	// Scratch of one batch.
	ops     []op
	tell    func() // of the op that ended the batch
	keys    []chat.Key
	heads   map[chat.ConvID]*head
	known   map[chat.SendKey]answer
	senders map[ownKey]*own
	groups  []ownKey
	ids     array
	args    arrays
	// sent is what attempts at this batch have sent to be committed. unknown: the last one's COMMIT was not answered.
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

func newWriter(s *Store) *writer {
	return &writer{
		s: s, queue: make(chan op, queueLen), ops: make([]op, 0, batchMax),
		heads: make(map[chat.ConvID]*head), known: make(map[chat.SendKey]answer), senders: make(map[ownKey]*own),
		sent: make(map[chat.SendKey]sent), c2c: make(map[chat.ConvID]bool),
	}
}

const (
	sqlBegin  = "BEGIN"
	sqlCommit = "COMMIT"
	sqlUndo   = "ROLLBACK"
	// The lock. If it waits for another transaction, it answers with the row as that one left it; other tables it would still show as they were
	// before. So everything else is asked in later statements.
	sqlHeads = `SELECT c.id, c.kind::bigint, c.a, c.b, c.seq, c.time, c.idx, c.own_a, c.own_b, c.policy, c.dissolved::bigint
		FROM conv c WHERE c.id = ANY ($1::bigint[]) ORDER BY c.id FOR NO KEY UPDATE`
	sqlSenders = `SELECT o.conv, o.uid, o.own, o.last FROM unnest($1::bigint[], $2::bigint[]) k (conv, uid) JOIN sender o ON o.conv = k.conv AND o.uid = k.uid`
	sqlKnown   = `SELECT e.conv, e.sender, e.client_time, e.random, e.hash, e.flags::bigint, e.seq, e.time, e.idx, e.own, e.status::bigint, e.version, e.revoker, e.reason, e.body
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) k (client_time, random, conv, sender)
		JOIN entry e ON e.client_time = k.client_time AND e.random = k.random AND e.conv = k.conv AND e.sender = k.sender`
	sqlDraw   = `SELECT draw_batch(), ` + sampleSQL
	sqlInsert = `INSERT INTO entry (id, conv, seq, client_time, random, sender, time, idx, own, prev, hash, flags, body)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
			$10::bigint[], $11::bigint[], $12::bigint[], $13::bytea[])`
	sqlMove = `UPDATE conv c SET seq = u.seq, time = u.time, changed = greatest(c.changed, u.time), idx = u.idx, own_a = u.own_a, own_b = u.own_b
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) u (id, seq, time, idx, own_a, own_b) WHERE c.id = u.id`
	sqlCount = `INSERT INTO sender (conv, uid, own, last) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])
		ON CONFLICT (conv, uid) DO UPDATE SET own = excluded.own, last = excluded.last`
)

var prepared = map[string]string{
	"begin": sqlBegin, "commit": sqlCommit, "undo": sqlUndo, "heads": sqlHeads, "senders": sqlSenders, "known": sqlKnown,
	"draw": sqlDraw, "insert": sqlInsert, "move": sqlMove, "count": sqlCount,
}

// write is the writer goroutine.
func (w *writer) write() {
	defer w.disconnect()
	for o := range w.queue {
		w.ops = append(w.ops[:0], o)
		if o.tell == nil {
			w.more()
			w.batch()
			clear(w.ops)
			o.tell, w.tell = w.tell, nil
		}
		if o.tell != nil {
			w.s.deliver <- []event{{after: []func(){o.tell}}}
			w.waiting.Add(-1)
		}
	}
}

// more takes what waits, up to a full batch.
func (w *writer) more() {
	for len(w.ops) < batchMax {
		select {
		case o, ok := <-w.queue:
			if !ok {
				return
			}
			if o.tell != nil { // it ends the batch, and is told behind it
				w.tell = o.tell
				return
			}
			w.ops = append(w.ops, o)
		default:
			return
		}
	}
}

// batch stores ops, or refuses them, and hands the answers on.
func (w *writer) batch() {
	w.keys = w.keys[:0]
	for i := range w.ops {
		if w.ops[i].barrier == nil {
			w.keys = append(w.keys, chat.Key{Conv: w.ops[i].entry.Conv})
		}
	}
	if len(w.keys) > 0 {
		slices.SortFunc(w.keys, func(a, b chat.Key) int { return cmp.Compare(a.Conv, b.Conv) })
		w.keys = slices.Compact(w.keys)
		w.s.gates.lock(context.Background(), w.keys) // who holds one is bounded in time, and waits for no batch
		w.s.deliver <- w.store()
		w.s.gates.unlock(w.keys)
	}
	for i := range w.ops {
		if b := w.ops[i].barrier; b != nil {
			close(b)
		}
	}
	w.waiting.Add(-int64(len(w.ops)))
}

// store tries until the batch is stored, or refused because it certainly is not.
func (w *writer) store() []event {
	begun := time.Now()
	clear(w.sent)
	w.unknown = false
	for wait := 20 * time.Millisecond; ; wait = min(wait*2, time.Second) {
		events, err := w.attempt()
		if err == nil {
			if w.down {
				w.s.cfg.Log.Info("store: messages are stored again")
			}
			w.down = false
			w.s.full.Store(false)
			return events
		}
		late := w.down || time.Since(begun) > w.s.cfg.Patience
		switch {
		case !w.unknown && (late || !passing(err) || w.s.closing.Err() != nil):
			if !w.down {
				w.s.cfg.Log.Error("store: messages could not be stored", "messages", len(w.ops), "err", err)
			}
			w.down = w.down || passing(err)
			w.s.full.Store(code(err) == diskFull)
			return w.refused(failure(err))
		case w.unknown && w.s.closing.Err() != nil && late:
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

// refused answers all of a batch with an error.
func (w *writer) refused(err error) []event {
	events := make([]event, 0, len(w.ops))
	for i := range w.ops {
		if w.ops[i].barrier == nil {
			events = append(events, event{done: w.ops[i].done, err: err})
		}
	}
	return events
}

// refuseQueued answers what is in the queue, without a try.
func (w *writer) refuseQueued(err error) {
	var events []event
	defer func() {
		if events != nil {
			w.s.deliver <- events
		}
	}()
	for range cap(w.queue) {
		select {
		case o, ok := <-w.queue:
			if !ok {
				return
			}
			w.waiting.Add(-1)
			if o.tell != nil {
				events = append(events, event{after: []func(){o.tell}})
				continue
			}
			if o.barrier != nil {
				close(o.barrier)
				continue
			}
			events = append(events, event{done: o.done, err: err})
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
	if w.conn != nil && !w.conn.IsClosed() {
		return nil
	}
	w.conn = nil
	c, err := pgx.ConnectConfig(ctx, w.s.conn)
	if err != nil {
		return err
	}
	for name, sql := range prepared {
		if _, err := c.PgConn().Prepare(ctx, name, sql, nil); err != nil {
			c.Close(ctx)
			return fmt.Errorf("statement %s: %w", name, err)
		}
	}
	w.conn = c
	return nil
}

// attempt runs one transaction. After an error the connection has none open.
func (w *writer) attempt() (_ []event, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
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
	batch, sample, err := w.lock(ctx)
	if err != nil {
		return nil, err
	}
	// The rows are ours, so whatever another transaction did to them is over: known has all keys that are stored.
	events, fresh := w.number(sample)
	w.unknown = false
	if len(fresh) == 0 {
		if w.round(ctx, step{name: "undo"}) != nil {
			w.disconnect()
		}
		return events, nil
	}
	steps := w.insert(batch, events, fresh)
	for _, i := range fresh {
		st := &events[i].stored
		w.sent[keyOf(&st.Entry)] = sent{st.Seq, st.Time}
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

// errRow is an answer that cannot be read.
var errRow = errors.New("store: an unexpected answer")

// round sends statements together and reads their answers.
func (w *writer) round(ctx context.Context, steps ...step) error {
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
		return nil // whatever became of the connection afterwards
	}
	return err
}

// lock begins the transaction, locks the rows of the batch's conversations, and reads what numbering needs: heads, known, senders.
func (w *writer) lock(ctx context.Context) (batch, sample int64, err error) {
	clear(w.heads)
	clear(w.known)
	clear(w.senders)
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
	steps := []step{
		{name: "begin"},
		{name: "heads", args: [][]byte{w.ids.bytes()}, row: func(row [][]byte) error {
			var n [11]int64
			if err := ints(row, n[:]); err != nil {
				return err
			}
			w.heads[chat.ConvID(n[0])] = &head{Conv: chat.Conv{
				ID: chat.ConvID(n[0]), Kind: chat.Kind(n[1]), A: chat.UID(n[2]), B: chat.UID(n[3]), Seq: uint64(n[4]), Time: n[5],
				Index: uint64(n[6]), OwnA: uint64(n[7]), OwnB: uint64(n[8]), Policy: uint64(n[9]), Dissolved: n[10] != 0,
			}}
			return nil
		}},
		{name: "known", args: w.args.bytes(4), row: func(row [][]byte) error {
			var r tables.EntryRow
			if err := ints(row, r.N[:]); err != nil {
				return err
			}
			r.Reason, r.Body = string(row[13]), append([]byte{}, row[14]...)
			st := r.Stored()
			w.known[keyOf(&st.Entry)] = answer{Stored: st}
			return nil
		}},
	}
	if len(w.groups) > 0 {
		slices.SortFunc(w.groups, func(a, b ownKey) int { return cmp.Or(cmp.Compare(a.conv, b.conv), cmp.Compare(a.uid, b.uid)) })
		w.groups = slices.Compact(w.groups)
		var args arrays
		args.start(2)
		for _, k := range w.groups {
			args.row(int64(k.conv), int64(k.uid))
		}
		steps = append(steps, step{name: "senders", args: args.bytes(2), row: func(row [][]byte) error {
			var n [4]int64
			err := ints(row, n[:])
			w.senders[ownKey{chat.ConvID(n[0]), chat.UID(n[1])}] = &own{n: n[2], last: n[3]}
			return err
		}})
	}
	// Last, so that the number is drawn and the clock read with the rows in our hands.
	steps = append(steps, step{name: "draw", row: func(row [][]byte) error {
		var n [2]int64
		err := ints(row, n[:])
		batch, sample = n[0], n[1]
		return err
	}})
	err = w.round(ctx, steps...)
	return batch, sample, err
}

// number answers each op, giving numbers to what is new; fresh are the indexes of those among the events.
func (w *writer) number(sample int64) (events []event, fresh []int) {
	var rows int64
	for _, h := range w.heads {
		rows = max(rows, h.Time)
		if h.Kind == chat.KindC2C {
			if len(w.c2c) >= c2cKnown {
				clear(w.c2c)
			}
			w.c2c[h.ID] = true
		}
	}
	now := w.s.clock.commit(sample, rows)
	events = make([]event, 0, len(w.ops))
	fresh = make([]int, 0, len(w.ops))
	for i := range w.ops {
		if w.ops[i].barrier != nil {
			continue
		}
		e := &w.ops[i].entry
		events = append(events, event{done: w.ops[i].done})
		ev := &events[len(events)-1]
		h := w.heads[e.Conv]
		if h == nil || h.Kind == chat.KindC2C && e.Sender != h.A && e.Sender != h.B {
			ev.err = chat.ErrNotFound
			continue
		}
		key := keyOf(e)
		if was, ok := w.known[key]; ok {
			// The first answer to a key stands, whatever has changed since.
			switch {
			case was.Hash != e.Hash:
				ev.err = chat.ErrOtherBody
			case !was.told && w.sent[key] == sent{was.Seq, was.Time}:
				// It was committed by an attempt that nobody answered. Only the first op with the key is told so.
				was.told = true
				w.known[key] = was
				ev.stored = was.Stored
			default:
				ev.stored, ev.dup = was.Stored, true
			}
			continue
		}
		if h.Dissolved {
			ev.err = chat.ErrNotFound
			continue
		}
		if h.Policy != e.Policy {
			ev.err = chat.ErrPolicy
			continue
		}
		w.add(ev, e, h, now)
		fresh = append(fresh, len(events)-1)
	}
	return events, fresh
}

// add gives an entry its numbers.
func (w *writer) add(ev *event, e *chat.Entry, h *head, now int64) {
	st := &ev.stored
	st.Entry = *e
	if st.Body == nil {
		st.Body = []byte{}
	}
	var n uint64
	if st.Countable {
		n = 1
	}
	h.moved = true
	h.Seq++
	h.Index += n
	h.Time = now
	var prev int64
	if h.Kind == chat.KindGroup {
		k := ownKey{e.Conv, e.Sender}
		o := w.senders[k]
		if o == nil {
			o = &own{}
			w.senders[k] = o
		}
		prev = o.last
		if n > 0 {
			o.n, o.last, o.moved = o.n+1, int64(h.Seq), true
		}
		st.OwnIndex = uint64(o.n)
	} else {
		if e.Sender == h.A {
			h.OwnA += n
			st.OwnIndex = h.OwnA
		}
		if e.Sender == h.B { // both, in a conversation with oneself
			h.OwnB += n
			st.OwnIndex = h.OwnB
		}
	}
	st.Seq, st.Time, st.Index = h.Seq, now, h.Index
	kept := *st
	kept.Policy = 0 // it is not kept
	w.known[keyOf(e)] = answer{Stored: kept, prev: prev, told: true}
}

// insert makes the statements that store what is new.
func (w *writer) insert(batch int64, events []event, fresh []int) []step {
	w.args.start(12)
	var bodies array
	bodies.start(pgtype.ByteaOID)
	for k, i := range fresh {
		st := &events[i].stored
		var flags int64
		if st.Countable {
			flags = tables.FlagCountable
		}
		w.args.row(batch<<12|int64(k), int64(st.Conv), int64(st.Seq), int64(st.ClientTime), int64(st.Random), int64(st.Sender), st.Time,
			int64(st.Index), int64(st.OwnIndex), w.known[keyOf(&st.Entry)].prev, int64(st.Hash), flags)
		bodies.blob(st.Body)
	}
	steps := make([]step, 0, 4)
	steps = append(steps, step{name: "insert", args: append(w.args.bytes(12), bodies.bytes())})
	var heads, counts arrays
	heads.start(6)
	for _, k := range w.keys {
		if h := w.heads[k.Conv]; h != nil && h.moved {
			heads.row(int64(h.ID), int64(h.Seq), h.Time, int64(h.Index), int64(h.OwnA), int64(h.OwnB))
		}
	}
	steps = append(steps, step{name: "move", args: heads.bytes(6)})
	counts.start(4)
	for _, k := range w.groups {
		if o := w.senders[k]; o != nil && o.moved {
			counts.row(int64(k.conv), int64(k.uid), o.n, o.last)
		}
	}
	if counts.a[0].n > 0 {
		steps = append(steps, step{name: "count", args: counts.bytes(4)})
	}
	return append(steps, step{name: "commit"})
}

func keyOf(e *chat.Entry) chat.SendKey {
	return chat.SendKey{Conv: e.Conv, Sender: e.Sender, ClientTime: e.ClientTime, Random: e.Random}
}
