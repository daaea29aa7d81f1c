package histcheck

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/faultproxy"
)

// Server is what a history runs against.
type Server interface {
	URL() string
	// Sig signs a ticket.
	Sig(user string) string
	// Bounce ends the server, in whatever way, and has it back at the same address when it returns.
	Bounce()
}

// Config says what a history is made of.
type Config struct {
	Seed   uint64
	Ops    int
	Users  int
	Server Server
	Log    *slog.Logger
}

// patience bounds every wait for something that must happen.
const patience = 40 * time.Second

// runner makes one history.
type runner struct {
	t   testing.TB
	cfg Config
	h   *History
	rng *rand.Rand
	ctx context.Context

	devices []*device
	texts   atomic.Int64
	answers sync.WaitGroup // Func calls that are not answered
}

// device is a Device while the history is made. What is below queue belongs to the goroutine that works it off, and after the
// operations to the runner.
type device struct {
	*Device
	r     *runner
	cfg   client.Config
	proxy *faultproxy.Proxy
	queue chan func()
	done  chan struct{}

	c    *client.Client
	run  int
	call int
	slow atomic.Int64 // so many callbacks take their time
	over *atomic.Bool // the run's Close has returned

	seen sync.Mutex
	got  []*im.Message // messages of others, to be read up to
	mine []*im.Message // acknowledged sends, to be recalled
}

// Run makes the history of a seed.
func Run(t testing.TB, cfg Config) *History {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	r := &runner{t: t, cfg: cfg, ctx: ctx, rng: rand.New(rand.NewPCG(cfg.Seed, 7070)), h: &History{Seed: cfg.Seed}}
	defer r.closeAll()
	r.populate()
	r.operate()
	r.settle()
	return r.h
}

// populate logs all users in on their first devices, before there is any message.
func (r *runner) populate() {
	for i := range r.cfg.Users {
		user := fmt.Sprintf("user%d", i)
		r.h.Users = append(r.h.Users, user)
		second := im.Platform_PLATFORM_ANDROID
		if r.rng.IntN(4) == 0 {
			second = im.Platform_PLATFORM_WINDOWS // of the same class: each login ends the other's session
		}
		for _, p := range []im.Platform{im.Platform_PLATFORM_LINUX, second} {
			d := r.newDevice(user, p)
			d.First = true
			d.open()
			if err := d.login(); err != nil {
				r.h.violation("%s: the first login failed: %v", d.Name, err)
				continue
			}
			if !r.until(func() bool { return count(d.records(), Finish) > 0 }, d) {
				r.h.violation("%s: the first sync did not finish", d.Name)
			}
		}
	}
}

func (r *runner) newDevice(user string, p im.Platform) *device {
	name := fmt.Sprintf("%s-%d", user, len(r.devices))
	proxy := faultproxy.Start(r.t, r.cfg.Server.URL())
	d := &device{Device: &Device{Name: name, User: user, news: make(chan struct{}, 1)}, r: r, proxy: proxy,
		cfg: client.Config{Server: proxy.URL, UserID: user, UserSig: r.cfg.Server.Sig(user), Dir: filepath.Join(r.t.TempDir(), name), Platform: p,
			Log: r.cfg.Log.With("device", name),
			Limits: client.Limits{Call: 3 * time.Second, Send: 2 * time.Second, Login: 4 * time.Second, Heartbeat: time.Second, HeartbeatEvery: 400 * time.Millisecond,
				Reconnect: 200 * time.Millisecond}},
		queue: make(chan func(), 8), done: make(chan struct{})}
	r.devices = append(r.devices, d)
	r.h.Devices = append(r.h.Devices, d.Device)
	go func() {
		defer close(d.done)
		for f := range d.queue {
			f()
		}
	}()
	return d
}

