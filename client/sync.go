package client

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// How far a device goes back: a fresh one starts at most so many messages before the end, in so many conversations; one that was away longer than
// tooFar jumps (rule 16).
const (
	freshConvs   = 100
	freshBack    = 1000
	tooFar       = 20000
	pullsAtOnce  = 4
	readsAtOnce  = 200
	lookupAtOnce = 100
)

// syncState is the sync of rule 8: changed heads, page by page, then what each conversation lacks. Pulls of a gap seen between syncs use the same
// queue.
type syncState struct {
	active bool // heads are being requested, or what they showed is being pulled
	again  bool // another one was requested in the meantime
	failed bool // a pull failed
	login  bool // framed by start and finish
	pages  bool // all pages of heads have arrived
	fresh  bool // this device has never completed a sync
	cursor int64
	heads  []*conv // of a fresh device: conversations whose start is decided when all heads are known
	// renewed are heads of groups whose ids this device knows as others': those come first, because a head of the former group says how that has ended.
	renewed map[*conv]*im.Head
	queue   []*conv
	pulls   int
	paused  bool // the application does not take its events
	whole   bool // one sync of this connection has ended
	began   time.Time
	found   int // changed conversations
	brought int // messages and changes that were pulled
}

// listing reports whether heads of conversations have yet to arrive: one that has no epoch may be among them.
func (s *syncState) listing() bool { return s.active && !s.pages }

func (s *syncState) running() bool { return s.active || s.pulls > 0 || len(s.queue) > 0 }

// catchUp is the book of what the device lacks: how far its last sync has come, and the one that runs.
type catchUp struct {
	*engine.Engine
	c *Client
	syncState
	// pause is how long the last attempt waited to sync again after a pull that failed.
	pause time.Duration
	// cursor from heartbeats, not stored yet.
	cursorAt int64
	// born is the cursor of the first sync that this device has completed with the store.
	born   int64
	finish bool // the end of a login's sync fires when no conversation is left to be reported
}

// pausedFor is how often a paused sync checks whether it may continue.
const pausedFor = 20 * time.Millisecond

// Load forgets the sync that ran.
func (s *catchUp) Load() error {
	s.syncState, s.cursorAt, s.born = syncState{login: s.login}, 0, 0
	if s.DB == nil {
		return nil
	}
	var err error
	s.born, err = s.DB.MetaInt("born")
	return err
}

// Connected begins a sync. That of a login is framed.
func (s *catchUp) Connected(first bool) {
	if first {
		s.login, s.finish = true, false
		s.Live(func() { s.c.ev.tellConversations(ConvSyncStart, nil) })
	}
	s.start()
}

// Disconnected gives the sync up. It was not decided where a fresh device starts: such conversations count as unknown.
func (s *catchUp) Disconnected() {
	s.Clock.Stop(alarmSync, alarmList, alarmPaused)
	for _, cv := range s.heads {
		fresh := newConv(cv.ID, cv.key())
		fresh.Era, fresh.Listed, fresh.Draft, fresh.Announced, fresh.ToldUnread, fresh.shown = cv.Era, cv.Listed, cv.Draft, cv.Announced, cv.ToldUnread, cv.shown
		*cv = *fresh
	}
	for _, cv := range s.queue {
		cv.queued = false
	}
	s.syncState = syncState{login: s.login}
}

// Push begins a sync if the server reports that pushes were dropped.
func (s *catchUp) Push(f *im.Frame) error {
	if f.Method == im.Method_BEHIND && s.c.Status() == LoggedIn {
		s.start()
	}
	return nil
}

// Flush writes the cursor with what is written anyway: without it the next sync fetches a little more.
func (s *catchUp) Flush() {
	if s.cursorAt != 0 && s.DB.InTx && s.Check(s.DB.SetMeta("cursor", s.cursorAt)) {
		s.cursorAt = 0
	}
}

// States is the end of a login's sync, when all conversations have been reported to the application, and no report and no head that was asked for again is
// still to come.
func (s *catchUp) States() *engine.States {
	if !s.finish || len(s.c.convs.changed) > 0 || s.c.convs.telling != nil || s.c.convs.refreshing() || s.c.feed.holdsAny() {
		return nil
	}
	s.finish = false
	return &engine.States{Tell: []func(){func() { s.c.ev.tellConversations(ConvSyncFinish, nil) }}, Told: func(int) {}}
}

