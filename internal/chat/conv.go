package chat

import (
	"context"
	"errors"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tidings-im/tidings/im"
)

const (
	// overlap is how far before a client's cursor a list of changed heads begins: transactions that were running when the cursor was taken may have
	// earlier times.
	overlap = 60_000
	// The limits of one reply. Bodies of entries are counted, so a frame stays well below im.MaxMessage.
	maxHeads, maxHeadsWithLast = 1000, 200
	maxEntries                 = 500
	maxBytes                   = 512 << 10
	// readStep is how many positions of a READ are handled in one transaction.
	readStep = 100
)

// Heads handles the call of rule 8: what has changed since the cursor, in pages, or the conversations in only.
func (c *Chat) Heads(ctx context.Context, call Call[*im.HeadsReply], req *im.HeadsRequest) error {
	s := call.Caller
	out := im.HeadsReply{Cursor: min(c.store.Now(), c.store.Horizon())} // before anything is read
	u, err := c.store.UserByID(ctx, s.UID)
	if err != nil {
		return err
	}
	out.Feed = u.Feed
	if len(req.Only) > 0 {
		body, err := c.headsOnly(ctx, s, req)
		if err != nil {
			return err
		}
		call.replyWire(append(encoded[*im.HeadsReply](wire(&out)), body...))
		return nil
	}
	since := int64(0)
	if req.Cursor > 0 {
		since = max(req.Cursor-overlap, 1)
	}
	limit := maxHeads
	if req.WithLast {
		limit = maxHeadsWithLast
	}
	rows, more, err := c.store.Heads(ctx, s.UID, since, ConvID(req.After), limit)
	if err != nil {
		return err
	}
	var body []byte
	people := &faces{c: c}
	for i := range rows {
		row := &rows[i]
		if len(body)+len(people.body) > maxBytes {
			more, rows = true, rows[:i]
			break
		}
		if row.blank() {
			continue
		}
		if row.Conv.Kind == KindGroup && (!s.Groups || since == 0 && (row.Mine.Left || row.Conv.Dissolved)) {
			continue // the client knows no groups, or nothing of one that is over
		}
		if body, err = c.appendHead(ctx, body, s, row, req.WithLast, people); err != nil {
			return err
		}
	}
	if more {
		out.Next = uint64(rows[len(rows)-1].Conv.ID)
	}
	call.replyWire(append(append(encoded[*im.HeadsReply](wire(&out)), body...), people.body...))
	return nil
}

// blank reports that the user has nothing of a conversation: it was created for a message that is not stored yet or was dropped, or for the peer's receive
// option. It is not shown: it would tell of what was dropped.
func (r *HeadRow) blank() bool {
	return r.Conv.Kind == KindC2C && r.Conv.Seq == 0 && r.Conv.Rev == 0 && r.Mine.Row <= 1
}

func (c *Chat) headsOnly(ctx context.Context, s *Caller, req *im.HeadsRequest) (body []byte, err error) {
	people := &faces{c: c}
	for _, key := range req.Only {
		cv, _, err := c.find(ctx, s, key)
		if nowhere(err) {
			continue // it does not exist, so it is not in the reply
		}
		if err != nil {
			return nil, err
		}
		row, err := c.store.Head(ctx, s.UID, cv.ID)
		if errors.Is(err, ErrNotFound) || err == nil && row.blank() {
			continue
		}
		if err != nil {
			return nil, err
		}
		if body, err = c.appendHead(ctx, body, s, &row, req.WithLast && len(body) <= maxBytes, people); err != nil {
			return nil, err
		}
	}
	return append(body, people.body...), nil
}

// nowhere reports whether an error says that there is no such conversation.
func nowhere(err error) bool {
	code := im.CodeOf(err)
	return code == im.CodeResync || code == im.CodeNoGroup || code == im.CodeGroupNoHistory
}

// peer appends the peer of a C2C conversation.
func (f *faces) peer(ctx context.Context, s *Caller, row *HeadRow) error {
	if row.Conv.Kind != KindC2C {
		return nil
	}
	uid := row.Conv.A
	if uid == s.UID {
		uid = row.Conv.B
	}
	name, err := f.c.nameOf(ctx, uid)
	if err != nil {
		return err
	}
	return f.add(ctx, uid, name, peopleOfReply)
}

