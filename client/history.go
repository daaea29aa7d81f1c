package client

import (
	"context"
	"slices"

	"github.com/tidings-im/tidings/im"
)

// historyCount is how many messages a request without a count gets; historyMost how many it may ask for; pageMost how many one answer of the server brings.
const (
	historyCount = 20
	historyMost  = 1000
	pageMost     = 200
)

// Messages lists a conversation: backwards (newest first) from the message or number named in p, exclusive of the message, or, with is_forward, towards newer
// ones in rising order. Unless p says that only what is local is asked for, or there is no link, the server is asked first; what it brings is
// kept without any event.
func (c *Client) Messages(ctx context.Context, conv Conv, p *im.GetMsgListParam) ([]*im.Message, error) {
	return wait(ctx, func(direct bool, done func([]*im.Message, error)) { c.history(direct, conv, p, done) })
}

// MessagesFunc is Messages without waiting.
func (c *Client) MessagesFunc(conv Conv, p *im.GetMsgListParam, done func([]*im.Message, error)) {
	c.history(false, conv, p, done)
}

// historyWalk is one listing on its way.
type historyWalk struct {
	c       *Client
	cv      *conv
	p       *im.GetMsgListParam
	count   int
	forward bool
	// The cursor: rows strictly beyond it are listed.
	era      int64
	pos      uint64
	sub      int64
	asked    uint64 // how far the server has answered, walking from the cursor
	finish   func([]*im.Message, error)
	complete bool // the server has nothing further
}

func (c *Client) history(direct bool, key Conv, p *im.GetMsgListParam, done func([]*im.Message, error)) {
	if p == nil {
		p = &im.GetMsgListParam{}
	}
	doSynced(c, direct, done, func(finish func([]*im.Message, error)) {
		if err := c.readable(); err != nil {
			finish(nil, err)
			return
		}
		cv := c.convs[key]
		if cv == nil {
			finish(nil, nil)
			return
		}
		w := &historyWalk{c: c, cv: cv, p: p, forward: p.IsForward, finish: finish, count: int(p.Count)}
		if w.count <= 0 {
			w.count = historyCount
		}
		w.count = min(w.count, historyMost)
		if !w.start() {
			return
		}
		w.step()
	})
}

// start finds the cursor.
func (w *historyWalk) start() bool {
	c, cv, p := w.c, w.cv, w.p
	const end = int64(1<<62 - 1)
	w.era, w.pos, w.sub = cv.era, uint64(end), end
	if w.forward {
		w.era, w.pos, w.sub = 0, 0, 0
	}
	switch {
	case p.LastMsg != nil && (p.LastMsg.MsgId != "" || p.LastMsg.Seq != 0 || p.LastMsg.Rand != 0):
		row, err := c.find(p.LastMsg)
		if !c.check(err) {
			w.finish(nil, &im.Error{Code: im.CodeDatabase, Desc: "the local database failed"})
			return false
		}
		switch {
		case row != nil && row.conv == cv.id:
			w.era, w.pos, w.sub = row.era, row.pos, row.sub
		case p.LastMsg.Seq != 0:
			w.era, w.pos, w.sub = cv.era, p.LastMsg.Seq, 0
		default:
			w.finish(nil, im.Errorf(im.CodeInvalidParameters, "msg_getmsglist_param_last_msg is not in the conversation"))
			return false
		}
	case p.LastMsgSeq != 0 && w.forward:
		w.era, w.pos, w.sub = cv.era, p.LastMsgSeq-1, end
	case p.LastMsgSeq != 0:
		w.era, w.pos, w.sub = cv.era, p.LastMsgSeq+1, -1
	}
	w.asked = w.pos
	if w.forward {
		if w.era != cv.era {
			w.asked = 0
		}
		w.asked = max(w.asked, cv.cleared)
	}
	return true
}

