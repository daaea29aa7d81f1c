package histcheck

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidings-im/tidings/im"
)

// Wholes passes on what devices and their server say to each other, and makes a server of it that is slow between reading the end of a feed and reading the
// rows of the whole: the reply to RELATIONS names the end as it was at first, and has rows as they are later. That is what a server may do, and what the
// numbers of the rows are for. With Bare it is a server whose rows have no numbers.
type Wholes struct {
	server string
	// Bare removes the numbers of rows.
	Bare bool
	// pause is how long a reply is held back at most if nobody calls release.
	pause time.Duration

	mu    sync.Mutex
	held  int           // replies that are held back
	free  chan struct{} // closed by release; nil: they wait for pause
	total int
}

// NewWholes returns a Wholes in front of a server (ws://host:port) that holds each reply back for a while.
func NewWholes(server string, pause time.Duration) *Wholes {
	return &Wholes{server: server, pause: pause}
}

// Total is how many replies there were.
func (w *Wholes) Total() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

// hold makes replies wait for release; waiting is how many do.
func (w *Wholes) hold() (waiting func() int, release func()) {
	free := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free = free
	return func() int { w.mu.Lock(); defer w.mu.Unlock(); return w.held }, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.free = nil
		close(free)
	}
}

// wait returns when a reply is held back no longer.
func (w *Wholes) wait(ctx context.Context) {
	w.mu.Lock()
	w.total++
	w.held++
	free := w.free
	w.mu.Unlock()
	var over <-chan time.Time
	if free == nil {
		timer := time.NewTimer(w.pause)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-free:
	case <-over:
	case <-ctx.Done():
	}
	w.mu.Lock()
	w.held--
	w.mu.Unlock()
}

func (w *Wholes) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	server, _, err := websocket.Dial(ctx, w.server+r.URL.Path, &websocket.DialOptions{Subprotocols: []string{im.Subprotocol}})
	if err != nil {
		http.Error(rw, "the server is not there", http.StatusBadGateway)
		return
	}
	defer server.CloseNow()
	device, err := websocket.Accept(rw, r, &websocket.AcceptOptions{Subprotocols: []string{im.Subprotocol}})
	if err != nil {
		return
	}
	defer device.CloseNow()
	device.SetReadLimit(16 << 20)
	server.SetReadLimit(16 << 20)
	l := &wholesLink{w: w, server: server, asked: map[uint64]*wholeCall{}}
	var both sync.WaitGroup
	both.Go(func() { passOn(ctx, device, server, l.request) })
	both.Go(func() { passOn(ctx, server, device, func(f *im.Frame) *im.Frame { return l.reply(ctx, &both, f) }) })
	both.Wait()
}

// passOn passes on frames in one direction until the connection ends, and ends the other one in the same way.
func passOn(ctx context.Context, from, to *websocket.Conn, each func(*im.Frame) *im.Frame) {
	for {
		_, data, err := from.Read(ctx)
		var out []byte
		if err == nil {
			err = im.ReadFrames(data, func(f *im.Frame) error {
				if f := each(f); f != nil {
					out = im.AppendFrame(out, f)
				}
				return nil
			})
		}
		if err == nil && len(out) > 0 {
			err = to.Write(ctx, websocket.MessageBinary, out)
		}
		if err != nil {
			if code := websocket.CloseStatus(err); code > 0 && code != websocket.StatusNoStatusRcvd {
				to.Close(code, "")
			}
			to.CloseNow()
			return
		}
	}
}

// wholesLink is a connection.
type wholesLink struct {
	w      *Wholes
	server *websocket.Conn

	mu    sync.Mutex
	asked map[uint64]*wholeCall
}

// wholeCall is a call of RELATIONS that the device has no reply to.
type wholeCall struct {
	frame *im.Frame
	again bool   // asked for the second time
	feed  uint64 // what the first reply named as the end of the feed
}

func (l *wholesLink) request(f *im.Frame) *im.Frame {
	if f.Method == im.Method_RELATIONS {
		l.mu.Lock()
		l.asked[f.Id] = &wholeCall{frame: &im.Frame{Id: f.Id, Method: f.Method, Body: slices.Clone(f.Body)}}
		l.mu.Unlock()
	}
	return f
}

// reply returns what the device gets for a frame of the server; nil if that comes later.
func (l *wholesLink) reply(ctx context.Context, both *sync.WaitGroup, f *im.Frame) *im.Frame {
	whole := &im.RelationsReply{}
	if f.Id == 0 || f.Method != im.Method_RELATIONS || f.Code != 0 || whole.UnmarshalVT(f.Body) != nil {
		return f
	}
	l.mu.Lock()
	c := l.asked[f.Id]
	l.mu.Unlock()
	if c == nil {
		return f
	}
	if !c.again {
		c.again, c.feed = true, whole.Feed
		both.Go(func() {
			l.w.wait(ctx)
			l.server.Write(ctx, websocket.MessageBinary, im.AppendFrame(nil, c.frame)) // the same number: only one reply goes on
		})
		return nil
	}
	l.mu.Lock()
	delete(l.asked, f.Id)
	l.mu.Unlock()
	whole.Feed = c.feed
	if l.w.Bare {
		for _, r := range whole.Items {
			r.Ver = 0
		}
	}
	return &im.Frame{Id: f.Id, Method: f.Method, Body: encode(whole)}
}

// RunWhole makes a small history in which a device that was away loads the whole while what it loads changes: the remark about a friend, twice, and a
// request. cfg.Ops is how many changes it has missed by then.
func RunWhole(t testing.TB, cfg Config, notices *Notices, wholes *Wholes) *History {
	return runRelations(t, cfg, notices, func(r *runner) {
		away, here, other, third := r.devices[0], r.devices[1], r.devices[2], r.devices[4]
		remark := func() { here.relation("remark", other.User, here.newTag(Pass), 0, false) }
		call := func(d *device, f func()) { // and wait until it is done
			done := make(chan struct{})
			d.must(func() { defer close(done); f() })
			<-done
		}
		call(here, func() { here.relation("add", other.User, here.newTag(Pass), 0, true) })
		if !r.until(func() bool { return count(away.records(), FriendsAdded) == 1 }, away) {
			r.h.violation("%s: never heard of the friend", away.Name)
		}
		call(away, away.close)
		call(here, func() {
			here.relation("profile", "", permissions[1], 0, false)
			for range r.cfg.Ops { // more than the feed keeps
				remark()
			}
		})
		waiting, release := wholes.hold()
		call(away, func() { away.open(); away.login() })
		if !r.until(func() bool { return waiting() > 0 }) {
			r.h.violation("%s did not load the whole", away.Name)
		}
		call(here, func() { remark(); remark() })
		call(third, func() { third.relation("add", away.User, third.newTag(Pass), 0, true) })
		release()
		if !r.until(func() bool { return count(away.records(), Finish) == 2 }, away) {
			r.h.violation("%s: the sync with the whole did not finish", away.Name)
		}
	})
}
