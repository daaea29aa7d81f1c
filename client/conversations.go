package client

import (
	"errors"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// conversations is the book of the user's conversations and of the messages in them.
type conversations struct {
	*engine.Engine
	c        *Client
	byKey    map[Conv]*conv
	byID     map[int64]*conv
	lastConv int64 // the last id of one
	sends    map[sendKey]*outgoing
	uploads  map[uploadKey]*waiting // sends whose files are being uploaded
	lastSub  int64                  // the last place that was given to a message of this device
	// changed: they may differ from what was announced. lateReceipts wait for their time.
	changed      map[*conv]bool
	lateReceipts map[*conv]time.Time
	telling      *stateChange // being reported to the application
	total        int          // the last one that was announced
}

func newConversations(c *Client) *conversations {
	b := &conversations{c: c, sends: map[sendKey]*outgoing{}, uploads: map[uploadKey]*waiting{}}
	b.clear()
	return b
}

func (b *conversations) clear() {
	b.byKey, b.byID, b.changed, b.lateReceipts, b.lastConv = map[Conv]*conv{}, map[int64]*conv{}, map[*conv]bool{}, map[*conv]time.Time{}, 0
}

// Load reads all conversations; of messages the ids that owed events still name.
func (b *conversations) Load() error {
	b.clear()
	if b.Engine == nil || b.DB == nil {
		return nil
	}
	total, e1 := b.DB.MetaInt("total")
	rows, e2 := b.DB.Convs()
	owed, e3 := b.DB.Owed()
	if err := errors.Join(e1, e2, e3, b.DB.LoadLast()); err != nil {
		return err
	}
	for _, o := range owed { // the ids of messages that it names are not given to others
		if ev, ok := owedFrom(o).(*owedRows); ok {
			for _, id := range ev.ids {
				b.DB.Reserve(id)
			}
		}
	}
	b.total = int(total)
	for _, r := range rows {
		cv := &conv{ConvRow: *r, attrRead: r.AttrTold}
		if len(r.Membership) > 0 {
			cv.group = &im.Head{}
			if err := im.Decode(r.Membership, cv.group); err != nil {
				return err
			}
		}
		cv.headSeq, cv.headRev, cv.headOthers, cv.headOwn, cv.shown = cv.SyncedTo, cv.Rev, cv.Others, cv.Own, cv.ToldUnread
		b.byKey[cv.key()], b.byID[cv.ID] = cv, cv
		if cv.Untold {
			b.changed[cv] = true
		}
		b.lastConv = max(b.lastConv, cv.ID)
	}
	return nil
}

// NewStore starts a new log of each conversation.
func (b *conversations) NewStore() {
	for _, cv := range b.byKey {
		b.newEra(cv)
	}
}

// Connected asks at a login about the sends that an earlier run left open.
func (b *conversations) Connected(first bool) {
	if first {
		b.settle()
	}
}

// Disconnected has nothing to forget: what was known of the logs' ends stays true.
func (b *conversations) Disconnected() {}

// Push handles entries, changes and heads. It is a hint: what does not follow the last number starts a pull.
func (b *conversations) Push(f *im.Frame) error {
	if b.c.Status() != LoggedIn {
		return nil
	}
	switch f.Method {
	case im.Method_ENTRY:
		p := &im.EntryPush{}
		if err := im.Decode(f.Body, p); err != nil {
			return err
		}
		if p.Conv != nil && p.Entry != nil {
			b.pushedEntry(p)
		}
	case im.Method_CHANGE:
		p := &im.ChangePush{}
		if err := im.Decode(f.Body, p); err != nil {
			return err
		}
		if p.Conv != nil && p.Change != nil && p.Change.Rev > 0 { // those of live rooms have none
			b.pushedChange(Conv{p.Conv.Type, p.Conv.Id}, p.Epoch, p.Change)
		}
	case im.Method_HEAD:
		h := &im.Head{}
		if err := im.Decode(f.Body, h); err != nil {
			return err
		}
		b.applyHead(h)
	}
	return nil
}

// late handles the reply to a call that has ended: the reply to a send still contains its entry.
func (b *conversations) late(f *im.Frame) {
	if f.Method == im.Method_SEND && f.Code == 0 && b.c.Status() == LoggedIn {
		b.sentLate(f.Body)
	}
}

// Flush writes the rows that the batch has changed.
func (b *conversations) Flush() {
	for cv := range b.changed {
		if !cv.Untold {
			cv.Untold, cv.dirty = true, true
		}
	}
	for _, cv := range b.byKey {
		if cv.dirty {
			if cv.group != nil {
				body, err := cv.group.MarshalVT()
				if !b.Check(err) {
					return
				}
				cv.Membership = body
			}
			if !b.Check(b.DB.PutConv(&cv.ConvRow)) {
				return
			}
			cv.dirty = false
		}
	}
}
