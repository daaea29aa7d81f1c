package client

import (
	"github.com/tidings-im/tidings/client/internal/local"

	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/tidings-im/tidings/client/internal/link"
	"github.com/tidings-im/tidings/im"
)

// DefaultServer is where a server listens that was started without flags.
const DefaultServer = "ws://127.0.0.1:7070"

// Open makes a client of the device's folder; nothing is sent, and it waits for nobody. What is local of the user can be read at once with a ticket that a server has
// taken before on this device, as long as it has not run out and no server has refused it since; otherwise from the login on. That is so too while another process
// has the data: the login ends the other one's session.
func Open(cfg Config, ev Events) (*Client, error) {
	if err := checkUserID(cfg.UserID); err != nil {
		return nil, err
	}
	cfg.Server = cmp.Or(cfg.Server, DefaultServer)
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	cfg.Limits.fill()
	log := cfg.Log.With("user", cfg.UserID)
	way, err := link.New(link.Config{Server: cfg.Server, Proxy: cfg.Proxy, TLS: cfg.TLS, Log: log, Try: cfg.Limits.connect(), Pause: cfg.Limits.Reconnect})
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, ev: ev, way: way, disp: cfg.Dispatcher, log: log,
		in: newInbox(), frames: make(chan arrived, 16), quit: make(chan struct{}), stopped: make(chan struct{}), firedWake: make(chan struct{}, 1),
		status: LoggedOut, convs: map[Conv]*conv{}, byID: map[int64]*conv{}, deadlines: map[string]time.Time{}, nextID: link.FirstID,
		calls: map[uint64]*call{}, sends: map[sendKey]*outgoing{}, changed: map[*conv]bool{}, lateReceipts: map[*conv]time.Time{}, timer: time.NewTimer(time.Hour)}
	c.dir, c.device = local.OpenDevice(cmp.Or(cfg.Dir, DefaultDir()), cfg.AppID, c.log)
	c.log.Info("opened", "version", Version, "folder", cmp.Or(c.dir, "none: all is kept in memory"), "device", c.device)
	if c.disp == nil {
		c.disp, c.dispEnded = NewDispatcher(), make(chan struct{})
		go func() {
			defer close(c.dispEnded)
			c.disp.Run()
		}()
	}
	c.engine.Add(1)
	go c.run()
	return c, nil
}

// checkUserID holds TIM's rule for user ids: 1 to 32 printable ASCII bytes.
func checkUserID(id string) error {
	if !im.ValidUserID(id) {
		return im.Errorf(im.CodeInvalidUserID, "user id %q is not 1 to 32 printable ASCII characters", id)
	}
	return nil
}

// DefaultDir is the device's folder where Config.Dir names none.
func DefaultDir() string { return filepath.Join(dataHome(), "tidings") }

// dataHome is the user's folder for data of programs.
func dataHome() string {
	if d := os.Getenv("XDG_DATA_HOME"); d != "" {
		return d
	}
	if h, err := os.UserHomeDir(); err == nil {
		return filepath.Join(h, ".local", "share")
	}
	return os.TempDir()
}

// load reads the state of the database into memory.
func (c *Client) load() error {
	var err error
	num := func(key string) int64 {
		n, e := c.db.MetaInt(key)
		err = errors.Join(err, e)
		return n
	}
	tiny, gen, kicked := num("tiny"), num("generation"), num("kicked")
	c.total = int(num("total"))
	storeID, e := c.db.Meta("store")
	convs, e2 := c.db.Convs()
	owed, e3 := c.db.Owed()
	if err = errors.Join(err, e, e2, e3, c.db.LoadLast()); err != nil {
		return err
	}
	for _, o := range owed { // the ids of messages that it names are not given to others
		if rows, ok := owedFrom(o).(*owedRows); ok {
			for _, id := range rows.ids {
				c.db.Reserve(id)
			}
		}
	}
	c.storeID = storeID
	c.convs, c.byID, c.changed, c.lateReceipts, c.lastConv = map[Conv]*conv{}, map[int64]*conv{}, map[*conv]bool{}, map[*conv]time.Time{}, 0
	c.sync, c.cursorAt, c.stateOut = syncState{login: c.sync.login}, 0, false
	for _, r := range convs {
		cv := &conv{ConvRow: *r}
		cv.headSeq, cv.headRev, cv.headOthers, cv.headOwn, cv.shown = cv.SyncedTo, cv.Rev, cv.Others, cv.Own, cv.ToldUnread
		c.convs[cv.key()], c.byID[cv.ID] = cv, cv
		if cv.Untold {
			c.changed[cv] = true
		}
		c.lastConv = max(c.lastConv, cv.ID)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tiny, c.generation, c.kickedGeneration = uint64(tiny), uint64(gen), uint64(kicked)
	return nil
}

// Status says where the client stands.
func (c *Client) Status() LoginStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

func (c *Client) setStatus(s LoginStatus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = s
}

// UserID is the user of this client.
func (c *Client) UserID() string { return c.cfg.UserID }

// TinyID is the number of the account, 0 before this device's first login.
func (c *Client) TinyID() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tiny
}