// operate issues the operations. All that is random about one is drawn here, in a fixed order.
func (r *runner) operate() {
	healing := map[*device]int{} // operations until the link is whole again
	fresh := 0
	for range r.cfg.Ops {
		i, kind, a, b := r.rng.IntN(len(r.devices)), r.rng.IntN(1000), r.rng.Uint64(), r.rng.Uint64()
		d := r.devices[i]
		to := r.h.Users[a%uint64(len(r.h.Users))]
		for x, left := range healing {
			if left <= 0 {
				x.proxy.Heal()
				delete(healing, x)
			} else {
				healing[x] = left - 1
			}
		}
		switch {
		case kind < 250:
			d.do(func() { d.send(to) })
		case kind < 430:
			n := 2 + int(b%25)
			d.do(func() { d.burst(to, n) })
		case kind < 520:
			d.do(func() { d.read(to, nil) })
		case kind < 580:
			d.do(func() { d.readUpTo(b) })
		case kind < 610:
			d.do(func() { d.readAll() })
		case kind < 710:
			d.do(func() { d.revoke(b) })
		case kind < 760:
			d.do(func() { d.page(to, b) })
		case kind < 810:
			d.must(func() { d.close() })
			for range b % 6 { // away for some operations of others
				o := r.devices[r.rng.IntN(len(r.devices))]
				dest := r.h.Users[r.rng.IntN(len(r.h.Users))]
				o.do(func() { o.burst(dest, 3) })
			}
			d.must(func() { d.open(); d.login() })
		case kind < 840:
			d.do(func() { d.logout() })
		case kind < 855:
			d.do(func() { d.login() })
		case kind < 860 && fresh < 3:
			fresh++
			n := r.newDevice(d.User, d.cfg.Platform)
			n.must(func() { n.open(); n.login() })
		case kind < 890:
			d.slow.Store(int64(b % 40))
		case kind < 930:
			d.proxy.Cut()
		case kind < 945:
			d.proxy.Reset()
		case kind < 965:
			d.proxy.Stall()
			healing[d] = int(b % 12)
		case kind < 975:
			d.proxy.Freeze()
			healing[d] = int(b % 12)
		case kind < 990:
			d.proxy.Refuse(true)
			d.proxy.Cut()
			healing[d] = int(b % 12)
		default:
			r.cfg.Server.Bounce()
		}
	}
}

// do queues an operation; a device that is away or logged out comes back in place of every other one.
func (d *device) do(f func()) {
	d.must(func() {
		switch {
		case d.c == nil:
			d.open()
			d.login()
		case d.c.Status() == client.LoggedOut && d.run%2 == 0:
			d.login()
		}
		f()
	})
}

func (d *device) must(f func()) {
	select {
	case d.queue <- f:
	default:
		d.proxy.Heal() // or nothing else would happen while each of its calls runs out of time
		d.queue <- f
	}
}

func (d *device) open() {
	if d.c != nil {
		return
	}
	d.run++
	d.add(Record{Run: d.run, Kind: Opened})
	d.over = &atomic.Bool{}
	c, err := client.Open(d.cfg, d.callbacks(d.run, d.over))
	if err != nil {
		d.r.h.violation("%s: open: %v", d.Name, err)
		return
	}
	d.c = c
}

func (d *device) close() {
	if d.c == nil {
		return
	}
	d.add(Record{Run: d.run, Kind: Closing})
	d.c.Close()
	d.over.Store(true)
	d.add(Record{Run: d.run, Kind: Closed})
	d.c = nil
}

func (r *runner) closeAll() {
	for _, d := range r.devices {
		select {
		case <-d.done:
		default:
			close(d.queue)
			<-d.done
		}
		d.close()
	}
}

// blocking makes a call that blocks, and records it.
func (d *device) blocking(op, conv string, seq uint64, f func(context.Context) error) error {
	if d.c == nil {
		return errors.New("not open")
	}
	d.call++
	n := d.call
	d.add(Record{Run: d.run, Kind: Calling, Call: n, Op: op, Conv: conv, Seq: seq})
	ctx, cancel := context.WithTimeout(d.r.ctx, patience)
	err := f(ctx)
	cancel()
	if errors.Is(err, context.DeadlineExceeded) {
		d.r.h.violation("%s: call %d, %s, was not answered", d.Name, n, op)
	}
	d.add(Record{Run: d.run, Kind: Returned, Call: n, Op: op, Conv: conv, Seq: seq, Code: codeOf(err)})
	return err
}

