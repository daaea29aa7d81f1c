package client

import (
	"github.com/tidings-im/tidings/client/internal/local"

	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidings-im/tidings/client/internal/link"
	"github.com/tidings-im/tidings/im"
)

// Client is one device's login of one user. All methods may be called from any goroutine, also inside callbacks.
//
// One goroutine, the engine, owns the local database and all state below "engine". It takes calls and frames in batches: apply, commit, then
// send and tell. It never waits for a callback or for the network.
type Client struct {
	cfg  Config
	ev   Events
	disp *Dispatcher
	// dispEnded is closed when the client's own dispatcher has run everything; late keeps answers to calls that come after it apart.
	dispEnded chan struct{}
	late      sync.Mutex

	log    *slog.Logger
	dir    string // "" keeps everything in memory
	device string
	way    *link.Link

	in      *inbox
	frames  chan arrived
	quit    chan struct{}
	stopped chan struct{}
	wg      sync.WaitGroup // link goroutines
	engine  sync.WaitGroup

	closing   atomic.Bool
	needLocal atomic.Bool  // the login must open the local database
	openings  atomic.Int64 // open calls of the application
	waiting   atomic.Int64 // events posted to the dispatcher that have not run
	running   atomic.Int64 // owed id of the event whose callback runs now

	mu               sync.Mutex
	status           LoginStatus
	tiny             uint64
	generation       uint64
	kickedGeneration uint64
	clockOffset      time.Duration // server's clock less ours
	fired            []int64       // owed ids whose callback has returned
	telling          *stateChange  // states whose callbacks have begun
	firedWake        chan struct{}

	// Below: engine.
	db       *local.DB
	localErr error     // why there is none
	locked   bool      // by another process, when it was last tried
	offline  time.Time // without a login it can be read until then
	// distrusted is the hash of the ticket that a server has refused last.
	distrusted string
	convs      map[Conv]*conv
	byID       map[int64]*conv
	storeID    string
	lastConv   int64

	link        *link.Conn
	stopLink    context.CancelFunc
	loginDone   func(error)
	lastFailure *im.Error            // of the last try to connect
	deadlines   map[string]time.Time // login, heartbeat answer, ticket
	nextID      uint64
	calls       map[uint64]*call
	sends       map[sendKey]*outgoing
	toSend      []*im.Frame

	sync   syncState
	parked []parked // calls about conversations, until a sync of this connection has ended
	// goingOn: they go on after the commit, with those that come until then.
	goingOn bool
	// syncPause is how long the last try waited to sync again after a pull that came to nothing.
	syncPause    time.Duration
	received     uint64 // pushes on this link
	out          []output
	later        []func()            // engine work to go on with after the commit
	cleared      []chan struct{}     // closed by the commit that clears what was told
	stateOut     bool                // state events are posted and have not run
	changed      map[*conv]bool      // conversations that may differ from what was announced
	lateReceipts map[*conv]time.Time // receipts that wait for their time
	finish       bool                // the end of a login's sync is to be told when nothing is left in changed
	owedDone     bool                // what an earlier run owed has been posted
	lastSub      int64
	total        int // last total that was announced
	dbErr        error
	logins       int // raised by every login and logout, so that a late release does not hit the next login
	timer        *time.Timer
	hbEvery      time.Duration
	hbNext       time.Time
	clearAt      time.Time // when fired events are cleared at the latest
	cursorAt     int64     // cursor learnt from heartbeats, not stored yet
}

// arrived is a WebSocket message of frames.
type arrived struct {
	link *link.Conn
	data []byte
}

// call is a request that waits for its answer.
type call struct {
	id     uint64
	method im.Method
	body   []byte
	// repeat: it may be sent again after a reconnect; otherwise it ends with the connection.
	repeat   bool
	deadline time.Time
	done     func(body []byte, err *im.Error)
}

// batchSize bounds how much one commit takes in; mostWaiting how many events may wait for the application before the sync pauses.
const (
	batchSize    = 512
	mostWaiting  = 1000
	mostCalls    = 1000
	clearWithin  = 100 * time.Millisecond
	lockWait     = 5 * time.Second
	eventsAtOnce = 100
)

func (l *Limits) fill() {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&l.Call, 30*time.Second)
	set(&l.Login, 60*time.Second)
	set(&l.Send, 60*time.Second)
	set(&l.Heartbeat, 10*time.Second)
	set(&l.Reconnect, 30*time.Second)
	set(&l.Receipts, time.Second)
	set(&l.List, 5*time.Minute)
}

