package pg_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/gateway"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

const patience = time.Minute

// valve holds back what is written to the database if it contains a mark.
type valve struct {
	mu   sync.Mutex
	mark []byte
	held chan struct{} // gets a value when something is held back
	open chan struct{} // closed when it may go on
}

// shut makes the next write that contains mark wait. It returns when that happens, with a function that lets it continue.
func (v *valve) shut(mark string) (held <-chan struct{}, open func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mark, v.held, v.open = []byte(mark), make(chan struct{}, 1), make(chan struct{})
	return v.held, sync.OnceFunc(func() { close(v.open) })
}

func (v *valve) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	return &valved{c, v}, err
}

type valved struct {
	net.Conn
	v *valve
}

func (c *valved) Write(b []byte) (int, error) {
	v := c.v
	v.mu.Lock()
	var open chan struct{}
	if v.mark != nil && bytes.Contains(b, v.mark) {
		v.mark, open = nil, v.open
		v.held <- struct{}{}
	}
	v.mu.Unlock()
	if open != nil {
		<-open
	}
	return c.Conn.Write(b)
}

// movable is a clock that servers share.
type movable struct {
	mu sync.Mutex
	t  time.Time
}

func (m *movable) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.t
}

func (m *movable) move(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.t = m.t.Add(d)
}

// node is a server: a store, the rules and the gateway.
type node struct {
	store *pg.Store
	http  *httptest.Server
	// said gets a value when clients have sent something.
	said chan struct{}
}

func newNode(t *testing.T, cfg pg.Config) *node {
	t.Helper()
	n := &node{store: open(t, cfg), said: make(chan struct{}, 1)}
	rules := chat.New(n.store, chat.Config{Log: quiet, RevokeWindow: 1000 * time.Hour, Verify: func(string, string) (chat.Ticket, error) {
		return chat.Ticket{Issued: time.Now(), Expires: time.Now().Add(1000 * time.Hour)}, nil
	}})
	g := gateway.New(rules, gateway.Config{Log: quiet})
	n.http = httptest.NewUnstartedServer(g)
	n.http.Listener = &listening{n.http.Listener, n.said}
	n.http.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		g.Close(ctx)
		n.http.Close()
		if err := n.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// listening reports when something is read from a connection.
type listening struct {
	net.Listener
	said chan struct{}
}

func (l *listening) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &heardConn{c, l.said}, err
}

type heardConn struct {
	net.Conn
	said chan struct{}
}

func (c *heardConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		select {
		case c.said <- struct{}{}:
		default:
		}
	}
	return n, err
}

// dial logs in, and returns when the sync of the login is complete.
func (n *node) dial(t *testing.T, user, dir string, heard chan string, limits client.Limits) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	synced := make(chan struct{})
	c, err := client.Dial(ctx, client.Config{
		Server: "ws" + strings.TrimPrefix(n.http.URL, "http"), UserID: user, UserSig: "any", Dir: dir, Limits: limits, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}, client.Events{
		NewMessages: func(ms []*im.Message) {
			for _, m := range ms {
				heard <- im.TextOf(m)
			}
		},
		Revoked: func(ms []*im.MsgLocator) {
			for range ms {
				heard <- recalled
			}
		},
		Conversations: func(k client.ConvEvent, _ []*im.ConvInfo) {
			if k == client.ConvSyncFinish {
				close(synced)
			}
		},
	})
	if err != nil {
		t.Fatal(user, err)
	}
	select {
	case <-synced:
	case <-ctx.Done():
		t.Fatal(user, "is not synced")
	}
	return c
}

const recalled = "recalled"

