package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/private"
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
	if _, err := wsURL(cfg.Server); err != nil {
		return nil, err
	}
	hc, err := httpClient(&cfg)
	if err != nil {
		return nil, err
	}
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	cfg.Limits.fill()
	c := &Client{cfg: cfg, ev: ev, http: hc, disp: cfg.Dispatcher, log: cfg.Log.With("user", cfg.UserID),
		in: newInbox(), frames: make(chan arrived, 16), quit: make(chan struct{}), stopped: make(chan struct{}), firedWake: make(chan struct{}, 1),
		status: LoggedOut, convs: map[Conv]*conv{}, byID: map[int64]*conv{}, deadlines: map[string]time.Time{}, nextID: firstID,
		calls: map[uint64]*call{}, sends: map[sendKey]*outgoing{}, changed: map[*conv]bool{}, lateReceipts: map[*conv]time.Time{}, timer: time.NewTimer(time.Hour)}
	c.dir, c.device = openDevice(cfg.Dir, cfg.AppID, c.log)
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

// openDevice finds the folder and the device id in it. A folder that cannot be written is a device of its own, for as long as the process lives.
func openDevice(dir string, app uint64, log *slog.Logger) (string, string) {
	if dir == "" {
		dir = DefaultDir()
	}
	if app != 0 {
		dir = appFolder(dir, app, log)
	}
	name := filepath.Join(dir, "device")
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		var b []byte
		if b, err = os.ReadFile(name); err == nil && len(strings.TrimSpace(string(b))) == 32 {
			if err := private.Narrow(name); err != nil {
				log.Warn("others may be able to read the device's id", "file", name, "error", err)
			}
			return dir, strings.TrimSpace(string(b))
		}
	}
	fresh := make([]byte, 16)
	rand.Read(fresh)
	id := hex.EncodeToString(fresh)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		err = writeOnce(name, id)
		if b, again := os.ReadFile(name); again == nil && len(b) == 32 {
			return dir, string(b) // ours, or that of a process that was faster
		}
	}
	log.Warn("the folder cannot be written; this device keeps everything in memory", "folder", dir, "error", err)
	return "", id
}

// appFolder is the folder of an app in the device's folder. The app that comes first gets what lies there without one.
func appFolder(dir string, app uint64, log *slog.Logger) string {
	own := filepath.Join(dir, fmt.Sprintf("app-%d", app))
	if os.MkdirAll(dir, 0o700) != nil || os.Mkdir(own, 0o700) != nil { // it is there, or openDevice says why it is not
		return own
	}
	for _, part := range []string{"users", "device"} {
		err := os.Rename(filepath.Join(dir, part), filepath.Join(own, part))
		if err == nil {
			log.Info("local data is taken over by the app", "file", filepath.Join(dir, part), "app", app)
		} else if !errors.Is(err, os.ErrNotExist) {
			log.Warn("local data cannot be taken over by the app", "file", filepath.Join(dir, part), "app", app, "error", err)
		}
	}
	return own
}

