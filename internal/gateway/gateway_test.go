package gateway

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"google.golang.org/protobuf/proto"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// run stops the cluster of pgtest before goleak looks.
type run struct{ m *testing.M }

func (r run) Run() int { return pgtest.Main(r.m) }

func TestMain(m *testing.M) { goleak.VerifyTestMain(run{m}) }

// onBoth runs a test on both stores.
func onBoth(t *testing.T, o options, test func(t *testing.T, n *node)) {
	t.Run("sqlite", func(t *testing.T) { test(t, start(t, o)) })
	t.Run("postgres", func(t *testing.T) {
		o.dsn = pgtest.DSN(t)
		test(t, start(t, o))
	})
}

// clock is the gateway's clock in tests: it moves only when told to.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

// node is a gateway over rules and a real store, on a port.
type node struct {
	*Gateway
	t     testing.TB
	clock *clock
	store chat.Store
	rules *chat.Chat
	http  *httptest.Server
}

type options struct {
	dir string
	// dsn is that of a PostgreSQL; "": a store in dir.
	dsn     string
	gateway Config
	chat    chat.Config
	// wrap puts something between the rules and the store.
	wrap func(chat.Store) chat.Store
}

func start(t testing.TB, o options) *node {
	t.Helper()
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	var st chat.Store
	var err error
	if o.dsn != "" {
		st, err = pg.Open(t.Context(), pg.Config{DSN: o.dsn, Log: log})
	} else {
		st, err = store.Open(t.Context(), store.Config{Dir: o.dir, Log: log})
	}
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, clock: &clock{t: time.Now()}, store: st}
	o.chat.Log, o.gateway.Log = log, log
	if o.chat.Verify == nil {
		o.chat.Verify = verify
	}
	o.gateway.Now = n.clock.now
	o.gateway.Sweep = time.Hour // tests sweep themselves
	rows := st
	if o.wrap != nil {
		rows = o.wrap(st)
	}
	n.rules = chat.New(rows, o.chat)
	n.Gateway = New(n.rules, o.gateway)
	n.http = httptest.NewServer(n)
	t.Cleanup(n.stop)
	return n
}

func (n *node) stop() {
	if n.http == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	n.Close(ctx)
	n.http.Close()
	n.http = nil
	if err := n.store.Close(); err != nil {
		n.t.Error(err)
	}
}

// later moves the clock when nothing is being written, and checks the time limits.
func (n *node) later(d time.Duration) {
	n.t.Helper()
	for _, s := range n.snapshot() {
		until(n.t, "a write that ends", func() bool { return s.since.Load() == 0 })
	}
	n.leap(d)
}

// leap is later for a test in which a write does not end.
func (n *node) leap(d time.Duration) {
	n.clock.mu.Lock()
	n.clock.t = n.clock.t.Add(d)
	n.clock.mu.Unlock()
	n.sweep()
}

// verify accepts the ticket "ok", valid for a day, or "until" a Unix time in milliseconds.
func verify(_, ticket string) (chat.Ticket, error) {
	if ms, ok := strings.CutPrefix(ticket, "until "); ok {
		v, err := strconv.ParseInt(ms, 10, 64)
		return chat.Ticket{Expires: time.UnixMilli(v)}, err
	}
	if ticket != "ok" {
		return chat.Ticket{}, im.Errorf(im.CodeTicketMalformed, "usersig is malformed")
	}
	return chat.Ticket{Issued: time.Now(), Expires: time.Now().Add(24 * time.Hour)}, nil
}

// conn is a client that knows only the wire. Only the test's goroutine uses it.
type conn struct {
	t      testing.TB
	ws     *websocket.Conn
	in     chan *im.Frame
	err    error // of the reader; read after in is closed
	id     uint64
	pushes []*im.Frame
	// early are replies to calls that are waited for later.
	early map[uint64]*im.Frame
	// log is everything that was received, in order.
	log   []*im.Frame
	reply im.LoginReply
	// made are the ids of calls, by what they were: the last one of each.
	made map[string]uint64
}

