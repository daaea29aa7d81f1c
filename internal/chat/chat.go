// Package chat contains the rules: who may do what, and who is notified. It does no I/O of its own: it keeps data in a Store, and passes events to
// the Carrier that Subscribe set.
package chat

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/hook"
)

// Config is what an operator may configure. Zero values mean the defaults.
type Config struct {
	// RevokeWindow is how long a message may be recalled after it was stored: 2 minutes.
	RevokeWindow time.Duration
	// Modifications is how often one message may be modified: DefaultModifications.
	Modifications uint64
	// Heartbeat is how often a client is told to send one, in seconds: 30.
	Heartbeat int32
	// Classes gives each platform its class; a login ends the other sessions of its class. Class 0 ends none. Nil: DefaultClasses.
	Classes map[im.Platform]int32
	// AppID is the app of clients that name one; 0: any.
	AppID uint64
	// Verify checks a ticket; its error is an *im.Error.
	Verify func(user, ticket string) (Ticket, error)
	// Hooks are asked before something is done. C2CBeforeSendMsg is asked about every message before it is stored, and about every modification,
	// except those that a program sent with the flag that leaves the hook out. A hook may be slow: it delays only later messages of the same session
	// to the same conversation, and later modifications in it.
	Hooks hook.Set
	// Notify makes the rules write to the outbox what the webhook is notified of besides messages.
	Notify bool
	// Clock is the wall clock, by default time.Now. Tickets and kicks are judged by it; the store's time orders what is stored.
	Clock func() time.Time
	// BeforeAtOnce is how many messages the hook may be asked about at once: 64. One user has at most a quarter of it. BeforeWait is how long a
	// message may wait until the hook can be asked; one that has waited longer is refused, regardless of what the hook does without a response: 30 s.
	BeforeAtOnce int
	BeforeWait   time.Duration
	// FeedKeep is how many entries of a user's feed are kept: 10,000. A device that missed more asks for the whole.
	FeedKeep uint64
	// MaxMembers is how many members a group of a type can have, if that is not what the table of types has. MaxGroups is how many groups a user can be in: 6,000.
	MaxMembers map[im.GroupType]uint64
	MaxGroups  int
	// AttributeWrites is how often a user may write the attributes of one group per second; 0: without limit.
	AttributeWrites int
	// OnlyFriends refuses messages between users of whom one is not the other's friend, with 20009, 20010 or 20011. RefuseBlocked refuses messages to
	// somebody who has blocked the sender with 20007, instead of dropping them as if they had been sent.
	OnlyFriends, RefuseBlocked bool
	// BlockKeepsFriend leaves friendships as they are when one blocks the other.
	BlockKeepsFriend bool
	// MaxRooms is how many live rooms there may be, MaxRoomsPerUser how many of one owner; 0: no limit.
	MaxRooms, MaxRoomsPerUser int
	// RoomRate is how many messages per second a live room lets through: 40.
	RoomRate int
	// MediaKey signs media tokens; without one, there are no media.
	MediaKey []byte
	// MediaURL is where the app's program finds /media/, such as https://im.example; without one, it gets no URLs of uploads.
	MediaURL string
	// MediaKeep is how long a file is kept after the last message that refers to it was sent; 0: as long as one does.
	MediaKeep time.Duration
	Log       *slog.Logger
}

// Ticket is the content of a good ticket.
type Ticket struct {
	Issued time.Time
	// Expires is the moment at which it stops being good.
	Expires time.Time
}

// DefaultModifications is how often one message may be modified. Each modification is pushed and pulled with the whole content, which can be
// thousands of times as large as the call; a message that a program writes word by word has some hundreds.
const DefaultModifications = 1000

// Platform classes.
const (
	ClassAny     int32 = 0
	ClassDesktop int32 = 1
	ClassMobile  int32 = 2
	ClassPad     int32 = 3
	ClassWeb     int32 = 4
)

