// Package histcheck runs random histories of clients against a server whose links and process fail, records every call and every callback, and checks
// that the callbacks are what the rules of docs/sync.md promise.
//
// [Run] makes a history, [Check] judges it. The sequence of operations is a function of the seed; how they interleave is up to the scheduler. Some
// devices run in processes of their own, which are killed: a program that uses the package must call [ChildMain] first of all.
//
// A message is identified, whatever happens to its content, by its tag: message_cloud_custom_str, which nothing here rewrites.
package histcheck

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tidings-im/tidings/im"
)

// Kinds of records. Those in lower case are callbacks.
const (
	New     = "new_message"
	Updated = "updated"
	Revoked = "revoked"
	Receipt = "receipt"
	Add     = "add"
	Update  = "update"
	Delete  = "delete"
	Start   = "sync_start"
	Finish  = "sync_finish"
	Total   = "total_unread"
	Network = "network"
	Kicked  = "kicked_offline"
	Expired = "user_sig_expired"
	Answer  = "answer" // of a Func call
	Opened  = "OPENED"
	Tip     = "group_tip"
	// Attributes are all attributes of a group, after a change.
	Attributes = "group_attributes"
	Slow       = "SLOW" // the next N callbacks take some time
	Closing    = "CLOSING"
	Closed     = "CLOSED"
	Died       = "DIED" // the process was killed
	Calling    = "CALL"
	Returned   = "RETURN" // of a call that blocks
)

// Codes of calls that ended without an answer.
const (
	codeNone     = -1 // an error without a TIM code
	codeKilled   = -2 // the process of the device was killed in the meantime
	codePatience = -3
)

// Record is one line of what a device did and got.
type Record struct {
	At      int64 // place among the records of all devices
	Run     int   // of the device's client; raised by each open
	Batch   int   // of a callback: which one of the run
	Kind    string
	Call    int    // number of the call, unique in the device
	Op      string // of a call
	Conv    string
	Seq     uint64
	Seqs    []uint64 // of a call that names several messages, or of a listing
	Tags    []string // what these are, in a group
	Version uint64   // of a message
	Text    string
	Tag     string // of a message
	From    string // sender, or who recalled
	ID      string
	Self    bool
	Online  bool   // an online-only message
	N       int    // unread, total, status, a setting
	Time    uint64 // seconds
	Info    string // a conversation as it was reported, encoded
	Code    int32  // of an answer
	Msg     []byte // a message, encoded
}

func (r Record) String() string {
	return fmt.Sprintf("@%d run %d.%d %-8s call=%d op=%s conv=%s seq=%d%v v%d tag=%q text=%q from=%s n=%d code=%d", r.At, r.Run, r.Batch, r.Kind, r.Call, r.Op, r.Conv, r.Seq, r.Seqs,
		r.Version, r.Tag, r.Text, r.From, r.N, r.Code)
}

// callback reports whether the record is a callback, not a call.
func (r *Record) callback() bool { return r.Batch != 0 }

// Device is one folder of one user, through all runs of its client; or the operator, who has no user.
type Device struct {
	Name, User string
	// First means that the device existed before the first message, so that everything is news to it.
	First bool

	mu      sync.Mutex
	Records []Record
	news    chan struct{}

	Sends []*Send
	Kept  []*Kept
	// Final is the device's state when everything had come to rest; nil if it was never examined.
	Final *Final
	// Relations are what the device lists of them at the end of a history of relations, and has on its disk.
	Relations *Relations
	// Groups are what the device has of them at the end of a history of groups, by their ids.
	Groups map[string]*Listed
}

// Send is one message that a device, or the operator for a user, tried to send.
type Send struct {
	Device    *Device
	User      string // who it is from
	Run       int
	Call      int
	Conv      string
	Tag       string
	Verdict   Verdict // of the webhook
	Online    bool
	Uncounted bool
	// Mentions are the users whom a message to a group mentions, Only those who get it if not all members do.
	Mentions, Only []string
	Func           bool   // its answer arrived among the callbacks
	ID             string // as the call returned it, or as it was answered
	Answers        int
	Code           int32 // 0: acknowledged
	Seq            uint64
	At             int64 // when it was called
}