// writeOnce makes a file with a content, whole or not at all, unless it is there.
func writeOnce(name, content string) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), "device-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(content)
	if err = errors.Join(err, tmp.Chmod(private.Mode), tmp.Close()); err != nil {
		return err
	}
	if b, err := os.ReadFile(name); err == nil && len(strings.TrimSpace(string(b))) != 32 {
		return os.Rename(tmp.Name(), name) // a damaged id is replaced
	}
	return os.Link(tmp.Name(), name)
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
		n, e := c.db.metaInt(key)
		err = errors.Join(err, e)
		return n
	}
	tiny, gen, kicked := num("tiny"), num("generation"), num("kicked")
	c.total = int(num("total"))
	storeID, e := c.db.meta("store")
	convs, e2 := c.db.loadConvs()
	if err = errors.Join(err, e, e2, c.db.loadLast()); err != nil {
		return err
	}
	c.storeID = storeID
	c.convs, c.byID, c.changed, c.lateReceipts, c.lastConv = map[Conv]*conv{}, map[int64]*conv{}, map[*conv]bool{}, map[*conv]time.Time{}, 0
	c.sync, c.cursorAt, c.stateOut = syncState{login: c.sync.login}, 0, false
	for _, cv := range convs {
		cv.headSeq, cv.headRev, cv.headOthers, cv.headOwn, cv.shown = cv.syncedTo, cv.rev, cv.others, cv.own, cv.toldUnread
		c.convs[cv.key], c.byID[cv.id] = cv, cv
		if cv.untold {
			c.changed[cv] = true
		}
		c.lastConv = max(c.lastConv, cv.id)
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

// Login logs in: it connects, and ends the session of another device of the same platform class. It returns when the server has answered, and in any case
// within the time limit; the sync goes on behind it. After a failure what is local can be read only with a ticket that a server has taken before, as Open says.
func (c *Client) Login(ctx context.Context) error {
	_, err := wait(ctx, c.login)
	return err
}

// SetUserSig replaces the ticket of the next login: the first one has run out, or was made void by the operator.
func (c *Client) SetUserSig(sig string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cfg.UserSig = sig
}

// LoginFunc is Login without waiting.
func (c *Client) LoginFunc(done func(error)) { c.login(false, forget(done)) }

func (c *Client) login(direct bool, done func(none, error)) {
	do(c, "Login", direct, done, func(finish func(none, error)) {
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
		c.wg.Add(1)
		go c.connect(ctx, false)
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

// network tells the state of the link; only the latest state is of interest to a callback that comes late.
func (c *Client) network(s NetworkStatus, code int32, desc string) {
	c.log.Debug("network", "status", s, "code", code, "desc", desc)
	c.live(func() {
		if c.ev.Network != nil {
			c.ev.Network(s, code, desc)
		}
	})
}

// connectFailed tells of a try that came to nothing, with the address: it may be that which is wrong.
func (c *Client) connectFailed(err *im.Error) {
	if at := shownServer(c.cfg.Server); !strings.Contains(err.Desc, at) {
		err = im.Errorf(err.Code, "%s: server %s", err.Desc, at)
	}
	c.lastFailure = err
	c.log.Info("connecting failed", "server", shownServer(c.cfg.Server), "code", err.Code, "cause", err.Desc)
	c.network(NetworkConnectFailed, err.Code, err.Desc)
}

// localInTime opens the local database that another process held, on the link's goroutine: the login has just ended the other's session.
func (c *Client) localInTime(ctx context.Context) (*local, error) {
	if !c.needLocal.Load() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		db, err := openUsable(c.dir, c.cfg.UserID, c.log)
		if !errors.Is(err, errLocked) {
			return db, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// connected takes over a connection whose login was answered.
func (c *Client) connected(ctx context.Context, l *link, reply *im.LoginReply, db *local) {
	if s := c.Status(); ctx.Err() != nil || s != LoggingIn && s != LoggedIn {
		l.cancel()
		if db != nil {
			db.close()
		}
		return
	}
	if db != nil && c.db == nil {
		c.db = db
		if !c.check(c.load()) {
			return
		}
		c.needLocal.Store(false)
	}
	c.link, c.received, c.lastFailure = l, 0, nil
	now := time.Now()
	first := c.loginDone != nil
	c.mu.Lock()
	c.status = LoggedIn
	c.tiny, c.generation = reply.TinyId, reply.Generation
	c.clockOffset = time.UnixMilli(reply.ServerTime).Sub(now)
	c.mu.Unlock()
	c.check(c.db.setMeta("tiny", reply.TinyId))
	c.check(c.db.setMeta("generation", reply.Generation))
	c.trust(l.ticket, reply)
	if c.storeID != reply.StoreId {
		if c.storeID != "" {
			c.log.Warn("the server has another store; conversations start anew", "store", reply.StoreId)
			for _, cv := range c.convs {
				c.newEra(cv)
			}
		}
		c.storeID = reply.StoreId
		c.cursorAt = 0
		c.check(c.db.setMeta("store", reply.StoreId))
		c.check(c.db.setMeta("cursor", 0))
	}
	c.hbEvery = time.Duration(max(reply.HeartbeatSeconds, 1)) * time.Second
	if c.cfg.Limits.HeartbeatEvery > 0 {
		c.hbEvery = c.cfg.Limits.HeartbeatEvery
	}
	c.hbNext = now.Add(c.hbEvery)
	delete(c.deadlines, deadlineLogin)
	c.deadlines[deadlineTicket] = now.Add(time.UnixMilli(reply.TicketExpires).Sub(time.UnixMilli(reply.ServerTime)))
	c.log.Info("logged in", "device", c.device, "resumed", !first, "server_time", time.UnixMilli(reply.ServerTime).UTC(),
		"ticket_ends", time.UnixMilli(reply.TicketExpires).UTC())
	c.network(NetworkConnected, 0, "connected")
	if first {
		done := c.loginDone
		c.loginDone = nil
		done(nil)
		c.fireOwed()
		c.sync.login, c.finish = true, false
		c.live(func() { c.tellConvs(ConvSyncStart, nil) })
	}
	// What was open when the last connection broke is sent again, in its order, and answered before anything new (rule 31).
	ids := make([]uint64, 0, len(c.calls))
	for id := range c.calls {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		k := c.calls[id]
		c.toSend = append(c.toSend, &im.Frame{Id: id, Method: k.method, Body: k.body, Resent: true})
	}
	if first {
		c.settle()
	}
	c.startSync()
}

// lost follows the end of a connection.
func (c *Client) lost(l *link, err *im.Error) {
	if c.link != l {
		return
	}
	c.unlink(false)
	c.log.Info("disconnected", "code", err.Code, "cause", err.Desc)
	c.network(NetworkDisconnected, err.Code, err.Desc)
}

// unlink forgets the connection and what cannot be asked again on another; keep leaves it open.
func (c *Client) unlink(keep bool) {
	if !keep {
		c.link.cancel()
	}
	c.link = nil
	c.toSend = c.toSend[:0]
	delete(c.deadlines, deadlineHeartbeat)
	delete(c.deadlines, deadlineSync)
	delete(c.deadlines, deadlineList)
	c.failSome(&im.Error{Code: im.CodeDisconnected, Desc: "disconnected"}, func(k *call) bool { return !k.repeat })
	for _, cv := range c.sync.heads {
		// Where to start was not decided: as if never met.
		*cv = conv{id: cv.id, key: cv.key, era: cv.era, listed: cv.listed, draft: cv.draft, announced: cv.announced, toldUnread: cv.toldUnread, shown: cv.shown, dirty: true}
	}
	for _, cv := range c.sync.queue {
		cv.queued = false
	}
	c.sync = syncState{login: c.sync.login}
	c.goOnParked()
}

// refused follows a login that the server will not take.
func (c *Client) refused(r *refusedError, resume bool) {
	err := r.err
	if r.retry {
		c.connectFailed(err)
		return
	}
	c.log.Info("login refused", "code", err.Code, "desc", err.Desc)
	switch {
	case resume && err.Code == im.CodeKicked:
		c.kicked(err.Desc)
	case resume && err.Code == im.CodeTicketExpired:
		c.ticketExpired()
	case c.loginDone != nil:
		c.network(NetworkConnected, 0, "connected")
		c.endLogin(err)
	default:
		// The session cannot be resumed, and the application must log in again: to it that is the end of the session.
		c.failCalls(notLoggedIn)
		c.kicked(err.Desc)
	}
}

// kicked ends the session because of another login or an operator. The server is told when the application has been.
func (c *Client) kicked(desc string) {
	if c.Status() != LoggedIn {
		return
	}
	c.log.Info("kicked offline", "desc", desc)
	l := c.link
	if l != nil {
		l.final.Store(true)
		c.unlink(true) // kept open for the acknowledgement
	}
	clear(c.deadlines)
	c.offline = time.Time{}
	c.setStatus(LoggedOut)
	c.failCalls(notLoggedIn)
	login := c.logins
	c.mu.Lock()
	generation := c.generation
	c.mu.Unlock()
	c.live(func() {
		// From here on it counts as told to a login that the callback makes; on disk when the callback has returned.
		c.mu.Lock()
		c.kickedGeneration = generation
		c.mu.Unlock()
		if c.ev.KickedOffline != nil {
			c.ev.KickedOffline()
		}
		c.post(func() { c.kickedTold(login, generation, l) })
	})
}

func (c *Client) kickedTold(login int, generation uint64, l *link) {
	if c.db != nil {
		c.check(c.db.setMeta("kicked", generation))
	}
	if l != nil {
		l.last(&im.Frame{Id: c.nextID, Method: im.Method_KICKED_ACK})
		c.nextID++
	}
	c.releaseUnless(login)
}

// ticketExpired ends the session because its ticket has run out; once, whoever notices first.
func (c *Client) ticketExpired() {
	if c.Status() != LoggedIn {
		return
	}
	c.log.Info("ticket expired")
	c.offline = time.Time{}
	c.hangUp(LoggedOut)
	c.failCalls(notLoggedIn)
	c.live(func() {
		if c.ev.UserSigExpired != nil {
			c.ev.UserSigExpired()
		}
	})
	c.releaseAfterCallbacks()
}

// releaseAfterCallbacks closes the local database once everything that was posted has been told, unless another login came first.
func (c *Client) releaseAfterCallbacks() {
	login := c.logins
	c.live(func() { c.post(func() { c.releaseUnless(login) }) })
}

// releaseUnless closes the local database, unless there was another login. States that are being told are kept as told first.
func (c *Client) releaseUnless(login int) {
	if c.logins != login || c.Status() != LoggedOut {
		return
	}
	c.commit()
	if c.stateOut {
		c.releaseAfterCallbacks()
		return
	}
	c.release()
}

// Logout ends the session on the server, so that nothing counts as missed by a kick, and closes the connection. Without a link it ends here only.
func (c *Client) Logout(ctx context.Context) error {
	_, err := wait(ctx, c.logout)
	return err
}

// LogoutFunc is Logout without waiting.
func (c *Client) LogoutFunc(done func(error)) { c.logout(false, forget(done)) }

func (c *Client) logout(direct bool, done func(none, error)) {
	do(c, "Logout", direct, done, func(finish func(none, error)) {
		switch c.Status() {
		case LoggedOut:
			finish(none{}, notLoggedIn)
			return
		case LoggingOut:
			finish(none{}, &im.Error{Code: im.CodeLogoutRunning, Desc: "a logout is running"})
			return
		case LoggingIn:
			c.offline = time.Time{}
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
