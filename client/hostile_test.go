package client_test

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// TestHostileDatabase: whatever the file of a local database contains, the process lives on. A file that this program has not made is set aside, and
// the server brings everything again.
func TestHostileDatabase(t *testing.T) {
	s := imtest.Start(t)
	cfg := config(t, s, "ann")
	d := dial(t, cfg)
	dial(t, config(t, s, "ben")).say("ann", "one")
	d.count(t, "new", 1)
	d.Close()
	good, err := os.ReadFile(databases(t, cfg.Dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		sql   string
		aside bool
	}{
		"a trigger":                   {"CREATE TRIGGER t AFTER INSERT ON message BEGIN DELETE FROM message; END", true},
		"a view of endless rows":      {"DROP TABLE owed; CREATE VIEW owed AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id+1 FROM n) SELECT * FROM n", true},
		"a table that is not there":   {"DROP TABLE conv", true},
		"a column that is not there":  {"ALTER TABLE conv DROP COLUMN draft", true},
		"one more table":              {"CREATE TABLE more (x)", true},
		"no schema and an old number": {"PRAGMA user_version = 0", true},
		"a negative version":          {"PRAGMA user_version = -5", true},
		"text for a number":           {"UPDATE conv SET era = 'no number'", true},
		"a negative number":           {"UPDATE conv SET synced_to = -1, epoch = -9223372036854775808", true},
		"text for an id":              {"UPDATE message SET sender_tiny = 'x'", false},
		"huge numbers":                {"UPDATE conv SET synced_to = 9223372036854775807, rev = 9223372036854775807, others = 9223372036854775807, own = 9223372036854775807, cleared = 9223372036854775807, time = -9223372036854775808, recv_opt = 2147483647, type = 77", true},
		"an unknown type":             {"UPDATE conv SET type = 4294967295", true},
		"no message at all":           {"UPDATE message SET body = x'ff'", false},
		"a draft that is none":        {"UPDATE conv SET draft = x'ff00ff00'", false},
		"an id at the end":            {"UPDATE message SET id = 9223372036854775807", false},
		"meta of nonsense":            {"UPDATE meta SET value = 'nonsense'", false},
		"meta of huge numbers":        {"UPDATE meta SET value = '9223372036854775807'", true},
		"owed nonsense":               {"INSERT INTO owed SELECT * FROM (SELECT 1, 1, x'ff') WHERE (SELECT count(*) FROM pragma_table_info('owed')) = 3", false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, s, "ann")
			file := filepath.Join(cfg.Dir, "users", filepath.Base(databases(t, d.cfg.Dir)[0]))
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, good, 0o600); err != nil {
				t.Fatal(err)
			}
			db, err := sql.Open("sqlite3", file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec(c.sql); err != nil {
				t.Fatal(err)
			}
			db.Close()
			d := open(t, cfg)
			if err := d.Login(within(t)); err != nil {
				t.Fatal(err)
			}
			kept, _ := filepath.Glob(file + ".damaged-*")
			if (len(kept) > 0) != c.aside {
				t.Errorf("set aside: %v, want %v", kept, c.aside)
			}
			if c.aside {
				d.count(t, "new", 1)
			}
			if _, err := d.Conversations(within(t)); err != nil {
				t.Error(err)
			}
			d.Close()
		})
	}
}

// TestPanicInside: a mistake of the client itself ends only the batch and the connection in which it happened: the call is answered, the log has it
// once, and the client reconnects. Without a login there is nothing to undo.
func TestPanicInside(t *testing.T) {
	s := imtest.Start(t)
	d := dial(t, config(t, s, "ann"))
	for range 3 {
		wantCode(t, d.Inside(within(t), func() { panic("a mistake") }), im.CodeDatabase)
		eventually(t, "a message to be sent", func() bool {
			_, err := d.SendMessage(within(t), client.C2C("ann"), im.Text("after it"))
			return err == nil
		})
	}
	if err := d.Logout(within(t)); err != nil {
		t.Fatal(err)
	}
	wantCode(t, d.Inside(within(t), func() { panic("a mistake") }), im.CodeDatabase)
	if err := d.Login(within(t)); err != nil {
		t.Fatal(err)
	}
	d.say("ann", "after a login")
}

