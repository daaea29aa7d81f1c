package pg

import (
	"errors"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// number handles each op and assigns numbers to new entries; fresh are the indexes of those among the events.
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
	w.dropped = w.dropped[:0]
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
		key := tables.KeyOf(e)
		if was, ok := w.known[key]; ok {
			// The first result for a key stands, whatever has changed since.
			switch {
			case was.Hash != e.Hash:
				ev.err = chat.ErrOtherBody
			case !was.told && w.sent[key] == sent{was.Seq, was.Time}:
				// It was committed by an attempt whose result nobody got. Only the first op with the key gets it.
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
		if o := w.senders[ownKey{e.Conv, e.Sender}]; o != nil {
			ev.stored.Standing = o.stands
		}
		if e.Rules != nil {
			if ev.err = e.Rules.Check(&h.Conv, e.Sender, ev.stored.Standing, now); ev.err != nil {
				if errors.Is(ev.err, chat.ErrDropped) {
					w.dropped = append(w.dropped, e)
				}
				continue
			}
		}
		if a := e.Attached; a != nil && slices.ContainsFunc(a.IDs, func(id string) bool { return !w.attachable(id, now) }) {
			ev.stored, ev.err = chat.Stored{}, chat.ErrNoMedia
			continue
		}
		w.add(ev, e, h, now)
		fresh = append(fresh, len(events)-1)
	}
	return events, fresh
}

// add assigns an entry its numbers.
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
	st.Seq, st.Time, st.Index, st.MemberSet = h.Seq, now, h.Index, h.MemberSet
	kept := *st
	kept.Rules, kept.Unseen, kept.Aim, kept.Attached, kept.Admin = nil, false, nil, nil, "" // they are not kept in its row
	w.known[tables.KeyOf(e)] = answer{Stored: kept, prev: prev, told: true}
}

// attachable reports whether an upload is there.
func (w *writer) attachable(id string, now int64) bool {
	h, ok := w.media[id]
	return ok && h.There(now)
}

// attach makes the statements that store which uploads new entries refer to.
func (w *writer) attach(events []event, fresh []int) []step {
	var refs arrays
	var names array
	refs.start(2)
	names.start(pgtype.TextOID)
	ends := make(map[string]int64)
	for _, i := range fresh {
		st := &events[i].stored
		if st.Attached == nil {
			continue
		}
		for _, id := range append(append([]string{}, st.Attached.IDs...), st.Attached.May...) {
			h, now := w.media[id], st.Time
			if !w.attachable(id, now) {
				continue
			}
			h.Until = h.EndOf(st.Attached.Keep, now)
			w.media[id], ends[id] = h, h.Until
			refs.row(int64(st.Conv), int64(st.Seq))
			names.blob([]byte(id))
		}
	}
	if names.n == 0 {
		return nil
	}
	var until, ids array
	until.start(pgtype.Int8OID)
	ids.start(pgtype.TextOID)
	for _, id := range slices.Sorted(maps.Keys(ends)) {
		until.int(ends[id])
		ids.blob([]byte(id))
	}
	return []step{
		{name: "refer", args: append(refs.bytes(2), names.bytes())},
		{name: "keep", args: [][]byte{until.bytes(), ids.bytes()}},
	}
}

// insertDropped makes the statements that write what a batch drops, and take it back: a sender must not be able to tell by the time that it takes.
func (w *writer) insertDropped(batch int64) []step {
	w.args.start(12)
	var bodies, ids array
	bodies.start(pgtype.ByteaOID)
	ids.start(pgtype.Int8OID)
	seen := make(map[chat.SendKey]bool, len(w.dropped))
	var heads arrays
	heads.start(6)
	moved := make(map[chat.ConvID]bool, len(w.dropped))
	for k, e := range w.dropped {
		key := tables.KeyOf(e)
		if seen[key] {
			continue
		}
		seen[key] = true
		h := w.heads[e.Conv]
		// Below zero there are no other numbers.
		w.args.row(batch<<12|int64(k), int64(e.Conv), int64(-k-1), int64(e.ClientTime), int64(e.Random), int64(e.Sender), h.Time, 0, 0, 0, int64(e.Hash), tables.FlagsOf(e))
		bodies.blob(e.Body)
		ids.int(batch<<12 | int64(k))
		if !moved[h.ID] {
			moved[h.ID] = true
			heads.row(int64(h.ID), int64(h.Seq), h.Time, int64(h.Index), int64(h.OwnA), int64(h.OwnB))
		}
	}
	return []step{
		{name: "insert", args: append(w.args.bytes(12), bodies.bytes())},
		{name: "drop", args: [][]byte{ids.bytes()}},
		{name: "move", args: heads.bytes(6)},
		{name: "commit"},
	}
}

// insert makes the statements that store what is new.
func (w *writer) insert(batch int64, events []event, fresh []int) []step {
	w.args.start(12)
	var bodies array
	bodies.start(pgtype.ByteaOID)
	for k, i := range fresh {
		st := &events[i].stored
		flags := tables.FlagsOf(&st.Entry)
		w.args.row(batch<<12|int64(k), int64(st.Conv), int64(st.Seq), int64(st.ClientTime), int64(st.Random), int64(st.Sender), st.Time,
			int64(st.Index), int64(st.OwnIndex), w.known[tables.KeyOf(&st.Entry)].prev, int64(st.Hash), flags)
		bodies.blob(st.Body)
	}
	steps := make([]step, 0, 4)
	steps = append(steps, step{name: "insert", args: append(w.args.bytes(12), bodies.bytes())})
	var heads, counts, unseen, address, mention, sentBy arrays
	var admins array
	unseen.start(3)
	address.start(3)
	mention.start(4)
	sentBy.start(2)
	admins.start(pgtype.TextOID)
	for _, i := range fresh {
		st := &events[i].stored
		if st.Unseen {
			unseen.row(int64(st.Sender), int64(st.Conv), int64(st.Seq))
		}
		if st.Admin != "" {
			admin, _ := tables.Postgres.Text(st.Admin)
			sentBy.row(int64(st.Conv), int64(st.Seq))
			admins.blob([]byte(admin))
		}
		if st.Aim == nil {
			continue
		}
		for _, uid := range st.Aim.To {
			address.row(int64(st.Conv), int64(st.Seq), int64(uid))
		}
		for _, uid := range st.Aim.Mentions {
			mention.row(int64(st.Conv), int64(st.Seq), int64(uid), int64(st.Sender))
		}
	}
	if address.a[0].n > 0 {
		steps = append(steps, step{name: "address", args: address.bytes(3)})
	}
	if mention.a[0].n > 0 {
		steps = append(steps, step{name: "mention", args: mention.bytes(4)})
	}
	steps = append(steps, w.attach(events, fresh)...)
	if admins.n > 0 {
		steps = append(steps, step{name: "sentby", args: append(sentBy.bytes(2), admins.bytes())})
	}
	if unseen.a[0].n > 0 {
		steps = append(steps, step{name: "unseen", args: unseen.bytes(3)})
	}
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
