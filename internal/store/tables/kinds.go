package tables

import (
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// The rows of the tables. A struct here that has the same fields as one of package chat is converted to it as a whole, so a field that only one of them has does not
// compile.

const (
	// FlagCountable is the bit of entry.flags of a message that counts as unread, FlagTargeted that of one that only some members have, FlagUnseen that of one that
	// its sender does not have.
	FlagCountable = 1
	FlagTargeted  = 2
	FlagUnseen    = 4
	// StatusRevoked is im's MESSAGE_STATUS_REVOKED.
	StatusRevoked = 6
	// KindModify is im's CHANGE_MODIFY.
	KindModify = 2
)

type userRow struct {
	UID        chat.UID `sql:"uid"`
	Name       string   `sql:"name"`
	Generation uint64   `sql:"generation"`
	Feed       uint64   `sql:"feed"`
	ValidFrom  int64    `sql:"valid_from"`
}

// User is the kind of rows of users.
var User = newKind(func(r *userRow) chat.User { return chat.User(*r) })

// ConvRow is a row of conv.
type ConvRow struct {
	ID        chat.ConvID `sql:"id"`
	Kind      chat.Kind   `sql:"kind"`
	A         chat.UID    `sql:"a"`
	B         chat.UID    `sql:"b"`
	Group     string      `sql:"grp"`
	Seq       uint64      `sql:"seq"`
	Rev       uint64      `sql:"rev"`
	Time      int64       `sql:"time"`
	Changed   int64       `sql:"changed"`
	Index     uint64      `sql:"idx"`
	OwnA      uint64      `sql:"own_a"`
	OwnB      uint64      `sql:"own_b"`
	Policy    uint64      `sql:"policy"`
	MemberSet uint64      `sql:"member_set"`
	Dissolved bool        `sql:"dissolved"`

	Flags chat.ConvFlags `sql:"flags"`

	Type    im.GroupType `sql:"type"`
	Owner   chat.UID     `sql:"owner"`
	InfoSeq uint64       `sql:"info_seq"`
	AttrVer uint64       `sql:"attr_ver"`
	Members uint64       `sql:"members"`
}

// Conv is the kind of rows of conv.
var Conv = newKind(func(r *ConvRow) chat.Conv { return chat.Conv(*r) })

type memberRow struct {
	Conv       chat.ConvID `sql:"conv"`
	UID        chat.UID    `sql:"uid"`
	Row        uint64      `sql:"row_no"`
	Changed    int64       `sql:"changed"`
	ReadSeq    uint64      `sql:"read_seq"`
	ReadOthers uint64      `sql:"read_others"`
	ReadTime   int64       `sql:"read_time"`
	ReadAt     int64       `sql:"read_at"`
	ClearedSeq uint64      `sql:"cleared_seq"`
	RecvOpt    int32       `sql:"recv_opt"`
	Pinned     bool        `sql:"pinned"`
	Hidden     bool        `sql:"hidden"`
	Role       int32       `sql:"role"`
	Left       bool        `sql:"gone"`
	Joined     uint64      `sql:"joined"`
	JoinedAt   int64       `sql:"joined_at"`
	MuteUntil  int64       `sql:"mute_until"`
	NameCard   string      `sql:"name_card"`
}

var member = newKind(func(r *memberRow) chat.Member { return chat.Member(*r) })

type entryRow struct {
	Conv         chat.ConvID `sql:"conv"`
	Sender       chat.UID    `sql:"sender"`
	ClientTime   uint64      `sql:"client_time"`
	Random       uint32      `sql:"random"`
	Hash         uint64      `sql:"hash"`
	Flags        int64       `sql:"flags"`
	Seq          uint64      `sql:"seq"`
	Time         int64       `sql:"time"`
	Index        uint64      `sql:"idx"`
	Own          uint64      `sql:"own"`
	Status       int32       `sql:"status"`
	Version      uint64      `sql:"version"`
	Revoker      chat.UID    `sql:"revoker"`
	RevokeReason string      `sql:"reason"`
	Body         []byte      `sql:"body"`
}

// FlagsOf returns the flags of an entry.
func FlagsOf(e *chat.Entry) (flags int64) {
	if e.Countable {
		flags |= FlagCountable
	}
	if e.Targeted {
		flags |= FlagTargeted
	}
	if e.Unseen {
		flags |= FlagUnseen
	}
	return flags
}

func (r *entryRow) stored() chat.Stored {
	return chat.Stored{
		Entry: chat.Entry{
			Conv: r.Conv, Sender: r.Sender, ClientTime: r.ClientTime, Random: r.Random,
			Body: r.Body, Hash: r.Hash, Countable: r.Flags&FlagCountable != 0, Targeted: r.Flags&FlagTargeted != 0,
		},
		Seq: r.Seq, Time: r.Time, Index: r.Index, OwnIndex: r.Own,
		Status: r.Status, Version: r.Version, Revoker: r.Revoker, RevokeReason: r.RevokeReason,
	}
}

// EntryRow is a row of entry that an Update stores.
type EntryRow struct {
	ID    int64 `sql:"id"`
	Entry entryRow
}

// EntryRowOf returns the row of an entry, without its position.
func EntryRowOf(st *chat.Stored) EntryRow {
	return EntryRow{Entry: entryRow{
		Conv: st.Conv, Sender: st.Sender, ClientTime: st.ClientTime, Random: st.Random, Hash: st.Hash, Flags: FlagsOf(&st.Entry),
		Seq: st.Seq, Time: st.Time, Index: st.Index, Own: st.OwnIndex, Body: st.Body,
	}}
}

// Entry is the kind of rows of entry.
var Entry = newKind((*entryRow).stored)

type sentByRow struct {
	Conv  chat.ConvID `sql:"conv"`
	Seq   uint64      `sql:"seq"`
	Admin string      `sql:"admin"`
}

type logRow struct {
	Pos   int64 `sql:"id"`
	Entry entryRow
	Admin string `sql:"admin"`
}

var logEntry = newKind(func(r *logRow) chat.LogEntry {
	st := r.Entry.stored()
	st.Admin = r.Admin
	return chat.LogEntry{Pos: r.Pos, Stored: st}
})

type changeRow struct {
	Rev      uint64   `sql:"rev"`
	Kind     int32    `sql:"kind"`
	Seq      uint64   `sql:"seq"`
	Time     int64    `sql:"time"`
	Operator chat.UID `sql:"operator"`
	Reason   string   `sql:"reason"`
	Version  uint64   `sql:"version"`
	Body     []byte   `sql:"body"`
}

// change is the kind of a row of change, told the kind of a change with its message.
var (
	change = NewKind[changeRow]()
	told   = newKind(func(r *struct {
		Change changeRow
		Target entryRow `sql:"e"`
	}) chat.Change {
		x := r.Change
		c := chat.Change{Rev: x.Rev, Kind: x.Kind, Seq: x.Seq, Time: x.Time, Operator: x.Operator, Reason: x.Reason, Version: x.Version, Body: x.Body}
		if r.Target.Seq != 0 { // seqs begin at 1
			st := r.Target.stored()
			c.Target = &st
		}
		return c
	})
)

type feedRow struct {
	Seq  uint64 `sql:"seq"`
	Kind int32  `sql:"kind"`
	Body []byte `sql:"body"`
	Time int64  `sql:"time"`
}

var feed = newKind(func(r *feedRow) chat.FeedEntry { return chat.FeedEntry(*r) })

type sessionRow struct {
	UID        chat.UID `sql:"uid"`
	Device     string   `sql:"device"`
	Class      int32    `sql:"class"`
	Platform   int32    `sql:"platform"`
	Generation uint64   `sql:"generation"`
	LoggedIn   bool     `sql:"logged_in"`
	Owed       bool     `sql:"owed"`
	At         int64    `sql:"at"`
}

var session = newKind(func(r *sessionRow) chat.Session { return chat.Session(*r) })

type sentRow struct {
	Sender     chat.UID `sql:"sender"`
	Random     uint32   `sql:"random"`
	Seq        uint64   `sql:"seq"`
	ClientTime uint64   `sql:"client_time"`
	Hash       uint64   `sql:"hash"`
	At         int64    `sql:"at"`
}

var sent = newKind(func(r *sentRow) chat.Sent { return chat.Sent(*r) })

type periodRow struct {
	From    uint64 `sql:"from_seq"`
	To      uint64 `sql:"to_seq"`
	FromRev uint64 `sql:"from_rev"`
	ToRev   uint64 `sql:"to_rev"`
}

var period = newKind(func(r *periodRow) chat.Period { return chat.Period(*r) })

// Number is the kind of rows with a single number, n.
var Number = newKind(func(r *struct {
	N int64 `sql:"n"`
}) int64 {
	return r.N
})

// StandingRow is what a sender is in a group, and their row of sender.
type StandingRow struct {
	Conv      chat.ConvID `sql:"conv"`
	UID       chat.UID    `sql:"uid"`
	Own       uint64      `sql:"own"`
	Last      uint64      `sql:"last"`
	In        bool        `sql:"here"`
	Role      int32       `sql:"role"`
	MuteUntil int64       `sql:"mute_until"`
	NameCard  string      `sql:"name_card"`
	Row       uint64      `sql:"row_no"`
}

// Standing returns what the row says of the membership.
func (r *StandingRow) Standing() chat.Standing {
	return chat.Standing{In: r.In, Role: r.Role, MuteUntil: r.MuteUntil, NameCard: r.NameCard, Row: r.Row}
}

// Standing is the kind of these rows.
var Standing = NewKind[StandingRow]()

// StandingCols are its columns, from a table k of pairs of conversation and user, sender o and member m.
const StandingCols = `k.conv AS conv, k.uid AS uid, coalesce(o.own, 0) AS own, coalesce(o.last, 0) AS last,
	CASE WHEN m.gone = 0 THEN 1 ELSE 0 END AS here, coalesce(m.role, 0) AS role, coalesce(m.mute_until, 0) AS mute_until,
	coalesce(m.name_card, '') AS name_card, coalesce(m.row_no, 0) AS row_no`

// SenderRow is a row of sender: how many countable messages a user has sent to a group, and the seq of the last one.
type SenderRow struct {
	Conv chat.ConvID `sql:"conv"`
	UID  chat.UID    `sql:"uid"`
	Own  uint64      `sql:"own"`
	Last uint64      `sql:"last"`
}

// Sender is the kind of rows of sender.
var Sender = NewKind[SenderRow]()

// DeletedRow is a row of deleted.
type DeletedRow struct {
	UID  chat.UID    `sql:"uid"`
	Conv chat.ConvID `sql:"conv"`
	Seq  uint64      `sql:"seq"`
}