// Kept is a message that was put into the history of one device only.
type Kept struct {
	Run      int
	Conv     string
	Tag      string
	Imported bool
	Code     int32
	At       int64
}

// Final is what a device reports about itself, and what the server reported at that time.
type Final struct {
	Server  *Audit
	History map[string][]Item // newest first, as listed
	Convs   map[string]*im.ConvInfo
	Order   []string
	Total   int
	Trouble string // what was still wrong when the patience ran out
}

// Item is one message of a listing.
type Item struct {
	Seq                   uint64
	Version               uint64
	Sender, Text, Tag, ID string
	Status                im.MessageStatus
	Read, PeerRead        bool
}

// Log is a conversation as the server gives it to one user: without what the user has cleared and deleted.
type Log struct {
	Head    *im.Head
	Entries []*im.Entry
	Changes []*im.Change
}

// Audit is all of the server: user, then conversation.
type Audit struct {
	Logs map[string]map[string]*Log
}

// History is everything that happened.
type History struct {
	Seed     uint64
	Devices  []*Device
	Operator *Device
	Users    []string
	// Server is the last audit, Audits are all of them.
	Server *Audit
	Audits []*Audit
	// Violations that were noticed while it ran.
	Violations []string
	// Hooked means that a webhook was asked about the messages.
	Hooked bool
	// Ops, Bounces and Kills are how many operations were made, and how often the server and devices were killed.
	Ops, Bounces, Kills int

	// Relations are what the server stores at the end of a history of relations, by user, and Notices what the webhook was notified of. Feeds are the
	// entries of the users' feeds from the first one on; that of a user is absent if it was cut off before it was read.
	Relations map[string]*Relations
	Notices   []Notice
	Feeds     map[string][]*im.Relation
	// Groups are all groups of a history of groups as the server stores them in the end, in the order in which they were made. GroupViews are what the
	// server gives to each user of them, by epoch.
	Groups []*Group
	// Heard are messages that devices must have heard in the live room.
	Heard []Heard
	// Rooms is how many live rooms there were, one after the other.
	Rooms      int
	GroupViews map[string]map[uint64]*Log

	mu    sync.Mutex
	clock atomic.Int64
	// seen is every message that any device has seen, by place: what is known of one that both people have deleted.
	seen map[place]*im.Message
}

// place is a number of the log of two people.
type place struct {
	pair string
	seq  uint64
}

// pairOf returns the name of the log of two people.
func pairOf(a, b string) string { return min(a, b) + "|" + max(a, b) }

func (h *History) violation(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Violations = append(h.Violations, fmt.Sprintf(format, args...))
}

// met records that a device of user has a message.
func (h *History) met(user string, m *im.Message) {
	if m.GetSeq() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen == nil {
		h.seen = map[place]*im.Message{}
	}
	if k := (place{pairOf(user, m.ConvId), m.Seq}); h.seen[k] == nil {
		h.seen[k] = m
	}
}

func (h *History) metAt(k place) *im.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen[k]
}

// everybody returns all devices that made calls.
func (h *History) everybody() []*Device {
	if h.Operator == nil {
		return h.Devices
	}
	return append(slices.Clone(h.Devices), h.Operator)
}

// add appends records.
func (d *Device) add(h *History, rs ...Record) {
	d.mu.Lock()
	for i := range rs {
		rs[i].At = h.clock.Add(1)
	}
	d.Records = append(d.Records, rs...)
	d.mu.Unlock()
	select {
	case d.news <- struct{}{}:
	default:
	}
}

func (d *Device) records() []Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.Records[:len(d.Records):len(d.Records)]
}
