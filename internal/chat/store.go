package chat

import (
	"context"
	"errors"
	"time"

	"github.com/tidings-im/tidings/im"
)

// UID is the number of an account (its tiny id). It is drawn when the account is created, and never reused.
type UID int64

// ConvID is the internal number of a conversation: its epoch. It is drawn when the conversation is created, and never reused.
type ConvID int64

// Errors of a Store. Any other error is a failure of the store itself.
var (
	// ErrNotFound means that no such user, conversation, message or member row is stored.
	ErrNotFound = errors.New("chat: not found")
	// ErrOtherBody is the error of an Append whose dedupe key is stored with another body.
	ErrOtherBody = errors.New("chat: the same key was used for another message")
	// ErrClosed is the error of every call after Close.
	ErrClosed = errors.New("chat: store is closed")
	// ErrFull is the error of a write that failed because the disk is full; nothing of it is stored. It may be repeated later.
	ErrFull = errors.New("chat: the disk is full")
	// ErrLocked is the error of a write that failed because another program has locked the database; nothing of it is stored. It may be repeated
	// later.
	ErrLocked = errors.New("chat: the database is locked by another program")
	// ErrAway is the error of a call that failed because the database does not respond; nothing of it is stored. It may be repeated later.
	ErrAway = errors.New("chat: the database does not answer")
	// ErrLease is the error of a step of work whose lease another server has taken.
	ErrLease = errors.New("chat: another server has the lease")
	// ErrDropped is the error of an Append whose sender is to believe that the entry was stored (rule 20).
	ErrDropped = errors.New("chat: dropped")
)

// Known returns what callers are told about an error that concerns the store as a whole, which the store has logged once. It is "" for other errors.
func Known(err error) string {
	switch {
	case errors.Is(err, ErrFull):
		return "the server's disk is full"
	case errors.Is(err, ErrLocked):
		return "the server's database is locked by another program"
	case errors.Is(err, ErrAway):
		return "the server's database does not answer"
	}
	return ""
}

// Kind of a conversation. The numbers are those of im.ConvType.
type Kind int8

const (
	KindC2C   Kind = 1
	KindGroup Kind = 2
)

// User is an account.
type User struct {
	UID  UID
	Name string
	// Generation is the generation of the newest login of any device.
	Generation uint64
	// Feed is the last number of the user's change feed.
	Feed uint64
	// ValidFrom is the time, in seconds since 1970, before which signed tickets are void.
	ValidFrom int64
}

// Conv is a conversation and the ends of its two lines.
type Conv struct {
	ID   ConvID
	Kind Kind
	// A and B are the two people of a C2C conversation, A <= B; both the same for a conversation with oneself. 0 for a group.
	A, B UID
	// Group is the group id; empty for C2C.
	Group string

	Seq, Rev uint64
	// Time of the last entry, and of the last entry or change: milliseconds of the store's clock.
	Time, Changed int64
	// Index is the running number of countable messages; OwnA and OwnB are those of A and of B (C2C only).
	Index, OwnA, OwnB uint64
	// Policy is raised by everything that affects who may send here; MemberSet by joins and leaves.
	Policy, MemberSet uint64
	Dissolved         bool
	// Flags are what the two of a C2C conversation have with each other. Every change of them raises Policy.
	Flags ConvFlags
}

// ConvFlags are what may be sent in a C2C conversation depends on.
type ConvFlags uint32

const (
	ABlocksB ConvFlags = 1 << iota
	BBlocksA
	AHasB // B is in A's list of friends
	BHasA
)

// Period is a time of membership: entries with From < seq <= To are visible. To is NoEnd while it lasts.
type Period struct{ From, To uint64 }

// NoEnd is the To of a membership that lasts.
const NoEnd = uint64(1<<63 - 1)

// Member is a user's own row in a conversation.
type Member struct {
	Conv ConvID
	UID  UID
	// Row is raised by every change of the row; Changed is the commit time of the last one.
	Row     uint64
	Changed int64

	ReadSeq uint64
	// ReadOthers is the others' index at ReadSeq; ReadTime is the time of the entry there; ReadAt is when the position was set.
	ReadOthers       uint64
	ReadTime, ReadAt int64
	ClearedSeq       uint64
	RecvOpt          int32
	Pinned           bool
	// Hidden means that the user has deleted the conversation: it is not in their list while nothing is above ClearedSeq.
	Hidden bool
	Role   int32
	// Left means that a group's membership has ended; the row stays for its periods.
	Left bool
}

