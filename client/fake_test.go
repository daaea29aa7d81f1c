package client_test

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// fake is a server that replies what a test says, so that a client can be shown any order of events, including those that no server should cause.
type fake struct {
	URL string
	// on contains the replies of methods; the default is what a server without any conversation would reply. It is called on the goroutine that reads
	// the connection.
	mu sync.Mutex
	on map[im.Method]func(l *fakeLink, f *im.Frame)
	// logins counts the logins; links gets each connection after its login.
	logins int
	links  chan *fakeLink
	// feed is the number of the feed that a login names.
	feed uint64
	// store is the id of the server's store.
	store string
}

// fakeLink is a connection to a fake.
type fakeLink struct {
	ws   *websocket.Conn
	mu   sync.Mutex
	sent uint64 // pushes
}

func newFake(t testing.TB) *fake {
	f := &fake{on: map[im.Method]func(*fakeLink, *im.Frame){}, links: make(chan *fakeLink, 100)}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{im.Subprotocol}})
		if err != nil {
			return
		}
		defer ws.CloseNow()
		ws.SetReadLimit(im.MaxMessage)
		l := &fakeLink{ws: ws}
		for {
			_, data, err := ws.Read(context.Background())
			if err != nil {
				return
			}
			im.ReadFrames(data, func(fr *im.Frame) error {
				own := &im.Frame{Id: fr.Id, Method: fr.Method, Body: fr.Body, Resent: fr.Resent} // a handler may answer it later
				f.handle(l, own)
				return nil
			})
		}
	}))
	f.URL = "ws" + srv.URL[len("http"):]
	t.Cleanup(srv.CloseClientConnections)
	return f
}

// answer sets the reply of a method; nil is the usual one.
func (f *fake) answer(m im.Method, h func(*fakeLink, *im.Frame)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on[m] = h
}

func (f *fake) handle(l *fakeLink, fr *im.Frame) {
	f.mu.Lock()
	h := f.on[fr.Method]
	f.mu.Unlock()
	if h != nil {
		h(l, fr)
		return
	}
	f.usual(l, fr)
}

func (f *fake) usual(l *fakeLink, fr *im.Frame) {
	switch fr.Method {
	case im.Method_LOGIN:
		f.mu.Lock()
		f.logins++
		n, feed := f.logins, f.feed
		f.mu.Unlock()
		now := time.Now()
		l.reply(fr, &im.LoginReply{TinyId: 1, Generation: uint64(n), StoreId: cmp.Or(f.store, "store"), ServerTime: now.UnixMilli(), TicketExpires: now.Add(time.Hour).UnixMilli(),
			HeartbeatSeconds: 3600, Feed: feed})
		f.links <- l
	case im.Method_HEADS:
		l.reply(fr, &im.HeadsReply{Cursor: time.Now().UnixMilli()})
	case im.Method_HEARTBEAT:
		l.mu.Lock()
		n := l.sent
		l.mu.Unlock()
		l.reply(fr, &im.HeartbeatReply{Queued: n, Time: time.Now().UnixMilli()})
	default:
		l.reply(fr, &im.Empty{})
	}
}

type body interface{ MarshalVT() ([]byte, error) }

func (l *fakeLink) reply(fr *im.Frame, b body) {
	raw, _ := b.MarshalVT()
	l.write(im.AppendFrame(nil, &im.Frame{Id: fr.Id, Method: fr.Method, Body: raw}))
}

func (l *fakeLink) refuse(fr *im.Frame, code int32) {
	l.write(im.AppendFrame(nil, &im.Frame{Id: fr.Id, Method: fr.Method, Code: code, Desc: "refused"}))
}

func (l *fakeLink) write(b []byte) { l.ws.Write(context.Background(), websocket.MessageBinary, b) }

// pushed is a push to be sent.
type pushed struct {
	method im.Method
	body   body
}

// push sends pushes in one WebSocket message.
func (l *fakeLink) push(ps ...pushed) {
	var out []byte
	for _, p := range ps {
		raw, _ := p.body.MarshalVT()
		out = im.AppendFrame(out, &im.Frame{Method: p.method, Body: raw})
	}
	l.mu.Lock()
	l.sent += uint64(len(ps))
	l.mu.Unlock()
	l.write(out)
}

// fakeConfig is for a device of ann on a fake.
func fakeConfig(t testing.TB, f *fake) client.Config {
	return client.Config{Server: f.URL, UserID: "ann", UserSig: "any", Dir: t.TempDir(), Log: quiet(t), Platform: im.Platform_PLATFORM_LINUX,
		Limits: client.Limits{Reconnect: 20 * time.Millisecond}}
}

func ben() *im.ConvKey { return &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: "ben"} }

// fromBen returns entry seq of a log in which only ben writes.
func fromBen(seq uint64, s string) *im.Entry {
	return &im.Entry{Seq: seq, Time: int64(1_700_000_000_000 + seq), Sender: "ben", SenderTinyId: 2, ClientTime: 1_700_000_000, Random: uint32(seq), Index: seq, OwnIndex: seq, Countable: true,
		Message: textMessage(s)}
}

// benHead returns the head of that log.
func benHead(seq uint64) *im.Head {
	return &im.Head{Conv: ben(), Epoch: 5, Seq: seq, Others: seq, Row: 1, Time: int64(1_700_000_000_000 + seq)}
}

func benPush(seq uint64, s string) pushed {
	return pushed{im.Method_ENTRY, &im.EntryPush{Conv: ben(), Epoch: 5, Entry: fromBen(seq, s)}}
}

// openWith is open with some callbacks of the test's own.
func openWith(t testing.TB, cfg client.Config, change func(*client.Events)) *device {
	t.Helper()
	r := newRecorder()
	ev := r.callbacks()
	change(&ev)
	c, err := client.Open(cfg, ev)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &device{Client: c, recorder: r, t: t, cfg: cfg}
}

// newLogger writes every line of a client's log to w.
func newLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// groupHead is the head of a group in which only ben writes.
func groupHead(id string, epoch, seq uint64, left bool) *im.Head {
	return &im.Head{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: id}, Epoch: epoch, Seq: seq, Others: seq, Row: epoch, MemberSet: 1, Left: left,
		Time: int64(1_700_000_000_000 + seq), GroupType: publicGroup}
}

// pulled is the reply to a pull of all that it asks for. entry returns what has a number, nil if that is void for the user.
func pulled(t testing.TB, fr *im.Frame, entry func(epoch, seq uint64) *im.Entry) *im.PullReply {
	req := &im.PullRequest{}
	if err := req.UnmarshalVT(fr.Body); err != nil {
		t.Error(err)
	}
	reply := &im.PullReply{Epoch: req.Epoch, From: req.From, To: req.To}
	for seq := req.From; seq <= req.To; seq++ {
		if e := entry(req.Epoch, seq); e != nil {
			reply.Entries = append(reply.Entries, e)
		}
	}
	return reply
}