const patience = 20 * time.Second

// connect makes a connection that nobody reads yet.
func (n *node) connect() *conn {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, n.http.URL, &websocket.DialOptions{Subprotocols: []string{im.Subprotocol}})
	if err != nil {
		n.t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	n.t.Cleanup(func() { ws.CloseNow() })
	return &conn{t: n.t, ws: ws, in: make(chan *im.Frame, 1<<16)}
}

func (n *node) dial() *conn {
	n.t.Helper()
	c := n.connect()
	c.listen()
	return c
}

// listen reads the connection from now on.
func (c *conn) listen() {
	ws := c.ws
	go func() {
		defer close(c.in)
		for {
			_, b, err := ws.Read(context.Background())
			if err == nil {
				err = im.ReadFrames(b, func(f *im.Frame) error {
					c.in <- &im.Frame{Id: f.Id, Method: f.Method, Body: append([]byte(nil), f.Body...), Code: f.Code, Desc: f.Desc}
					return nil
				})
			}
			if err != nil {
				c.err = err
				return
			}
		}
	}()
}

// take waits for the next frame; nil when the connection is closed.
func (c *conn) take() *im.Frame {
	c.t.Helper()
	select {
	case f, ok := <-c.in:
		if !ok {
			return nil
		}
		c.log = append(c.log, f)
		return f
	case <-time.After(patience):
		c.t.Fatalf("nothing came in %s", patience)
		return nil
	}
}

func (c *conn) write(b []byte) {
	c.t.Helper()
	if err := c.ws.Write(context.Background(), websocket.MessageBinary, b); err != nil {
		c.t.Fatal(err)
	}
}

// begin makes a call and does not wait for the answer.
func (c *conn) begin(m im.Method, req im.Body) uint64 {
	c.t.Helper()
	c.id++
	c.write(c.frame(c.id, m, req, false))
	return c.id
}

// frame makes the message of a call, and notes the call.
func (c *conn) frame(id uint64, m im.Method, req im.Body, resent bool) []byte {
	if c.made == nil {
		c.made = make(map[string]uint64)
	}
	c.made[nameOf(m, req)] = id
	return im.AppendMessage(nil, &im.Frame{Id: id, Method: m, Resent: resent}, req)
}

// nameOf is what a call was.
func nameOf(m im.Method, req im.Body) string {
	return string(im.AppendMessage(nil, &im.Frame{Method: m}, req))
}

// await waits for the reply to a call; pushes and other replies that arrive first are kept.
func (c *conn) await(id uint64) *im.Frame {
	c.t.Helper()
	if f := c.early[id]; f != nil {
		delete(c.early, id)
		return f
	}
	for {
		f := c.take()
		switch {
		case f == nil:
			c.t.Fatalf("the connection was closed before the answer: %v", c.err)
		case f.Id == id:
			return f
		case f.Id == 0:
			c.pushes = append(c.pushes, f)
		default: // of a call that was made later, and had less to wait for
			if c.early == nil {
				c.early = map[uint64]*im.Frame{}
			}
			c.early[f.Id] = f
		}
	}
}

// call makes a call and expects code in the reply; reply may be nil.
func (c *conn) call(m im.Method, req im.Body, code int32, reply im.Msg) *im.Frame {
	c.t.Helper()
	f := c.await(c.begin(m, req))
	if f.Code != code {
		c.t.Fatalf("%s answered %d (%s), want %d", m, f.Code, f.Desc, code)
	}
	if reply != nil {
		if err := reply.UnmarshalVT(f.Body); err != nil {
			c.t.Fatal(err)
		}
	}
	return f
}

