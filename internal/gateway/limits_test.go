package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// limited returns how often a limit was applied.
func (n *node) limited(limit string) int {
	n.t.Helper()
	var m dto.Metric
	if err := n.metrics.limited.WithLabelValues(limit).Write(&m); err != nil {
		n.t.Fatal(err)
	}
	return int(m.GetCounter().GetValue())
}

func (n *node) wantLimited(limit string, want int) {
	n.t.Helper()
	if got := n.limited(limit); got != want {
		n.t.Errorf("the metric counts %d of %s, want %d", got, limit, want)
	}
}

// turnedAway opens a connection that must be refused before it becomes a WebSocket.
func (n *node) turnedAway() {
	n.t.Helper()
	ws, resp, err := websocket.Dial(n.t.Context(), n.http.URL, &websocket.DialOptions{Subprotocols: []string{im.Subprotocol}})
	if err == nil {
		ws.CloseNow()
		n.t.Fatal("the connection was taken")
	}
	if resp == nil || resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get(im.CodeHeader) != strconv.Itoa(im.CodeConnectionLimit) {
		n.t.Fatalf("refused with %v, %v", resp, err)
	}
}

func TestConnectionsPerAddress(t *testing.T) {
	o := options{}
	o.gateway.PerAddress = 3
	n := start(t, o)
	conns := []*conn{n.login(device{user: "alice"}), n.dial(), n.dial()}
	n.turnedAway()
	n.turnedAway()
	n.wantLimited(limitAddress, 2)
	conns[1].ws.CloseNow()
	until(t, "a place is free", func() bool { return n.Sessions() == 2 })
	n.login(device{user: "bob"})
	n.turnedAway()
	conns[0].quiet() // existing sessions stay
}

func TestConnectionsInAll(t *testing.T) {
	o := options{}
	o.gateway.Connections = 2
	n := start(t, o)
	n.dial()
	n.dial()
	n.turnedAway()
	n.wantLimited(limitConnections, 1)
}

func TestConnectionsPerUser(t *testing.T) {
	o := options{}
	o.gateway.PerUser = 2
	o.chat.Classes = map[im.Platform]int32{im.Platform_PLATFORM_LINUX: chat.ClassAny, im.Platform_PLATFORM_WEB: chat.ClassWeb}
	n := start(t, o)
	n.login(device{user: "alice", device: "1"})
	n.login(device{user: "alice", device: "2"})
	n.refused(device{user: "alice", device: "3"}, im.CodeConnectionLimit)
	n.refused(device{user: "alice", device: "3", platform: im.Platform_PLATFORM_WEB}, im.CodeConnectionLimit)
	n.wantLimited(limitUser, 2)
	n.login(device{user: "bob"})
	// A device that logs in again takes its own place, and a login that ends another one takes that one's.
	two := n.login(device{user: "alice", device: "2"})
	two.call(im.Method_LOGOUT, &im.Empty{}, 0, nil)
	until(t, "its place is free", func() bool { return len(n.sessionsOf(chat.UID(two.reply.TinyId))) == 1 })
	n.login(device{user: "alice", device: "4", platform: im.Platform_PLATFORM_WEB})
	n.login(device{user: "alice", device: "5", platform: im.Platform_PLATFORM_WEB})
}

func TestFailedLogins(t *testing.T) {
	o := options{}
	o.gateway.FailuresPerUser, o.gateway.FailuresPerAddress = 3, 6
	n := start(t, o)
	bad := func(user string, code int32) *conn {
		t.Helper()
		return n.refused(device{user: user, ticket: "forged"}, code)
	}
	for range 3 {
		bad("alice", im.CodeTicketMalformed)
	}
	bad("alice", im.CodeFailedLogins).closed(closeFailures)
	n.refused(device{user: "alice"}, im.CodeFailedLogins) // a good ticket has to wait as well
	n.login(device{user: "bob"})                          // and nobody else does
	n.wantLimited(limitFailures, 2)
	n.later(59 * time.Second)
	n.refused(device{user: "alice"}, im.CodeFailedLogins)
	n.later(2 * time.Second)
	n.login(device{user: "alice"})

	// A success forgets earlier failures.
	for range 2 {
		bad("bob", im.CodeTicketMalformed)
	}
	n.login(device{user: "bob"})
	bad("bob", im.CodeTicketMalformed)
	n.login(device{user: "bob"})
	// With many users at one address, bad tickets no longer get the reason, but good ones pass, because the address may be that of a whole company.
	for i := range 3 {
		bad(fmt.Sprint("user", i), im.CodeTicketMalformed)
	}
	bad("carol", im.CodeFailedLogins)
	n.login(device{user: "dave"})
	n.later(61 * time.Second)
	bad("carol", im.CodeTicketMalformed)
}

// The table of failures stays limited whoever fails from wherever.
func TestFailedLoginsAreForgotten(t *testing.T) {
	var l limits
	l.init(&Config{FailuresPerUser: 3, FailuresPerAddress: 3})
	for i := range 3 * failTable {
		addr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
		l.failed(addr, "alice", int64(i))
		if len(l.failures) > failTable+2 {
			t.Fatalf("%d failures are remembered", len(l.failures))
		}
	}
}

