package histcheck

import (
	"context"
	"time"

	"github.com/tidings-im/tidings/im"
)

// watcher reads the feed of a user while a history is made, beside all devices and without the SDK: what is in it is cut off soon, and is the order that
// events and notices are judged by.
type watcher struct {
	user, url, sig string
	// entries are those with the numbers from 1 on. cut means that some were cut off before they were read.
	entries []*im.Relation
	cut     bool

	stop context.CancelFunc
	done chan struct{}
}

// watched makes a part of a history while the feeds of all users are read.
func (r *runner) watched(story func()) {
	var watchers []*watcher
	for _, user := range r.h.Users {
		watchers = append(watchers, watch(r.ctx, r.cfg.Server.URL(), user, r.sigs[user]))
	}
	story()
	for _, w := range watchers {
		r.at("reads the rest of the feed of %s", w.user)
		if err := w.rest(r.ctx); err != nil {
			r.h.violation("the feed of %s: %v", w.user, err)
		} else if !w.cut {
			r.h.Feeds[w.user] = w.entries
		}
	}
}

// watch reads until rest is called. A feed begins with the first history of its user.
func watch(ctx context.Context, url, user, sig string) *watcher {
	w := &watcher{user: user, url: url, sig: sig, done: make(chan struct{})}
	ctx, w.stop = context.WithCancel(ctx)
	go func() {
		defer close(w.done)
		for ctx.Err() == nil {
			w.session(ctx, true)
			select { // the server is not there
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return w
}

// rest reads to the end of the feed, and ends the reading.
func (w *watcher) rest(ctx context.Context) error {
	w.stop()
	<-w.done
	return w.session(ctx, false)
}

// session logs in and reads what is missing, and with follow what comes, until the connection ends.
func (w *watcher) session(ctx context.Context, follow bool) error {
	c, login, err := connect(ctx, w.url, &im.LoginRequest{UserId: w.user, UserSig: w.sig, DeviceId: "the reader of feeds", Platform: im.Platform_PLATFORM_PAD})
	if err != nil {
		return err
	}
	defer c.ws.CloseNow()
	head := login.Feed
	c.pushed = func(f *im.Frame) error {
		if f.Method != im.Method_FED {
			return nil
		}
		p := &im.FeedPush{}
		if err := p.UnmarshalVT(f.Body); err != nil {
			return err
		}
		head = max(head, p.From+uint64(len(p.Entries))-1)
		if p.From == w.next() {
			w.take(p.Entries)
		}
		return nil
	}
	for !w.cut {
		if w.next() <= head {
			reply := &im.FeedReply{}
			if err := c.call(im.Method_FEED, &im.FeedRequest{From: w.next(), To: head}, reply); err != nil {
				return err
			}
			w.cut = reply.Cut
			if reply.From == w.next() {
				w.take(reply.Entries)
			}
			continue
		}
		if !follow {
			return nil
		}
		if err := c.read(func(*im.Frame) error { return nil }); err != nil {
			return err
		}
	}
	if follow {
		<-ctx.Done()
	}
	return nil
}

func (w *watcher) next() uint64 { return uint64(len(w.entries)) + 1 }

func (w *watcher) take(entries []*im.Relation) {
	for _, e := range entries {
		e.Ver = w.next()
		w.entries = append(w.entries, e)
	}
}