func codeOf(err error) int32 {
	var e *im.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Code
	}
	return -1
}

func (d *device) login() error {
	return d.blocking("login", "", 0, func(ctx context.Context) error { return d.c.Login(ctx) })
}

func (d *device) logout() error {
	return d.blocking("logout", "", 0, func(ctx context.Context) error { return d.c.Logout(ctx) })
}

func (d *device) newSend(to string) *Send {
	s := &Send{Device: d.Device, Run: d.run, Conv: to, Text: fmt.Sprintf("%s/%d", d.Name, d.r.texts.Add(1))}
	d.mu.Lock()
	d.Sends = append(d.Sends, s)
	d.mu.Unlock()
	return s
}

func textMessage(s string) *im.Message {
	return &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_TEXT, Body: &im.Elem_Text{Text: &im.TextElem{Content: s}}}}}
}

func text(m *im.Message) string {
	for _, e := range m.GetElemArray() {
		if t := e.GetText(); t != nil {
			return t.Content
		}
	}
	return ""
}

func (d *device) answered(s *Send, m *im.Message, err error) {
	d.mu.Lock()
	s.Answers++
	s.Code = codeOf(err)
	if m != nil {
		if s.ID != "" && m.MsgId != s.ID {
			d.r.h.violation("%s: %s has the id %s and was answered with %s", d.Name, s.Text, s.ID, m.MsgId)
		}
		s.ID, s.Seq = m.MsgId, m.Seq
	}
	d.mu.Unlock()
	if err == nil {
		d.seen.Lock()
		d.mine = append(d.mine, m)
		d.seen.Unlock()
	}
}

func (d *device) send(to string) error {
	if d.c == nil {
		return errors.New("not open")
	}
	s := d.newSend(to)
	return d.blocking("send", to, 0, func(ctx context.Context) error {
		s.Call = d.call
		m, err := d.c.SendMessage(ctx, client.C2C(to), textMessage(s.Text))
		d.answered(s, m, err)
		return err
	})
}

func (d *device) burst(to string, n int) {
	if d.c == nil {
		return
	}
	for range n {
		s := d.newSend(to)
		d.call++
		s.Call = d.call
		run := d.run
		d.add(Record{Run: run, Kind: Calling, Call: s.Call, Op: "sendfunc", Conv: to})
		d.r.answers.Add(1)
		var once atomic.Bool
		id := make(chan string, 1)
		got, _ := d.c.SendMessageFunc(client.C2C(to), textMessage(s.Text), func(m *im.Message, err error) {
			d.add(Record{Run: run, Kind: Answer, Call: s.Call, Op: "sendfunc", Conv: to, Code: codeOf(err)})
			if want := <-id; m != nil && want != "" && m.MsgId != want {
				d.r.h.violation("%s: %s has the id %s and was answered with %s", d.Name, s.Text, want, m.MsgId)
			}
			d.answered(s, m, err)
			if once.CompareAndSwap(false, true) {
				d.r.answers.Done()
			}
		})
		id <- got
		close(id)
	}
}

func (d *device) read(conv string, upTo *im.Message) {
	seq := uint64(0)
	if upTo != nil {
		seq = upTo.Seq
	}
	d.blocking("read", conv, seq, func(ctx context.Context) error { return d.c.MarkRead(ctx, client.C2C(conv), upTo) })
}

func (d *device) readUpTo(pick uint64) {
	d.seen.Lock()
	var m *im.Message
	if n := len(d.got); n > 0 {
		m = d.got[max(0, n-1-int(pick%20))]
	}
	d.seen.Unlock()
	if m != nil {
		d.read(m.ConvId, m)
	}
}

func (d *device) readAll() {
	d.blocking("readall", "", 0, func(ctx context.Context) error { return d.c.MarkAllRead(ctx) })
}

func (d *device) revoke(pick uint64) {
	d.seen.Lock()
	var m *im.Message
	if n := len(d.mine); n > 0 {
		m = d.mine[max(0, n-1-int(pick%20))]
	}
	d.seen.Unlock()
	if m != nil {
		d.blocking("revoke", m.ConvId, m.Seq, func(ctx context.Context) error { return d.c.Revoke(ctx, client.C2C(m.ConvId), m, "") })
	}
}