// connect is the longest one try to connect and log in takes.
func (l *Limits) connect() time.Duration { return min(10*time.Second, l.Login) }

// post hands f to the engine; it reports false if the engine has ended.
func (c *Client) post(f func()) bool { return c.in.put(f) }

// run is the engine.
func (c *Client) run() {
	defer c.engine.Done()
	defer close(c.stopped)
	c.contain(c.openLocal)
	c.contain(c.commit)
	for {
		select {
		case <-c.quit:
			c.shutdown()
			return
		case <-c.in.wake:
			c.runIn()
		case a := <-c.frames:
			c.contain(func() { c.arrive(a) })
		case <-c.firedWake:
			if c.clearAt.IsZero() {
				c.clearAt = time.Now().Add(clearWithin)
			}
		case <-c.timer.C:
			c.contain(c.tick)
		}
		c.drain()
		c.contain(c.commit)
		c.contain(c.goOn)
		c.schedule()
	}
}

// goOn runs one piece of long work after each batch; commit follows with the next one, which a piece left brings about at once.
func (c *Client) goOn() {
	if len(c.later) == 0 {
		return
	}
	f := c.later[0]
	c.later = c.later[1:]
	f()
	c.commit()
	if len(c.later) > 0 {
		select {
		case c.firedWake <- struct{}{}:
		default:
		}
	}
}

// drain takes what else has come meanwhile into the same commit.
func (c *Client) drain() {
	for range batchSize {
		select {
		case <-c.in.wake:
			c.runIn()
		case a := <-c.frames:
			c.contain(func() { c.arrive(a) })
		default:
			return
		}
	}
}

func (c *Client) runIn() {
	for _, f := range c.in.take(batchSize) {
		c.contain(f)
	}
}

// check remembers the first failure of the local database; the batch is then undone as a whole.
func (c *Client) check(err error) bool {
	if err != nil && c.dbErr == nil {
		c.dbErr = err
	}
	return err == nil
}

// commit makes the batch durable, then sends its frames and tells its outputs.
func (c *Client) commit() {
	if c.db != nil && c.dbErr == nil {
		c.flush()
	}
	if c.dbErr != nil {
		c.undo()
		return
	}
	if c.link != nil {
		if c.sync.done {
			c.link.Synced()
		}
		for _, f := range c.toSend {
			c.link.Send(f)
		}
	}
	c.toSend = c.toSend[:0]
	c.tellCleared()
	c.tell()
	c.tellState()
}

func (c *Client) tellCleared() {
	for _, done := range c.cleared {
		close(done)
	}
	c.cleared = nil
}

// flush writes the batch's rows and commits.
func (c *Client) flush() {
	c.oweEvents()
	fired := c.toClear(c.db.InTx)
	for _, id := range fired {
		if !c.check(c.db.Told(id)) {
			return
		}
	}
	for cv := range c.changed {
		if !cv.Untold {
			cv.Untold, cv.dirty = true, true
		}
	}
	for _, cv := range c.convs {
		if cv.dirty {
			if !c.check(c.db.PutConv(&cv.ConvRow)) {
				return
			}
			cv.dirty = false
		}
	}
	if c.cursorAt != 0 && c.db.InTx {
		if !c.check(c.db.SetMeta("cursor", c.cursorAt)) {
			return
		}
		c.cursorAt = 0
	}
	if c.check(c.db.Commit()) {
		c.mu.Lock()
		c.fired = c.fired[len(fired):] // not before: settled waits for the disk
		c.mu.Unlock()
	}
}

// toClear answers the owed ids to clear with this commit: all, if it writes anyway or their time has come.
func (c *Client) toClear(writing bool) []int64 {
	if !writing && (c.clearAt.IsZero() || time.Now().Before(c.clearAt)) {
		return nil
	}
	c.clearAt = time.Time{}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fired
}

// failCalls answers everything open.
func (c *Client) failCalls(err *im.Error) { c.failSome(err, func(*call) bool { return true }) }

// failSome answers the open calls that which picks, in their order.
func (c *Client) failSome(err *im.Error, which func(*call) bool) {
	var ended []*call
	for _, k := range c.calls {
		if which(k) {
			ended = append(ended, k)
		}
	}
	slices.SortFunc(ended, func(a, b *call) int { return cmp.Compare(a.id, b.id) })
	for _, k := range ended {
		c.endCall(k, nil, err)
	}
}

