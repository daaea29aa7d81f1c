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
	// ErrDone is the error of an Update that would store a call as done which is stored already.
	ErrDone = errors.New("chat: the call is done")
	// ErrDropped is the error of an Append whose sender is to believe that the entry was stored (rule 20).
	ErrDropped = errors.New("chat: dropped")
	// ErrNoMedia is the error of an Append that refers to an upload that is not there, or not done.
	ErrNoMedia = errors.New("chat: there is no such upload")
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
	// Users returns those of accounts that exist, in any order.
	Users(ctx context.Context, uids []UID) ([]User, error)

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
	// MemberPage returns members behind a join number, in the order of their joining, at most limit. minRole leaves out those below a role.
	MemberPage(ctx context.Context, id ConvID, after uint64, minRole int32, limit int) ([]Member, error)
	// MembersOf returns those of the users that are members now, in no order. CustomOf returns their fields of the app's own, as far as they have any.
	MembersOf(ctx context.Context, id ConvID, uids []UID) ([]Member, error)
	CustomOf(ctx context.Context, id ConvID, uids []UID) (map[UID][]byte, error)
	// GroupsOf returns the groups that a user is a member of, ascending.
	GroupsOf(ctx context.Context, uid UID) ([]GroupOf, error)
	// InGroup returns those of the users who are members of a group, in no order, also if it is dissolved.
	InGroup(ctx context.Context, id ConvID, uids []UID) ([]GroupOf, error)
	// GroupInfo returns ErrNotFound if none was put.
	GroupInfo(ctx context.Context, id ConvID) (GroupInfo, error)
	// Attributes returns those of a group, ordered by key, with the version that they have together.
	Attributes(ctx context.Context, id ConvID) (ver uint64, list []Attribute, err error)
	// AddressedTo returns which of the targeted entries of the closed range a user is an addressee of, ascending.
	AddressedTo(ctx context.Context, uid UID, id ConvID, from, to uint64) ([]uint64, error)
	// GroupRequests returns the requests to groups in which a user is owner or admin, and invitations of the user, that were made before a time, newest
	// first, at most limit and those of the same time as the last of them. GroupRequestsSince counts the unanswered ones that were made after a time.
	GroupRequests(ctx context.Context, uid UID, before int64, limit int) ([]GroupRequest, error)
	GroupRequestsSince(ctx context.Context, uid UID, after int64) (int, error)

	// Append queues an entry for the next group commit and returns without waiting for it, but blocks while the queue is full. Entries of one
	// conversation that one goroutine appends get rising numbers in the order of the calls. done is called exactly once, in commit order, on the
	// store's delivery goroutine (it must not block on the store): with the entry as stored, with dup set if its key was stored before (the first
	// result), or with an error, and then nothing is stored: that of its Rules, for example, or ErrNoMedia. ErrNotFound: no such conversation, it is dissolved, or it is C2C and the sender is
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
	// Profiles returns those of accounts that were ever set, in any order.
	Profiles(ctx context.Context, uids []UID) ([]Profile, error)
	// Fanouts returns some of the changes of profiles that are not told to all friends yet, at most limit.
	Fanouts(ctx context.Context, limit int) ([]Fanout, error)
	// Media returns an upload with its files; ErrNotFound if there is none.
	Media(ctx context.Context, id string) (Media, []MediaPart, error)
	// OldMedia returns the ids of uploads whose Until has come, the oldest first, at most limit. OpenMedia counts those that are not done and go on.
	OldMedia(ctx context.Context, now int64, limit int) ([]string, error)
	OpenMedia(ctx context.Context, now int64) (int, error)
	// OpenMediaOf returns the ids of a user's uploads that are not done and were made before a time, the oldest first, at most limit.
	OpenMediaOf(ctx context.Context, uid UID, before int64, limit int) ([]string, error)
	// BlobFile returns the name of the file with a hash; ErrNotFound if there is none.
	BlobFile(ctx context.Context, hash string) (string, error)
	// BlobFolder returns the id of the folder with the files. It is that of the call if the store had none.
	BlobFolder(ctx context.Context, id string) (string, error)
	// NewBlobFolder puts another folder in the place of the present one, and forgets all media.
	NewBlobFolder(ctx context.Context, id string) error
	// Sessions returns the rows of a user's devices.
	Sessions(ctx context.Context, uid UID) ([]Session, error)

	// OutboxLanes returns the lanes above one that have something in the outbox, ascending, at most limit. Outbox returns what is in a lane, in its
	// order, at most limit: what is committed to a lane later has a higher id than all that was returned. OutboxOld returns what was written before a
	// time.
	OutboxLanes(ctx context.Context, after UID, limit int) ([]UID, error)
	Outbox(ctx context.Context, lane UID, limit int) ([]Outgoing, error)
	OutboxOld(ctx context.Context, before int64, limit int) ([]Outgoing, error)
	// OutboxSize returns how much is in a lane.
	OutboxSize(ctx context.Context, lane UID) (int, error)

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
	// PutConv stores everything except Seq, Rev, the indexes and the times, which only Append and AddChange move, and Members. The change of a group is seen
	// in Changed.
	PutConv(c Conv) error
	Member(id ConvID, uid UID) (Member, error)
	// PutMember stores a row, raising Row and Changed.
	PutMember(m Member) (Member, error)
	// Pinned counts the user's pinned rows.
	Pinned(uid UID) (int, error)
	// Delete records that the user has deleted messages for themselves; one that was deleted before is not an error.
	Delete(id ConvID, uid UID, seqs []uint64) error
	// Join opens a period from the current head and sets read = head; options, role, name card and mute are as for a new member. Leave closes the period
	// at the head. Both raise MemberSet and Policy.
	Join(id ConvID, uid UID) (Member, error)
	Leave(id ConvID, uid UID) (Member, error)
	Periods(id ConvID, uid UID) ([]Period, error)
	// Group returns the newest group of an id and holds it. Until the end of the transaction, nobody else creates a group of the id.
	Group(group string) (Conv, error)
	// MemberPage is that of Store.
	MemberPage(id ConvID, after uint64, minRole int32, limit int) ([]Member, error)
	// GroupCount counts the groups that a user is a member of.
	GroupCount(uid UID) (int, error)
	// LiveRooms counts the live rooms that are not dissolved: all, and those of an owner. Until the end of the transaction, nobody else counts them.
	LiveRooms(owner UID) (all, own int, err error)
	// GroupInfo returns ErrNotFound if none was put. Custom returns a member's fields of the app's own, nil if there are none.
	GroupInfo(id ConvID) (GroupInfo, error)
	PutGroupInfo(g GroupInfo) error
	Custom(id ConvID, uid UID) ([]byte, error)
	PutCustom(id ConvID, uid UID, body []byte) error
	// Attributes returns those of a group, ordered by key.
	Attributes(id ConvID) ([]Attribute, error)
	PutAttribute(id ConvID, a Attribute) error
	DropAttribute(id ConvID, key string) error
	// OpenRequest returns the unanswered request or invitation of a user, ErrNotFound if there is none, GroupRequest one by its id. PutGroupRequest stores
	// one; ID 0 is a new one.
	OpenRequest(id ConvID, uid UID, invitation bool) (GroupRequest, error)
	GroupRequest(id int64) (GroupRequest, error)
	PutGroupRequest(r GroupRequest) error
	// Addressees returns whom a targeted entry is addressed to.
	Addressees(id ConvID, seq uint64) ([]UID, error)
	// Mentions are those of HeadRow above a seq.
	Mentions(id ConvID, uid UID, above uint64) ([]Mention, error)
	// Back is that of HeadRow above a seq.
	Back(id ConvID, uid UID, above uint64) (bool, error)
	// Append assigns a tip its number in the log of a group and stores it: an entry that is nobody's (Sender 0) and does not count. Its key is assigned, too.
	Append(e Entry) (Stored, error)
	// Entry returns one entry of a log.
	Entry(id ConvID, seq uint64) (Stored, error)
	// SetEntry stores status, version, revoker, reason and body of an entry; a status of revoked withdraws a countable one from unread numbers, and ends the uploads
	// that no other entry refers to.
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
	// MediaUse is what a user, whose row the caller holds, has uploaded, in all and since a time, or up to an hour longer. SpendMedia adds bytes that arrived
	// and were thrown away. ForgetMediaUse forgets what was uploaded in the hours before a time, which counts in all nevertheless.
	MediaUse(uid UID, since int64) (MediaUse, error)
	SpendMedia(uid UID, bytes int64) error
	ForgetMediaUse(before int64) error
	// AddMedia stores a new upload, with the time of the transaction.
	AddMedia(m Media) error
	// EndMedia makes an upload done, until a time, with files that are in the folder. It returns the names of files to delete: those that are there twice.
	// ErrNotFound: there is no such upload that is open.
	EndMedia(id string, until int64, parts []MediaPart) (twice []string, err error)
	// DropMedia deletes an upload that ends by a time; ErrNotFound if there is none, or if an entry refers to it and its end has not come. Files that nothing else
	// refers to are unused from then on. What its owner has uploaded since a time includes spent bytes of it, or all if it is done.
	DropMedia(id string, by, spent int64) error
	// DropBlobs forgets files that are unused since before a time, at most limit. It returns their names, which are never used again.
	DropBlobs(before int64, limit int) (files []string, err error)
	// AddOutbox writes to the outbox, with the time of the transaction and a new id; it holds the lane's account or conversation. DropOutbox deletes what was received.
	AddOutbox(o Outgoing) error
	DropOutbox(ids []int64) error
	Sessions(uid UID) ([]Session, error)
	PutSession(s Session) error
	// DropSessions deletes the rows of devices of a user.
	DropSessions(uid UID, devices []string) error
	// Sent returns an operator's call, ErrNotFound if none is kept. LastSent returns the newest client time of those of a sender and random, 0 if
	// there is none. PutSent keeps one, and deletes a few of those whose arrival and client time are both before a time. The caller holds the
	// sender's row.
	Sent(sender UID, random uint32, seq uint64) (Sent, error)
	LastSent(sender UID, random uint32) (uint64, error)
	PutSent(s Sent, before int64) error
	// Done returns a call that is done, or a part of it, ErrNotFound if none is kept, and keeps it from now on. PutDone keeps one that is done now, and deletes a
	// few of those from before a time, and of the oldest ones of the account beyond a number. If the call is kept already, the Update returns ErrDone. The
	// caller holds the account's row.
	Done(uid UID, run, call, part uint64) (Done, error)
	PutDone(d Done, before int64, most int) error
	// AfterCommit registers f to be called once after the commit, on the delivery goroutine and in commit order with the done functions of Append. A
	// function registered by a run of fn that was repeated or undone is forgotten. f must not block on the store.
	AfterCommit(f func())
}
