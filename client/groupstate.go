package client

import (
	"crypto/sha256"
	"maps"
	"slices"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// groupStates is the book of what groups are besides their logs: their information and their attributes. Heads and changes bring numbers; what a number
// stands for is read when it is above the one that the device has, once for all that came in between.
type groupStates struct {
	*engine.Engine
	c *Client
	// stale are the conversations whose information is to be read, asking those whose information is being read.
	stale, asking map[*conv]bool
	// lookAt are those whose attributes are to be read; reading is how many are.
	lookAt  []*conv
	reading int
	// pause is how long the last attempt waited to read again what could not be read; looked is when it did.
	pause  time.Duration
	looked time.Time
	// told are attributes that the application is to be told, by the conversation's id.
	told map[int64]*im.AttributesReply
}

const (
	infosAtOnce      = 100
	attributesAtOnce = 4
	alarmLook        = "look at groups"
)

// Load forgets what was being read, and reads the information that is stored. The conversations have been loaded before.
func (b *groupStates) Load() error {
	b.stale, b.asking, b.told = map[*conv]bool{}, map[*conv]bool{}, map[int64]*im.AttributesReply{}
	b.lookAt, b.reading = nil, 0
	clear(b.c.members.known)
	b.forget()
	if b.DB == nil {
		return nil
	}
	rows, err := b.DB.GroupInfos()
	var errs []error
	for _, r := range rows {
		cv, info := b.c.convs.byID[r.Conv], &im.GroupDetailInfo{}
		if cv == nil || cv.Epoch != r.Epoch {
			continue // of the group that had the id before
		}
		if e := im.Decode(r.Body, info); e != nil {
			errs = append(errs, e) // it is read again
			continue
		}
		cv.info = info
	}
	for _, e := range errs {
		b.c.log.Warn("the information about a group on this device cannot be read", "error", e)
	}
	return err
}

// NewStore forgets what calls have read of groups of the other store. What is to be read again, the heads say that the sync brings.
func (b *groupStates) NewStore() {
	b.forget()
	b.c.members.newStore()
}

func (b *groupStates) forget() {
	clear(b.c.attributes.read)
	clear(b.c.changedGroups)
}

// Connected has nothing to do: the sync that begins looks at all groups.
func (b *groupStates) Connected(bool) {}

// lookAll begins to read what could not be read before: nothing need tell of it once more.
func (b *groupStates) lookAll() {
	for _, id := range slices.Sorted(maps.Keys(b.c.convs.byID)) {
		b.look(b.c.convs.byID[id])
	}
}

// Disconnected gives up what was being read; the next sync begins it again.
func (b *groupStates) Disconnected() {
	b.Clock.Stop(alarmLook)
	for _, cv := range b.c.convs.byID {
		cv.infoAsked, cv.attrAsked = 0, 0
	}
	clear(b.stale)
	clear(b.asking)
	b.lookAt, b.reading = nil, 0
}

// Push ignores all frames: those about conversations bring the numbers here.
func (b *groupStates) Push(*im.Frame) error { return nil }

func (b *groupStates) Flush() {}

// look begins to read what the device lacks of a group.
func (b *groupStates) look(cv *conv) {
	g := cv.group
	if g == nil || g.Left || b.Conn == nil {
		return
	}
	if g.InfoSeq > max(cv.info.GetInfoSeq(), cv.infoAsked) {
		b.stale[cv], cv.infoAsked = true, g.InfoSeq
		b.nextInfo()
	}
	if g.AttrVer > max(cv.attrRead, cv.attrAsked) {
		cv.attrAsked = g.AttrVer
		b.lookAt = append(b.lookAt, cv)
		b.nextAttributes()
	}
}

// changed handles a tip about the information: it comes without the number.
func (b *groupStates) changed(cv *conv) {
	if cv.group != nil {
		cv.group.InfoSeq = max(cv.group.InfoSeq, cv.info.GetInfoSeq(), cv.infoAsked) + 1
		b.look(cv)
	}
}

// readingInfo reports whether information about groups is being read.
func (b *groupStates) readingInfo() bool { return len(b.asking) > 0 }

// awaits reports whether a group's head or its information is about to come: entries may be there before.
func (b *groupStates) awaits(cv *conv) bool {
	return b.asking[cv] || b.stale[cv] || cv.key().Type == convGroup && cv.Epoch != 0 && cv.group == nil && b.Conn != nil
}

// reportsCome reports whether reports about a group wait for its log, or may come with the sync that runs: they come before what the conversation has become.
func (b *groupStates) reportsCome(cv *conv) bool {
	return cv.key().Type == convGroup && !b.c.sync.paused && !b.c.feed.paused && (b.c.sync.active && b.c.feed.running() || b.c.feed.holds(cv.key().ID))
}

// nextInfo asks for the information that is to be read, in one call at a time.
func (b *groupStates) nextInfo() {
	if len(b.asking) > 0 || len(b.stale) == 0 || b.Conn == nil {
		return
	}
	list := byNumber(b.stale)
	list = list[:min(len(list), infosAtOnce)]
	req := &im.GroupsRequest{}
	epochs := make([]uint64, len(list))
	for i, cv := range list {
		req.GroupIds = append(req.GroupIds, cv.key().ID)
		epochs[i] = cv.Epoch
		delete(b.stale, cv)
		b.asking[cv] = true
	}
	conn := b.Conn
	engine.Ask(b.Engine, im.Method_GROUPS, req, false, b.c.cfg.Limits.Call, func(reply *im.GroupsReply, err *im.Error) {
		if b.Conn != conn {
			return
		}
		clear(b.asking)
		if err == nil && (len(reply.Results) != len(list) || len(reply.Epochs) != len(list)) {
			err = engine.Unreadable
		}
		if err != nil {
			b.cannotRead("the information about groups cannot be read", err)
		}
		for i, cv := range list {
			b.c.convs.changed[cv] = true // it may have waited for its name
			switch {
			case err != nil:
				cv.infoAsked = 0
			case reply.Results[i].GetCode() != 0:
				if b.cannotRead("the information about a group cannot be read", &im.Error{Code: reply.Results[i].Code, Desc: reply.Results[i].Desc}) {
					cv.infoAsked = 0
				}
			case reply.Epochs[i] == epochs[i] && cv.Epoch == epochs[i]:
				b.takeInfo(cv, reply.Results[i].GetInfo())
			}
		}
		b.nextInfo()
		b.c.sync.ended()
	})
}

// cannotRead makes what could not be read of a group or a room be read again later, unless the user is no member any more. It reports whether it is.
func (b *groupStates) cannotRead(what string, err *im.Error) bool {
	b.c.log.Info(what, "error", err)
	if b.Conn == nil || err.Code == im.CodeNotMember || err.Code == im.CodeNoGroup {
		return false
	}
	b.lookLater()
	return true
}

// lookLater makes what could not be read be read again, with growing pauses while that continues.
func (b *groupStates) lookLater() {
	if b.Clock.Has(alarmLook) {
		return
	}
	if time.Since(b.looked) > time.Minute+2*b.c.cfg.Limits.Call { // it went well in between
		b.pause = 0
	}
	b.pause = min(max(2*b.pause, time.Second), time.Minute)
	b.Clock.Set(alarmLook, time.Now().Add(b.pause), func() {
		b.looked = time.Now()
		b.lookAll()
		b.c.rooms.lookAll()
	})
}

// takeInfo keeps the information about a group, unless the device has newer.
func (b *groupStates) takeInfo(cv *conv, info *im.GroupDetailInfo) {
	if info == nil || info.InfoSeq < cv.info.GetInfoSeq() {
		return
	}
	cv.info = info
	if g := cv.group; g != nil {
		g.InfoSeq, cv.infoAsked, cv.dirty = info.InfoSeq, info.InfoSeq, true // a tip had raised it without knowing the number
	}
	body, err := info.MarshalVT()
	if b.Check(err) {
		b.Check(b.DB.PutGroupInfo(local.GroupInfo{Conv: cv.ID, Epoch: cv.Epoch, Seq: info.InfoSeq, Body: body}))
	}
}

// nextAttributes reads attributes of some groups at a time.
func (b *groupStates) nextAttributes() {
	for len(b.lookAt) > 0 && b.reading < attributesAtOnce && b.Conn != nil {
		cv := b.lookAt[0]
		b.lookAt = b.lookAt[1:]
		b.reading++
		epoch, conn := cv.Epoch, b.Conn
		req := &im.GroupRequest{GroupId: cv.key().ID, Epoch: epoch}
		engine.Ask(b.Engine, im.Method_ATTRIBUTES, req, false, b.c.cfg.Limits.Call, func(reply *im.AttributesReply, err *im.Error) {
			if b.Conn != conn {
				return
			}
			b.reading--
			switch {
			case err != nil:
				cv.attrAsked = 0
				b.cannotRead("the attributes of a group cannot be read", err)
			case reply.Epoch == epoch && cv.Epoch == epoch:
				b.takeAttributes(cv, reply)
			}
			b.nextAttributes()
		})
	}
}

// takeAttributes makes the application be told of attributes that it does not know.
func (b *groupStates) takeAttributes(cv *conv, now *im.AttributesReply) {
	b.c.attributes.have(cv.Target, now.Epoch, now.Ver)
	if g := cv.group; g != nil {
		g.AttrVer, cv.dirty = max(g.AttrVer, now.Ver), true
	}
	cv.attrAsked = max(cv.attrAsked, now.Ver)
	if now.Ver > cv.attrRead {
		cv.attrRead = now.Ver
		b.told[cv.ID] = now
	}
}

// States are the attributes that differ from those that were reported.
func (b *groupStates) States() *engine.States {
	// A read may bring attributes that are newer than the version with them. The next version then comes with what was told already.
	sums := map[int64][sha256.Size]byte{}
	for id, now := range b.told {
		body, err := (&im.AttributesReply{Attributes: now.Attributes}).MarshalVT()
		if !b.Check(err) {
			return nil
		}
		if sums[id] = sha256.Sum256(body); sums[id] == b.c.convs.byID[id].attrSum {
			b.knows(id, now)
			delete(b.told, id)
		}
	}
	if len(b.told) == 0 {
		return nil
	}
	ids := slices.Sorted(maps.Keys(b.told))
	told := maps.Clone(b.told)
	clear(b.told)
	s := &engine.States{}
	for _, id := range ids {
		group, now := b.c.convs.byID[id].key().ID, told[id]
		s.Tell = append(s.Tell, func() { b.c.ev.tellGroupAttributesChanged(group, now.Attributes) })
	}
	s.Told = func(begun int) {
		for _, id := range ids[:begun] {
			if cv := b.knows(id, told[id]); cv != nil {
				cv.attrSum = sums[id]
			}
		}
	}
	return s
}

// knows notes that the application knows attributes. It returns the conversation, nil if that is another group's meanwhile.
func (b *groupStates) knows(id int64, now *im.AttributesReply) *conv {
	cv := b.c.convs.byID[id]
	if cv == nil || cv.Epoch != now.Epoch {
		return nil
	}
	cv.AttrTold, cv.dirty = max(cv.AttrTold, now.Ver), true
	return cv
}

// title sets what a conversation of a group shows of the group.
func (b *groupStates) title(cv *conv, info *im.ConvInfo) {
	if cv.info.GetGroupName() != "" {
		info.ShowName = cv.info.GroupName
	}
	info.FaceUrl = cv.info.GetFaceUrl()
}
