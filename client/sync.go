package client

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tidings-im/tidings/im"
)

// How far a device goes back: a fresh one starts at most so many messages before the end, in so many conversations; one that was away
// longer than tooFar jumps (rule 16).
const (
	freshConvs   = 100
	freshBack    = 1000
	tooFar       = 20000
	pullsAtOnce  = 4
	readsAtOnce  = 200
	lookupAtOnce = 100
)

// syncState is the sync of rule 8: changed heads, page by page, then what each conversation lacks. Pulls of a gap seen between syncs use
// the same queue.
type syncState struct {
	active  bool // heads are being asked for, or what they showed is being pulled
	again   bool // another one was asked for meanwhile
	failed  bool // a pull came to nothing
	done    bool // one has come to its end since the connection was made
	login   bool // framed by start and finish
	pages   bool // all pages of heads are here
	fresh   bool // this device has never completed a sync
	cursor  int64
	heads   []*conv // of a fresh device: conversations whose start is decided when all heads are known
	queue   []*conv
	pulls   int
	paused  bool // the application does not take its events
	whole   bool // one sync of this connection has ended
	began   time.Time
	found   int // changed conversations
	brought int // messages and changes that were pulled
}

func (s *syncState) running() bool { return s.active || s.pulls > 0 || len(s.queue) > 0 }

// startSync begins a sync, or notes that the running one must be followed by another.
func (c *Client) startSync() {
	s := &c.sync
	if s.active {
		s.again = true
		return
	}
	cursor, err := c.db.MetaInt("cursor")
	if !c.check(err) {
		return
	}
	if c.cursorAt > cursor {
		cursor = c.cursorAt
	}
	delete(c.deadlines, deadlineSync)
	delete(c.deadlines, deadlineList)
	s.active, s.again, s.failed, s.pages, s.fresh, s.cursor, s.heads = true, false, false, false, cursor == 0, 0, nil
	s.began, s.found, s.brought = time.Now(), 0, 0
	c.log.Log(context.Background(), s.level(), "sync started", "fresh", s.fresh, "login", s.login)
	c.askHeads(cursor, 0)
}

