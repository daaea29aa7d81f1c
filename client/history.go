package client

import (
	"cmp"
	"math"
	"slices"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// historyCount is how many messages a request without a count gets; historyMost is the limit; pageMost is how many one reply of the server contains;
// scanPage is how many local ones are searched at a time for those of a type.
const (
	historyCount = 20
	historyMost  = 1000
	pageMost     = 200
	scanPage     = 500
)

// historyWalk is one listing under way.
type historyWalk struct {
	c       *Client
	cv      *conv
	p       *im.GetMsgListParam
	count   int
	forward bool
	// The cursor: rows strictly beyond it are listed.
	era int64
	pos uint64
	sub int64
	// Only rows of this time are listed, milliseconds, both ends included; at the server these are the numbers lo to hi.
	fromTime, toTime int64
	lo, hi           uint64
	asked            uint64 // how far the server has answered, walking from the cursor
	finish           func([]*im.Message, error)
	complete         bool // the server has nothing further
	out              []*im.Message
}

// Messages lists a conversation: backwards (newest first) from the message or number named in p, excluding the message, or, with is_forward, towards
// newer ones in rising order. Unless p asks only for local messages, or there is no link, the server is asked first; what it returns is stored
// without any event.
//
// With time_begin or time_period only messages of that time are listed, both ends included: back from time_begin, or on from it with is_forward. A
// time_begin of 0 is the present; without a message or number to start from, the list starts there. With message_type_array only messages that have
// an element of one of these types are listed, of those that are local. message_seq_array names the messages itself; nothing else counts then.
//
//tidings:call
func (c *Client) messages(to caller[[]*im.Message], key Conv, p *im.GetMsgListParam) {
	if p == nil {
		p = &im.GetMsgListParam{}
	}
	doReading(c, to, func(finish func([]*im.Message, error)) {
		cv := c.convs.byKey[key]
		if cv == nil {
			finish(nil, nil)
			return
		}
		w := &historyWalk{c: c, cv: cv, era: cv.Era, p: p, forward: p.IsForward, finish: finish, count: int(p.Count), toTime: math.MaxInt64, hi: math.MaxUint64}
		if w.count <= 0 {
			w.count = historyCount
		}
		w.count = min(w.count, historyMost)
		switch {
		case len(p.SeqArray) > historyMost:
			finish(nil, im.Errorf(im.CodeInvalidParameters, "msg_getmsglist_param_message_seq_array has %d numbers; %d can be", len(p.SeqArray), historyMost))
			return
		case len(p.SeqArray) > 0:
			w.named()
			return
		case !w.start():
			return
		case p.TimeBegin == 0 && p.TimePeriod == 0:
			w.step()
			return
		}
		w.setTime()
		if !w.remote() {
			w.list()
			return
		}
		req := &im.SeqAtRequest{Conv: cv.key().wire(), Epoch: cv.Epoch, FromTime: w.fromTime, ToTime: w.toTime}
		engine.Ask(c.e, im.Method_SEQ_AT, req, true, c.cfg.Limits.Call, func(reply *im.SeqAtReply, err *im.Error) {
			switch {
			case c.session.readable() != nil:
				w.finish(nil, notLoggedIn)
			case err != nil || reply.From > reply.To:
				w.list() // what is on the device can be read nevertheless
			default:
				w.lo, w.hi = reply.From, reply.To
				if w.forward {
					w.asked = max(w.asked, w.lo-1)
				} else {
					w.asked = min(w.asked, w.hi+1)
				}
				w.step()
			}
		})
	})
}

// setTime converts seconds to a closed range of milliseconds.
func (w *historyWalk) setTime() {
	const most = 1 << 40 // seconds; no clock comes near
	begin, period := int64(min(w.p.TimeBegin, most)), int64(min(w.p.TimePeriod, most))
	begin = cmp.Or(begin, w.c.session.serverNow().Unix())
	if w.forward {
		w.fromTime = begin * 1000
		if period > 0 {
			w.toTime = (begin+period)*1000 + 999
		}
		return
	}
	w.toTime = begin*1000 + 999
	if period > 0 {
		w.fromTime = max(begin-period, 0) * 1000
	}
}

// remote reports whether the server is asked. Its messages are not searched for types, as in the API.
func (w *historyWalk) remote() bool {
	return (w.p.IsRamble == nil || *w.p.IsRamble) && len(w.p.MessageTypeArray) == 0 && w.c.session.online() == nil && w.cv.Epoch != 0 && (w.era == w.cv.Era || w.forward)
}

// named lists the messages of message_seq_array, requesting those that are not on the device one run of numbers at a time.
func (w *historyWalk) named() {
	seqs := slices.Compact(slices.Sorted(slices.Values(w.p.SeqArray)))
	if !w.forward {
		slices.Reverse(seqs)
	}
	var next func(i int)
	next = func(i int) {
		c, cv := w.c, w.cv
		for ; i < len(seqs); i++ {
			row, err := c.e.DB.At(&cv.ConvRow, seqs[i])
			if !c.e.Check(err) {
				w.finish(nil, engine.Failed)
				return
			}
			if row == nil && seqs[i] > cv.Cleared && seqs[i] <= cv.headSeq && w.remote() {
				break
			}
			if row != nil && row.Status != im.MessageStatus_MESSAGE_STATUS_DELETED && row.Pos > cv.Cleared {
				w.add(row)
			}
		}
		if i == len(seqs) {
			w.finish(w.out, nil)
			return
		}
		from, to, era := seqs[i], seqs[i], cv.Era
		end := i + 1
		for ; end < len(seqs) && end-i < pageMost && (seqs[end] == to+1 || seqs[end] == from-1); end++ {
			from, to = min(from, seqs[end]), min(max(to, seqs[end]), cv.headSeq)
		}
		req := &im.PullRequest{Conv: cv.key().wire(), Epoch: cv.Epoch, From: from, To: to, History: true}
		engine.Ask(c.e, im.Method_PULL, req, true, c.cfg.Limits.Call, func(reply *im.PullReply, err *im.Error) {
			if c.session.readable() != nil {
				w.finish(nil, notLoggedIn)
				return
			}
			if err == nil && cv.Era == era {
				w.take(reply)
			}
			for ; i < end; i++ {
				row, err := c.e.DB.At(&cv.ConvRow, seqs[i])
				if !c.e.Check(err) {
					w.finish(nil, engine.Failed)
					return
				}
				if row != nil && row.Status != im.MessageStatus_MESSAGE_STATUS_DELETED {
					w.add(row)
				}
			}
			next(end)
		})
	}
	next(0)
}

// take stores what the server returned, except what was cleared while it was under way.
func (w *historyWalk) take(reply *im.PullReply) {
	for _, p := range reply.People {
		w.c.people.take(p)
	}
	w.c.members.met(w.cv, reply.Cards)
	for _, e := range reply.Entries {
		if e.Message != nil && e.Seq > w.cv.Cleared && !w.c.convs.acknowledged(w.cv, e) {
			w.c.convs.store(w.cv, e)
			w.c.convs.changed[w.cv] = true // the first messages of a group from before its user has joined give the conversation a last message
		}
	}
}

// start finds the cursor.
func (w *historyWalk) start() bool {
	c, cv, p := w.c, w.cv, w.p
	const end = int64(1<<62 - 1)
	w.era, w.pos, w.sub = cv.Era, uint64(end), end
	if w.forward {
		w.era, w.pos, w.sub = 0, 0, 0
	}
	switch {
	case p.LastMsg != nil && (p.LastMsg.MsgId != "" || p.LastMsg.Seq != 0 || p.LastMsg.Rand != 0):
		row, err := c.convs.find(p.LastMsg)
		if !c.e.Check(err) {
			w.finish(nil, engine.Failed)
			return false
		}
		switch {
		case row != nil && row.Conv == cv.ID:
			w.era, w.pos, w.sub = row.Era, row.Pos, row.Sub
		case p.LastMsg.Seq != 0:
			w.era, w.pos, w.sub = cv.Era, p.LastMsg.Seq, 0
		default:
			w.finish(nil, im.Errorf(im.CodeInvalidParameters, "msg_getmsglist_param_last_msg is not in the conversation"))
			return false
		}
	case p.LastMsgSeq != 0 && w.forward:
		w.era, w.pos, w.sub = cv.Era, p.LastMsgSeq-1, end
	case p.LastMsgSeq != 0:
		w.era, w.pos, w.sub = cv.Era, p.LastMsgSeq+1, -1
	}
	w.asked = w.pos
	if w.forward {
		if w.era != cv.Era {
			w.asked = 0
		}
		w.asked = max(w.asked, cv.Cleared)
	}
	return true
}

// step asks the server for the next range, or lists.
func (w *historyWalk) step() {
	c, cv := w.c, w.cv
	if w.complete || !w.remote() {
		w.list()
		return
	}
	req := &im.PullRequest{Conv: cv.key().wire(), Epoch: cv.Epoch, NewestFirst: !w.forward, Limit: uint32(min(w.count, pageMost)), History: true}
	if w.forward {
		req.From, req.To = w.asked+1, min(cv.headSeq, w.hi)
	} else {
		req.From, req.To = max(cv.Cleared+1, w.lo), min(w.asked-min(w.asked, 1), cv.headSeq)
	}
	if req.From > req.To {
		w.list()
		return
	}
	era := cv.Era
	engine.Ask(c.e, im.Method_PULL, req, true, c.cfg.Limits.Call, func(reply *im.PullReply, err *im.Error) {
		if c.session.readable() != nil {
			w.finish(nil, notLoggedIn)
			return
		}
		if err != nil || cv.Era != era || reply.To < reply.From {
			w.list() // what is on the device can be read nevertheless
			return
		}
		w.take(reply)
		if w.forward {
			w.asked = reply.To
			w.complete = reply.To >= req.To
		} else {
			w.asked = reply.From
			w.complete = reply.From <= req.From
		}
		rows, e := w.rows(w.count)
		if c.e.Check(e) && len(rows) >= w.count && w.answered(rows[len(rows)-1]) {
			w.complete = true
		}
		w.step()
	})
}

// answered reports whether the server has answered for everything up to a row: local messages beyond that may have gaps before them.
func (w *historyWalk) answered(r *local.Message) bool {
	switch {
	case r.Era != w.cv.Era:
		return w.forward
	case w.forward:
		return r.Pos <= w.asked
	}
	return r.Pos >= w.asked
}

// rows reads local messages beyond the cursor, in the order of the walk.
func (w *historyWalk) rows(most int) ([]*local.Message, error) {
	return w.c.e.DB.Beyond(&w.cv.ConvRow, local.Place{Era: w.era, Pos: w.pos, Sub: w.sub}, w.forward, w.fromTime, w.toTime, most)
}

// list returns local messages. With types it searches all of them, some rows between two commits.
func (w *historyWalk) list() {
	if w.c.session.readable() != nil {
		w.finish(nil, notLoggedIn)
		return
	}
	most := w.count
	if len(w.p.MessageTypeArray) > 0 {
		most = scanPage
	}
	rows, err := w.rows(most)
	if !w.c.e.Check(err) {
		w.finish(nil, engine.Failed)
		return
	}
	for _, r := range rows {
		if len(w.out) < w.count {
			w.add(r)
		}
	}
	if len(w.p.MessageTypeArray) == 0 || len(w.out) == w.count || len(rows) < most {
		w.finish(w.out, nil)
		return
	}
	last := rows[len(rows)-1]
	w.era, w.pos, w.sub = last.Era, last.Pos, last.Sub
	w.c.e.Soon(engine.FailWith(w.finish), w.list)
}

// add lists a row if it has one of the wanted types.
func (w *historyWalk) add(r *local.Message) {
	m, err := w.c.convs.view(w.cv, r)
	types := w.p.MessageTypeArray
	if err != nil || len(types) > 0 && !slices.ContainsFunc(m.ElemArray, func(e *im.Elem) bool { return slices.Contains(types, uint32(e.ElemType)) }) {
		return
	}
	w.out = append(w.out, m)
}
