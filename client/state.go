package client

import (
	"cmp"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/tidings-im/tidings/im"
)

// State events (rule 17): what the application was last told is kept, and the difference is told. They are computed right after a commit, when its
// messages have been posted, and only one set is on its way at a time; what changes meanwhile is told next. What was told is stored after the callbacks returned.

// unread is the number that the formula of rule 7 gives here and now.
func (cv *conv) unread(me string) uint64 {
	if cv.key().Type == im.ConvType_CONV_TYPE_C2C && cv.key().ID == me {
		return 0
	}
	if read := cv.ReadOthers + cv.Withdrawn; cv.Others > read {
		return cv.Others - read
	}
	return 0
}

// counts says whether the conversation is part of the total: receive options 0 and 4.
func (cv *conv) counts() bool { return cv.RecvOpt == 0 || cv.RecvOpt == 4 }

// pinnedSort lifts pinned conversations over all others in the sort key.
const pinnedSort = 1 << 62

// info is the conversation as the application sees it; nil if it is not in its list.
func (c *Client) info(cv *conv) *im.ConvInfo {
	info, _ := c.infoAt(cv)
	return info
}

// infoAt is info with the time of what happened last, in milliseconds: conv_active_time has seconds, and does not tell apart what happened within one.
func (c *Client) infoAt(cv *conv) (*im.ConvInfo, int64) {
	last, behind, err := c.db.Last(&cv.ConvRow)
	if !c.check(err) || cv.Hidden || last == nil && !cv.Listed && (cv.Epoch == 0 || cv.headSeq == 0) {
		return nil, 0
	}
	info := &im.ConvInfo{Id: cv.key().ID, Type: cv.key().Type, UnreadNum: cv.unread(c.cfg.UserID), RecvOpt: cv.RecvOpt, IsPinned: cv.Pinned, ShowName: cv.key().ID}
	at := cv.Time
	if cv.key().Type == im.ConvType_CONV_TYPE_C2C {
		info.C2CReadTimestamp = uint64(cv.ReadTime / 1000)
	} else {
		info.GroupReadSequence = cv.ReadSeq
	}
	if last != nil {
		if m, err := c.view(cv, last); c.check(err) {
			info.IsHasLastmsg, info.LastMsg = true, m
			if at = max(at, last.Time); behind {
				at = last.Time // what came after it does not lift the conversation
			}
		}
	}
	if len(cv.Draft) > 0 {
		if d := (&im.Draft{}); d.UnmarshalVT(cv.Draft) == nil {
			info.IsHasDraft, info.Draft = true, d
			at = max(at, int64(d.EditTime)*1000+999) // it lifts the conversation, also over a message of the same second
		}
	}
	info.ActiveTime = uint64(at / 1000)
	if cv.Pinned {
		info.ActiveTime += pinnedSort
	}
	return info, at
}

// stateChange is one set of state events.
type stateChange struct {
	receipts       []*im.MessageReceipt
	added, updated []*im.ConvInfo
	removed        []*im.ConvInfo
	total          int
	totalChanged   bool
	told           []toldConv
	stage          stage // guarded by Client.mu
}

// stage is how far the callbacks of a set have got. Each may be the last, if the client is closed meanwhile.
type stage int8

const (
	_ stage = iota
	stageReceipts
	stageAdded
	stageUpdated
	stageRemoved
	stageTotal
)

// toldConv is what to keep of a conversation once it was told.
type toldConv struct {
	cv      *conv
	era     int64
	hash    int64
	receipt uint64
	unread  uint64 // its part of the total
	stage   stage  // whose callback tells of it; none if there is only a receipt
}

// byNumber puts conversations into the order in which this device met them, so that what is told together is told in the same order each time.
func byNumber[V any](set map[*conv]V) []*conv {
	return slices.SortedFunc(maps.Keys(set), func(a, b *conv) int { return cmp.Compare(a.ID, b.ID) })
}

// tellState posts the differences, if none are on their way.
func (c *Client) tellState() {
	if c.stateOut || !c.owedDone {
		return
	}
	if len(c.changed) > 0 {
		s := c.stateChange()
		if c.dbErr != nil {
			return // the next commit undoes and starts over
		}
		if len(s.told) > 0 || s.totalChanged {
			c.stateOut = true
			c.postEvent(0, s, 0, func() {
				c.fireState(s)
				c.post(func() { c.stateTold(s) })
			})
			return
		}
	}
	if c.finish && len(c.changed) == 0 {
		c.finish = false
		c.postEvent(0, nil, 0, func() { c.tellConvs(ConvSyncFinish, nil) })
	}
}