func TestTooFast(t *testing.T) {
	o := options{}
	o.gateway.SendRate, o.gateway.CallRate = 10, 5
	n := start(t, o)
	alice := n.login(device{user: "alice"}) // one of the five calls
	stored, code := 0, map[int32]int{}
	for range 25 {
		f := alice.await(alice.begin(im.Method_SEND, alice.request("alice", "x")))
		if code[f.Code]++; f.Code == 0 {
			stored++
		}
	}
	if stored != 10 || code[im.CodeSendsTooFast] != 15 {
		t.Errorf("answers %v, want 10 stored and the others refused", code)
	}
	n.wantLimited(limitSends, 15)
	n.later(500 * time.Millisecond)
	for range 5 {
		alice.send("alice", "y")
	}
	alice.call(im.Method_SEND, alice.request("alice", "z"), im.CodeSendsTooFast, nil)

	for range 5 {
		alice.call(im.Method_HEARTBEAT, &im.Empty{}, 0, nil)
	}
	alice.call(im.Method_HEARTBEAT, &im.Empty{}, im.CodeCallsTooFast, nil)
	n.wantLimited(limitCalls, 1)
	n.later(time.Second)
	if h := alice.head("alice"); h.Seq != 15 {
		t.Errorf("%d are stored, want what was acknowledged, 15", h.Seq)
	}
}

func TestClientAddress(t *testing.T) {
	g := &Gateway{cfg: Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}}}
	for _, c := range []struct {
		remote string
		hops   []string
		want   string
	}{
		{"192.0.2.7:5", nil, "192.0.2.7/32"},
		{"192.0.2.7:5", []string{"198.51.100.1"}, "192.0.2.7/32"}, // anybody may write a header
		{"10.1.1.1:5", []string{"198.51.100.1"}, "198.51.100.1/32"},
		{"10.1.1.1:5", []string{"1.2.3.4, 198.51.100.1", "10.2.2.2"}, "198.51.100.1/32"},
		{"10.1.1.1:5", []string{"forged, 198.51.100.1"}, "198.51.100.1/32"},
		{"10.1.1.1:5", []string{"198.51.100.1, forged"}, "10.1.1.1/32"},
		{"10.1.1.1:5", nil, "10.1.1.1/32"},
		{"[::1]:5", []string{"2001:db8:1:2:3:4:5:6"}, "2001:db8:1:2::/64"},
		{"[2001:db8:1:2:3:4:5:6%eth0]:5", nil, "2001:db8:1:2::/64"},
		{"[::ffff:192.0.2.7]:5", nil, "192.0.2.7/32"},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{}}
		for _, h := range c.hops {
			r.Header.Add("X-Forwarded-For", h)
		}
		if got := g.client(r); got.String() != c.want {
			t.Errorf("%s, %q: %s, want %s", c.remote, c.hops, got, c.want)
		}
	}
}

// raw is a connection that has become a WebSocket and whose every byte is the test's.
func (n *node) raw() net.Conn {
	n.t.Helper()
	addr := n.http.Listener.Addr().String()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n\r\n", addr, im.Subprotocol)
	c.SetReadDeadline(time.Now().Add(patience))
	var b [1]byte
	var seen strings.Builder
	for !strings.HasSuffix(seen.String(), "\r\n\r\n") {
		if _, err := c.Read(b[:]); err != nil {
			n.t.Fatal(err)
		}
		seen.WriteByte(b[0])
	}
	if !strings.HasPrefix(seen.String(), "HTTP/1.1 101") {
		n.t.Fatal(seen.String())
	}
	return c
}

// header announces a binary message of size bytes.
func header(size uint64) []byte {
	b := []byte{0x82, 0x80 | 127}
	for i := range 8 {
		b = append(b, byte(size>>(56-8*i)))
	}
	return append(b, 0, 0, 0, 0)
}

func untilGone(c net.Conn) error {
	var b [512]byte
	for {
		if _, err := c.Read(b[:]); err != nil {
			return err
		}
	}
}

// TestBeforeLogin: nobody who has not logged in makes the server hold more than a login needs.
func TestBeforeLogin(t *testing.T) {
	n := start(t, options{})
	for name, bytes := range map[string][]byte{
		"a large message is announced": header(im.MaxMessage),
		"a huge message is announced":  header(1 << 40),
		"byte by byte":                 header(512 << 10),
		"many small messages":          []byte(strings.Repeat("\x82\x80\x00\x00\x00\x00", beforeLogin/6+1)),
		"pings":                        []byte(strings.Repeat("\x89\x84\x00\x00\x00\x00ping", beforeLogin/10+1)),
		"fragments":                    []byte("\x02\x80\x00\x00\x00\x00" + strings.Repeat("\x00\xff\x00\x64\x00\x00\x00\x00"+strings.Repeat("x", 100), beforeLogin/108+1)),
	} {
		c := n.raw()
		if name == "byte by byte" {
			for i := range bytes {
				if _, err := c.Write(bytes[i : i+1]); err != nil {
					t.Fatal(err)
				}
			}
		} else {
			go c.Write(bytes) // it is closed during this
		}
		if err := untilGone(c); strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s: the connection stays", name)
		}
		c.Close()
	}
	if n.limited(limitBytes) == 0 {
		t.Error("the metric counts none")
	}
	until(t, "all are gone", func() bool { return n.Sessions() == 0 })
	// After the login a message may have its full size.
	alice := n.login(device{user: "alice"})
	alice.call(im.Method_SEND, alice.request("alice", strings.Repeat("x", 900<<10)), im.CodeMessageSize, nil)
	alice.quiet()
}