// NewStore makes the next sync ask for everything.
func (s *catchUp) NewStore() {
	s.cursorAt, s.born = 0, 0
	s.Check(s.DB.SetMeta("cursor", 0))
	s.Check(s.DB.SetMeta("born", 0))
}

// upTo records a cursor from a heartbeat: the device has everything up to there.
func (s *catchUp) upTo(cursor int64) {
	if cursor != 0 && !s.running() && !s.failed && !s.c.convs.refreshing() {
		s.cursorAt = cursor
		s.listLater()
	}
}

// holds reports whether calls about what the sync fetches have to wait.
func (s *catchUp) holds() bool { return s.GoingOn() || s.first() }

// first reports whether the first sync of a connection is under way: of conversations, and of the feed.
func (s *catchUp) first() bool {
	feed := s.c.feed
	return s.Conn != nil && (!s.whole || !feed.through) && !s.paused && !feed.paused && s.c.Status() == LoggedIn
}

// goOn lets the calls run that wait for the first sync, if it has ended.
func (s *catchUp) goOn() {
	if !s.first() {
		s.GoOn()
	}
}

// start begins a sync, or records that the running one must be followed by another.
func (s *catchUp) start() {
	if s.active {
		s.again = true
		return
	}
	cursor, err := s.DB.MetaInt("cursor")
	if !s.Check(err) {
		return
	}
	if s.cursorAt > cursor {
		cursor = s.cursorAt
	}
	s.Clock.Stop(alarmSync, alarmList)
	s.active, s.again, s.failed, s.pages, s.fresh, s.cursor, s.heads, s.renewed = true, false, false, false, cursor == 0, 0, nil, map[*conv]*im.Head{}
	s.began, s.found, s.brought = time.Now(), 0, 0
	s.c.log.Log(context.Background(), s.level(), "sync started", "fresh", s.fresh, "login", s.login)
	s.askHeads(cursor, 0)
	s.c.groups.lookAll()
	s.c.rooms.lookAll()
}

// level is the level of the lines about a sync: the first one on a connection matters more than those that check whether anything was missed.
func (s *syncState) level() slog.Level {
	if s.whole {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func (s *catchUp) askHeads(cursor int64, after uint64) {
	req := &im.HeadsRequest{Cursor: cursor, After: after, WithLast: s.fresh}
	engine.Ask(s.Engine, im.Method_HEADS, req, false, s.c.cfg.Limits.Call, func(reply *im.HeadsReply, err *im.Error) {
		if err == nil && reply.Next != 0 && reply.Next <= after {
			err = engine.Unreadable // it would never end
		}
		if err != nil {
			s.active = false
			if s.Conn != nil {
				s.c.log.Warn("sync failed; reconnecting", "error", err)
				s.Conn.Break()
			}
			return
		}
		if after == 0 {
			s.cursor = reply.Cursor
		}
		s.found += len(reply.Heads)
		for _, p := range reply.People {
			s.c.people.take(p)
		}
		s.c.feed.upTo(reply.Feed)
		for _, h := range reply.Heads {
			s.c.convs.applyHead(h)
		}
		if reply.Next != 0 {
			s.askHeads(cursor, reply.Next)
			return
		}
		s.pages = true
		s.startFresh()
		for _, cv := range byNumber(s.renewed) {
			h := s.renewed[cv]
			delete(s.renewed, cv)
			s.c.convs.applyHead(h)
		}
		s.pullNext()
		s.ended()
	})
}

// startFresh decides where a fresh device starts in each conversation: the newest ones some way back, so that at least their last message fires; the
// others at their end.
func (s *catchUp) startFresh() {
	heads := s.heads
	s.heads = nil
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
			cv.SyncedTo = seen - 1 // it arrived while the heads did: news, wherever the conversation starts
		}
		if cv.seen.epoch == cv.Epoch {
			s.c.convs.takeSeen(cv)
		}
		cv.Receipt, cv.AttrTold = cv.PeerSeq, cv.group.GetAttrVer()
		cv.attrRead = cv.AttrTold
		cv.dirty = true
		s.enqueue(cv)
	}
}

