package client

import (
	"cmp"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// State events (rule 17): what was last reported to the application is kept, and the difference is reported. Differences are computed right after a
// commit, when its messages have been posted, and only one set is under way at a time; what changes in the meantime is reported next. What was
// reported is stored after the callbacks returned.

// unread is the result of rule 7's formula on this device.
func (cv *conv) unread(me string) uint64 {
	if cv.key().Type == im.ConvType_CONV_TYPE_C2C && cv.key().ID == me {
		return 0
	}
	switch {
	case cv.over():
		return 0
	case cv.mentionsOnly():
		return uint64(len(cv.atInfo()))
	}
	if read := cv.ReadOthers + cv.Withdrawn; cv.Others > read {
		return cv.Others - read
	}
	return 0
}

// counts reports whether the conversation is part of the total: receive options 0 and 4.
func (cv *conv) counts() bool { return cv.RecvOpt == 0 || cv.RecvOpt == 4 }

// pinnedSort lifts pinned conversations over all others in the sort key.
const pinnedSort = 1 << 62

// info returns the conversation as the application sees it; nil if it is not in its list.
func (b *conversations) info(cv *conv) *im.ConvInfo {
	info, _ := b.infoAt(cv)
	return info
}

// infoAt is info with the time of what happened last, in milliseconds: conv_active_time has seconds, which do not order what happened within one.
func (b *conversations) infoAt(cv *conv) (*im.ConvInfo, int64) {
	last, behind, err := b.DB.Last(&cv.ConvRow)
	if local.IsUnreadable(err) {
		b.c.log.Warn("a conversation's last message on this device cannot be read", "conversation", cv.key().ID, "error", err)
		last, behind, err = nil, false, nil
	}
	if !b.Check(err) || cv.Hidden || last == nil && !cv.Listed && cv.blank() {
		return nil, 0
	}
	info := &im.ConvInfo{Id: cv.key().ID, Type: cv.key().Type, UnreadNum: cv.unread(b.c.cfg.UserID), RecvOpt: cv.RecvOpt, IsPinned: cv.Pinned, ShowName: cv.key().ID}
	b.c.people.title(info)
	at := cv.Time
	if cv.key().Type == im.ConvType_CONV_TYPE_C2C {
		info.C2CReadTimestamp = uint64(cv.ReadTime / 1000)
	} else {
		info.GroupReadSequence, info.GroupType, info.GroupAtInfoArray = cv.ReadSeq, int32(cv.group.GetGroupType()), cv.atInfo()
		at = int64(cv.group.GetJoinTime()) * 1000 // what the user does not see does not lift the conversation
		b.c.groups.title(cv, info)
	}
	if last != nil {
		if m, err := b.view(cv, last); err != nil {
			b.c.log.Warn("a conversation's last message on this device cannot be read", "conversation", cv.key().ID, "error", err)
		} else {
			info.IsHasLastmsg, info.LastMsg = true, m
			if at = max(at, last.Time); behind {
				at = last.Time // what came after it does not lift the conversation
			}
		}
	}
	if len(cv.Draft) > 0 {
		if d := (&im.Draft{}); d.UnmarshalVT(cv.Draft) == nil {
			info.IsHasDraft, info.Draft = true, d
			at = max(at, int64(d.EditTime)*1000+999) // it lifts the conversation, even over a message of the same second
		}
	}
	info.ActiveTime = uint64(at / 1000)
	if cv.Pinned {
		info.ActiveTime += pinnedSort
	}
	return info, at
}

// blank reports whether there is nothing of a conversation that its user could see, if this device has none of its messages. A group is listed when its
// user has joined, unless that was over before this device showed it; one of the type Work with its first entry.
func (cv *conv) blank() bool {
	if cv.key().Type == convGroup {
		return cv.Epoch == 0 || cv.group == nil || int32(cv.group.GroupType) == workGroup || cv.over() && cv.Announced == 0
	}
	return cv.Epoch == 0 || cv.headSeq == 0
}

// stateChange is one set of state events.
type stateChange struct {
	receipts       []*im.MessageReceipt
	added, updated []*im.ConvInfo
	removed        []*im.ConvInfo
	total          int
	totalChanged   bool
	told           []toldConv
}

// stage is how many callbacks of a set have begun.
type stage int

const (
	_ stage = iota
	stageReceipts
	stageAdded
	stageUpdated
	stageRemoved
	stageTotal
)

// toldConv is what to keep of a conversation once it was reported.
type toldConv struct {
	cv      *conv
	era     int64
	hash    int64
	receipt uint64
	unread  uint64 // its part of the total
	stage   stage  // whose callback reports it; none if there is only a receipt
}

// byNumber puts conversations into the order in which this device first saw them, so that what is reported together is reported in the same order
// each time.
func byNumber[V any](set map[*conv]V) []*conv {
	return slices.SortedFunc(maps.Keys(set), func(a, b *conv) int { return cmp.Compare(a.ID, b.ID) })
}

// States returns the difference between what was reported to the application about conversations and what they are.
func (b *conversations) States() *engine.States {
	if len(b.changed) == 0 {
		return nil
	}
	s := b.stateChange()
	if len(s.told) == 0 && !s.totalChanged {
		return nil
	}
	b.telling = s
	return &engine.States{Told: func(begun int) { b.stateTold(s, stage(begun)) }, Tell: []func(){
		func() {
			if len(s.receipts) > 0 {
				b.c.ev.tellReceipts(s.receipts)
			}
		},
		func() { b.tellConvs(ConvAdd, s.added) },
		func() { b.tellConvs(ConvUpdate, s.updated) },
		func() { b.tellConvs(ConvDelete, s.removed) },
		func() {
			if s.totalChanged {
				b.c.ev.tellTotalUnread(s.total)
			}
		},
	}}
}

func (b *conversations) stateChange() *stateChange {
	s := &stateChange{}
	for _, cv := range byNumber(b.changed) {
		if cv.pulling || cv.queued || cv.deferred || cv.Announced == 0 && b.c.groups.awaits(cv) || b.c.groups.reportsCome(cv) {
			continue // reported when it is complete, and a new group when its name is known
		}
		delete(b.changed, cv)
		t := toldConv{cv: cv, era: cv.Era, receipt: cv.Receipt}
		info := b.info(cv)
		if info != nil {
			if cv.counts() {
				t.unread = info.UnreadNum
			}
			t.hash = hashOf(info)
		}
		silent, stays := cv.quiet(), false
		if silent && info != nil {
			t.hash, stays = b.stays(cv, info)
		}
		// A receipt for what has not been applied waits for it (rule 22).
		if !silent && cv.PeerSeq > cv.Receipt && cv.PeerSeq <= cv.SyncedTo && b.receiptMay(cv) {
			t.receipt = cv.PeerSeq
			s.receipts = append(s.receipts, &im.MessageReceipt{ConvId: cv.key().ID, ConvType: cv.key().Type, TimeStamp: uint64(cv.PeerTime / 1000), IsPeerRead: true})
		}
		switch {
		case stays:
			if cv.Untold {
				cv.Untold, cv.dirty = false, true
			}
			continue
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
	for _, cv := range b.byKey {
		s.total += int(cv.shown)
	}
	s.totalChanged = s.total != b.total
	return s
}

// receiptMay reports whether a receipt of the conversation may fire at this moment: one per Limits.Receipts, with the latest position (rule 22). One
// that is too early is checked again when its time has come.
func (b *conversations) receiptMay(cv *conv) bool {
	now := time.Now()
	due := cv.receiptAt.Add(b.c.cfg.Limits.Receipts)
	if now.Before(due) {
		b.lateReceipts[cv] = due
		b.receiptsLater()
		return false
	}
	cv.receiptAt = now
	delete(b.lateReceipts, cv)
	return true
}

// receiptsLater makes the late receipts be checked again when the first one's time has come.
func (b *conversations) receiptsLater() {
	if len(b.lateReceipts) == 0 {
		b.Clock.Stop(alarmReceipts)
		return
	}
	b.Clock.Set(alarmReceipts, slices.MinFunc(slices.Collect(maps.Values(b.lateReceipts)), time.Time.Compare), func() {
		now := time.Now()
		for cv, due := range b.lateReceipts {
			if !now.Before(due) {
				delete(b.lateReceipts, cv)
				b.changed[cv] = true
			}
		}
		b.receiptsLater()
	})
}

// What users show of themselves is left out, and so are the URLs of files, which are others after each login: a change of that alone is no event of a conversation.
func hashOf(info *im.ConvInfo) int64 {
	var b []byte
	var err error
	bare(info, func() { b, err = info.MarshalVT() })
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

func (b *conversations) tellConvs(kind ConvEvent, list []*im.ConvInfo) {
	if len(list) > 0 {
		b.c.ev.tellConversations(kind, list)
	}
}

// stateTold keeps what has been reported to the application: the callbacks that have begun.
func (b *conversations) stateTold(s *stateChange, got stage) {
	if b.telling == s {
		b.telling = nil
	}
	for _, t := range s.told {
		cv := b.byKey[t.cv.key()] // another value of it, if a batch was undone meanwhile
		if cv == nil {
			continue
		}
		cv.dirty = true
		if got >= t.stage {
			cv.Announced, cv.ToldUnread, cv.shown = t.hash, t.unread, t.unread
			cv.Untold = b.changed[cv]
		}
		if got >= stageReceipts && t.era == cv.Era {
			cv.Receipt = t.receipt
		}
	}
	if s.totalChanged && got >= stageTotal {
		b.total = s.total
		b.Check(b.DB.SetMeta("total", s.total))
	}
}
