package client

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/link"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/client/internal/transfer"
	"github.com/tidings-im/tidings/im"
)

// DefaultServer is the address of a server that was started without flags.
const DefaultServer = "ws://127.0.0.1:7070"

// Open makes a client for the device's folder. It sends nothing and waits for nothing. The user's local data can be read at once with a ticket that a
// server has accepted on this device before, as long as it has not expired and no server has refused it since; otherwise from the login on. That is
// also true while another process has the data: the login ends the other one's session.
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
	dir, device := local.OpenDevice(cmp.Or(cfg.Dir, DefaultDir()), cfg.AppID, log)
	log.Info("opened", "version", Version, "folder", cmp.Or(dir, "none: all is kept in memory"), "device", device)
	c := &Client{cfg: cfg, ev: ev, log: log}
	if c.files, err = transfer.New(transfer.Config{Server: cfg.Server, Proxy: cfg.Proxy, TLS: cfg.TLS, Token: c.uploadToken, Online: c.linked}); err != nil {
		return nil, err
	}
	c.downloads.run, c.downloads.stop = context.WithCancel(context.Background())
	c.session = &session{c: c, way: way, dir: dir, device: device, run: rand.Uint64()>>1 | 1, status: LoggedOut, changed: make(chan struct{}), endLife: func() {}}
	c.convs = newConversations(c)
	c.feed, c.relations, c.people = &feed{c: c}, &relations{c: c}, &people{c: c}
	c.sync, c.attributes, c.groups, c.rooms = &catchUp{c: c}, newAttributes(), &groupStates{c: c}, &rooms{c: c}
	c.changedGroups, c.members = map[string]bool{}, &members{c: c, known: map[memberKey]local.Member{}}
	c.e = engine.New(engine.Config{Log: log, Dispatcher: cfg.Dispatcher.engine(), InMemory: dir == "", Open: c.session.open, Begin: c.session.openLocal,
		HangUp: c.session.end, Late: c.convs.late})
	c.session.Engine, c.convs.Engine, c.feed.Engine, c.relations.Engine, c.people.Engine, c.groups.Engine, c.rooms.Engine, c.sync.Engine = c.e, c.e, c.e, c.e, c.e, c.e, c.e, c.e
	c.e.Start(c.session, c.people, c.convs, c.groups, c.rooms, c.feed, c.sync)
	return c, nil
}

// checkUserID checks TIM's rule for user ids: 1 to 32 printable ASCII bytes.
func checkUserID(id string) error {
	if !im.ValidUserID(id) {
		return im.Errorf(im.CodeInvalidUserID, "user id %q is not 1 to 32 printable ASCII characters", id)
	}
	return nil
}

// DefaultDir is the device's folder if Config.Dir is empty.
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

// Status returns the state of the login.
func (c *Client) Status() LoginStatus { return c.session.now() }

// UserID returns the user of this client.
func (c *Client) UserID() string { return c.cfg.UserID }

// TinyID returns the number of the account, 0 before this device's first login.
func (c *Client) TinyID() uint64 {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return c.session.tiny
}

// ServerTime returns the server's clock as of the last login, this device's own before.
func (c *Client) ServerTime() time.Time { return c.session.serverNow() }

// SetUserSig replaces the ticket for the next login: the old one has expired, or the operator made it void.
func (c *Client) SetUserSig(sig string) {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	c.cfg.UserSig = sig
}

// Login connects and logs in, and ends the session of another device of the same platform class. It returns when the server has answered, and in any
// case within the time limit; the sync follows. After a failure, local data can be read only with a ticket that a server has accepted before, as with
// Open.
//
//tidings:call
func (c *Client) login(to caller[none]) {
	engine.DoSession(c.e, to, func(finish func(none, error)) {
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
		if c.session.openLocal(); c.session.localErr != nil {
			finish(none{}, c.session.localErr)
			return
		}
		c.session.setStatus(LoggingIn)
		c.session.logins++
		c.session.loginDone = func(err error) { finish(none{}, err) }
		c.e.Clock.Set(alarmLogin, time.Now().Add(c.cfg.Limits.Login), func() {
			c.session.endLogin(im.Errorf(im.CodeConnectTimeout, "the server could not be reached in time: server %s", c.session.way))
		})
		c.session.needLocal.Store(c.e.DB == nil)
		if c.session.stopLink != nil {
			c.session.stopLink() // of a session that was kicked: its acknowledgement need not wait any longer
		}
		ctx, cancel := context.WithCancel(context.Background())
		c.session.stopLink = cancel
		c.session.links.Go(func() { c.session.way.Run(ctx, c.session.host(ctx)) })
	})
}

// Logout ends the session on the server, so that nothing counts as missed by a kick, and closes the connection. Without a link it ends only on the
// device.
//
//tidings:call
func (c *Client) logout(to caller[none]) {
	engine.DoSession(c.e, to, func(finish func(none, error)) {
		switch c.Status() {
		case LoggedOut:
			finish(none{}, notLoggedIn)
			return
		case LoggingOut:
			finish(none{}, &im.Error{Code: im.CodeLogoutRunning, Desc: "a logout is running"})
			return
		case LoggingIn:
			c.session.offline, c.session.locked = time.Time{}, false
			c.session.endLogin(engine.Interrupted)
			finish(none{}, nil)
			return
		}
		c.session.setStatus(LoggingOut)
		c.session.logins++
		end := func() {
			c.e.FailParked(notLoggedIn)
			c.session.offline = time.Time{}
			c.session.hangUp(LoggedOut)
			c.log.Info("logged out")
			c.e.FailCalls(notLoggedIn)
			finish(none{}, nil)
			c.session.releaseAfterCallbacks()
		}
		leave := func() {
			if c.e.Conn == nil {
				end()
				return
			}
			c.e.Call(im.Method_LOGOUT, &im.Empty{}, false, min(c.cfg.Limits.Call, 5*time.Second), func(*im.Error) { end() })
		}
		c.afterUploads(c.convs.failUploads(notLoggedIn), func() { c.downloads.whenEnded(leave) })
	})
}
