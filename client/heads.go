package client

import (
	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// takeSeen moves the known ends of the log to what pushes reported before.
func (b *conversations) takeSeen(cv *conv) {
	if e, c := cv.seen.entry, cv.seen.card; e != nil {
		b.raise(cv, e)
		if c != nil {
			b.c.members.meet(cv, e.Sender, c.NameCard, c.Ver)
		}
	}
	cv.headRev = max(cv.headRev, cv.seen.rev)
	cv.seen.epoch, cv.seen.entry, cv.seen.card, cv.seen.from, cv.seen.rev = 0, nil, nil, 0, 0
}

// convOf returns the conversation's row, and creates it if it is new.
func (b *conversations) convOf(key Conv) *conv {
	cv := b.byKey[key]
	if cv == nil {
		b.lastConv++
		cv = newConv(b.lastConv, key)
		b.byKey[key], b.byID[cv.ID] = cv, cv
	}
	return cv
}

// applyHead applies what the server reports about a conversation. Heads may arrive out of order with pushes, so each part moves forward only.
func (b *conversations) applyHead(h *im.Head) {
	if h.Conv == nil {
		return
	}
	cv := b.convOf(Conv{h.Conv.Type, h.Conv.Id})
	switch {
	case cv.Epoch != 0 && h.Epoch > cv.Epoch && b.c.sync.listing() && cv.key().Type == convGroup:
		if h.Epoch >= b.c.sync.renewed[cv].GetEpoch() {
			b.c.sync.renewed[cv] = h
		}
		return
	case cv.Epoch == 0 || h.Epoch > cv.Epoch:
		if cv.Epoch != 0 {
			seen := cv.seen // of the new log, since the head was requested
			b.superseded(cv)
			b.newEra(cv)
			cv.seen = seen
		}
		cv.Epoch = h.Epoch
		if b.c.sync.active && b.c.sync.fresh && !b.c.sync.pages {
			cv.deferred = true
			b.c.sync.heads = append(b.c.sync.heads, cv)
		} else {
			b.begin(cv, h)
		}
	case h.Epoch < cv.Epoch:
		return // of a log that is gone
	case h.Seq < cv.SyncedTo || h.Rev < cv.Rev:
		b.refresh(cv)
	}
	cv.dirty = true
	if cv.key().Type == convGroup {
		b.takeMembership(cv, h)
	}
	if h.Seq > cv.headSeq && !h.Hidden {
		cv.Hidden = false
	}
	if h.Seq > cv.headSeq || h.Seq == cv.headSeq && !cv.over() {
		cv.headSeq, cv.headOthers, cv.headOwn = h.Seq, h.Others, h.Own
	}
	cv.headRev = max(cv.headRev, h.Rev)
	cv.Time = max(cv.Time, h.Time)
	var seen *im.Entry
	if cv.seen.epoch == cv.Epoch && !cv.deferred {
		seen = cv.seen.entry
		b.takeSeen(cv)
	}
	switch {
	case h.Row > cv.Row:
		stale := h.Rev < cv.WithdrawnRev
		cv.Row, cv.ReadSeq, cv.ReadOthers, cv.ReadTime = h.Row, h.ReadSeq, h.ReadOthers, h.ReadTime
		b.clearTo(cv, h.ClearedSeq)
		cv.readMentions()
		cv.RecvOpt, cv.Pinned = h.RecvOpt, h.Pinned
		if cv.Hidden = h.Hidden && h.Seq >= cv.pushed; cv.Hidden {
			cv.Listed, cv.Draft = false, nil
		}
		cv.Withdrawn, cv.WithdrawnRev = h.Withdrawn, h.Rev
		if stale {
			b.refresh(cv)
		}
	case h.Row == cv.Row && h.Rev >= cv.WithdrawnRev:
		cv.Withdrawn, cv.WithdrawnRev = h.Withdrawn, h.Rev
	}
	if h.PeerReadSeq > cv.PeerSeq {
		cv.PeerSeq, cv.PeerTime = h.PeerReadSeq, h.PeerReadTime
	}
	if c := h.LastCard; c != nil && h.Last != nil {
		b.c.members.meet(cv, h.Last.Sender, c.NameCard, c.Ver)
	}
	if h.Last != nil && h.Last.Message != nil && !b.acknowledged(cv, h.Last) {
		b.store(cv, h.Last)
	}
	b.c.groups.look(cv)
	if seen.GetSeq() == cv.SyncedTo+1 && !cv.pulling && !cv.queued && !b.Full() {
		// Who joins a group is pushed the tip about it, then its head, then reports: so it fires before these.
		b.applyEntry(cv, seen)
		cv.SyncedTo = seen.Seq
	}
	if !cv.deferred {
		b.c.sync.enqueue(cv)
	}
}

// refresh requests one conversation's head again because what arrived does not fit what is on the device. If the reply is still behind what was there
// when it was requested, the server's log was set back: a new era.
func (b *conversations) refresh(cv *conv) {
	if cv.refreshing {
		return
	}
	cv.refreshing = true
	seq, rev, epoch, row := cv.SyncedTo, cv.Rev, cv.Epoch, cv.Row
	req := &im.HeadsRequest{Only: []*im.ConvKey{cv.key().wire()}}
	engine.Ask(b.Engine, im.Method_HEADS, req, false, b.c.cfg.Limits.Call, func(reply *im.HeadsReply, err *im.Error) {
		cv.refreshing = false
		if err != nil {
			if b.Conn != nil {
				b.c.log.Info("a head cannot be read again", "conversation", cv.key().ID, "error", err)
				b.c.sync.later()
				b.c.sync.ended()
			}
			return
		}
		for _, h := range reply.Heads {
			back := h.Epoch == epoch && (h.Seq < seq || h.Rev < rev)
			if back {
				b.c.log.Warn("the server's log was set back", "conversation", cv.key().ID, "seq", h.Seq, "had", seq)
				b.newEra(cv)
			}
			if !back && h.Row < cv.Row && cv.Row != row {
				b.refresh(cv) // a newer row came in between
			} else {
				// The numbers of the row are the server's, whatever is on the device.
				cv.Row, cv.WithdrawnRev = 0, min(cv.WithdrawnRev, h.Rev)
			}
			cv.deferred = cv.deferred || back
			b.applyHead(h)
			if back {
				cv.deferred = false
				cv.SyncedTo, cv.Rev, cv.WithdrawnRev, cv.Receipt = cv.freshStart(), cv.headRev, cv.headRev, cv.PeerSeq
				b.c.sync.enqueue(cv)
			}
		}
		b.c.sync.ended()
	})
}

// refreshing reports whether heads that were asked for again are still to come.
func (b *conversations) refreshing() bool {
	for _, cv := range b.byID {
		if cv.refreshing {
			return true
		}
	}
	return false
}

// newEra starts a new local log of a conversation. The messages of the old one stay listed before it.
func (b *conversations) newEra(cv *conv) {
	next := newConv(cv.ID, cv.key())
	next.Era, next.Listed, next.Draft, next.Announced, next.ToldUnread, next.RecvOpt = cv.Era+1, true, cv.Draft, cv.Announced, cv.ToldUnread, cv.RecvOpt
	next.pulling, next.queued, next.deferred, next.refreshing = cv.pulling, cv.queued, cv.deferred, cv.refreshing
	*cv = *next
	b.changed[cv] = true
}

// caughtUp makes the numbers at the end of the log the ones that count.
func (b *conversations) caughtUp(cv *conv) {
	if cv.headSeq > 0 && (cv.Others != cv.headOthers || cv.Own != cv.headOwn) && cv.headSeq >= cv.SyncedTo {
		cv.Others, cv.Own, cv.dirty = cv.headOthers, cv.headOwn, true
	}
	b.changed[cv] = true
	b.c.feed.applyTaken() // reports may have waited for it
}

func (b *conversations) pushedEntry(p *im.EntryPush) {
	e := p.Entry
	b.c.people.take(p.Person)
	key := Conv{p.Conv.Type, p.Conv.Id}
	if e.Seq == 0 {
		b.onlineOnly(key, p)
		return
	}
	cv := b.convOf(key)
	if cv.Epoch == 0 && e.Seq == 1 && !b.c.sync.listing() {
		cv.Epoch = p.Epoch // a new conversation from its first number on
	}
	if c := p.Card; c != nil && cv.Epoch == p.Epoch {
		b.c.members.meet(cv, e.Sender, c.NameCard, c.Ver)
	}
	if !b.ready(cv, p.Epoch) {
		if s := &cv.seen; p.Epoch >= s.epoch {
			if s.epoch != p.Epoch {
				s.epoch, s.entry, s.card, s.from, s.rev = p.Epoch, nil, nil, e.Seq, 0
			}
			if s.entry == nil || e.Seq > s.entry.Seq {
				s.entry, s.card = e, p.Card
			}
			if s.from == 0 {
				s.from = e.Seq
			}
		}
		return
	}
	b.raise(cv, e)
	if e.Seq != cv.SyncedTo+1 || cv.pulling || cv.queued || b.Full() {
		b.c.sync.enqueue(cv)
		return
	}
	b.applyEntry(cv, e)
	cv.SyncedTo, cv.dirty = e.Seq, true
	b.c.sync.enqueue(cv)
}

// ready reports whether a push belongs to the log on the device. A conversation that is new to the device starts at its beginning; another epoch
// requests the head.
func (b *conversations) ready(cv *conv, epoch uint64) bool {
	if cv.Epoch == epoch {
		return !cv.deferred
	}
	if epoch > cv.Epoch {
		b.refresh(cv)
	}
	return false
}

// raise records that the log has grown at least to e.
func (b *conversations) raise(cv *conv, e *im.Entry) {
	if e.Seq <= cv.headSeq {
		if more := e.OwnIndex - cv.headOwn; cv.key().Type == convGroup && e.Sender == b.c.cfg.UserID && e.OwnIndex > cv.headOwn && cv.headOthers >= more {
			cv.headOwn, cv.headOthers = e.OwnIndex, cv.headOthers-more // an entry after it had come first, and the user's own were not known
		}
		return
	}
	own := cv.headOwn
	others := uint64(0)
	switch {
	case e.Sender == b.c.cfg.UserID:
		own = e.OwnIndex
		others = e.Index - own
	case cv.key().Type == im.ConvType_CONV_TYPE_C2C:
		others = e.OwnIndex
		own = e.Index - others
	default:
		others = e.Index - own
	}
	cv.headSeq, cv.headOthers, cv.headOwn = e.Seq, others, own
	cv.dirty = true
	if e.Sender != "" { // otherwise it is void
		cv.Hidden, cv.pushed = false, e.Seq
		cv.Time = max(cv.Time, e.Time)
	}
}

func (b *conversations) pushedChange(key Conv, epoch uint64, ch *im.Change) {
	cv := b.convOf(key)
	if !b.ready(cv, epoch) {
		if s := &cv.seen; epoch >= s.epoch {
			if s.epoch != epoch {
				s.epoch, s.entry, s.card, s.from, s.rev = epoch, nil, nil, 0, 0
			}
			s.rev = max(s.rev, ch.Rev)
		}
		return
	}
	cv.headRev = max(cv.headRev, ch.Rev)
	if ch.Rev == cv.Rev+1 && ch.Seq <= cv.SyncedTo && !cv.pulling && !cv.queued && !b.Full() {
		b.applyChange(cv, ch)
		cv.Rev, cv.dirty = ch.Rev, true
	}
	b.c.sync.enqueue(cv)
}