// Entry is a message or tip on its way into a log.
type Entry struct {
	Conv   ConvID
	Sender UID
	// ClientTime and Random are the dedupe key. Keys that rise with time append to the index: a client should put the millisecond within the second
	// into the upper bits of Random.
	ClientTime uint64
	Random     uint32
	// Countable means that it counts as unread for the others.
	Countable bool
	// Unseen means that the sender does not have it, as if they had deleted it for themselves, from the same commit on.
	Unseen bool
	// Body is the wire form of im.Message as it is to be stored; Hash is that of the body as the client sent it. Nobody writes to a Body once it was
	// given to Append: the store and the caller share it.
	Body []byte
	Hash uint64
	// Rules are what the store checks an entry that is new against, with the conversation as it is where the entry gets its number; nil: nothing.
	Rules *SendRules
}

// Stored is an entry of a log. A Body that a read returned belongs to the caller: the store keeps no reference to it. The Body that the done function
// of Append gets is shared, as described at Entry.
type Stored struct {
	Entry
	Seq  uint64
	Time int64
	// Index and OwnIndex are the running number of countable messages up to and including this one, and the number of those from the sender.
	Index, OwnIndex uint64
	Status          int32
	Version         uint64
	Revoker         UID
	RevokeReason    string
}

// LogEntry is an entry of any conversation's log.
type LogEntry struct {
	// Pos is its position among all entries of the store.
	Pos int64
	Stored
}

// Change is an entry of a conversation's rev line.
type Change struct {
	Rev  uint64
	Kind int32
	// Seq of the message it is about.
	Seq      uint64
	Time     int64
	Operator UID
	Reason   string
	// Version is the version of the content that a modification made.
	Version uint64
	// Target is the message as it is when changes are read. It has a Body only for the modification that made the present content: replaced contents
	// are not stored any more, and the same content is not returned once for each of many.
	Target *Stored
}

// FeedEntry is an entry of a user's change feed.
type FeedEntry struct {
	Seq  uint64
	Kind int32
	Body []byte
	Time int64
}

// Relation is a row of what a user has with others.
type Relation struct {
	UID  UID
	Kind im.RelationKind
	// Other is the number of the other account, or of a friend group.
	Other int64
	// Ver is the number in the owner's feed of the change that made the row as it is, Made that of the one that created it.
	Ver, Made uint64
	// Body is im.RelationState in wire form.
	Body []byte
}

// Profile is an account's profile, im.UserProfile in wire form without the name. Ver is 0 for one that was never set.
type Profile struct {
	UID  UID
	Ver  uint64
	Body []byte
}

// Fanout is a change of a profile that has not been told to all who have the user as a friend: to those up to Done it has.
type Fanout struct {
	UID  UID
	Ver  uint64
	Done UID
}

// Outgoing is something that the app's webhook is to be notified of.
type Outgoing struct {
	// ID rises along a lane and is never used twice. Lane is the account whose list or profile has changed.
	ID   int64
	Lane UID
	Time int64
	// Platform and Addr are those of the call that caused it, as the request names them.
	Platform, Addr string
	// Command is the name of the webhook, Body the body of the request in JSON.
	Command string
	Body    []byte
}

// Session is the row of a device of a user.
type Session struct {
	UID    UID
	Device string
	// Class is the platform class: one session of a class is logged in at a time.
	Class, Platform int32
	// Generation of the newest login of this device.
	Generation uint64
	LoggedIn   bool
	// Owed means that another login ended this session and its application has not been notified: rule 27's debt.
	Owed bool
	At   int64
}

// Sent is an operator's call that sent a message under a key of its own (sender, random, seq).
type Sent struct {
	Sender      UID
	Random, Seq uint32
	// ClientTime is the message's, whose key in the log it is a part of. Hash distinguishes other messages. At is when the call arrived.
	ClientTime, Hash uint64
	At               int64
}

// HeadRow contains what a line in a user's list of conversations is made from.
type HeadRow struct {
	Conv Conv
	Mine Member
	// Own is the user's own countable index at the head; Withdrawn counts withdrawn countable messages of others above ReadSeq.
	Own, Withdrawn uint64
	// Peer is the peer's row in a C2C conversation.
	Peer *Member
	// Periods of a group membership, oldest first; nil for C2C, where everything is visible.
	Periods []Period
}