// appendHead appends a head as a field of a HeadsReply, and whom it shows to people.
func (c *Chat) appendHead(ctx context.Context, b []byte, s *Caller, row *HeadRow, withLast bool, people *faces) ([]byte, error) {
	name, err := c.peerName(ctx, s.UID, &row.Conv)
	if err != nil {
		return nil, err
	}
	head := headOf(s.UID, name, row)
	var last []entry
	if withLast && row.Conv.Seq > row.Mine.ClearedSeq {
		if last, err = c.lastEntry(ctx, s.UID, row); err != nil {
			return nil, err
		}
	}
	if err := people.peer(ctx, s, row); err != nil {
		return nil, err
	}
	if row.Conv.Kind == KindGroup && len(last) == 1 {
		if err := people.add(ctx, last[0].Sender, last[0].sender, peopleOfReply); err != nil {
			return nil, err
		}
		cards, err := c.cards(ctx, row.Conv.ID, last)
		if err != nil {
			return nil, err
		}
		if len(cards) == 1 {
			cards[0].UserId = ""
			head.LastCard = cards[0]
		}
	}
	size := head.SizeVT()
	for i := range last {
		size += last[i].sizeField(lastOfHead)
	}
	b = protowire.AppendTag(b, headsOfReply, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = append(b, wire(head)...)
	for i := range last {
		b = last[i].appendField(b, lastOfHead)
	}
	return b, nil
}

// asideMost is how many entries are examined for one that may be the last message.
const asideMost = 50

// lastEntry returns the newest entry, or the one before if its sender marked it as not to be the last message. At most one, and none if uid cannot
// see it.
func (c *Chat) lastEntry(ctx context.Context, uid UID, row *HeadRow) ([]entry, error) {
	cv := &row.Conv
	if cv.Kind == KindGroup {
		return c.lastSeen(ctx, uid, row)
	}
	last, err := c.entries(ctx, cv.ID, cv.Seq, cv.Seq, true, 1)
	if err != nil {
		return nil, err
	}
	if len(last) == 1 && im.Aside(last[0].Body) && cv.Seq-1 > row.Mine.ClearedSeq {
		from := max(row.Mine.ClearedSeq+1, cv.Seq-min(cv.Seq-1, asideMost))
		if last, err = c.entries(ctx, cv.ID, from, cv.Seq-1, true, asideMost); err != nil {
			return nil, err
		}
		for len(last) > 1 && im.Aside(last[len(last)-1].Body) {
			last = last[:len(last)-1]
		}
		last = last[max(len(last)-1, 0):]
	}
	return c.without(ctx, uid, cv.ID, last)
}

// headOf returns a conversation as uid has it; name is what uid calls it.
func headOf(uid UID, name string, row *HeadRow) *im.Head {
	cv, mine := &row.Conv, &row.Mine
	h := &im.Head{
		Conv:  &im.ConvKey{Type: im.ConvType(cv.Kind), Id: name},
		Epoch: uint64(cv.ID), Seq: cv.Seq, Rev: cv.Rev, Time: cv.Time,
		Others: cv.Index - row.Own, Own: row.Own,
		ReadSeq: mine.ReadSeq, ReadOthers: mine.ReadOthers, ReadTime: mine.ReadTime,
		Withdrawn: row.Withdrawn, ClearedSeq: mine.ClearedSeq,
		RecvOpt: mine.RecvOpt, Pinned: mine.Pinned, Row: mine.Row, Hidden: row.hidden(),
	}
	if cv.Kind == KindGroup && row.asGroup(h) || cv.Kind == KindC2C && cv.A == cv.B {
		return h // over, or with oneself: nothing is ever unread
	}
	if sum := mine.ReadOthers + row.Withdrawn; h.Others > sum {
		h.Unread = h.Others - sum
	}
	if row.Peer != nil && !cv.blockedBy(row.Peer.UID) {
		h.PeerReadSeq, h.PeerReadTime = row.Peer.ReadSeq, row.Peer.ReadAt
	}
	return h
}

func (c *Chat) peerName(ctx context.Context, uid UID, cv *Conv) (string, error) {
	if cv.Kind == KindGroup {
		return cv.Group, nil
	}
	if cv.A == uid {
		return c.nameOf(ctx, cv.B)
	}
	return c.nameOf(ctx, cv.A)
}

// entries reads a range of a log, with the names in it.
func (c *Chat) entries(ctx context.Context, id ConvID, from, to uint64, newest bool, limit int) ([]entry, error) {
	rows, err := c.store.Entries(ctx, id, from, to, newest, limit, maxBytes)
	if err != nil {
		return nil, err
	}
	out := make([]entry, len(rows))
	for i := range rows {
		if out[i], err = c.entry(ctx, &rows[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *Chat) entry(ctx context.Context, st *Stored) (e entry, err error) {
	e.Stored = st
	if st.Sender == 0 {
		e.sender = SystemUser
		return e, nil
	}
	if e.sender, err = c.nameOf(ctx, st.Sender); err != nil {
		return e, err
	}
	e.revoker, err = c.nameOf(ctx, st.Revoker)
	return e, err
}

// Pull handles the call of rule 3: it returns a part of the closed range, and which part.
func (c *Chat) Pull(ctx context.Context, call Call[*im.PullReply], req *im.PullRequest) error {
	s := call.Caller
	cv, _, err := c.find(ctx, s, req.Conv)
	if err != nil {
		return err
	}
	if err := checkEpoch(cv, req.Epoch, 0, 0); err != nil {
		return err
	}
	head, err := c.inside(ctx, s.UID, cv.ID)
	if err != nil {
		return err
	}
	if err := checkEpoch(cv, req.Epoch, max(req.From, req.To), cv.Seq); err != nil {
		return err
	}
	if req.From == 0 || req.From > req.To {
		return im.Errorf(im.CodeInvalidParameters, "%d to %d is not a range", req.From, req.To)
	}
	if req.History {
		if err := memberNow(&head); err != nil {
			return err
		}
	}
	limit := maxEntries
	if 0 < req.Limit && req.Limit < maxEntries {
		limit = int(req.Limit)
	}
	out := im.PullReply{Epoch: req.Epoch, From: req.From, To: req.To}
	var found []entry
	first := max(req.From, head.Mine.ClearedSeq+1)
	if !req.History {
		first = head.next(first) // a beginning from between two memberships, however long, is not read; what else is from there is, and left out below
	}
	if first <= req.To {
		if found, err = c.entries(ctx, cv.ID, first, req.To, req.NewestFirst, limit); err != nil {
			return err
		}
		// The log is dense, so fewer entries than numbers means that the reply is full. It covers what it contains.
		if n := len(found); n > 0 && uint64(n) < req.To-first+1 {
			if req.NewestFirst {
				out.From = found[0].Seq
			} else {
				out.To = found[n-1].Seq
			}
		}
		if !req.History {
			found = head.made(found)
		}
		if found, err = c.seen(ctx, &head, found); err != nil {
			return err
		}
		if found, err = c.without(ctx, s.UID, cv.ID, found); err != nil {
			return err
		}
	}
	body := encoded[*im.PullReply](wire(&out))
	people := &faces{c: c}
	for i := range found {
		e := &found[i]
		body = e.appendField(body, entriesOfPull)
		if err := people.add(ctx, e.Sender, e.sender, peopleOfReply); err != nil {
			return err
		}
		if err := people.add(ctx, e.Revoker, e.revoker, peopleOfReply); err != nil {
			return err
		}
	}
	body = append(body, people.body...)
	if cv.Kind == KindGroup {
		cards, err := c.cards(ctx, cv.ID, found)
		if err != nil {
			return err
		}
		for _, card := range cards {
			body = protowire.AppendTag(body, cardsOfPull, protowire.BytesType)
			body = protowire.AppendBytes(body, wire(card))
		}
	}
	call.replyWire(body)
	return nil
}

// checkPlace is checkEpoch for a number of a log. Who never was in a group is told nothing of where its log ends.
func (c *Chat) checkPlace(ctx context.Context, s *Caller, cv Conv, epoch, seq uint64) error {
	err := checkEpoch(cv, epoch, 0, 0)
	if err == nil && cv.Kind == KindGroup && !s.Operator {
		_, err = c.inside(ctx, s.UID, cv.ID)
	}
	if err == nil {
		err = checkEpoch(cv, epoch, seq, cv.Seq)
	}
	return err
}

// SeqAt converts a range of time into a range of numbers.
func (c *Chat) SeqAt(ctx context.Context, call Call[*im.SeqAtReply], req *im.SeqAtRequest) error {
	s := call.Caller
	cv, _, err := c.find(ctx, s, req.Conv)
	if err != nil {
		return err
	}
	if err := checkEpoch(cv, req.Epoch, 0, cv.Seq); err != nil {
		return err
	}
	end := cv.Seq
	if cv.Kind == KindGroup {
		mine, err := c.inside(ctx, s.UID, cv.ID)
		if err != nil {
			return err
		}
		end = mine.end()
	}
	before, err := c.store.SeqAt(ctx, cv.ID, max(req.FromTime, 1)-1)
	if err != nil {
		return err
	}
	last, err := c.store.SeqAt(ctx, cv.ID, req.ToTime)
	if err != nil {
		return err
	}
	call.Reply(&im.SeqAtReply{From: min(before, end) + 1, To: min(last, end)})
	return nil
}

// Changes returns a part of the closed range of a rev line.
func (c *Chat) Changes(ctx context.Context, call Call[*im.ChangesReply], req *im.ChangesRequest) error {
	s := call.Caller
	cv, _, err := c.find(ctx, s, req.Conv)
	if err != nil {
		return err
	}
	if err := checkEpoch(cv, req.Epoch, 0, 0); err != nil {
		return err
	}
	var mine HeadRow
	if cv.Kind == KindGroup {
		if mine, err = c.inside(ctx, s.UID, cv.ID); err != nil {
			return err
		}
	}
	if err := checkEpoch(cv, req.Epoch, max(req.From, req.To), cv.Rev); err != nil {
		return err
	}
	if req.From == 0 || req.From > req.To {
		return im.Errorf(im.CodeInvalidParameters, "%d to %d is not a range", req.From, req.To)
	}
	rows, err := c.store.Changes(ctx, cv.ID, req.From, req.To, maxEntries, maxBytes)
	if err != nil {
		return err
	}
	out := &im.ChangesReply{Epoch: req.Epoch, From: req.From, To: req.To}
	for i := range rows {
		if cv.Kind == KindGroup {
			told, err := c.changeSeen(ctx, &mine, &rows[i])
			if err != nil {
				return err
			}
			if !told {
				continue // its number is covered
			}
		}
		ch, err := c.change(ctx, &rows[i])
		if err != nil {
			return err
		}
		out.Changes = append(out.Changes, ch)
	}
	// The line is dense, so fewer changes than numbers means that the reply is full. It covers what it contains.
	if n := len(rows); n > 0 && uint64(n) < req.To-req.From+1 {
		out.To = rows[n-1].Rev
	}
	call.Reply(out)
	return nil
}

// change returns a row of a rev line in its wire form.
func (c *Chat) change(ctx context.Context, row *Change) (*im.Change, error) {
	operator, err := c.nameOf(ctx, row.Operator)
	if err != nil || row.Target == nil {
		return changeOf(row, operator, ""), err
	}
	sender, err := c.nameOf(ctx, row.Target.Sender)
	return changeOf(row, operator, sender), err
}

// changeOf is change for a row whose names are known.
func changeOf(row *Change, operator, sender string) *im.Change {
	ch := &im.Change{
		Rev: row.Rev, Kind: im.ChangeKind(row.Kind), Seq: row.Seq, Time: row.Time, Operator: operator, Reason: row.Reason, Sender: sender,
	}
	t := row.Target
	if t == nil {
		ch.Version = row.Version
		if len(row.Body) > 0 {
			ch.Report = &im.GroupReportElem{}
			if ch.Report.UnmarshalVT(row.Body) != nil {
				ch.Report = nil
			}
		}
		return ch
	}
	ch.SenderTinyId, ch.ClientTime, ch.Random = uint64(t.Sender), t.ClientTime, t.Random
	ch.SentTime, ch.Countable, ch.Version = t.Time, t.Countable, t.Version
	if ch.Kind == im.ChangeKind_CHANGE_MODIFY && t.Body != nil {
		ch.Message = &im.Message{}
		if ch.Message.UnmarshalVT(t.Body) != nil {
			ch.Message = nil // it was checked before it was stored
		}
	}
	return ch
}

// Lookup returns which of the caller's own messages are stored: what a client asks after a crash.
func (c *Chat) Lookup(ctx context.Context, call Call[*im.LookupReply], req *im.LookupRequest) error {
	s := call.Caller
	var body encoded[*im.LookupReply]
	for _, k := range req.Keys {
		var found []byte
		cv, _, err := c.find(ctx, s, k.Conv)
		if err == nil && k.Epoch != 0 && cv.Kind == KindGroup && k.Epoch != uint64(cv.ID) { // an earlier group of the id
			if cv, err = c.store.Conv(ctx, ConvID(k.Epoch)); err == nil && cv.Group != k.Conv.Id {
				err = ErrNotFound
			}
		}
		if err == nil {
			var st Stored
			st, err = c.store.Lookup(ctx, SendKey{Conv: cv.ID, Sender: s.UID, ClientTime: k.ClientTime, Random: k.Random})
			if err == nil {
				e, nameErr := c.entry(ctx, &st)
				if nameErr != nil {
					return nameErr
				}
				e.bare = asSent(&st)
				found = e.appendField(appendUint(nil, 1, uint64(cv.ID)), entryOfReply)
			}
		}
		if err != nil && !errors.Is(err, ErrNotFound) && !nowhere(err) {
			return err
		}
		if len(body) > 0 && len(body)+len(found) > maxBytes {
			break // the caller asks again for the others
		}
		body = protowire.AppendTag(body, foundOfLookup, protowire.BytesType)
		body = protowire.AppendBytes(body, found)
	}
	call.replyWire(body)
	return nil
}