// page lists some of a conversation; what it brings is stored silently.
func (d *device) page(conv string, b uint64) {
	p := &im.GetMsgListParam{Count: uint32(1 + b%300), IsForward: b&(1<<20) != 0}
	if b&(1<<21) != 0 {
		p.LastMsgSeq = 1 + b>>32%200
	}
	d.blocking("history", conv, p.LastMsgSeq, func(ctx context.Context) error {
		_, err := d.c.Messages(ctx, client.C2C(conv), p)
		return err
	})
}

func (d *device) callbacks(run int, over *atomic.Bool) client.Events {
	late := 0
	begin := func(rs ...Record) {
		if over.Load() {
			// One may have been about to begin when Close returned.
			if late++; late > 1 {
				d.r.h.violation("%s run %d: %d callbacks after Close, the last: %v", d.Name, run, late, rs)
			}
		}
		for i := range rs {
			rs[i].Run = run
		}
		d.add(rs...)
		if d.slow.Load() > 0 {
			d.slow.Add(-1)
			time.Sleep(5 * time.Millisecond) // an application that takes its time
		}
	}
	messages := func(kind string, ms []*im.Message) {
		var rs []Record
		for _, m := range ms {
			rs = append(rs, Record{Kind: kind, Conv: m.ConvId, Seq: m.Seq, Text: text(m), From: m.Sender, ID: m.MsgId, Self: m.IsFromSelf, N: int(m.Status), Time: m.ServerTime})
		}
		d.seen.Lock()
		if kind == New {
			d.got = append(d.got, ms...)
		}
		d.seen.Unlock()
		begin(rs...)
	}
	kinds := map[client.ConvEvent]string{client.ConvAdd: Add, client.ConvUpdate: Update, client.ConvDelete: Delete, client.ConvSyncStart: Start, client.ConvSyncFinish: Finish}
	return client.Events{
		NewMessages: func(ms []*im.Message) { messages(New, ms) },
		Updated:     func(ms []*im.Message) { messages(Updated, ms) },
		Revoked: func(ls []*im.MsgLocator) {
			for _, l := range ls {
				begin(Record{Kind: Revoked, Conv: l.ConvId, Seq: l.Seq, From: l.RevokerUserId, Self: l.IsSelf, Time: l.Time})
			}
		},
		Receipts: func(rs []*im.MessageReceipt) {
			for _, x := range rs {
				begin(Record{Kind: Receipt, Conv: x.ConvId, Time: x.TimeStamp})
			}
		},
		Conversations: func(k client.ConvEvent, list []*im.ConvInfo) {
			rs := []Record{}
			for _, x := range list {
				rs = append(rs, Record{Kind: kinds[k], Conv: x.Id, N: int(x.UnreadNum), Text: text(x.LastMsg), Seq: x.LastMsg.GetSeq(), Info: encode(x)})
			}
			if len(list) == 0 {
				rs = append(rs, Record{Kind: kinds[k]})
			}
			begin(rs...)
		},
		TotalUnread: func(n int) { begin(Record{Kind: Total, N: n}) },
		Network: func(s client.NetworkStatus, code int32, _ string) {
			begin(Record{Kind: Network, N: int(s), Code: code})
		},
		KickedOffline:  func() { begin(Record{Kind: Kicked}) },
		UserSigExpired: func() { begin(Record{Kind: Expired}) },
	}
}

func encode(m *im.ConvInfo) string {
	b, err := m.MarshalVT()
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// until waits for a fact about devices; every one of their records makes it look again.
func (r *runner) until(cond func() bool, ds ...*device) bool {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	look := time.NewTicker(20 * time.Millisecond) // for facts that no record tells of
	defer look.Stop()
	for !cond() {
		news := look.C
		var heard chan struct{}
		if len(ds) == 1 {
			heard = ds[0].news
		}
		select {
		case <-heard:
		case <-news:
		case <-limit.C:
			return false
		}
	}
	return true
}

func count(rs []Record, kind string) int {
	n := 0
	for _, r := range rs {
		if r.Kind == kind {
			n++
		}
	}
	return n
}