// TestAbuseIsBounded: hundreds of connections that each do the worst they can leave the server's memory and queues within their limits, and a
// well-behaved user is served at the same time.
func TestAbuseIsBounded(t *testing.T) {
	const each = 100
	o := options{}
	o.gateway.QueueBytes, o.gateway.QueueFrames = 64<<10, 64
	o.chat.Classes = map[im.Platform]int32{im.Platform_PLATFORM_LINUX: chat.ClassAny}
	reg := prometheus.NewRegistry()
	o.gateway.Metrics = reg
	n := start(t, o)
	alice, bob := n.login(device{user: "alice"}), n.login(device{user: "bob"})
	alice.send("bob", "one")
	bob.push(im.Method_ENTRY, nil)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()

	var wg sync.WaitGroup
	// Silent ones, and ones that announce what they do not send.
	for i := range 2 * each {
		c := n.raw()
		if i%2 == 0 {
			if _, err := c.Write(header(beforeLogin)); err != nil {
				t.Fatal(err)
			}
		}
		wg.Go(func() { // they leave when they are told to
			c.SetReadDeadline(time.Time{})
			untilGone(c)
			c.Close()
		})
	}
	// Ones that log in as mallory, call without end, and read nothing.
	deaf := make([]net.Conn, 20)
	for i := range deaf {
		c := n.raw()
		login := im.AppendMessage(nil, &im.Frame{Id: 1, Method: im.Method_LOGIN}, device{user: "mallory", device: fmt.Sprint(i)}.request())
		if _, err := c.Write(append(header(uint64(len(login))), login...)); err != nil {
			t.Fatal(err)
		}
		var b [1]byte
		if _, err := c.Read(b[:]); err != nil { // of the answer
			t.Fatal(err)
		}
		deaf[i] = c
	}
	for _, s := range n.snapshot() {
		// So that the system buffers less and the test is short. The clients keep the buffer that they have: into one that is smaller than a segment of the
		// loopback interface nothing fits, and the system drops it with the acknowledgement in it.
		if s.user() == "mallory" {
			s.conn.Conn.(*net.TCPConn).SetWriteBuffer(64 << 10)
		}
	}
	var calls []byte
	for i := range uint64(100) {
		// The reply to the second is longer than the call: it says what is available.
		calls = im.AppendFrame(calls, &im.Frame{Id: i + 10, Method: im.Method_LOOKUP, Body: make([]byte, 2000)})
		calls = im.AppendMessage(calls, &im.Frame{Id: i + 10, Method: im.Method_PULL}, &im.PullRequest{Conv: key(strings.Repeat("n", 5000)), From: 1, To: 1})
	}
	calls = append(header(uint64(len(calls))), calls...)
	for _, c := range deaf {
		wg.Go(func() {
			// Nobody reads the replies, so in the end the server no longer reads either, and this waits until it is closed.
			for {
				if _, err := c.Write(calls); err != nil {
					return
				}
			}
		})
	}
	full := func() (blocked int) {
		for _, s := range n.snapshot() {
			if s.user() == "mallory" && s.since.Load() != 0 {
				blocked++
			}
		}
		return blocked
	}
	until(t, "the server writes to none of them any more", func() bool { return full() == len(deaf) })
	for i := range 20 {
		alice.send("bob", fmt.Sprint("amid it ", i))
		bob.push(im.Method_ENTRY, nil)
	}
	// A session holds at most one message beyond its limits, in what waits to be written and in what waits to be called.
	most := len(deaf) * 2 * (o.gateway.QueueBytes + im.MaxMessage)
	if q := n.queuedBytes(); q > most {
		t.Errorf("%d bytes wait, the limits allow %d", q, most)
	}
	if grown := int64(heap()) - int64(before); grown > 200<<20 {
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	} else {
		t.Logf("%d connections, %d bytes wait, the heap has grown by %d MiB", n.Sessions(), n.queuedBytes(), grown>>20)
	}
	n.leap(11 * time.Second) // no login
	n.leap(20 * time.Second) // nothing read
	n.leap(time.Second)
	until(t, "only those who behave are left", func() bool { return n.Sessions() == 2 })
	if n.limited(limitNoLogin) != 2*each {
		t.Errorf("%d were cut for want of a login, want %d", n.limited(limitNoLogin), 2*each)
	}
	wg.Wait()
	alice.quiet()
	if mf, err := reg.Gather(); err != nil || len(mf) == 0 {
		t.Error(mf, err)
	}
}