// DefaultClasses lets a user have one session on a computer, one on a phone, one on a pad and one in a browser.
var DefaultClasses = map[im.Platform]int32{
	im.Platform_PLATFORM_OTHER:     ClassDesktop,
	im.Platform_PLATFORM_WINDOWS:   ClassDesktop,
	im.Platform_PLATFORM_MAC:       ClassDesktop,
	im.Platform_PLATFORM_LINUX:     ClassDesktop,
	im.Platform_PLATFORM_ANDROID:   ClassMobile,
	im.Platform_PLATFORM_IOS:       ClassMobile,
	im.Platform_PLATFORM_SIMULATOR: ClassMobile,
	im.Platform_PLATFORM_PAD:       ClassPad,
	im.Platform_PLATFORM_WEB:       ClassWeb,
}

// Caller is a logged-in connection as the rules see it. A carrier (the gateway) makes it by Login.
type Caller struct {
	UID        UID
	Name       string
	Device     string
	Platform   im.Platform
	Generation uint64
	Feed       uint64
	ID         SessionID
	// Groups means that the client knows groups.
	Groups bool
	// Run names the calls of the client, over its reconnects; 0: it names none.
	Run uint64
	// Expires is when the ticket expires.
	Expires time.Time
	// Addr is the IP address that the carrier knows. Operator means that an operator acts for the user; Quiet that the user's own sessions do not get
	// what is sent.
	Addr            string
	Operator, Quiet bool
	// Admin is the operator's own account. Force adds friends without the consent that the operator's call leaves out: whatever the permission of the
	// other user, and without a request.
	Admin string
	Force bool
	// Mutes means that what an operator sends for somebody to a group is refused if they are muted there.
	Mutes bool
	// Silent means that nobody is told of the change of a group: there is neither a tip nor a report.
	Silent bool
	// Reply answers a call; the carrier sets it before it makes the first one. It may be called from any goroutine, and does not block.
	Reply func(id uint64, method im.Method, body im.Body, err error)

	// Sends to a person or conversation that had to be looked up, and those that came after them, by the name of the person.
	mu     sync.Mutex
	parked map[string][]*send
	// Modifications that wait for the before-hook, and those that came after them, by conversation.
	modifying map[ConvID][]*modification
	// rooms are the live rooms that the session is in.
	rooms map[ConvID]bool
	// stopped is protected by the lock of Chat.slots.
	stopped bool
}

// atOnce is how many users a call may name: operators may name more.
func (s *Caller) atOnce(client, operator int) int {
	if s.Operator {
		return operator
	}
	return client
}

// Chat is the rules of one app on one store. Its methods may be called from any goroutine; Send, for one Caller, only from one at a time.
type Chat struct {
	store     Store
	cfg       Config
	log       *slog.Logger
	carrier   Carrier
	server    uint64        // of SessionID
	sessions  atomic.Uint64 // the last number assigned
	committed chan struct{}
	outgoing  chan struct{}
	delivered atomic.Int64
	lookups   sync.WaitGroup
	slots     slots
	told      *semaphore.Weighted // what the before-hook is being asked about, in bytes

	live      liveRooms
	later     later
	sendRules SendRules
	fans      chan struct{} // wakes the worker of StartFanout

	people cache[string, person]
	names  cache[UID, person]
	convs  cache[pair, c2c]
	groups cache[string, group]
	faces  cache[UID, *face]
	writes writes
}

// person is the part of an account that never changes.
type person struct {
	uid  UID
	name string
}

type pair struct{ a, b UID }

// c2c is what a send must know about a conversation. What may be sent there is checked by the store, where the message gets its number.
type c2c struct{ id ConvID }

