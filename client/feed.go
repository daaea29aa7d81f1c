package client

import (
	"math"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// feed is the book of the user's feed: numbered entries about what is the user's own and belongs to no conversation. It has one cursor, up to which
// everything has been applied; what is applied and the cursor are one commit. A device that cannot continue at its cursor, because it has none or the
// server no longer has the next entry, loads the whole instead.
type feed struct {
	*engine.Engine
	c *Client
	// cursor, and what it is worth.
	cursor uint64
	state  feedState
	// head is the greatest number that the server has named.
	head uint64
	// whole is the whole while it is being loaded.
	whole *wholeFeed
	// taken are entries that follow the cursor, up to takenTo, and are to be applied with those of a result that waits.
	taken     []*im.Relation
	takenTo   uint64
	takenSize int // about, in bytes
	// open are the changes that the server has not answered, results those that it has answered and whose calls wait for the feed.
	open    map[*changing]bool
	results []awaited
	// asking: a call of the feed is open. through: the first sync of the connection has ended. paused: the application does not take its events.
	asking, through, paused bool
	// net: what is pulled was going on while the whole was read, which contains a part of it.
	net bool
	// pause is how long the last attempt waited to try again after a call that failed; refused: it waits.
	pause   time.Duration
	refused bool
}

// feedState is what a device's cursor is worth. The values stand in meta "feed" instead of a cursor.
type feedState int64

const (
	feedKnown feedState = 0
	// feedLost: what the device has is to be compared with the whole, because it is from another store.
	feedLost feedState = -1
	// feedFresh: the device has nothing, and the application need not be told of what there is.
	feedFresh feedState = -2
)

// wholeFeed is the whole of what the feed is about, as far as its pages have arrived.
type wholeFeed struct {
	head  uint64 // the end of the feed before the first page
	items int
	kind  im.RelationKind // the place of the next page
	other uint64
}

// mostInWhole limits the whole that a server can make a device load; it is far above what a server permits.
const mostInWhole = 100_000

// mostFeed limits numbers of the feed: greater ones are no numbers.
const mostFeed = math.MaxInt64 / 2

const (
	alarmFeed       = "feed"
	alarmFeedPaused = "feed paused"
)

// Load reads the cursor.
func (f *feed) Load() error {
	*f = feed{Engine: f.Engine, c: f.c, state: feedFresh}
	if f.DB == nil {
		return nil
	}
	v, err := f.DB.Meta("feed")
	if err != nil || v == "" {
		return err
	}
	n, err := f.DB.MetaInt("feed")
	if n < 0 {
		f.state = feedLost
	} else {
		f.state, f.cursor = feedKnown, uint64(n)
	}
	return err
}

// NewStore makes the device load the whole. What it has differs from that as if it had changed meanwhile.
func (f *feed) NewStore() {
	f.giveAll()
	if f.state == feedKnown {
		f.state, f.cursor = feedLost, 0
		f.Check(f.DB.SetMeta("feed", int64(feedLost)))
	}
}

// Connected begins at the number that the login has named. One below the cursor means that the server has lost a part of the feed.
func (f *feed) Connected(bool) {
	f.head = f.Conn.Reply.Feed
	f.next()
}

// Disconnected gives up what was being loaded.
func (f *feed) Disconnected() {
	f.Clock.Stop(alarmFeed, alarmFeedPaused)
	f.head, f.whole = 0, nil
	f.dropTaken()
	f.asking, f.through, f.paused, f.refused, f.net = false, false, false, false, false
}

// Flush and States have nothing to do: what changes is written at once, and events are owed.
func (f *feed) Flush() {}

func (f *feed) States() *engine.States { return nil }

// running reports whether something is being loaded.
func (f *feed) running() bool {
	return f.Conn != nil && !f.refused && f.c.Status() == LoggedIn && (f.asking || f.behind())
}

// behind reports whether the device lacks something.
func (f *feed) behind() bool { return f.state != feedKnown || f.whole != nil || f.reached() != f.head }

// upTo records a number that the server has named.
func (f *feed) upTo(n uint64) {
	if f.Conn != nil && n > f.head && n <= mostFeed {
		f.head = n
		f.next()
	}
}

// Push applies entries that follow those that the device has. Others show that it lacks some, and so do all while the application does not take its events.
func (f *feed) Push(fr *im.Frame) error {
	if fr.Method != im.Method_FED || f.c.Status() != LoggedIn || f.Conn == nil {
		return nil
	}
	p := &im.FeedPush{}
	if err := im.Decode(fr.Body, p); err != nil {
		return err
	}
	if p.From == 0 || p.From > mostFeed || len(p.Entries) == 0 {
		return engine.Unreadable
	}
	last := p.From + uint64(len(p.Entries)) - 1
	f.head = max(f.head, last)
	if f.state == feedKnown && !f.asking && f.whole == nil && p.From <= f.reached()+1 && !f.unsure() && (!f.Full() || len(f.results) > 0) {
		for i, e := range p.Entries {
			e.Ver = p.From + uint64(i)
		}
		f.take(p.Entries, last)
	}
	f.next()
	return nil
}

func (f *feed) set(cursor uint64) {
	f.cursor, f.state = cursor, feedKnown
	f.Check(f.DB.SetMeta("feed", cursor))
}

// next asks for what the device lacks, one call at a time.
func (f *feed) next() {
	if f.asking || f.refused || f.Conn == nil || f.DB == nil || f.c.Status() != LoggedIn || f.unsure() {
		return
	}
	if !f.behind() {
		f.pause, f.net = 0, f.net && f.takenTo > f.cursor
		f.end()
		return
	}
	load := f.state != feedKnown || f.whole != nil || f.head < f.cursor
	if !load && f.Full() && len(f.results) == 0 {
		f.paused = true
		if !f.Clock.Has(alarmFeedPaused) {
			f.Clock.Set(alarmFeedPaused, time.Now().Add(pausedFor), f.unpause)
		}
		f.c.sync.goOn()
		return
	}
	if load {
		f.askWhole()
		return
	}
	f.pull()
}

// unpause continues when the application has taken enough of its events.
func (f *feed) unpause() {
	if !f.Eased() {
		f.Clock.Set(alarmFeedPaused, time.Now().Add(pausedFor), f.unpause)
		return
	}
	f.paused = false
	f.next()
}

// end lets what waits for the feed continue.
func (f *feed) end() {
	f.through = true
	f.c.sync.goOn()
	f.c.sync.ended()
}

// pull asks for the range that the device lacks; the reply covers a part of it.
func (f *feed) pull() {
	from, to := f.reached()+1, f.head
	f.asking = true
	engine.Ask(f.Engine, im.Method_FEED, &im.FeedRequest{From: from, To: to}, false, f.c.cfg.Limits.Call, func(reply *im.FeedReply, err *im.Error) {
		f.asking = false
		switch {
		case err != nil && err.Code == im.CodeResync: // the feed ends before its number: the server has lost a part of it
			f.giveAll()
			f.applyHeld() // the whole has no reports
			f.whole = &wholeFeed{}
		case err != nil:
			f.failed(err)
			return
		case reply.Cut:
			f.c.log.Info("the feed was cut off: everything is loaded anew", "cursor", f.cursor, "feed", to)
			f.applyHeld()
			f.whole = &wholeFeed{}
		case reply.From > from || reply.To < from || reply.To > mostFeed:
			f.broken("a reply that does not cover what was requested of the feed; reconnecting")
			return
		default:
			f.take(reply.Entries, reply.To)
			f.head = max(f.head, f.reached(), f.lastAwaited())
		}
		f.next()
	})
}

// askWhole asks for the next page of the whole.
func (f *feed) askWhole() {
	if f.whole == nil {
		f.whole = &wholeFeed{}
	}
	w := f.whole
	first := w.kind == 0 && w.other == 0
	if first {
		f.head = 0 // what was named before is part of the whole
		f.dropTaken()
	}
	f.asking = true
	req := &im.RelationsRequest{AfterKind: w.kind, AfterOther: w.other}
	engine.Ask(f.Engine, im.Method_RELATIONS, req, false, f.c.cfg.Limits.Call, func(reply *im.RelationsReply, err *im.Error) {
		f.asking = false
		last := reply.NextKind == 0 && reply.NextOther == 0
		w.items += len(reply.Items)
		switch {
		case err != nil:
			f.whole = nil // it starts anew
			f.failed(err)
			return
		case reply.Feed > mostFeed, w.items > mostInWhole,
			!last && (reply.NextKind < w.kind || reply.NextKind == w.kind && reply.NextOther <= w.other || reply.NextOther > math.MaxInt64):
			f.broken("a page of relations that cannot be; reconnecting")
			return
		}
		if first {
			w.head = reply.Feed
			f.Check(f.DB.BeginWhole())
		}
		f.c.relations.addToWhole(reply.Items)
		w.kind, w.other = reply.NextKind, reply.NextOther
		if last {
			f.giveUpTo(w.head)
			f.c.relations.takeWhole(f.state == feedFresh)
			f.whole, f.net = nil, true
			f.set(w.head)
			f.head = max(f.head, w.head)
		}
		f.next()
	})
}

// broken ends a connection to a server that does what no server should.
func (f *feed) broken(why string) {
	f.c.log.Warn(why)
	f.whole = nil
	if f.Conn != nil {
		f.Conn.Break()
	}
}

// failed tries again later, with growing pauses while that continues. What waits for the feed does not wait for that.
func (f *feed) failed(err *im.Error) {
	if f.Conn == nil || f.DB == nil {
		return
	}
	f.c.log.Info("the feed could not be read", "error", err)
	f.giveAll()
	f.applyTaken()
	f.refused = true
	f.pause = min(max(2*f.pause, time.Second), time.Minute)
	f.Clock.Set(alarmFeed, time.Now().Add(f.pause), func() {
		f.refused = false
		f.next()
	})
	f.end()
}