// TestNothingMissedAtLogin: bob is connected to one server. Something is done through the other one: a message, or a recall, whose transaction may
// hang between the number that it draws and its COMMIT. In each order of that, of bob's server notifying him of something else, and of bob's logins,
// with more than a minute in between: at each login bob gets everything that is committed by then.
func TestNothingMissedAtLogin(t *testing.T) {
	dsn := pgtest.DSN(t) + " idle_in_transaction_session_timeout=0 pool_max_conns=3"
	now := &movable{t: time.Now()}
	v := &valve{}
	one := newNode(t, pg.Config{DSN: dsn, Clock: now.now})
	two := newNode(t, pg.Config{DSN: dsn, Clock: now.now, Dial: v.dial})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	none := make(chan string, 10000)
	carol := one.dial(t, "carol", t.TempDir(), none, client.Limits{})
	defer carol.Close()
	alice := two.dial(t, "alice", t.TempDir(), none, client.Limits{})
	defer alice.Close()
	for i := range 20 { // until the statements of Updates are prepared on each connection of the other server
		if _, err := two.store.CreateUser(ctx, fmt.Sprint("nobody", i)); err != nil {
			t.Fatal(err)
		}
	}

	// begin and commit of the other server's transaction, own: bob's server notifies him, login.
	orders := []string{}
	var grow func(string)
	grow = func(s string) {
		if len(s) == 4 {
			orders = append(orders, s)
			return
		}
		for _, step := range "bcol" {
			if !strings.ContainsRune(s, step) && (step != 'c' || strings.ContainsRune(s, 'b')) {
				grow(s + string(step))
			}
		}
	}
	grow("")
	if len(orders) != 12 {
		t.Fatal(orders)
	}
	for _, what := range []struct {
		name, mark, want string
	}{{"message", writersCommit, "through the other server"}, {"recall", updatesCommit, recalled}} {
		for i, order := range orders {
			bob := fmt.Sprint(what.name, i)
			t.Run(what.name+"/"+order, func(t *testing.T) {
				dir, heard := t.TempDir(), make(chan string, 1000)
				limits := client.Limits{HeartbeatEvery: 20 * time.Millisecond}
				c := one.dial(t, bob, dir, heard, limits)
				defer func() { c.Close() }()
				await := func(want string) {
					t.Helper()
					for {
						select {
						case got := <-heard:
							if got == want {
								return
							}
						case <-ctx.Done():
							t.Fatalf("%q is not heard", want)
						}
					}
				}
				login := func() {
					c.Close()
					c = one.dial(t, bob, dir, heard, limits)
				}
				m, err := alice.SendMessage(ctx, client.C2C(bob), im.Text("hello"))
				if err != nil {
					t.Fatal(err)
				}
				login() // the conversation is not new to him
				await("hello")
				var release func()
				answered := make(chan error, 1)
				committed, told := false, false
				check := func() {
					t.Helper()
					for committed && !told {
						select {
						case got := <-heard:
							told = got == what.want
						default:
							t.Fatal("missed at a login")
						}
					}
				}
				for n, step := range order {
					switch step {
					case 'b':
						var held <-chan struct{}
						held, release = v.shut(what.mark)
						defer release()
						go func() {
							if what.want == recalled {
								answered <- alice.Revoke(ctx, client.C2C(bob), m, "")
								return
							}
							_, err := alice.SendMessage(ctx, client.C2C(bob), im.Text(what.want))
							answered <- err
						}()
						select {
						case <-held:
						case <-ctx.Done():
							t.Fatal("nothing is held back")
						}
					case 'c':
						release()
						if err := <-answered; err != nil {
							t.Fatal(err)
						}
						committed = true
					case 'o':
						text := fmt.Sprint("own ", n)
						if _, err := carol.SendMessage(ctx, client.C2C(bob), im.Text(text)); err != nil {
							t.Fatal(err)
						}
						for got := ""; got != text; {
							select {
							case got = <-heard:
								told = told || got == what.want
							case <-ctx.Done():
								t.Fatal("what his own server has is not heard")
							}
						}
						for range 4 { // heartbeats
							select {
							case <-one.said:
							case <-ctx.Done():
								t.Fatal("no heartbeat")
							}
						}
						// The reply comes after those of the heartbeats.
						if _, err := c.SendMessage(ctx, client.C2C("carol"), im.Text("heard")); err != nil {
							t.Fatal(err)
						}
					case 'l':
						login()
						check()
					}
					now.move(70 * time.Second)
					for _, n := range []*node{one, two} {
						if err := n.store.Look(ctx); err != nil {
							t.Fatal(err)
						}
					}
				}
				login()
				check()
				if !told {
					t.Fatal("missed for good")
				}
			})
		}
	}
}