// New makes the rules over a store.
func New(store Store, cfg Config) *Chat {
	cfg.RevokeWindow = cmp.Or(cfg.RevokeWindow, 2*time.Minute)
	cfg.Modifications = cmp.Or(cfg.Modifications, DefaultModifications)
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, 30)
	cfg.RoomRate = cmp.Or(cfg.RoomRate, defaultRoomRate)
	if cfg.Classes == nil {
		cfg.Classes = DefaultClasses
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	cfg.FeedKeep = cmp.Or(cfg.FeedKeep, defaultFeedKeep)
	cfg.MaxGroups = cmp.Or(cfg.MaxGroups, DefaultMaxGroups)
	c := &Chat{store: store, cfg: cfg, log: cfg.Log, server: rand.Uint64(), committed: make(chan struct{}, 1)}
	c.outgoing, c.fans = make(chan struct{}, 1), make(chan struct{}, 1)
	c.sendRules = SendRules{OnlyFriends: cfg.OnlyFriends, RefuseBlocked: cfg.RefuseBlocked}
	c.carrier = Carrier{Tell: func(Audience, func() Event) {}, Together: func(tell func()) { tell() }, Kick: func(UID, uint64, string) {}, Member: func(ConvID, UID, bool, uint64, Joined) {}, Over: func(ConvID) {}, Online: func(ConvID) int { return 0 }}
	c.carrier.Enter, c.carrier.Expel = func(ConvID, *Caller, bool) {}, func(ConvID, UID) {}
	cfg.BeforeAtOnce = cmp.Or(cfg.BeforeAtOnce, defaultAtOnce)
	cfg.BeforeWait = cmp.Or(cfg.BeforeWait, defaultSlotFor)
	c.told = semaphore.NewWeighted(maxTold)
	c.later.ctx, c.later.cancel = context.WithCancel(context.Background())
	c.slots.init(cfg.BeforeAtOnce, cfg.BeforeWait)
	// Nothing is under way yet, so everything that was committed before this point has been delivered, to nobody.
	c.delivered.Store(store.Now())
	return c
}

// Committed gets a value after something was committed; values are not counted, and one reader may wait for them.
func (c *Chat) Committed() <-chan struct{} { return c.committed }

// Shared reports whether other processes commit to the store as well, which Committed does not report.
func (c *Chat) Shared() bool { return c.store.Shared() }

// Wait returns when no lookup that a Send started is running, nothing waits in a live room, and what the webhook is to be notified of is in the outbox, or
// could not be written. The end of ctx ends the attempts to write it. The callers' connections must be closed.
func (c *Chat) Wait(ctx context.Context) {
	stop := context.AfterFunc(ctx, c.later.cancel)
	defer stop()
	c.lookups.Wait()
	c.live.wait()
	c.later.wait()
}

// Delivered is a time of the store's clock such that everything committed before it has been published: rule 9's commit time. It is the time of the
// last transaction whose events were all published, or of one whose events are being published: since the clock does not run back, whatever is not
// published yet has this time or a later one. It stands still while nothing is committed. It is 0 if others commit too: nobody here knows what they
// did.
func (c *Chat) Delivered() int64 {
	if c.store.Shared() {
		return 0
	}
	return c.delivered.Load()
}

// delivering records, on the delivery goroutine, that events of a transaction of this time have been published.
func (c *Chat) delivering(t int64) {
	if t > c.delivered.Load() {
		c.delivered.Store(t)
	}
	select {
	case c.committed <- struct{}{}:
	default:
	}
}

// cache is a limited map of things that are cheap to find again: when it is full it is emptied.
type cache[K comparable, V any] struct {
	mu sync.RWMutex
	m  map[K]V
}

const cacheLimit = 1 << 17

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.RLock()
	v, ok := c.m[k]
	c.mu.RUnlock()
	return v, ok
}

func (c *cache[K, V]) put(k K, v V) {
	c.mu.Lock()
	if c.m == nil || len(c.m) >= cacheLimit {
		c.m = make(map[K]V)
	}
	c.m[k] = v
	c.mu.Unlock()
}

// person finds an account by name; ErrNotFound if there is none.
func (c *Chat) person(ctx context.Context, name string) (person, error) {
	if p, ok := c.people.get(name); ok {
		return p, nil
	}
	if !im.ValidUserID(name) { // nobody has such a name, whatever a store would do with it
		return person{}, ErrNotFound
	}
	u, err := c.store.UserByName(ctx, name)
	if err != nil {
		return person{}, err
	}
	return c.know(u), nil
}