// push waits for the next push and expects it to be of a method.
func (c *conn) push(m im.Method, body im.Msg) {
	c.t.Helper()
	for len(c.pushes) == 0 {
		f := c.take()
		if f == nil {
			c.t.Fatalf("the connection was closed, and no %s came: %v", m, c.err)
		}
		if f.Id == 0 {
			c.pushes = append(c.pushes, f)
		}
	}
	f := c.pushes[0]
	c.pushes = c.pushes[1:]
	if f.Method != m {
		c.t.Fatalf("a %s came, want %s", f.Method, m)
	}
	if body != nil {
		if err := body.UnmarshalVT(f.Body); err != nil {
			c.t.Fatal(err)
		}
	}
}

// quiet checks that nothing was pushed: a heartbeat's reply comes after everything that was queued before.
func (c *conn) quiet() *im.HeartbeatReply {
	c.t.Helper()
	hb := &im.HeartbeatReply{}
	c.call(im.Method_HEARTBEAT, &im.Empty{}, 0, hb)
	if len(c.pushes) > 0 {
		c.t.Fatalf("a %s came, want nothing", c.pushes[0].Method)
	}
	return hb
}

// closed waits for the end of the connection, and expects a close code.
func (c *conn) closed(code int) {
	c.t.Helper()
	for {
		f := c.take()
		if f == nil {
			break
		}
		if f.Id == 0 {
			c.pushes = append(c.pushes, f)
		}
	}
	if got := websocket.CloseStatus(c.err); int(got) != code {
		c.t.Fatalf("the connection ended with %v, want close code %d", c.err, code)
	}
}

type device struct {
	user, device string
	platform     im.Platform
	ticket       string
	resume       bool
	generation   uint64
	kicked       uint64
	groups       bool
	run          uint64
}

func (d device) request() *im.LoginRequest {
	r := &im.LoginRequest{
		UserId: d.user, UserSig: d.ticket, DeviceId: d.device, Platform: d.platform, Resume: d.resume,
		Generation: d.generation, KickedGeneration: d.kicked, Groups: d.groups, Run: d.run,
	}
	r.Run = cmp.Or(r.Run, rand.Uint64()>>1)
	r.UserSig = cmp.Or(r.UserSig, "ok")
	r.DeviceId = cmp.Or(r.DeviceId, "device of "+d.user)
	r.Platform = cmp.Or(r.Platform, im.Platform_PLATFORM_LINUX)
	return r
}

func (n *node) login(d device) *conn {
	n.t.Helper()
	c := n.dial()
	c.call(im.Method_LOGIN, d.request(), 0, &c.reply)
	return c
}

func (n *node) refused(d device, code int32) *conn {
	n.t.Helper()
	c := n.dial()
	c.call(im.Method_LOGIN, d.request(), code, nil)
	return c
}

func key(user string) *im.ConvKey { return &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: user} }

func text(s string) *im.Message {
	return &im.Message{ElemArray: []*im.Elem{{Body: &im.Elem_Text{Text: &im.TextElem{Content: s}}}}}
}

func textOf(m *im.Message) string { return m.GetElemArray()[0].GetText().GetContent() }

func (c *conn) request(to, s string) *im.SendRequest {
	return &im.SendRequest{Conv: key(to), ClientTime: 1700000000, Random: uint32(c.id + 1), Message: text(s)}
}

func (c *conn) send(to, s string) *im.SendReply {
	c.t.Helper()
	r := &im.SendReply{}
	c.call(im.Method_SEND, c.request(to, s), 0, r)
	return r
}

func (c *conn) heads(req *im.HeadsRequest) *im.HeadsReply {
	c.t.Helper()
	r := &im.HeadsReply{}
	c.call(im.Method_HEADS, req, 0, r)
	return r
}

func (c *conn) head(user string) *im.Head {
	c.t.Helper()
	r := c.heads(&im.HeadsRequest{Only: []*im.ConvKey{key(user)}, WithLast: true})
	if len(r.Heads) != 1 {
		c.t.Fatalf("%d heads for %s, want 1", len(r.Heads), user)
	}
	return r.Heads[0]
}