// step asks the server for the next range, or lists.
func (w *historyWalk) step() {
	c, cv := w.c, w.cv
	if w.complete || w.p.IsRamble != nil && !*w.p.IsRamble || c.online() != nil || cv.epoch == 0 || w.era != cv.era && !w.forward {
		w.list()
		return
	}
	req := &im.PullRequest{Conv: cv.key.wire(), Epoch: cv.epoch, NewestFirst: !w.forward, Limit: uint32(min(w.count, pageMost))}
	if w.forward {
		req.From, req.To = w.asked+1, cv.headSeq
	} else {
		req.From, req.To = cv.cleared+1, min(w.asked-min(w.asked, 1), cv.headSeq)
	}
	if req.From > req.To {
		w.list()
		return
	}
	era := cv.era
	c.request(im.Method_PULL, req, true, c.cfg.Limits.Call, func(body []byte, err *im.Error) {
		reply := &im.PullReply{}
		if c.db == nil {
			w.finish(nil, notLoggedIn)
			return
		}
		if err != nil || reply.UnmarshalVT(body) != nil || cv.era != era || reply.To < reply.From {
			w.list() // what is here can be read all the same
			return
		}
		for _, e := range reply.Entries {
			if e.Message != nil && !c.acknowledged(cv, e) {
				c.store(cv, e)
			}
		}
		if w.forward {
			w.asked = reply.To
			w.complete = reply.To >= req.To
		} else {
			w.asked = reply.From
			w.complete = reply.From <= req.From
		}
		rows, e := w.rows()
		if c.check(e) && len(rows) >= w.count && w.answered(rows[len(rows)-1]) {
			w.complete = true
		}
		w.step()
	})
}

// answered says whether the server has answered for everything up to a row: what is here beyond that may have holes before it.
func (w *historyWalk) answered(r *message) bool {
	switch {
	case r.era != w.cv.era:
		return w.forward
	case w.forward:
		return r.pos <= w.asked
	}
	return r.pos >= w.asked
}

// rows reads what is local beyond the cursor, in the order of the walk.
func (w *historyWalk) rows() ([]*message, error) {
	// What has no number and is here was put here after the clearing.
	const beyond = "conv = ? AND status <> 4 AND (pos > ? OR sub > 0 OR era <> ?) AND (era, pos, sub) "
	if w.forward {
		return w.c.db.messages(beyond+"> (?, ?, ?) ORDER BY era, pos, sub LIMIT ?", w.cv.id, w.cv.cleared, w.cv.era, w.era, w.pos, w.sub, w.count)
	}
	return w.c.db.messages(beyond+"< (?, ?, ?) ORDER BY era DESC, pos DESC, sub DESC LIMIT ?", w.cv.id, w.cv.cleared, w.cv.era, w.era, w.pos, w.sub, w.count)
}

func (w *historyWalk) list() {
	rows, err := w.rows()
	if !w.c.check(err) {
		w.finish(nil, &im.Error{Code: im.CodeDatabase, Desc: "the local database failed"})
		return
	}
	var out []*im.Message
	for _, r := range rows {
		m, err := w.c.view(w.cv, r)
		if err != nil {
			continue
		}
		if len(w.p.MessageTypeArray) > 0 && !slices.ContainsFunc(m.ElemArray, func(e *im.Elem) bool { return slices.Contains(w.p.MessageTypeArray, uint32(e.ElemType)) }) {
			continue
		}
		out = append(out, m)
	}
	w.finish(out, nil)
}

// find looks a message up by what an application may hold of it: its id, or sequence, random and time. nil if it is not here.
func (c *Client) find(m *im.Message) (*message, error) {
	if tiny, clientTime, random, ok := parseMessageID(m.MsgId); ok {
		rows, err := c.db.messages("client_time = ? AND random = ?", clientTime, random)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if r.senderTiny == tiny {
				return r, nil
			}
		}
		return nil, nil
	}
	cv := c.convs[Conv{m.ConvType, m.ConvId}]
	if cv == nil || m.Seq == 0 {
		return nil, nil
	}
	return c.db.one("conv = ? AND era = ? AND pos = ? AND sub = 0", cv.id, cv.era, m.Seq)
}