// TestListWithoutLogin: a device that stays connected gets what came through another server when it asks again, as it does from time to time.
func TestListWithoutLogin(t *testing.T) {
	dsn := pgtest.DSN(t)
	one, two := newNode(t, pg.Config{DSN: dsn}), newNode(t, pg.Config{DSN: dsn})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	heard := make(chan string, 10)
	bob := one.dial(t, "bob", t.TempDir(), heard, client.Limits{List: 50 * time.Millisecond})
	defer bob.Close()
	alice := two.dial(t, "alice", t.TempDir(), make(chan string, 10), client.Limits{})
	defer alice.Close()
	for i := range 3 {
		text := fmt.Sprint("message ", i)
		if _, err := alice.SendMessage(ctx, client.C2C("bob"), im.Text(text)); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-heard:
			if got != text {
				t.Fatalf("heard %q, not %q", got, text)
			}
		case <-ctx.Done():
			t.Fatalf("%q is not heard", text)
		}
	}
}

// TestHorizonAtStart: a server that does not know the horizon, while a transaction hangs, does not open before that has ended. One that knows it from
// others does.
func TestHorizonAtStart(t *testing.T) {
	dsn := pgtest.DSN(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(open(t, pg.Config{DSN: dsn}).Close())
	conn, err := pgx.Connect(ctx, dsn)
	ok(err)
	defer conn.Close(ctx)
	hang, err := pgx.Connect(ctx, dsn)
	ok(err)
	defer hang.Close(ctx)
	_, err = hang.Exec(ctx, "BEGIN; SELECT draw_batch()")
	ok(err)
	known := open(t, pg.Config{DSN: dsn})
	h := known.Horizon()
	if h == 0 || h > known.Now() {
		t.Fatal("horizon", h)
	}
	ok(known.Look(ctx))
	if known.Horizon() != h {
		t.Fatal("the horizon moves over what hangs")
	}
	ok(known.Close())

	_, err = conn.Exec(ctx, "UPDATE meta SET horizon = 0")
	ok(err)
	waits, opened := make(chan struct{}, 1), make(chan *pg.Store)
	go func() {
		s, err := pg.Open(ctx, pg.Config{DSN: dsn, Log: slog.New(slog.NewTextHandler(&told{"waiting for a transaction", waits}, nil))})
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	select {
	case <-waits:
	case <-opened:
		t.Fatal("open without a horizon")
	}
	_, err = hang.Exec(ctx, "COMMIT")
	ok(err)
	if s := <-opened; s != nil {
		if s.Horizon() <= h {
			t.Error("horizon", s.Horizon())
		}
		ok(s.Close())
	}
}

// told reports when a line of a log contains a text.
type told struct {
	text string
	c    chan struct{}
}

func (o *told) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(o.text)) {
		select {
		case o.c <- struct{}{}:
		default:
		}
	}
	return len(b), nil
}

// BenchmarkUpdate is an Update of one row by a few callers at once.
func BenchmarkUpdate(b *testing.B) {
	s := open(b, pg.Config{DSN: pgtest.DSN(b)})
	defer s.Close()
	ctx := context.Background()
	var users []chat.UID
	for i := range 64 {
		u, err := s.CreateUser(ctx, fmt.Sprint("u", i))
		if err != nil {
			b.Fatal(err)
		}
		users = append(users, u.UID)
	}
	next := make(chan chat.UID, len(users))
	for _, u := range users {
		next <- u
	}
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		u := <-next
		for pb.Next() {
			if err := s.Update(ctx, []chat.Key{{UID: u}}, func(tx chat.Tx) error {
				return tx.PutSession(chat.Session{UID: u, Device: "d", At: tx.Now()})
			}); err != nil {
				b.Error(err)
			}
		}
		next <- u
	})
}