// level is that of the lines about a sync: the first one on a connection is worth more than those that look whether anything was missed.
func (s *syncState) level() slog.Level {
	if s.whole {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func (c *Client) askHeads(cursor int64, after uint64) {
	s := &c.sync
	req := &im.HeadsRequest{Cursor: cursor, After: after, WithLast: s.fresh}
	ask(c, im.Method_HEADS, req, false, c.cfg.Limits.Call, func(reply *im.HeadsReply, err *im.Error) {
		if err != nil {
			s.active = false
			if c.link != nil {
				c.log.Warn("sync failed; connecting anew", "error", err)
				c.link.Break()
			}
			return
		}
		if after == 0 {
			s.cursor = reply.Cursor
		}
		s.found += len(reply.Heads)
		for _, h := range reply.Heads {
			c.applyHead(h)
		}
		if reply.Next != 0 {
			c.askHeads(cursor, reply.Next)
			return
		}
		s.pages = true
		c.startFresh()
		c.pullNext()
		c.syncDone()
	})
}

// startFresh decides where a fresh device starts in each conversation: the newest ones some way back, so that at least their last message
// fires; the others at their end.
func (c *Client) startFresh() {
	heads := c.sync.heads
	c.sync.heads = nil
	slices.SortStableFunc(heads, func(a, b *conv) int { return cmp.Compare(b.Time, a.Time) })
	for i, cv := range heads {
		cv.deferred = false
		seen := cv.seen.from
		if cv.seen.epoch != cv.Epoch {
			seen = 0
		}
		cv.Rev, cv.WithdrawnRev = cv.headRev, max(cv.WithdrawnRev, cv.headRev)
		cv.SyncedTo = cv.headSeq
		if i < freshConvs && cv.headSeq > 0 {
			cv.SyncedTo = cv.freshStart()
		}
		if seen > 0 && seen <= cv.SyncedTo {
			cv.SyncedTo = seen - 1 // it came while the heads did: news, wherever the conversation stands
		}
		if cv.seen.epoch == cv.Epoch {
			c.takeSeen(cv)
		}
		cv.Receipt = cv.PeerSeq
		cv.dirty = true
		c.enqueue(cv)
	}
}

// syncDone ends the sync when nothing of it is open.
func (c *Client) syncDone() {
	s := &c.sync
	if !s.active || !s.pages || s.pulls > 0 || len(s.queue) > 0 {
		return
	}
	c.log.Log(context.Background(), s.level(), "sync finished", "conversations", s.found, "messages", s.brought, "complete", !s.failed, "took", time.Since(s.began).Round(time.Millisecond))
	s.active, s.whole = false, true
	c.goOnParked()
	if !s.failed {
		c.cursorAt = s.cursor
		c.check(c.db.SetMeta("cursor", c.cursorAt))
		c.syncPause = 0
		s.done = true
		c.listLater()
	}
	if s.again {
		c.startSync()
		return
	}
	if s.login {
		s.login, c.finish = false, true
	}
}

// freshStart is where a device starts that has none of a conversation's log: with what is unread, not too far back, and at least the last message. Where
// nothing is unread the own messages of other devices are no news either.
func (cv *conv) freshStart() uint64 {
	if cv.headSeq == 0 {
		return 0
	}
	start := cv.headSeq - 1
	if cv.headOthers > cv.ReadOthers+cv.Withdrawn {
		start = min(start, max(cv.ReadSeq, cv.headSeq-min(cv.headSeq, freshBack)))
	}
	return max(start, min(cv.Cleared, cv.headSeq))
}

// syncLater asks for another sync because a pull came to nothing, later and later while that goes on. Until then the cursor stays.
func (c *Client) syncLater() {
	c.sync.failed = true
	if _, ok := c.deadlines[deadlineSync]; !ok {
		c.syncPause = min(max(2*c.syncPause, time.Second), time.Minute)
		c.deadlines[deadlineSync] = time.Now().Add(c.syncPause)
	}
}

// listLater sets when the device asks anew what has changed, unless a heartbeat says before that it has everything. Devices that came together do not
// ask together.
func (c *Client) listLater() {
	d := c.cfg.Limits.List
	c.deadlines[deadlineList] = time.Now().Add(d - time.Duration(rand.Int64N(int64(d/4)+1)))
}

// takeSeen moves the known ends of the log to what pushes told before.
func (c *Client) takeSeen(cv *conv) {
	if cv.seen.entry != nil {
		c.raise(cv, cv.seen.entry)
	}
	cv.headRev = max(cv.headRev, cv.seen.rev)
	cv.seen.epoch, cv.seen.entry, cv.seen.from, cv.seen.rev = 0, nil, 0, 0
}

// convOf answers the conversation's row, making it if it is new.
func (c *Client) convOf(key Conv) *conv {
	cv := c.convs[key]
	if cv == nil {
		c.lastConv++
		cv = newConv(c.lastConv, key)
		c.convs[key], c.byID[cv.ID] = cv, cv
	}
	return cv
}

// applyHead takes in what the server says of a conversation. Heads may arrive out of order with pushes, so each part moves forward only.
func (c *Client) applyHead(h *im.Head) {
	if h.Conv == nil {
		return
	}
	cv := c.convOf(Conv{h.Conv.Type, h.Conv.Id})
	switch {
	case cv.Epoch == 0 || h.Epoch > cv.Epoch:
		if cv.Epoch != 0 {
			seen := cv.seen // of the new log, since the head was asked for
			c.newEra(cv)
			cv.seen = seen
		}
		cv.Epoch = h.Epoch
		if c.sync.active && c.sync.fresh && !c.sync.pages {
			cv.deferred = true
			c.sync.heads = append(c.sync.heads, cv)
		} else {
			cv.SyncedTo, cv.Rev = min(h.ClearedSeq, h.Seq), 0
		}
	case h.Epoch < cv.Epoch:
		return // of a log that is gone
	case h.Seq < cv.SyncedTo || h.Rev < cv.Rev:
		c.refresh(cv)
	}
	cv.dirty = true
	if h.Seq > cv.headSeq {
		cv.Hidden = false
		cv.headSeq, cv.headOthers, cv.headOwn = h.Seq, h.Others, h.Own
	}
	cv.headRev = max(cv.headRev, h.Rev)
	cv.Time = max(cv.Time, h.Time)
	if cv.seen.epoch == cv.Epoch && !cv.deferred {
		c.takeSeen(cv)
	}
	switch {
	case h.Row > cv.Row:
		stale := h.Rev < cv.WithdrawnRev
		cv.Row, cv.ReadSeq, cv.ReadOthers, cv.ReadTime = h.Row, h.ReadSeq, h.ReadOthers, h.ReadTime
		c.clearTo(cv, h.ClearedSeq)
		cv.RecvOpt, cv.Pinned = h.RecvOpt, h.Pinned
		if cv.Hidden = h.Hidden && h.Seq == cv.headSeq; cv.Hidden {
			cv.Listed, cv.Draft = false, nil
		}
		cv.Withdrawn, cv.WithdrawnRev = h.Withdrawn, h.Rev
		if stale {
			c.refresh(cv)
		}
	case h.Row == cv.Row && h.Rev >= cv.WithdrawnRev:
		cv.Withdrawn, cv.WithdrawnRev = h.Withdrawn, h.Rev
	}
	if h.PeerReadSeq > cv.PeerSeq {
		cv.PeerSeq, cv.PeerTime = h.PeerReadSeq, h.PeerReadTime
	}
	if h.Last != nil && h.Last.Message != nil && !c.acknowledged(cv, h.Last) {
		c.store(cv, h.Last)
	}
	if !cv.deferred {
		c.enqueue(cv)
	}
}

// refresh asks for one conversation's head again because what came does not fit what is here. If the answer is still behind what was here
// when it was asked for, the server's log was set back: a new era.
func (c *Client) refresh(cv *conv) {
	if cv.refreshing {
		return
	}
	cv.refreshing = true
	seq, rev, epoch, row := cv.SyncedTo, cv.Rev, cv.Epoch, cv.Row
	req := &im.HeadsRequest{Only: []*im.ConvKey{cv.key().wire()}}
	ask(c, im.Method_HEADS, req, false, c.cfg.Limits.Call, func(reply *im.HeadsReply, err *im.Error) {
		cv.refreshing = false
		if err != nil {
			if c.link != nil {
				c.startSync()
			}
			return
		}
		for _, h := range reply.Heads {
			back := h.Epoch == epoch && (h.Seq < seq || h.Rev < rev)
			if back {
				c.log.Warn("the server's log was set back", "conversation", cv.key().ID, "seq", h.Seq, "had", seq)
				c.newEra(cv)
			}
			if !back && h.Row < cv.Row && cv.Row != row {
				c.refresh(cv) // a newer row came in between
			} else {
				// The numbers of the row are the server's, whatever is here.
				cv.Row, cv.WithdrawnRev = 0, min(cv.WithdrawnRev, h.Rev)
			}
			cv.deferred = cv.deferred || back
			c.applyHead(h)
			if back {
				cv.deferred = false
				cv.SyncedTo, cv.Rev, cv.WithdrawnRev, cv.Receipt = cv.freshStart(), cv.headRev, cv.headRev, cv.PeerSeq
				c.enqueue(cv)
			}
		}
		c.syncDone()
	})
}

// newEra starts a new local log of a conversation. The messages of the old one stay listed before it.
func (c *Client) newEra(cv *conv) {
	next := newConv(cv.ID, cv.key())
	next.Era, next.Listed, next.Draft, next.Announced, next.ToldUnread, next.RecvOpt = cv.Era+1, true, cv.Draft, cv.Announced, cv.ToldUnread, cv.RecvOpt
	next.pulling, next.queued, next.deferred, next.refreshing = cv.pulling, cv.queued, cv.deferred, cv.refreshing
	*cv = *next
	c.changed[cv] = true
}

// enqueue sees to it that a conversation which lacks something is pulled; one that lacks nothing is up to date.
func (c *Client) enqueue(cv *conv) {
	if cv.deferred || cv.pulling || cv.queued {
		return
	}
	if cv.upToDate() {
		c.caughtUp(cv)
		return
	}
	if cv.headSeq > cv.SyncedTo+tooFar {
		c.log.Warn("too far behind; older messages are in the history only", "conversation", cv.key().ID, "behind", cv.headSeq-cv.SyncedTo)
		cv.SyncedTo = cv.headSeq - freshBack
		cv.HoleTo, cv.dirty = cv.SyncedTo, true
	}
	cv.queued = true
	c.sync.queue = append(c.sync.queue, cv)
	c.pullNext()
}

func (cv *conv) upToDate() bool { return cv.SyncedTo >= cv.headSeq && cv.Rev >= cv.headRev }

// caughtUp makes the numbers at the end of the log the ones that count.
func (c *Client) caughtUp(cv *conv) {
	if cv.headSeq > 0 && (cv.Others != cv.headOthers || cv.Own != cv.headOwn) && cv.headSeq >= cv.SyncedTo {
		cv.Others, cv.Own, cv.dirty = cv.headOthers, cv.headOwn, true
	}
	c.changed[cv] = true
}

// pullNext keeps a few pulls going while the application takes its events.
func (c *Client) pullNext() {
	s := &c.sync
	for len(s.queue) > 0 && s.pulls < pullsAtOnce {
		if c.waiting.Load() >= mostWaiting {
			s.paused = true
			c.goOnParked()
			return
		}
		cv := s.queue[0]
		s.queue = s.queue[1:]
		cv.queued = false
		c.pull(cv)
	}
}

// pull asks for the next range that a conversation lacks: messages first, so that a change finds its message.
func (c *Client) pull(cv *conv) {
	if cv.upToDate() {
		c.caughtUp(cv)
		return
	}
	cv.pulling = true
	c.sync.pulls++
	era := cv.Era
	done := func(err *im.Error, apply func() bool) {
		cv.pulling = false
		c.sync.pulls--
		switch {
		case err == nil && era == cv.Era && !apply():
			c.log.Warn("an answer that does not cover what was asked for; connecting anew", "conversation", cv.key().ID)
			if c.link != nil {
				c.link.Break()
			}
			return
		case err != nil && err.Code == im.CodeResync:
			c.refresh(cv)
		case err != nil && c.link != nil:
			// Left (10007, 10010): what is here stays, and a later head starts again. Anything else may pass, and nobody else says that there
			// is something to pull.
			c.log.Info("pull refused", "conversation", cv.key().ID, "error", err)
			cv.headSeq, cv.headRev = cv.SyncedTo, cv.Rev
			if err.Code != im.CodeNotMember && err.Code != im.CodeNoGroup {
				c.syncLater()
			}
		}
		if c.link == nil {
			return
		}
		if err == nil {
			c.enqueue(cv)
		}
		c.pullNext()
		c.syncDone()
	}
	if from := cv.SyncedTo + 1; from <= cv.headSeq {
		req := &im.PullRequest{Conv: cv.key().wire(), Epoch: cv.Epoch, From: from, To: cv.headSeq}
		ask(c, im.Method_PULL, req, false, c.cfg.Limits.Call, func(reply *im.PullReply, err *im.Error) {
			done(err, func() bool { return c.applyPull(cv, from, reply) })
		})
		return
	}
	from := cv.Rev + 1
	req := &im.ChangesRequest{Conv: cv.key().wire(), Epoch: cv.Epoch, From: from, To: cv.headRev}
	ask(c, im.Method_CHANGES, req, false, c.cfg.Limits.Call, func(reply *im.ChangesReply, err *im.Error) {
		done(err, func() bool {
			if reply.From > from || reply.To < from {
				return false
			}
			for _, ch := range reply.Changes {
				if ch.Rev <= cv.Rev || ch.Rev > reply.To {
					continue
				}
				if ch.Seq > cv.SyncedTo {
					// It waits for its message, of which only the head can tell.
					cv.Rev, cv.headRev, cv.dirty = ch.Rev-1, ch.Rev-1, true
					c.refresh(cv)
					return true
				}
				c.applyChange(cv, ch)
			}
			if reply.To > cv.Rev {
				cv.Rev, cv.dirty = reply.To, true
			}
			return true
		})
	})
}

// applyPull applies an answered range. What is absent in it is void for this user.
func (c *Client) applyPull(cv *conv, from uint64, reply *im.PullReply) bool {
	if reply.From > from || reply.To < from {
		return false
	}
	for _, e := range reply.Entries {
		if e.Seq > cv.SyncedTo && e.Seq <= reply.To {
			c.sync.brought++
			c.applyEntry(cv, e)
		}
	}
	if reply.To > cv.SyncedTo {
		cv.SyncedTo, cv.dirty = reply.To, true
	}
	return true
}

// push applies a frame that the server sent by itself. It is a hint: what does not follow the last number starts a pull.
func (c *Client) push(f *im.Frame) error {
	switch f.Method {
	case im.Method_ENTRY:
		p := &im.EntryPush{}
		if err := im.Decode(f.Body, p); err != nil {
			return err
		}
		if p.Conv != nil && p.Entry != nil {
			c.pushedEntry(p)
		}
	case im.Method_CHANGE:
		p := &im.ChangePush{}
		if err := im.Decode(f.Body, p); err != nil {
			return err
		}
		if p.Conv != nil && p.Change != nil {
			c.pushedChange(Conv{p.Conv.Type, p.Conv.Id}, p.Epoch, p.Change)
		}
	case im.Method_HEAD:
		h := &im.Head{}
		if err := im.Decode(f.Body, h); err != nil {
			return err
		}
		c.applyHead(h)
	case im.Method_BEHIND:
		c.startSync()
	case im.Method_KICKED:
		p := &im.KickedPush{}
		if err := im.Decode(f.Body, p); err != nil {
			return err
		}
		c.kicked(p.Desc)
	case im.Method_EXPIRED:
		c.ticketExpired()
	}
	return nil
}

func (c *Client) pushedEntry(p *im.EntryPush) {
	e := p.Entry
	key := Conv{p.Conv.Type, p.Conv.Id}
	if e.Seq == 0 {
		c.onlineOnly(key, e)
		return
	}
	cv := c.convOf(key)
	if cv.Epoch == 0 && e.Seq == 1 && !c.sync.active {
		cv.Epoch = p.Epoch // a new conversation from its first number on
	}
	if !c.ready(cv, p.Epoch) {
		if s := &cv.seen; p.Epoch >= s.epoch {
			if s.epoch != p.Epoch {
				s.epoch, s.entry, s.from, s.rev = p.Epoch, nil, e.Seq, 0
			}
			if s.entry == nil || e.Seq > s.entry.Seq {
				s.entry = e
			}
			if s.from == 0 {
				s.from = e.Seq
			}
		}
		return
	}
	c.raise(cv, e)
	if e.Seq != cv.SyncedTo+1 || cv.pulling || cv.queued || c.waiting.Load() >= mostWaiting {
		c.enqueue(cv)
		return
	}
	c.applyEntry(cv, e)
	cv.SyncedTo, cv.dirty = e.Seq, true
	c.enqueue(cv)
}

// ready says whether a push belongs to the log that is here. A conversation met for the first time starts at its beginning; another epoch asks for the head.
func (c *Client) ready(cv *conv, epoch uint64) bool {
	if cv.Epoch == epoch {
		return !cv.deferred
	}
	if epoch > cv.Epoch {
		c.refresh(cv)
	}
	return false
}

// raise notes that the log has grown at least to e.
func (c *Client) raise(cv *conv, e *im.Entry) {
	if e.Seq <= cv.headSeq {
		return
	}
	own := cv.headOwn
	others := uint64(0)
	switch {
	case e.Sender == c.cfg.UserID:
		own = e.OwnIndex
		others = e.Index - own
	case cv.key().Type == im.ConvType_CONV_TYPE_C2C:
		others = e.OwnIndex
		own = e.Index - others
	default:
		others = e.Index - own
	}
	cv.headSeq, cv.headOthers, cv.headOwn = e.Seq, others, own
	cv.Hidden = false
	cv.Time = max(cv.Time, e.Time)
	cv.dirty = true
}

func (c *Client) pushedChange(key Conv, epoch uint64, ch *im.Change) {
	cv := c.convOf(key)
	if !c.ready(cv, epoch) {
		if s := &cv.seen; epoch >= s.epoch {
			if s.epoch != epoch {
				s.epoch, s.entry, s.from, s.rev = epoch, nil, 0, 0
			}
			s.rev = max(s.rev, ch.Rev)
		}
		return
	}
	cv.headRev = max(cv.headRev, ch.Rev)
	if ch.Rev == cv.Rev+1 && ch.Seq <= cv.SyncedTo && !cv.pulling && !cv.queued && c.waiting.Load() < mostWaiting {
		c.applyChange(cv, ch)
		cv.Rev, cv.dirty = ch.Rev, true
	}
	c.enqueue(cv)
}