// endCall answers a call, unless the answer to another one (a logout's ends everything) has answered it meanwhile.
func (c *Client) endCall(k *call, body []byte, err *im.Error) {
	if c.calls[k.id] != k {
		return
	}
	delete(c.calls, k.id)
	defer func() {
		if r := recover(); r != nil { // the answer cannot be applied; the application still gets one
			c.panicked(r)
			k.done(nil, im.Errorf(im.CodeDatabase, "%v", errPanic))
		}
	}()
	k.done(body, err)
}

// request sends a call to the server. done is called exactly once, on the engine.
func (c *Client) request(method im.Method, req interface{ MarshalVT() ([]byte, error) }, repeat bool, limit time.Duration, done func([]byte, *im.Error)) {
	body, err := req.MarshalVT()
	if err != nil {
		done(nil, im.Errorf(im.CodeInvalidParameters, "cannot encode %v: %v", method, err))
		return
	}
	if c.link == nil && !repeat {
		done(nil, &im.Error{Code: im.CodeDisconnected, Desc: "not connected"})
		return
	}
	k := &call{id: c.nextID, method: method, body: body, repeat: repeat, done: done}
	if limit > 0 {
		k.deadline = time.Now().Add(limit)
	}
	c.nextID++
	c.calls[k.id] = k
	if c.link != nil {
		c.toSend = append(c.toSend, &im.Frame{Id: k.id, Method: method, Body: body})
	}
}

var unreadable = &im.Error{Code: im.CodePacket, Desc: "unreadable answer"}

// ask is request for a call whose answer is read: an answer that cannot be is an error. With an error the reply is empty.
func ask[R any, P im.Decodable[R]](c *Client, method im.Method, req interface{ MarshalVT() ([]byte, error) }, repeat bool, limit time.Duration, done func(P, *im.Error)) {
	c.request(method, req, repeat, limit, func(body []byte, err *im.Error) {
		reply := P(new(R))
		if err == nil && im.Decode(body, reply) != nil {
			reply, err = new(R), unreadable
		}
		done(reply, err)
	})
}

// arrive applies the frames of one message.
func (c *Client) arrive(a arrived) {
	if a.link != c.link || c.dbErr != nil {
		return
	}
	err := im.ReadFrames(a.data, func(f *im.Frame) error {
		if f.Id != 0 {
			if k := c.calls[f.Id]; k == nil {
				if f.Method == im.Method_SEND && f.Code == 0 && c.Status() == LoggedIn {
					c.sentLate(f.Body)
				}
			} else if f.Code != 0 {
				c.endCall(k, nil, &im.Error{Code: f.Code, Desc: f.Desc})
			} else {
				c.endCall(k, f.Body, nil)
			}
			return nil
		}
		c.received++
		if c.Status() != LoggedIn {
			return nil
		}
		return c.push(f)
	})
	if err != nil {
		c.log.Warn("what the server sent cannot be read; connecting anew", "error", err)
		a.link.Break()
	}
}

// tick handles everything whose time has come.
func (c *Client) tick() {
	now := time.Now()
	var due []*call
	for _, k := range c.calls {
		if !k.deadline.IsZero() && !now.Before(k.deadline) {
			due = append(due, k)
		}
	}
	slices.SortFunc(due, func(a, b *call) int { return int(a.id) - int(b.id) })
	for _, k := range due {
		if c.link == nil {
			c.endCall(k, nil, &im.Error{Code: im.CodeNoNetworkTimeout, Desc: "no answer in time: not connected"})
		} else {
			c.endCall(k, nil, &im.Error{Code: im.CodeWaitAckTimeout, Desc: "no answer from the server in time"})
		}
	}
	for len(c.parked) > 0 && !now.Before(c.parked[0].deadline) {
		late := c.parked[0]
		c.parked = c.parked[1:]
		late.run(&im.Error{Code: im.CodeWaitAckTimeout, Desc: "the login or the sync after it did not end in time"})
	}
	for name, at := range c.deadlines {
		if now.Before(at) {
			continue
		}
		delete(c.deadlines, name)
		switch name {
		case deadlineLogin:
			c.endLogin(im.Errorf(im.CodeConnectTimeout, "the server could not be reached in time: server %s", c.way.String()))
		case deadlineHeartbeat:
			if c.link != nil {
				c.log.Info("heartbeat unanswered")
				c.link.Break()
			}
		case deadlineSync, deadlineList:
			if c.link != nil && c.Status() == LoggedIn {
				c.startSync()
			}
		case deadlineTicket:
			c.ticketExpired()
		}
	}
	if c.link != nil && !c.hbNext.IsZero() && !now.Before(c.hbNext) {
		c.heartbeat(now)
	}
	for cv, due := range c.lateReceipts {
		if !now.Before(due) {
			delete(c.lateReceipts, cv)
			c.changed[cv] = true
		}
	}
	if c.sync.paused && c.waiting.Load() < mostWaiting/2 {
		c.sync.paused = false
		c.pullNext()
	}
}