func (c *Client) stateChange() *stateChange {
	s := &stateChange{}
	for _, cv := range byNumber(c.changed) {
		if cv.pulling || cv.queued || cv.deferred {
			continue // told when it is complete
		}
		delete(c.changed, cv)
		t := toldConv{cv: cv, era: cv.Era, receipt: cv.Receipt}
		info := c.info(cv)
		if info != nil {
			if cv.counts() {
				t.unread = info.UnreadNum
			}
			t.hash = hashOf(info)
		}
		// A receipt for what has not been applied waits for it (rule 22).
		if cv.PeerSeq > cv.Receipt && cv.PeerSeq <= cv.SyncedTo && c.receiptMay(cv) {
			t.receipt = cv.PeerSeq
			s.receipts = append(s.receipts, &im.MessageReceipt{ConvId: cv.key().ID, ConvType: cv.key().Type, TimeStamp: uint64(cv.PeerTime / 1000), IsPeerRead: true})
		}
		switch {
		case info != nil && cv.Announced == 0:
			t.stage = stageAdded
			s.added = append(s.added, info)
		case info == nil && cv.Announced != 0:
			t.stage = stageRemoved
			s.removed = append(s.removed, &im.ConvInfo{Id: cv.key().ID, Type: cv.key().Type})
		case info != nil && cv.Announced != t.hash:
			t.stage = stageUpdated
			s.updated = append(s.updated, info)
		case t.receipt == cv.Receipt:
			if cv.Untold {
				cv.Untold, cv.dirty = false, true
			}
			continue
		}
		s.told = append(s.told, t)
	}
	for _, t := range s.told {
		t.cv.shown = t.unread
	}
	for _, cv := range c.convs {
		s.total += int(cv.shown)
	}
	s.totalChanged = s.total != c.total
	return s
}

// receiptMay says whether a receipt of the conversation may be told now: one in Limits.Receipts, with the latest position (rule 22). One that comes too
// early is looked at again when its time has come.
func (c *Client) receiptMay(cv *conv) bool {
	now := time.Now()
	due := cv.receiptAt.Add(c.cfg.Limits.Receipts)
	if now.Before(due) {
		c.lateReceipts[cv] = due
		return false
	}
	cv.receiptAt = now
	delete(c.lateReceipts, cv)
	return true
}

func hashOf(info *im.ConvInfo) int64 {
	b, err := info.MarshalVT()
	if err != nil {
		return 1
	}
	h := fnv.New64a()
	h.Write(b)
	if v := int64(h.Sum64()); v != 0 {
		return v
	}
	return 1
}

// fireState calls the application: receipts, conversations, total. It ends early when the client is closed.
func (c *Client) fireState(s *stateChange) {
	for _, step := range []struct {
		stage stage
		tell  func()
	}{
		{stageReceipts, func() {
			if len(s.receipts) > 0 {
				c.ev.tellReceipts(s.receipts)
			}
		}},
		{stageAdded, func() { c.tellConvs(ConvAdd, s.added) }},
		{stageUpdated, func() { c.tellConvs(ConvUpdate, s.updated) }},
		{stageRemoved, func() { c.tellConvs(ConvDelete, s.removed) }},
		{stageTotal, func() {
			if s.totalChanged {
				c.ev.tellTotalUnread(s.total)
			}
		}},
	} {
		if !c.enterStage(s, step.stage) {
			return
		}
		step.tell()
	}
}

func (c *Client) enterStage(s *stateChange, n stage) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Load() {
		return false
	}
	s.stage = n
	return true
}

func (c *Client) tellConvs(kind ConvEvent, list []*im.ConvInfo) {
	framing := kind == ConvSyncStart || kind == ConvSyncFinish
	if framing || len(list) > 0 {
		c.ev.tellConversations(kind, list)
	}
}

// stateTold keeps what the application has been told: the callbacks that have begun.
func (c *Client) stateTold(s *stateChange) {
	c.stateOut = false
	c.mu.Lock()
	c.telling = nil
	got := s.stage
	c.mu.Unlock()
	if c.db == nil {
		return
	}
	for _, t := range s.told {
		if c.convs[t.cv.key()] != t.cv {
			continue
		}
		t.cv.dirty = true
		if got >= t.stage {
			t.cv.Announced, t.cv.ToldUnread = t.hash, t.unread
			t.cv.Untold = c.changed[t.cv]
		}
		if got >= stageReceipts && t.era == t.cv.Era {
			t.cv.Receipt = t.receipt
		}
	}
	if s.totalChanged && got >= stageTotal {
		c.total = s.total
		c.check(c.db.SetMeta("total", s.total))
	}
}
