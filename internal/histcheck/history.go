// Package histcheck runs random histories of clients against a server whose links and process fail, takes down every call and every
// callback, and checks that what was heard is what the rules of docs/sync.md promise.
//
// [Run] makes a history, [Check] judges it. The sequence of operations is a function of the seed; how they interleave is up to the
// scheduler.
package histcheck

import (
	"fmt"
	"sync"

	"github.com/tidings-im/tidings/im"
)

// Kinds of records. Those in lower case are callbacks.
const (
	New      = "new"
	Updated  = "updated"
	Revoked  = "revoked"
	Receipt  = "receipt"
	Add      = "add"
	Update   = "update"
	Delete   = "delete"
	Start    = "start"
	Finish   = "finish"
	Total    = "total"
	Network  = "network"
	Kicked   = "kicked"
	Expired  = "expired"
	Answer   = "answer" // of a Func call
	Opened   = "OPENED"
	Closing  = "CLOSING"
	Closed   = "CLOSED"
	Calling  = "CALL"
	Returned = "RETURN" // of a call that blocks
)

// Record is one line of what a device did and heard.
type Record struct {
	Run  int // of the device's client; raised by each open
	Kind string
	Call int    // number of the call, unique in the device
	Op   string // of a call
	Conv string
	Seq  uint64
	Text string
	From string // sender, or who recalled
	ID   string
	Self bool
	N    int    // unread, total, status
	Time uint64 // seconds
	Info string // a conversation as it was told, encoded
	Code int32  // of an answer
}

func (r Record) String() string {
	return fmt.Sprintf("run %d %-8s call=%d op=%s conv=%s seq=%d text=%q from=%s n=%d code=%d", r.Run, r.Kind, r.Call, r.Op, r.Conv, r.Seq, r.Text, r.From, r.N, r.Code)
}

// Device is one folder of one user, through all runs of its client.
type Device struct {
	Name, User string
	// First says that the device was there before the first message, so that everything is news to it.
	First bool

	mu      sync.Mutex
	Records []Record
	news    chan struct{}

	Sends []*Send
	// Final is how the device stood when everything had come to rest; nil if it was never looked at.
	Final *Final
}

// Send is one message that a device tried to send.
type Send struct {
	Device  *Device
	Run     int
	Call    int
	Conv    string
	Text    string
	ID      string // as the call said, or as it was answered
	Answers int
	Code    int32 // 0: acknowledged
	Seq     uint64
}

// Final is what a device answers about itself, and what the server said at that time.
type Final struct {
	Server  *Audit
	History map[string][]Item // newest first, as listed
	Convs   map[string]*im.ConvInfo
	Total   int
	Trouble string // what was not as it should be when patience ran out
}

// Item is one message of a listing.
type Item struct {
	Seq              uint64
	Sender, Text, ID string
	Status           im.MessageStatus
	Read, PeerRead   bool
}

// Log is a conversation as the server gives it to one user.
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
	Seed    uint64
	Devices []*Device
	Users   []string
	// Server is the last audit.
	Server *Audit
	// Violations that were noticed while it ran.
	Violations []string

	mu sync.Mutex
}

func (h *History) violation(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Violations = append(h.Violations, fmt.Sprintf(format, args...))
}

func (d *Device) add(rs ...Record) {
	d.mu.Lock()
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