const (
	deadlineLogin     = "login"
	deadlineHeartbeat = "heartbeat"
	deadlineTicket    = "ticket"
	deadlineSync      = "sync"
	deadlineList      = "list"
)

// schedule sets the timer to the next thing to do.
func (c *Client) schedule() {
	next := time.Now().Add(time.Hour)
	earlier := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	for _, k := range c.calls {
		earlier(k.deadline)
	}
	for _, t := range c.deadlines {
		earlier(t)
	}
	if len(c.parked) > 0 {
		earlier(c.parked[0].deadline)
	}
	if c.link != nil {
		earlier(c.hbNext)
	}
	earlier(c.clearAt)
	for _, due := range c.lateReceipts {
		earlier(due)
	}
	if c.sync.paused {
		earlier(time.Now().Add(20 * time.Millisecond))
	}
	c.timer.Reset(time.Until(next))
}

// heartbeat asks for the numbers of rule 9.
func (c *Client) heartbeat(now time.Time) {
	c.hbNext = now.Add(c.hbEvery)
	c.deadlines[deadlineHeartbeat] = now.Add(c.cfg.Limits.Heartbeat)
	ask(c, im.Method_HEARTBEAT, &im.Empty{}, false, 0, func(reply *im.HeartbeatReply, err *im.Error) {
		delete(c.deadlines, deadlineHeartbeat)
		if err != nil {
			return
		}
		if reply.Queued != c.received {
			c.log.Info("events were dropped on the way", "queued", reply.Queued, "received", c.received)
			c.received = reply.Queued
			c.startSync()
			return
		}
		if reply.Time != 0 && !c.sync.running() && !c.sync.failed {
			c.cursorAt = reply.Time
			c.listLater()
		}
	})
}

// Close ends the client: open calls are answered with 7009, the connection is closed, everything that was told is cleared, and all goroutines
// end. On the zero Client it does nothing. It does not wait for a callback that runs; no event starts after it. A logged-in session is not logged out: the device
// counts as away. Close may be called more than once.
func (c *Client) Close() {
	if c.quit == nil { // never opened
		return
	}
	c.mu.Lock()
	if c.closing.CompareAndSwap(false, true) {
		close(c.quit)
	}
	c.mu.Unlock()
	c.engine.Wait()
	c.wg.Wait()
}

// shutdown is the engine's end. The event whose callback runs now has been told: it is cleared too, and states are kept as told.
func (c *Client) shutdown() {
	c.failParked(interrupted)
	c.hangUp(LoggedOut)
	c.failCalls(interrupted)
	c.endLogin(interrupted)
	for {
		for len(c.later) > 0 {
			c.contain(c.goOn)
		}
		if c.in.end() {
			break
		}
		c.runIn()
		c.failCalls(interrupted)
		c.endLogin(interrupted)
	}
	c.setStatus(LoggedOut)
	c.contain(c.commit)
	c.release()
	c.tell()
	if c.cfg.Dispatcher == nil {
		c.disp.Close()
	}
}

var databaseFailed = &im.Error{Code: im.CodeDatabase, Desc: "the local database failed"}

var interrupted = &im.Error{Code: im.CodeInterrupted, Desc: "interrupted: the client was closed"}

// release clears what was told and closes the local database, so that another process may have it.
func (c *Client) release() {
	if c.db == nil {
		return
	}
	if c.dir == "" && !c.closing.Load() {
		return // it lives as long as the process, and nobody else waits for it
	}
	if id := c.running.Load(); id != 0 && c.closing.Load() {
		c.noteFired(id)
	}
	c.mu.Lock()
	telling := c.telling
	c.mu.Unlock()
	if telling != nil {
		c.stateTold(telling)
	}
	c.clearAt = time.Now()
	c.flush()
	c.db.Close()
	c.db, c.dbErr, c.owedDone = nil, nil, false
	c.convs, c.byID, c.changed, c.lateReceipts = map[Conv]*conv{}, map[int64]*conv{}, map[*conv]bool{}, map[*conv]time.Time{}
}