// FuzzLocalDatabase opens files that began as good local databases. Whatever has been changed in them, the client opens or reports that it cannot,
// logs in or answers the login, and closes.
func FuzzLocalDatabase(f *testing.F) {
	server := newFake(f)
	cfg := fakeConfig(f, server)
	c, err := client.Dial(f.Context(), cfg, client.Events{})
	if err != nil {
		f.Fatal(err)
	}
	l := <-server.links
	_ = l
	if err := c.SetDraft(client.C2C("ben"), &im.Draft{Msg: textMessage("unfinished")}); err != nil {
		f.Fatal(err)
	}
	c.Close()
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "users", "*.db"))
	if err != nil || len(files) != 1 {
		f.Fatal(files, err)
	}
	good, err := os.ReadFile(files[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0})
	f.Add([]byte{0, 100, 5, 0, 103, 0, 0, 104, 255})
	for at := 0; at+3 < len(good); at += 997 {
		f.Add([]byte{byte(at >> 8), byte(at), good[at] ^ 0xff})
	}
	// Each three bytes are a place, counted in 1/65536 of the file in the first half and from its beginning in the second, and a value.
	f.Fuzz(func(t *testing.T, changes []byte) {
		bad := slices.Clone(good)
		for c := range slices.Chunk(changes, 3) {
			if len(c) == 3 {
				bad[int(binary.BigEndian.Uint16(c))%len(bad)] = c[2]
			}
		}
		cfg := cfg
		cfg.Dir, cfg.Log = t.TempDir(), slog.New(slog.DiscardHandler)
		cfg.Limits.Login = 5 * time.Second
		file := filepath.Join(cfg.Dir, "users", filepath.Base(files[0]))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := client.Open(cfg, client.Events{})
		if err != nil {
			return
		}
		defer c.Close()
		c.Login(within(t))
		select {
		case <-server.links:
		default:
		}
		c.Conversations(within(t))
	})
}

// hostile is a server whose first response to each connection is a test's, from the first byte on. The next connections are a fake's.
type hostile struct {
	f    *fake
	addr string

	mu   sync.Mutex
	data []byte
	mode byte
	left int
}

func newHostile(t testing.TB) *hostile {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	h := &hostile{f: newFake(t), addr: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go h.serve(c)
		}
	}()
	return h
}

func (h *hostile) arm(mode byte, data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mode, h.data, h.left = mode, data, 1
}

func (h *hostile) serve(c net.Conn) {
	defer c.Close()
	h.mu.Lock()
	mode, data, bad := h.mode, h.data, h.left > 0
	h.left--
	h.mu.Unlock()
	if !bad {
		to, err := net.Dial("tcp", h.f.URL[len("ws://"):])
		if err != nil {
			return
		}
		defer to.Close()
		go func() { io.Copy(to, c); to.Close() }()
		io.Copy(c, to)
		return
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	if mode == 0 {
		c.Write(data)
		return
	}
	sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: "+im.Subprotocol+
		"\r\nSec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
	now := time.Now()
	good := im.AppendMessage(nil, &im.Frame{Id: 1, Method: im.Method_LOGIN}, &im.LoginReply{TinyId: 1, Generation: 1, StoreId: "store", ServerTime: now.UnixMilli(),
		TicketExpires: now.Add(time.Hour).UnixMilli(), HeartbeatSeconds: 3600, Feed: 9})
	switch mode {
	case 1: // instead of the answer to the login
		c.Write(data)
	case 2: // the body of that answer
		c.Write(binaryMessage(im.AppendFrame(nil, &im.Frame{Id: 1, Method: im.Method_LOGIN, Body: data})))
	case 3: // bytes behind it
		c.Write(append(binaryMessage(good), data...))
	case 4: // frames behind it
		c.Write(append(binaryMessage(good), binaryMessage(data)...))
	default: // the body of a push (0), or of the answer to the first (0x40) or second (0x80) call; on a device that has synced (0xc0) of either
		id := [4]uint64{0, 2, 3, 2}[mode>>6]
		if synced(mode) && im.Method(mode&0x3f) == im.Method_FED {
			id = 0
		}
		c.Write(append(binaryMessage(good), binaryMessage(im.AppendFrame(nil, &im.Frame{Id: id, Method: im.Method(mode & 0x3f), Body: data}))...))
	}
	c.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, r)
}

// synced says that the device has synced before.
func synced(mode byte) bool { return mode>>6 == 3 }