func TestHandshakeNamesTheVersion(t *testing.T) {
	n := start(t, options{})
	for _, offered := range [][]string{nil, {"tidings.v9"}, {"chat", "x"}} {
		_, resp, err := websocket.Dial(t.Context(), n.http.URL, &websocket.DialOptions{Subprotocols: offered})
		if err == nil || resp.StatusCode != http.StatusBadRequest {
			t.Fatalf("offering %q: %v", offered, err)
		}
		if code := resp.Header.Get(im.CodeHeader); code != strconv.Itoa(im.CodeConnectRefused) {
			t.Errorf("offering %q: the header has the code %q", offered, code)
		}
		var b [256]byte
		k, _ := resp.Body.Read(b[:])
		if !strings.Contains(string(b[:k]), im.Subprotocol) {
			t.Errorf("offering %q is answered %q, which does not name %s", offered, b[:k], im.Subprotocol)
		}
	}
	ws, _, err := websocket.Dial(t.Context(), n.http.URL, &websocket.DialOptions{Subprotocols: []string{"tidings.v9", im.Subprotocol}})
	if err != nil || ws.Subprotocol() != im.Subprotocol {
		t.Fatalf("offering a later version too: %v", err)
	}
	ws.CloseNow()
}

func TestMessageLiveAndStored(t *testing.T) {
	n := start(t, options{})
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	if alice.reply.TinyId == 0 || alice.reply.TinyId == bob.reply.TinyId || alice.reply.StoreId != n.store.ID() ||
		alice.reply.Generation != 1 || alice.reply.HeartbeatSeconds != 30 || alice.reply.ServerTime == 0 {
		t.Fatalf("login reply %v", &alice.reply)
	}
	msg := text("hi")
	msg.CloudCustomStr = "kept"
	msg.Sender, msg.Seq, msg.CustomStr, msg.IsRead, msg.MsgId = "mallory", 99, "local", true, "x"
	var r im.SendReply
	alice.call(im.Method_SEND, &im.SendRequest{Conv: key("bob"), ClientTime: 1700000000, Random: 7, Message: msg}, 0, &r)
	e := r.Entry
	if e.Seq != 1 || e.Index != 1 || e.OwnIndex != 1 || e.Sender != "alice" || e.SenderTinyId != alice.reply.TinyId || e.Random != 7 ||
		e.ClientTime != 1700000000 || !e.Countable || e.Message != nil || r.Epoch == 0 {
		t.Fatalf("send reply %v", &r)
	}
	var p im.EntryPush
	bob.push(im.Method_ENTRY, &p)
	m := p.Entry.Message
	if p.Conv.Id != "alice" || p.Epoch != r.Epoch || p.Entry.Seq != 1 || textOf(m) != "hi" || m.CloudCustomStr != "kept" {
		t.Fatalf("push %v", &p)
	}
	if m.Sender != "" || m.Seq != 0 || m.CustomStr != "" || m.IsRead || m.MsgId != "" {
		t.Errorf("fields that are views came through: %v", m)
	}
	alice.quiet() // the sending device gets only the reply
	var pull im.PullReply
	bob.call(im.Method_PULL, &im.PullRequest{Conv: key("alice"), Epoch: p.Epoch, From: 1, To: 1}, 0, &pull)
	if len(pull.Entries) != 1 || !proto.Equal(pull.Entries[0], p.Entry) {
		t.Fatalf("pulled %v, pushed %v", pull.Entries, p.Entry)
	}
	if h := bob.head("alice"); h.Unread != 1 || h.Seq != 1 || h.Last.GetSeq() != 1 || h.Others != 1 || h.Own != 0 {
		t.Errorf("bob's head %v", h)
	}
	if h := alice.head("bob"); h.Unread != 0 || h.Own != 1 || h.Others != 0 {
		t.Errorf("alice's head %v", h)
	}
}