// ended ends the sync when nothing of it is open.
func (s *catchUp) ended() {
	s.c.feed.applyTaken() // reports may have waited for what has come
	if !s.active || !s.pages || s.pulls > 0 || len(s.queue) > 0 || s.c.feed.running() || s.c.groups.readingInfo() || s.c.convs.refreshing() {
		return
	}
	s.c.log.Log(context.Background(), s.level(), "sync finished", "conversations", s.found, "messages", s.brought, "complete", !s.failed, "took", time.Since(s.began).Round(time.Millisecond))
	s.active, s.whole = false, true
	s.goOn()
	if !s.failed {
		s.cursorAt = s.cursor
		s.Check(s.DB.SetMeta("cursor", s.cursorAt))
		if s.fresh && s.born == 0 {
			s.born = s.cursor
			s.Check(s.DB.SetMeta("born", s.born))
		}
		s.pause = 0
		if l := s.Conn; l != nil {
			s.Committed(l.Synced)
		}
		s.listLater()
	}
	if s.again {
		s.start()
		return
	}
	if s.login {
		s.login, s.finish = false, true
	}
}

// freshStart returns where a device starts that has none of a conversation's log: with what is unread, not too far back, and at least the last
// message. If nothing is unread, the own messages of other devices are no news either.
func (cv *conv) freshStart() uint64 {
	if cv.headSeq == 0 {
		return 0
	}
	start := cv.headSeq - 1
	if cv.headOthers > cv.ReadOthers+cv.Withdrawn {
		start = min(start, max(cv.ReadSeq, cv.headSeq-min(cv.headSeq, freshBack)))
	}
	return max(start, min(max(cv.Cleared, cv.group.GetJoinedSeq()), cv.headSeq))
}

// later requests another sync because something could not be read, with growing pauses while that continues. Until then the cursor stays.
func (s *catchUp) later() {
	s.failed = true
	if !s.Clock.Has(alarmSync) {
		s.pause = min(max(2*s.pause, time.Second), time.Minute)
		s.Clock.Set(alarmSync, time.Now().Add(s.pause), s.due)
	}
}

// listLater sets when the device asks again what has changed, unless a heartbeat reports before that it has everything. Devices that connected
// together do not ask together.
func (s *catchUp) listLater() {
	d := s.c.cfg.Limits.List
	s.Clock.Set(alarmList, time.Now().Add(d-time.Duration(rand.Int64N(int64(d/4)+1))), s.due)
}

// enqueue makes a conversation that lacks something be pulled; one that lacks nothing is up to date.
func (s *catchUp) enqueue(cv *conv) {
	if cv.deferred || cv.pulling || cv.queued {
		return
	}
	if cv.upToDate() {
		s.c.convs.caughtUp(cv)
		return
	}
	if cv.headSeq > cv.SyncedTo+tooFar {
		s.c.log.Warn("too far behind; older messages are in the history only", "conversation", cv.key().ID, "behind", cv.headSeq-cv.SyncedTo)
		to := cv.headSeq - freshBack
		if joined := cv.group.GetJoinedSeq(); joined > cv.SyncedTo && joined < to && cv.headSeq <= joined+tooFar {
			to = joined
		}
		cv.SyncedTo = to
		cv.HoleTo, cv.dirty = cv.SyncedTo, true
	}
	cv.queued = true
	s.queue = append(s.queue, cv)
	s.pullNext()
}

func (cv *conv) upToDate() bool { return cv.SyncedTo >= cv.headSeq && cv.Rev >= cv.headRev }

// due syncs again because it is time to.
func (s *catchUp) due() {
	if s.Conn != nil && s.c.Status() == LoggedIn {
		s.start()
	}
}

// pullNext keeps a few pulls going while the application takes its events.
func (s *catchUp) pullNext() {
	for len(s.queue) > 0 && s.pulls < pullsAtOnce {
		if s.Full() {
			s.paused = true
			if !s.Clock.Has(alarmPaused) {
				s.Clock.Set(alarmPaused, time.Now().Add(pausedFor), s.unpause)
			}
			s.goOn()
			return
		}
		cv := s.queue[0]
		s.queue = s.queue[1:]
		cv.queued = false
		s.pull(cv)
	}
}