// nameOf returns the name of an account from a stored row.
func (c *Chat) nameOf(ctx context.Context, uid UID) (string, error) {
	if uid == 0 {
		return "", nil // nobody, or the sender of a tip
	}
	if p, ok := c.names.get(uid); ok {
		return p.name, nil
	}
	u, err := c.store.UserByID(ctx, uid)
	if err != nil {
		return "", err
	}
	return c.know(u).name, nil
}

func (c *Chat) know(u User) person {
	p := person{u.UID, u.Name}
	c.people.put(u.Name, p)
	c.names.put(u.UID, p)
	return p
}

func (c *cache[K, V]) drop(k K) {
	c.mu.Lock()
	delete(c.m, k)
	c.mu.Unlock()
}

func pairOf(a, b UID) pair {
	if a > b {
		a, b = b, a
	}
	return pair{a, b}
}

// conv creates or finds the C2C conversation of two accounts.
func (c *Chat) conv(ctx context.Context, a, b UID) (c2c, error) {
	k := pairOf(a, b)
	if v, ok := c.convs.get(k); ok {
		return v, nil
	}
	cv, err := c.store.C2C(ctx, k.a, k.b)
	if err != nil {
		return c2c{}, err
	}
	v := c2c{cv.ID}
	c.convs.put(k, v)
	return v, nil
}

// find returns the conversation that key names for the caller, with its current ends, and its members. An unknown one is a resync: the caller has a
// log that this store does not have.
func (c *Chat) find(ctx context.Context, s *Caller, key *im.ConvKey) (Conv, circle, error) {
	if err := checkKey(key.GetType(), key.GetId()); err != nil {
		return Conv{}, circle{}, err
	}
	if key.Type == im.ConvType_CONV_TYPE_GROUP {
		return c.findGroup(ctx, key.Id)
	}
	p, err := c.person(ctx, key.Id)
	if errors.Is(err, ErrNotFound) {
		return Conv{}, circle{}, resync("there is no conversation with %q", key.Id)
	}
	if err != nil {
		return Conv{}, circle{}, err
	}
	var cv Conv
	if v, ok := c.convs.get(pairOf(s.UID, p.uid)); ok {
		cv, err = c.store.Conv(ctx, v.id)
	} else {
		cv, err = c.store.FindC2C(ctx, s.UID, p.uid)
	}
	if errors.Is(err, ErrNotFound) {
		return Conv{}, circle{}, resync("there is no conversation with %q", key.Id)
	}
	return cv, circleOf(cv.ID, person{s.UID, s.Name}, p), err
}

// findGroup finds the newest group of an id. Whether the caller is a member of it is asked where that matters.
func (c *Chat) findGroup(ctx context.Context, id string) (Conv, circle, error) {
	cv, err := c.store.Group(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return Conv{}, circle{}, noGroup(id)
	}
	if err == nil && cv.live() {
		err = im.Errorf(im.CodeGroupNoHistory, "the live room %q keeps no messages", id)
	}
	return cv, circle{conv: cv.ID, group: cv.Group}, err
}

func checkKey(typ im.ConvType, id string) error {
	switch {
	case typ != im.ConvType_CONV_TYPE_C2C && typ != im.ConvType_CONV_TYPE_GROUP:
		return im.Errorf(im.CodeInvalidParameters, "conversation type %d cannot be used here", typ)
	case id == "":
		return im.Errorf(im.CodeInvalidParameters, "the conversation id is empty")
	}
	return nil
}

func resync(format string, args ...any) error { return im.Errorf(im.CodeResync, format, args...) }

// checkEpoch is rule 6: what a caller names must be of this log and not above its end.
func checkEpoch(cv Conv, epoch, number, end uint64) error {
	if epoch != uint64(cv.ID) {
		return resync("the conversation is another one by now: it has no epoch %d", epoch)
	}
	if number > end {
		return resync("number %d is above the head, %d", number, end)
	}
	return nil
}
