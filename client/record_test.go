package client_test

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// patience is how long a test waits for something that must happen.
const patience = 20 * time.Second

// event is one callback, flattened so that tests can compare: what fired, about which conversation, with what.
type event struct {
	kind string // new, receipt, revoke, update, add, del, upd, start, finish, total, net, kicked, expired, done
	conv string
	text string
	seq  uint64
	n    int
	msg  *im.Message
	info *im.ConvInfo
}

func (e event) String() string {
	return fmt.Sprintf("%s %s %s %d %d", e.kind, e.conv, e.text, e.seq, e.n)
}

// recorder records every callback of a device in order.
type recorder struct {
	mu     sync.Mutex
	events []event
	news   chan struct{}
	// hold blocks callbacks of new messages while it is not nil and open.
	hold chan struct{}
}

func newRecorder() *recorder { return &recorder{news: make(chan struct{}, 1)} }

func (r *recorder) add(es ...event) {
	r.mu.Lock()
	r.events = append(r.events, es...)
	r.mu.Unlock()
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// shortKinds are the events whose kinds have shorter names here.
var shortKinds = map[string]string{"new_message": "new", "updated": "update", "revoked": "revoke", "delete": "del", "update": "upd", "sync_start": "start", "sync_finish": "finish",
	"total_unread": "total", "network": "net", "kicked_offline": "kicked", "user_sig_expired": "expired"}

func (r *recorder) callbacks() client.Events { return client.Each(r.event) }

func (r *recorder) event(e client.Event) {
	kind := cmp.Or(e.Type, e.Name)
	kind = cmp.Or(shortKinds[kind], kind)
	if len(e.Args) == 0 {
		r.add(event{kind: kind})
		return
	}
	switch told := e.Args[0].(type) {
	case []*im.Message:
		r.mu.Lock()
		hold := r.hold
		r.mu.Unlock()
		if hold != nil {
			<-hold
		}
		for _, m := range told {
			r.add(event{kind: kind, conv: m.ConvId, text: text(m), seq: m.Seq, msg: m})
		}
	case *im.GroupTipsElem:
		r.add(event{kind: "tip", conv: told.GroupId, text: tipWords(told)})
	case string:
		r.add(event{kind: kind, conv: told, text: e.Data()})
	case []*im.MessageReceipt:
		for _, x := range told {
			r.add(event{kind: kind, conv: x.ConvId, seq: x.TimeStamp})
		}
	case []*im.MsgLocator:
		for _, l := range told {
			r.add(event{kind: kind, conv: l.ConvId, seq: l.Seq, text: l.RevokerUserId})
		}
	case []*im.ConvInfo:
		if len(told) == 0 {
			r.add(event{kind: kind})
		}
		for _, x := range told {
			r.add(event{kind: kind, conv: x.Id, n: int(x.UnreadNum), text: text(x.LastMsg), info: x})
		}
	case int:
		r.add(event{kind: kind, n: told})
	case client.NetworkStatus:
		r.add(event{kind: kind, n: int(told), seq: uint64(e.Args[1].(int32))})
	default:
		r.add(event{kind: kind, text: e.Data()})
	}
}

func text(m *im.Message) string {
	if m == nil {
		return ""
	}
	for _, e := range m.ElemArray {
		switch {
		case e.GetText() != nil:
			return e.GetText().Content
		case e.GetGroupTips() != nil:
			return tipWords(e.GetGroupTips())
		case e.GetGroupReport() != nil:
			r := e.GetGroupReport()
			return fmt.Sprintf("report %d of %s by %s", r.ReportType, r.GroupId, r.OpUser)
		}
	}
	return ""
}

func tipWords(tip *im.GroupTipsElem) string {
	words := fmt.Sprintf("tip %d by %s", tip.TipType, tip.OpUser)
	if len(tip.UserArray) > 0 {
		words += " of " + strings.Join(tip.UserArray, "+")
	}
	for _, x := range tip.GroupChangeInfoArray {
		words += fmt.Sprintf(" flag %d %s", x.Flag, x.Value)
	}
	return words
}

// all returns what has fired so far.
func (r *recorder) all() []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]event(nil), r.events...)
}

// of returns the events of the given kinds.
func (r *recorder) of(kinds ...string) []event {
	var out []event
	for _, e := range r.all() {
		for _, k := range kinds {
			if e.kind == k {
				out = append(out, e)
			}
		}
	}
	return out
}

// until waits until cond holds for what has fired.
func (r *recorder) until(t testing.TB, what string, cond func([]event) bool) []event {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		es := r.all()
		if cond(es) {
			return es
		}
		select {
		case <-r.news:
		case <-limit.C:
			t.Fatalf("waited in vain for %s; fired:\n%s", what, list(r.all()))
		}
	}
}

func list(es []event) string {
	s := ""
	for _, e := range es {
		s += "  " + e.String() + "\n"
	}
	return s
}

// count waits until kind has fired n times and fails if it fires more often than that before the settled state.
func (r *recorder) count(t testing.TB, kind string, n int) []event {
	t.Helper()
	r.until(t, fmt.Sprintf("%d × %s", n, kind), func([]event) bool { return len(r.of(kind)) >= n })
	es := r.of(kind)
	if len(es) != n {
		t.Fatalf("%s fired %d times, not %d:\n%s", kind, len(es), n, list(es))
	}
	return es
}

func last(es []event, kind string) (event, bool) {
	for i := len(es) - 1; i >= 0; i-- {
		if es[i].kind == kind {
			return es[i], true
		}
	}
	return event{}, false
}

// device is a client and the events that it got.
type device struct {
	*client.Client
	*recorder
	t   testing.TB
	cfg client.Config
}

// config returns the configuration of a device of user on server s in a fresh folder, with a quiet log.
func config(t testing.TB, s *imtest.Server, user string) client.Config {
	return client.Config{Server: s.URL, UserID: user, UserSig: s.Sig(user), Dir: t.TempDir(), Log: quiet(t), Platform: im.Platform_PLATFORM_LINUX}
}

// dial logs a device in and waits for the end of its first sync.
func dial(t testing.TB, cfg client.Config) *device {
	t.Helper()
	d := open(t, cfg)
	d.login()
	return d
}

func open(t testing.TB, cfg client.Config) *device {
	t.Helper()
	r := newRecorder()
	c, err := client.Open(cfg, r.callbacks())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &device{Client: c, recorder: r, t: t, cfg: cfg}
}

// login logs in and waits for the end of the sync.
func (d *device) login() {
	d.t.Helper()
	n := len(d.of("finish"))
	if err := d.Login(within(d.t)); err != nil {
		d.t.Fatal(err)
	}
	d.until(d.t, "end of sync", func([]event) bool { return len(d.of("finish")) > n })
}

// again closes the device and reopens it on the same folder.
func (d *device) again() *device {
	d.t.Helper()
	d.Close()
	return dial(d.t, d.cfg)
}

// within returns a context for one call of a test.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// say sends a text and returns the message as it was sent.
func (d *device) say(to, s string) *im.Message {
	d.t.Helper()
	m, err := d.SendMessage(within(d.t), client.C2C(to), textMessage(s))
	if err != nil {
		d.t.Fatalf("send: %v", err)
	}
	return m
}

func textMessage(s string) *im.Message {
	return &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_TEXT, Body: &im.Elem_Text{Text: &im.TextElem{Content: s}}}}}
}