// unpause continues when the application has taken enough of its events.
func (s *catchUp) unpause() {
	if !s.Eased() {
		s.Clock.Set(alarmPaused, time.Now().Add(pausedFor), s.unpause)
		return
	}
	s.paused = false
	s.pullNext()
}

// pull requests the next range that a conversation lacks: messages first, so that a change finds its message.
func (s *catchUp) pull(cv *conv) {
	if cv.upToDate() {
		s.c.convs.caughtUp(cv)
		return
	}
	cv.pulling = true
	s.pulls++
	era := cv.Era
	done := func(err *im.Error, apply func() bool) {
		cv.pulling = false
		s.pulls--
		switch {
		case era != cv.Era: // of a log that is gone
		case err == nil && !apply():
			s.c.log.Warn("a reply that does not cover what was requested; reconnecting", "conversation", cv.key().ID)
			if s.Conn != nil {
				s.Conn.Break()
			}
			return
		case err != nil && err.Code == im.CodeResync && cv.over():
			s.c.convs.superseded(cv) // its id is another group's
		case err != nil && err.Code == im.CodeResync:
			s.c.convs.refresh(cv)
		case err != nil && s.Conn != nil:
			// Left (10007, 10010): what is on the device stays, and a later head starts again. Other failures may be temporary, and nothing else
			// reports that there is something to pull.
			s.c.log.Info("pull refused", "conversation", cv.key().ID, "error", err)
			cv.headSeq, cv.headRev = cv.SyncedTo, cv.Rev
			if err.Code != im.CodeNotMember && err.Code != im.CodeNoGroup {
				s.later()
			}
		}
		if s.Conn == nil {
			return
		}
		if err == nil || era != cv.Era {
			s.enqueue(cv)
		}
		s.pullNext()
		s.ended()
	}
	if from := cv.SyncedTo + 1; from <= cv.headSeq {
		req := &im.PullRequest{Conv: cv.key().wire(), Epoch: cv.Epoch, From: from, To: cv.headSeq}
		engine.Ask(s.Engine, im.Method_PULL, req, false, s.c.cfg.Limits.Call, func(reply *im.PullReply, err *im.Error) {
			done(err, func() bool { return s.applyPull(cv, from, reply) })
		})
		return
	}
	from := cv.Rev + 1
	req := &im.ChangesRequest{Conv: cv.key().wire(), Epoch: cv.Epoch, From: from, To: cv.headRev}
	engine.Ask(s.Engine, im.Method_CHANGES, req, false, s.c.cfg.Limits.Call, func(reply *im.ChangesReply, err *im.Error) {
		done(err, func() bool {
			if reply.From > from || reply.To < from {
				return false
			}
			for _, ch := range reply.Changes {
				if ch.Rev <= cv.Rev || ch.Rev > reply.To {
					continue
				}
				if ch.Seq > cv.SyncedTo {
					// It waits for its message, which only the head can show.
					cv.Rev, cv.headRev, cv.dirty = ch.Rev-1, ch.Rev-1, true
					s.c.convs.refresh(cv)
					return true
				}
				s.c.convs.applyChange(cv, ch)
			}
			if reply.To > cv.Rev {
				cv.Rev, cv.dirty = reply.To, true
			}
			return true
		})
	})
}

// applyPull applies an answered range. What is absent in it is void for this user.
func (s *catchUp) applyPull(cv *conv, from uint64, reply *im.PullReply) bool {
	if reply.From > from || reply.To < from {
		return false
	}
	for _, p := range reply.People {
		s.c.people.take(p)
	}
	s.c.members.met(cv, reply.Cards)
	for _, e := range reply.Entries {
		if e.Seq > cv.SyncedTo && e.Seq <= reply.To {
			s.brought++
			s.c.convs.applyEntry(cv, e)
		}
	}
	s.c.members.met(cv, reply.Cards) // again: somebody may have left and joined again in it
	if reply.To > cv.SyncedTo {
		cv.SyncedTo, cv.dirty = reply.To, true
	}
	return true
}