func TestRefusals(t *testing.T) {
	n := start(t, options{})
	for _, bad := range []string{"", "ünï", strings.Repeat("x", 33), "tab\t", " ", "a b", "a ", " a", "a\u00a0b"} {
		n.refused(device{user: bad}, im.CodeInvalidUserID)
	}
	for _, bad := range []string{"\xff", "a\xc3", "nul\x00", "line\n", strings.Repeat("x", 65)} {
		n.refused(device{user: "eve", device: bad}, im.CodeInvalidParameters)
	}
	n.refused(device{user: "eve", ticket: "forged"}, im.CodeTicketMalformed)
	c := n.dial()
	c.call(im.Method_SEND, c.request("bob", "hi"), im.CodeNotLoggedIn, nil)
	c.call(im.Method_HEARTBEAT, &im.Empty{}, im.CodeNotLoggedIn, nil)
	c = n.login(device{user: "alice"})
	c.call(im.Method_LOGIN, device{user: "alice"}.request(), im.CodeBadRequest, nil)
	c.call(im.Method_SEND, c.request("nobody", "hi"), im.CodeUnknownReceiver, nil)
	c.call(im.Method_SEND, &im.SendRequest{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: "g"}, ClientTime: 1, Message: text("x")}, im.CodeNoGroup, nil)
	c.call(im.Method_SEND, c.request("a b", "hi"), im.CodeUnknownReceiver, nil)
	c.call(im.Method(99), &im.Empty{}, im.CodeBadRequest, nil)
	c.call(im.Method_ENTRY, &im.Empty{}, im.CodeBadRequest, nil)
	c.call(im.Method_PULL, &im.PullRequest{Conv: key("nobody"), Epoch: 1, From: 1, To: 1}, im.CodeResync, nil)
	c.id++
	c.write(im.AppendFrame(nil, &im.Frame{Id: c.id, Method: im.Method_READ, Body: []byte{0xff}}))
	if f := c.await(c.id); f.Code != im.CodeBadRequest {
		t.Errorf("a request that is no protobuf is answered %d", f.Code)
	}
	c.quiet()
}

// TestJunk sends what no client sends. The connection may end; the server may not.
func TestJunk(t *testing.T) {
	n := start(t, options{})
	for _, junk := range [][]byte{
		{}, {0xff}, {5, 1}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, {3, 0x0a, 0xff, 0xff}, []byte("GET / HTTP/1.1\r\n\r\n"),
		{2, 0x12, 0x7f}, {1, 0},
	} {
		for _, c := range []*conn{n.dial(), n.login(device{user: "alice"})} {
			c.ws.Write(t.Context(), websocket.MessageBinary, junk)
			c.ws.CloseNow()
		}
	}
	c := n.login(device{user: "alice", resume: true, generation: 8})
	c.ws.Write(t.Context(), websocket.MessageText, []byte("hello"))
	c.closed(closeNotBinary)
	c = n.login(device{user: "alice"})
	c.write([]byte{200, 1, 2})
	c.closed(closeProtocol)
	c = n.dial()
	c.ws.Write(t.Context(), websocket.MessageBinary, make([]byte, im.MaxMessage+1))
	c.closed(1009)
	// Junk inside a well-formed frame.
	c = n.login(device{user: "bob"})
	for m := range im.Method(12) {
		if m == im.Method_LOGOUT || m == im.Method_KICKED_ACK || m == im.Method_HEARTBEAT {
			continue
		}
		for _, body := range [][]byte{{0xff}, {0x0a, 0x05, 1}, {0x22, 0x02, 0x0a, 0x00}, []byte("\x0a\x07\x08\x01\x12\x03bob\x10\x01\x22\x02\x0a\x09")} {
			c.id++
			c.write(im.AppendFrame(nil, &im.Frame{Id: c.id, Method: m, Body: body}))
			if f := c.await(c.id); f.Code == 0 && m != im.Method_HEADS && m != im.Method_READ && m != im.Method_LOOKUP {
				t.Errorf("%s with body %x was accepted", m, body)
			} else if f.Code == im.CodeServerInternal {
				t.Errorf("%s with body %x: %s", m, body, f.Desc)
			}
		}
	}
	n.login(device{user: "carol"}).quiet()
}

func user(i int) string { return fmt.Sprintf("user%05d", i) }
