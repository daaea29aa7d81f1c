package chat

import "github.com/tidings-im/tidings/im"

// What a Store keeps, and how it returns it.

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
	// Flags are what the two of a C2C conversation have with each other, or MuteAll. Every change of them raises Policy.
	Flags ConvFlags

	// Of a group. Owner is 0 if there is none. InfoSeq is raised by every change of its information, AttrVer by every change of its attributes. Members
	// is how many are in it: only Join and Leave move it.
	Type             im.GroupType
	Owner            UID
	InfoSeq, AttrVer uint64
	Members          uint64
}

// ConvFlags are what may be sent in a conversation depends on.
type ConvFlags uint32

const (
	ABlocksB ConvFlags = 1 << iota
	BBlocksA
	AHasB // B is in A's list of friends
	BHasA
	// MuteAll: in the group, only the owner and admins may send.
	MuteAll
)

// Period is a time of membership: entries with From < seq <= To are visible, and changes with FromRev < rev <= ToRev. To and ToRev are NoEnd while it
// lasts.
type Period struct{ From, To, FromRev, ToRev uint64 }

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
	// Hidden means that the user has deleted the conversation: it is not in their list while nothing is above ClearedSeq. In a live room, which is in no list, it
	// means that they were removed and have not joined since.
	Hidden bool
	Role   int32
	// Left means that a group's membership has ended; the row stays for its periods.
	Left bool
	// Joined is the number of the present or last membership in the order of all joins of the group, JoinedAt its time. Until MuteUntil, a time of the
	// store's clock, the member may not send.
	Joined              uint64
	JoinedAt, MuteUntil int64
	NameCard            string
}

// Roles of members; the numbers are im.GroupMemberRole's.
const (
	RoleMember = int32(im.GroupMemberRole_GROUP_MEMBER_ROLE_NORMAL)
	RoleAdmin  = int32(im.GroupMemberRole_GROUP_MEMBER_ROLE_ADMIN)
	RoleOwner  = int32(im.GroupMemberRole_GROUP_MEMBER_ROLE_OWNER)
)

// Standing is what a sender is in a group. Row is that of their row, from which NameCard is.
type Standing struct {
	In        bool
	Role      int32
	MuteUntil int64
	NameCard  string
	Row       uint64
}

// standing is what a member's row says.
func (m *Member) standing() Standing {
	return Standing{In: !m.Left, Role: m.Role, MuteUntil: m.MuteUntil, NameCard: m.NameCard, Row: m.Row}
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
	// Targeted means that only the sender has it, and those in Aim.To who are members where it gets its number.
	Targeted bool
	// Aim is nil if the entry names nobody. It is stored with the entry; reads do not return it.
	Aim *Aim
	// Attached is nil if the entry refers to no upload. It is stored with the entry; reads do not return it.
	Attached *Attached
	// Admin is the account of the operator who sends it to a group for the sender, "" if nobody does. It is stored with the entry, and only Log returns it.
	Admin string
	// Body is the wire form of im.Message as it is to be stored; Hash is that of the body as the client sent it. Nobody writes to a Body once it was
	// given to Append: the store and the caller share it.
	Body []byte
	Hash uint64
	// Rules are what the store checks an entry that is new against, with the conversation as it is where the entry gets its number; nil: nothing.
	Rules *SendRules
}

// Aim is whom an entry in a group names, members or not: the addressees of a targeted one, and whom it mentions, where 0 is all members.
type Aim struct{ To, Mentions []UID }

// Attached are the uploads that an entry refers to. They are kept while the entry stands, at least for Keep milliseconds if that is not 0, and else for good.
type Attached struct {
	// IDs must be there. May are those that are named by what was sent before, in merged messages: those that are not there are left out.
	IDs, May []string
	Keep     int64
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
	// Standing is what the sender was in the group where the entry got its number. Only the done function of Append gets it, for an entry that is new.
	Standing Standing
	// MemberSet is the group's, as Append found it there.
	MemberSet uint64
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
	// Body is what a change that is not about a message carries.
	Body []byte
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
	// ID rises along a lane and is never used twice. Lane is the account whose list or profile has changed, or LaneOf a conversation.
	ID   int64
	Lane UID
	Time int64
	// Platform and Addr are those of the call that caused it, as the request names them.
	Platform, Addr string
	// Command is the name of the webhook, Body the body of the request in JSON.
	Command string
	Body    []byte
}

// Mention is a mention in an entry of a group; UID 0 is all members.
type Mention struct {
	Seq uint64
	UID UID
}

// GroupInfo is the information about a group that a send need not know: im.GroupState in wire form, and the InfoSeq that it was written with.
type GroupInfo struct {
	Conv ConvID
	Seq  uint64
	Body []byte
}

// Attribute is one of a group.
type Attribute struct{ Key, Value string }

// GroupRequest is a request to join a group, or an invitation that waits for consent.
type GroupRequest struct {
	ID         int64
	Conv       ConvID
	Invitation bool
	// UID is who is to become a member, Inviter who has invited them.
	UID, Inviter UID
	// Time is when it was made, or made again: milliseconds.
	Time    int64
	Wording string
	// Handler is who has answered it, 0 if nobody has.
	Handler  UID
	Accepted bool
	Answer   string
}

// GroupOf is a group that a user is a member of. JoinedAt is since when.
type GroupOf struct {
	UID       UID
	Conv      ConvID
	MemberSet uint64
	Type      im.GroupType
	Owner     UID
	JoinedAt  int64
	Joined
}

// Joined is where a user's present membership of a group begins, in its log and in its rev line. Again means that they were a member before.
type Joined struct {
	Seq, Rev uint64
	Again    bool
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
	Sender UID
	Random uint32
	Seq    uint64
	// ClientTime is the message's, whose key in the log it is a part of. Hash distinguishes other messages. At is when the call arrived.
	ClientTime, Hash uint64
	At               int64
}

// Done is a call that has changed something, or the part of it that was done in one Update.
type Done struct {
	UID UID
	// Run is what the client has drawn, Call the id of the frame. Part is 0 for the end of the call, from 1 for what came before it.
	Run, Call, Part uint64
	// Hash distinguishes other calls. At is when it was done or asked about last, by the store's clock.
	Hash uint64
	At   int64
	// Reply is the message of an im.Frame: the code and text of a refusal, or the body of the reply; of a part, its results as an im.FriendResults.
	Reply []byte
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
	// Mentions of the user, and of all by others, above ReadSeq, ascending: at most 100.
	Mentions []Mention
	// Back means that something is above ClearedSeq that the user has: a message to others is not, nor one of their own that is Unseen. It is read if Mine.Hidden
	// is set.
	Back bool
}