// Key names rows that an Update locks: a user or a conversation.
type Key struct {
	UID  UID
	Conv ConvID
}

// SendKey identifies a message by what its sender drew.
type SendKey struct {
	Conv       ConvID
	Sender     UID
	ClientTime uint64
	Random     uint32
}

// Store keeps users, conversations, logs, feeds and sessions. All methods may be called from any goroutine. When a method has returned without an
// error, its effect is durable: it survives kill -9 and loss of power.
type Store interface {
	// ID returns the store's random id joined with its restore counter ("id.counter"): rule 2's part of the epoch.
	ID() string
	// Now returns the store's clock in milliseconds since 1970: max(now, the last time given out).
	Now() int64
	// Horizon returns a time such that a read which begins after the call sees everything that has an earlier one, whoever wrote it, within the
	// accuracy of clocks of a second.
	Horizon() int64
	// Shared reports whether other processes write to the store as well: what this one has committed is not all there is.
	Shared() bool

	// CreateUser creates an account, or returns the one that has the name.
	CreateUser(ctx context.Context, name string) (User, error)
	UserByName(ctx context.Context, name string) (User, error)
	UserByID(ctx context.Context, uid UID) (User, error)

	// C2C returns the conversation of two users (in either order), and creates it with both member rows if it does not exist.
	C2C(ctx context.Context, a, b UID) (Conv, error)
	// FindC2C returns it only if it exists, otherwise ErrNotFound.
	FindC2C(ctx context.Context, a, b UID) (Conv, error)
	// Conv returns a conversation with its current ends.
	Conv(ctx context.Context, id ConvID) (Conv, error)
	// Group returns the newest conversation that has the group id.
	Group(ctx context.Context, group string) (Conv, error)
	// Members returns the members of a group that have not left.
	Members(ctx context.Context, id ConvID) ([]Member, error)

	// Append queues an entry for the next group commit and returns without waiting for it, but blocks while the queue is full. Entries of one
	// conversation that one goroutine appends get rising numbers in the order of the calls. done is called exactly once, in commit order, on the
	// store's delivery goroutine (it must not block on the store): with the entry as stored, with dup set if its key was stored before (the first
	// result), or with an error, and then nothing is stored: that of its Rules, for example. ErrNotFound: no such conversation, it is dissolved, or it is C2C and the sender is
	// neither of the two.
	Append(e Entry, done func(s Stored, dup bool, err error))

	// Deliver calls f on the delivery goroutine, behind the done functions of what the calling goroutine has appended to the conversation before, and
	// ahead of those that it appends after: what is delivered without being stored keeps its place. f must not block on the store. After Close it is
	// not called.
	Deliver(id ConvID, f func())

	// Update runs fn in a transaction that holds the rows of keys (locked in sorted order) and commits it. fn may run again after a conflict, so it
	// must affect only the Tx and variables that it sets again each time; it does no I/O. An error from fn undoes everything and is returned.
	Update(ctx context.Context, keys []Key, fn func(Tx) error) error

	// Heads returns, ordered by conversation id, the user's conversations with id > after whose log, rev line, own row or (C2C) peer row changed at
	// or after since (0: all). Hidden ones and those without a row are included; more reports whether another page follows.
	Heads(ctx context.Context, uid UID, since int64, after ConvID, limit int) (rows []HeadRow, more bool, err error)
	// Head returns one; ErrNotFound if the user has no row in it.
	Head(ctx context.Context, uid UID, id ConvID) (HeadRow, error)
	// Entries returns the entries of the closed range, ascending; at most limit and maxBytes of bodies and reasons (one entry always fits). newest
	// takes them from the upper end. It does not know who may see what. The slice and its bodies belong to the caller.
	Entries(ctx context.Context, id ConvID, from, to uint64, newest bool, limit, maxBytes int) ([]Stored, error)
	// Changes returns the closed range of the rev line from its start, ascending, at most limit, and no more than maxBytes of bodies and reasons; but
	// at least one, if there is one.
	Changes(ctx context.Context, id ConvID, from, to uint64, limit, maxBytes int) ([]Change, error)
	// LastChange returns the last change of a kind that a user made to a message, if its rev is above a number.
	LastChange(ctx context.Context, id ConvID, seq uint64, kind int32, by UID, above uint64) (Change, error)
	// Deleted returns the numbers of the closed range that the user has deleted for themselves, ascending.
	Deleted(ctx context.Context, uid UID, id ConvID, from, to uint64) ([]uint64, error)
	// Lookup returns the entry stored under a key, otherwise ErrNotFound.
	Lookup(ctx context.Context, k SendKey) (Stored, error)
	// SeqAt returns the last seq with time <= t, 0 if there is none.
	SeqAt(ctx context.Context, id ConvID, t int64) (uint64, error)
	// Feed returns the user's feed entries of the closed range, ascending, at most limit.
	Feed(ctx context.Context, uid UID, from, to uint64, limit int) ([]FeedEntry, error)
	// FeedFloor returns the number up to which a user's feed was cut off.
	FeedFloor(ctx context.Context, uid UID) (uint64, error)
	// Relation returns a row, ErrNotFound if there is none.
	Relation(ctx context.Context, uid UID, kind im.RelationKind, other int64) (Relation, error)
	// Relations returns rows of a kind in the order in which they were made, behind a Made, at most limit.
	Relations(ctx context.Context, uid UID, kind im.RelationKind, after uint64, limit int) ([]Relation, error)
	// AllRelations returns rows of all kinds, ordered by kind and other, behind a place, at most limit.
	AllRelations(ctx context.Context, uid UID, kind im.RelationKind, other int64, limit int) ([]Relation, error)
	// HaveFriend returns the accounts, above one, that have a user in their list of friends, ascending, at most limit.
	HaveFriend(ctx context.Context, friend, after UID, limit int) ([]UID, error)
	// Profile returns an account's profile, an empty one if it was never set.
	Profile(ctx context.Context, uid UID) (Profile, error)
	// Fanouts returns some of the changes of profiles that are not told to all friends yet, at most limit.
	Fanouts(ctx context.Context, limit int) ([]Fanout, error)
	// Sessions returns the rows of a user's devices.
	Sessions(ctx context.Context, uid UID) ([]Session, error)

	// OutboxLanes returns the lanes above one that have something in the outbox, ascending, at most limit. Outbox returns what is in a lane, in its
	// order, at most limit: what is committed to a lane later has a higher id than all that was returned. OutboxOld returns what was written before a
	// time.
	OutboxLanes(ctx context.Context, after UID, limit int) ([]UID, error)
	Outbox(ctx context.Context, lane UID, limit int) ([]Outgoing, error)
	OutboxOld(ctx context.Context, before int64, limit int) ([]Outgoing, error)

	// Log returns the entries of all conversations after a position, ascending by position, at most limit: the reads of rule 15. Within a
	// conversation positions rise with seq. An entry that is committed later never gets a position at or below one that was returned: if several
	// writers commit, those above the oldest open one are held back. LogEnd returns the last position.
	Log(ctx context.Context, after int64, limit int) ([]LogEntry, error)
	LogEnd(ctx context.Context) (int64, error)
	// Cursor returns how far a named reader of the log has come, ErrNotFound if it has never begun. StartCursor sets where it begins, unless it has
	// begun. SetCursor moves it on, never back, if the reader still holds lease; otherwise it returns ErrLease.
	Cursor(ctx context.Context, name string) (int64, error)
	StartCursor(ctx context.Context, name string, pos int64) error
	SetCursor(ctx context.Context, name string, pos, lease int64) error
	// Lease makes the caller the only one, among all processes that share the store, that does the named work, for a time d that begins after the
	// call. epoch is 0 to take the lease, or what Lease returned, to renew it; d 0 gives it back. It returns 0 if another process has the lease, or
	// has had it in the meantime.
	Lease(ctx context.Context, name string, epoch int64, d time.Duration) (int64, error)

	// Close commits what is queued, completes it, and releases the store.
	Close() error
}