// binaryMessage makes a WebSocket message as a server sends it.
func binaryMessage(b []byte) []byte {
	h := []byte{0x82, 127, 0, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint64(h[2:], uint64(len(b)))
	return append(h, b...)
}

// survives gives a client one connection to a server that sends data, and then a good one: the good one logs the client in, whatever the first one
// sent.
func (h *hostile) survives(t *testing.T, dir string, mode byte, data []byte) {
	cfg := client.Config{Server: "ws://" + h.addr, UserID: "ann", UserSig: "any", Dir: dir, Log: slog.New(slog.DiscardHandler),
		Limits: client.Limits{Reconnect: 20 * time.Millisecond}}
	ended := make(chan struct{}, 1) // the bad server may end the session at any time after the login
	end := func() {
		select {
		case ended <- struct{}{}:
		default:
		}
	}
	if synced(mode) {
		c, err := client.Open(cfg, client.Events{})
		if err == nil {
			err = c.Login(within(t))
		}
		if err == nil {
			_, err = c.Friends().List(within(t)) // the sync is over
		}
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		<-h.f.links
	}
	h.arm(mode, data)
	c, err := client.Open(cfg, client.Events{KickedOffline: end, UserSigExpired: end})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Login(within(t)) // which the bad server may have refused, or answered and then ended the session
	for {
		if c.Status() != client.LoggedIn {
			if err := c.Login(within(t)); err != nil {
				continue
			}
		}
		select {
		case <-ended:
		case <-h.f.links:
			if _, err := c.Conversations(within(t)); err == nil {
				return
			} else if c.Status() == client.LoggedIn {
				t.Fatal(err)
			}
		case <-within(t).Done():
			t.Fatal("the client does not come to the good server")
		}
	}
}

// TestHostileServer: what no server should send costs the client only that connection.
func TestHostileServer(t *testing.T) {
	h := newHostile(t)
	for name, c := range map[string]struct {
		mode byte
		data []byte
	}{
		"no HTTP":                  {0, []byte("hello\r\n")},
		"nothing":                  {0, nil},
		"a code of nonsense":       {0, []byte("HTTP/1.1 429 No\r\n" + im.CodeHeader + ": 0\r\nContent-Length: 0\r\n\r\n")},
		"headers without end":      {0, append([]byte("HTTP/1.1 101 OK\r\n"), bytes.Repeat([]byte("X: y\r\n"), 1<<20)...)},
		"a length with bit 63":     {1, []byte{0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255}},
		"the same after the login": {3, []byte{0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255}},
		"a huge message":           {3, []byte{0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0}},
		"pieces without end":       {3, append([]byte{0x02, 0}, bytes.Repeat([]byte{0, 0}, 1<<16)...)},
		"a masked frame":           {3, []byte{0x82, 0x80, 0, 0, 0, 0}},
		"a long ping":              {3, []byte{0x89, 126, 0, 200}},
		"text":                     {3, []byte{0x81, 2, 'h', 'i'}},
		"no frames":                {4, []byte{0xff, 0xff, 0xff}},
		"a push of nothing":        {5, nil},
	} {
		t.Run(name, func(t *testing.T) { h.survives(t, t.TempDir(), c.mode, c.data) })
	}
}

// FuzzServer shows a client the bytes of a server: instead of an upgrade, after one, after a login, as frames, and as bodies of pushes and replies.
func FuzzServer(f *testing.F) {
	for mode := range byte(5) {
		f.Add(mode, []byte{0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255})
		f.Add(mode, []byte("\x08\x01\x12\x03ben"))
	}
	f.Add(byte(0), []byte("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n"))
	f.Add(byte(0), []byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n\r\nuse HTTPS"))
	f.Add(byte(1), []byte("\x89\x01a\x88\x02\x0f\xa1"))
	f.Add(byte(3), []byte("\x89\x01a\x8a\x00\x02\x00\x89\x01b\x80\x00\x88\x02\x03\xe8"))
	f.Add(byte(2), []byte{}) // a login whose ticket has expired
	f.Add(byte(im.Method_ENTRY), im.AppendMessage(nil, &im.Frame{}, fromBen(1, "x")))
	f.Add(byte(0x80|im.Method_HEADS), []byte("\x0a\x00"))
	relation := &im.Relation{Kind: im.RelationKind_RELATION_FRIEND, UserId: "ben", Ver: 1, State: &im.RelationState{Remark: "Ben"}, Profile: &im.UserProfile{NickName: "B"}, ProfileVer: 1}
	body := func(m interface{ MarshalVT() ([]byte, error) }) []byte {
		b, err := m.MarshalVT()
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	page := &im.RelationsReply{Feed: 7, Items: []*im.Relation{relation}, NextKind: im.RelationKind_RELATION_FRIEND, NextOther: 2}
	f.Add(byte(0x40|im.Method_RELATIONS), body(page))
	f.Add(byte(0x40|im.Method_RELATIONS), body(&im.RelationsReply{Feed: 1<<64 - 1}))
	entries := &im.FeedReply{From: 1, To: 9, Entries: []*im.Relation{relation, {Kind: im.RelationKind_RELATION_FRIEND_GROUP, Ver: 2, Group: 2}, {Kind: 99, Ver: 3}}}
	f.Add(byte(0xc0|im.Method_FEED), body(entries))
	f.Add(byte(0xc0|im.Method_FEED), body(&im.FeedReply{Cut: true}))
	f.Add(byte(0xc0|im.Method_FED), body(&im.FeedPush{From: 1, Entries: entries.Entries}))
	f.Add(byte(im.Method_FED), body(&im.FeedPush{From: 1<<64 - 1, Entries: entries.Entries}))
	h := newHostile(f)
	f.Fuzz(func(t *testing.T, mode byte, data []byte) { h.survives(t, t.TempDir(), mode, data) })
}