// ServerTime is the server's clock as of the last login, this device's own before.
func (c *Client) ServerTime() time.Time { return c.serverNow() }

func (c *Client) serverNow() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.clockOffset)
}

// SetUserSig replaces the ticket of the next login: the first one has run out, or was made void by the operator.
func (c *Client) SetUserSig(sig string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cfg.UserSig = sig
}

// Login logs in: it connects, and ends the session of another device of the same platform class. It returns when the server has answered, and in any case
// within the time limit; the sync goes on behind it. After a failure what is local can be read only with a ticket that a server has taken before, as Open says.
//
//tidings:call
func (c *Client) login(to caller[none]) {
	do(c, to, func(finish func(none, error)) {
		switch c.Status() {
		case LoggedIn:
			finish(none{}, nil)
			return
		case LoggingIn:
			finish(none{}, &im.Error{Code: im.CodeLoginRunning, Desc: "a login is running"})
			return
		case LoggingOut:
			finish(none{}, &im.Error{Code: im.CodeLogoutRunning, Desc: "a logout is running"})
			return
		}
		if c.openLocal(); c.localErr != nil {
			finish(none{}, c.localErr)
			return
		}
		c.setStatus(LoggingIn)
		c.logins++
		c.loginDone = func(err error) { finish(none{}, err) }
		c.deadlines[deadlineLogin] = time.Now().Add(c.cfg.Limits.Login)
		c.needLocal.Store(c.db == nil)
		if c.stopLink != nil {
			c.stopLink() // of a session that was kicked: its acknowledgement need not wait any longer
		}
		ctx, cancel := context.WithCancel(context.Background())
		c.stopLink = cancel
		c.wg.Go(func() { c.way.Run(ctx, c.host(ctx)) })
	})
}

// endLogin answers a login that failed.
func (c *Client) endLogin(err *im.Error) {
	if c.loginDone == nil {
		return
	}
	done := c.loginDone
	c.loginDone = nil
	if c.lastFailure != nil && err.Code == im.CodeConnectTimeout {
		err = c.lastFailure
	}
	c.hangUp(LoggedOut)
	done(err)
	c.goOnParked()
}

// hangUp ends the connection and every try to make one.
func (c *Client) hangUp(s LoginStatus) {
	c.setStatus(s)
	if c.stopLink != nil {
		c.stopLink()
	}
	if c.link != nil {
		c.unlink(false)
	}
	clear(c.deadlines)
}

// Logout ends the session on the server, so that nothing counts as missed by a kick, and closes the connection. Without a link it ends here only.
//
//tidings:call
func (c *Client) logout(to caller[none]) {
	do(c, to, func(finish func(none, error)) {
		switch c.Status() {
		case LoggedOut:
			finish(none{}, notLoggedIn)
			return
		case LoggingOut:
			finish(none{}, &im.Error{Code: im.CodeLogoutRunning, Desc: "a logout is running"})
			return
		case LoggingIn:
			c.offline, c.locked = time.Time{}, false
			c.endLogin(interrupted)
			finish(none{}, nil)
			return
		}
		c.setStatus(LoggingOut)
		c.logins++
		end := func() {
			c.failParked(notLoggedIn)
			c.offline = time.Time{}
			c.hangUp(LoggedOut)
			c.log.Info("logged out")
			c.failCalls(notLoggedIn)
			finish(none{}, nil)
			c.releaseAfterCallbacks()
		}
		if c.link == nil {
			end()
			return
		}
		c.request(im.Method_LOGOUT, &im.Empty{}, false, min(c.cfg.Limits.Call, 5*time.Second), func([]byte, *im.Error) { end() })
	})
}