// Tx is the inside of an Update. Reads see what the transaction wrote.
type Tx interface {
	// Now returns the commit time of the transaction.
	Now() int64
	User(uid UID) (User, error)
	PutUser(u User) error
	// NewConv creates a conversation (a group, or the C2C of A and B) and returns it with its id.
	NewConv(c Conv) (Conv, error)
	Conv(id ConvID) (Conv, error)
	// PutConv stores everything except Seq, Rev, the indexes and the times, which only Append and AddChange move.
	PutConv(c Conv) error
	Member(id ConvID, uid UID) (Member, error)
	// PutMember stores a row, raising Row and Changed.
	PutMember(m Member) (Member, error)
	// Pinned counts the user's pinned rows.
	Pinned(uid UID) (int, error)
	// Delete records that the user has deleted messages for themselves; one that was deleted before is not an error.
	Delete(id ConvID, uid UID, seqs []uint64) error
	// Join opens a period from the current head and sets read = head; Leave closes it at the head. Both raise MemberSet and Policy.
	Join(id ConvID, uid UID) (Member, error)
	Leave(id ConvID, uid UID) (Member, error)
	Periods(id ConvID, uid UID) ([]Period, error)
	// Entry returns one entry of a log.
	Entry(id ConvID, seq uint64) (Stored, error)
	// SetEntry stores status, version, revoker, reason and body of an entry; a status of revoked withdraws a countable one from unread numbers.
	SetEntry(s Stored) error
	// OthersAt returns the others' index of a user at seq, and the time of the entry there (0 at seq 0).
	OthersAt(id ConvID, uid UID, seq uint64) (others uint64, time int64, err error)
	// Own returns the user's own countable index at the head; Withdrawn the others' withdrawn countable messages above seq.
	Own(id ConvID, uid UID) (uint64, error)
	Withdrawn(id ConvID, uid UID, seq uint64) (uint64, error)
	// AddChange assigns a rev to a change and stores it.
	AddChange(id ConvID, c Change) (Change, error)
	// AddFeed assigns a number to a feed entry and stores it.
	AddFeed(uid UID, kind int32, body []byte) (FeedEntry, error)
	// CutFeed deletes the entries of a user's feed up to a number, which becomes its floor.
	CutFeed(uid UID, upTo uint64) error
	// FeedBefore returns the number of the last entry of a user's feed from before a time, 0 if there is none.
	FeedBefore(uid UID, time int64) (uint64, error)
	// FindC2C returns the conversation of two users and holds it; ErrNotFound if there is none.
	FindC2C(a, b UID) (Conv, error)
	// Relation returns a row, ErrNotFound if there is none. Relations returns all of a kind in the order in which they were made, CountRelations how
	// many there are. The caller holds the rows of the owner.
	Relation(uid UID, kind im.RelationKind, other int64) (Relation, error)
	Relations(uid UID, kind im.RelationKind) ([]Relation, error)
	CountRelations(uid UID, kind im.RelationKind) (int, error)
	// PutRelation stores a row. Made stays what it was if the row exists.
	PutRelation(r Relation) error
	DropRelation(uid UID, kind im.RelationKind, other int64) error
	// HaveFriend is that of Store.
	HaveFriend(friend, after UID, limit int) ([]UID, error)
	// Profile returns an empty one if it was never set.
	Profile(uid UID) (Profile, error)
	PutProfile(p Profile) error
	// Fanout returns what remains to be told of a change of a user's profile, ErrNotFound if nothing. PutFanout stores it, DropFanout deletes it.
	Fanout(uid UID) (Fanout, error)
	PutFanout(f Fanout) error
	DropFanout(uid UID) error
	// AddOutbox writes to the outbox, with the time of the transaction and a new id; it holds the lane's account. DropOutbox deletes what was received.
	AddOutbox(o Outgoing) error
	DropOutbox(ids []int64) error
	Sessions(uid UID) ([]Session, error)
	PutSession(s Session) error
	// DropSessions deletes the rows of devices of a user.
	DropSessions(uid UID, devices []string) error
	// Sent returns an operator's call, ErrNotFound if none is kept. LastSent returns the newest client time of those of a sender and random, 0 if
	// there is none. PutSent keeps one, and deletes a few of those whose arrival and client time are both before a time. The caller holds the
	// sender's row.
	Sent(sender UID, random, seq uint32) (Sent, error)
	LastSent(sender UID, random uint32) (uint64, error)
	PutSent(s Sent, before int64) error
	// AfterCommit registers f to be called once after the commit, on the delivery goroutine and in commit order with the done functions of Append. A
	// function registered by a run of fn that was repeated or undone is forgotten. f must not block on the store.
	AfterCommit(f func())
}
