package client

import (
	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/im"
)

// rooms is the book of the live rooms that the session is in. Nothing of them is on the device's disk, and nothing is a conversation: what is said is told to
// the application as it comes, and is lost to one that does not take its events. After a reconnect the device joins again before anything else is sent; after a
// login it is in no room.
type rooms struct {
	*engine.Engine
	c  *Client
	in map[string]*room
	// back counts the rooms that are being joined again on this connection; resume follows the last one.
	back   int
	resume func()
}

// room is a live room. beat is how often a heartbeat is to be sent, in seconds.
type room struct {
	id    string
	epoch uint64
	beat  int32
	at    int64 // when the session was in it, by the server's clock
	// attrVer is the newest version of its attributes that the server has named, attrAsked the one for which they are being read, attrTold the one that the
	// application knows.
	attrVer, attrAsked, attrTold uint64
}

// Load forgets the rooms when the user's data is closed: that is the end of the session.
func (b *rooms) Load() error {
	if b.DB == nil || b.in == nil {
		b.in = map[string]*room{}
	}
	return nil
}

func (b *rooms) NewStore() {}

// Connected forgets the rooms of an earlier session.
func (b *rooms) Connected(first bool) {
	if first {
		clear(b.in)
	}
}

func (b *rooms) Disconnected() { b.back, b.resume = 0, nil }

func (b *rooms) Flush() {}

func (b *rooms) States() *engine.States { return nil }

// comeBack joins the rooms again on a new connection, then calls resume. Until then nothing else is sent.
func (b *rooms) comeBack(first bool, resume func()) {
	if first || len(b.in) == 0 {
		resume()
		return
	}
	b.back, b.resume = len(b.in), resume
	conn := b.Conn
	for _, r := range b.in {
		req := &im.JoinGroupRequest{Group: &im.GroupRequest{GroupId: r.id, Epoch: r.epoch}, Again: true}
		engine.Ask(b.Engine, im.Method_JOIN_GROUP, req, false, b.c.cfg.Limits.Call, func(reply *im.JoinGroupReply, err *im.Error) {
			switch {
			case b.Conn != conn:
				return // again on the next one
			case err != nil && err.Code == im.CodeWaitAckTimeout:
				conn.Break()
				return
			case err != nil:
				b.c.log.Info("the live room cannot be joined again", "group", r.id, "error", err)
				delete(b.in, r.id)
			default:
				r.epoch, r.beat, r.at = reply.Epoch, reply.HeartbeatSeconds, reply.At
				b.named(r, reply.AttrVer)
			}
			if b.back--; b.back == 0 {
				b.c.session.beat()
				b.resume()
			}
		})
	}
	b.HoldBack()
}

// heartbeat returns how often a heartbeat is to be sent because of rooms, in seconds; 0 if the session is in none.
func (b *rooms) heartbeat() (seconds int32) {
	for _, r := range b.in {
		if r.beat > 0 && (seconds == 0 || r.beat < seconds) {
			seconds = r.beat
		}
	}
	return seconds
}

// joined handles the reply to the application's call: a room names how often a heartbeat is to be sent.
func (b *rooms) joined(id string, reply *im.JoinGroupReply) {
	if b.Conn != nil {
		b.in[id] = &room{id: id, epoch: reply.Epoch, beat: reply.HeartbeatSeconds, at: reply.At, attrVer: reply.AttrVer, attrTold: reply.AttrVer}
		b.c.session.beat()
	}
}

// left forgets a room, and reports whether the session was in it.
func (b *rooms) left(id string) bool {
	_, was := b.in[id]
	delete(b.in, id)
	return was
}

// reported ends a membership of which the user was told that it is over. What was reported before the session joined is about an earlier one: a device that was
// away reads its feed after that.
func (b *rooms) reported(e *im.Relation) {
	r := b.in[e.Report.GroupId]
	if r != nil && e.Report.ReportType == im.GroupReportType_GROUP_REPORT_TYPE_BE_KICKED && e.Epoch == r.epoch && e.Time > r.at {
		b.left(r.id)
	}
}

// of returns the room with a key; nil if the session is in none.
func (b *rooms) of(key Conv) *room {
	if key.Type != convGroup {
		return nil
	}
	return b.in[key.ID]
}

// send sends a message to a room, when its files are uploaded. It has no row.
func (b *rooms) send(r *room, m *im.Message, up *upload, tiny, clientTime uint64, random uint32, finish func(*im.Message, error)) {
	cv := newConv(0, Group(r.id))
	fail := func(err *im.Error) {
		b.c.convs.fill(cv, m, b.c.cfg.UserID, tiny, clientTime, random, 0, 0, unsentStatus(err))
		finish(m, err)
	}
	if b.Conn == nil {
		fail(&im.Error{Code: im.CodeDisconnected, Desc: "not connected"})
		return
	}
	ask := func(sent *im.Message) {
		req := &im.SendRequest{Conv: Group(r.id).wire(), ClientTime: clientTime, Random: random, Message: wire(sent, up != nil)}
		engine.Ask(b.Engine, im.Method_SEND, req, true, b.c.cfg.Limits.Send, func(reply *im.SendReply, err *im.Error) {
			if err == nil && reply.Entry == nil {
				err = engine.Unreadable
			}
			if err != nil {
				fail(err)
				return
			}
			e := reply.Entry
			e.Sender, e.SenderTinyId, e.ClientTime, e.Random = b.c.cfg.UserID, tiny, clientTime, random
			b.c.convs.fillEntry(cv, e, sent)
			finish(sent, nil)
			b.c.convs.tellRewritten(cv, e, sent)
		})
	}
	if up == nil {
		ask(m)
		return
	}
	up.join(&waiting{key: uploadKey{Group(r.id), clientTime, random}, cv: cv, m: m, tiny: tiny, at: b.c.session.serverNow().UnixMilli(), begin: ask, fail: fail})
}

// Push tells the application of what is said and done in rooms.
func (b *rooms) Push(f *im.Frame) error {
	if b.c.Status() != LoggedIn {
		return nil
	}
	switch f.Method {
	case im.Method_LIVE:
		p := &im.EntryPush{}
		if err := im.Decode(f.Body, p); err != nil {
			return err
		}
		if r := b.in[p.Conv.GetId()]; r != nil && p.Epoch == r.epoch && p.Entry.GetMessage() != nil {
			b.said(r, p)
		}
	case im.Method_CHANGE:
		p := &im.ChangePush{}
		if err := im.Decode(f.Body, p); err != nil {
			return err
		}
		r := b.in[p.Conv.GetId()]
		if r == nil || p.Epoch != r.epoch || p.Change == nil || p.Change.Rev != 0 {
			return nil
		}
		switch p.Change.Kind {
		case im.ChangeKind_CHANGE_ATTRIBUTES:
			b.named(r, p.Change.Version)
		case im.ChangeKind_CHANGE_DISSOLVED:
			b.left(r.id)
			if p.Change.Report != nil {
				m := reported(p.Change.Report, p.Change.Time, r.epoch)
				b.Live(func() { m.tell(&b.c.ev) })
			}
		}
	}
	return nil
}

// said tells of a message or a tip.
func (b *rooms) said(r *room, p *im.EntryPush) {
	b.c.people.take(p.Person)
	b.c.convs.fillEntry(newConv(0, Group(r.id)), p.Entry, p.Entry.Message) // nobody has a name card in a room
	b.c.convs.tellUnkept(p.Entry)
}

// named notes a version of a room's attributes that the server has named.
func (b *rooms) named(r *room, ver uint64) {
	r.attrVer = max(r.attrVer, ver)
	b.look(r)
}

// lookAll begins to read what could not be read before.
func (b *rooms) lookAll() {
	for _, r := range b.in {
		b.look(r)
	}
}

// look reads the attributes of a room and tells of them, if there is a version that the application does not know. If that fails, or the application does not
// take its events, it is tried again later.
func (b *rooms) look(r *room) {
	if r.attrVer <= max(r.attrTold, r.attrAsked) || b.Conn == nil {
		return
	}
	if b.Full() {
		b.c.groups.lookLater()
		return
	}
	asked := r.attrVer
	r.attrAsked = asked
	req := &im.GroupRequest{GroupId: r.id, Epoch: r.epoch}
	engine.Ask(b.Engine, im.Method_ATTRIBUTES, req, true, b.c.cfg.Limits.Call, func(reply *im.AttributesReply, err *im.Error) {
		switch {
		case b.in[r.id] != r:
		case err != nil:
			if r.attrAsked == asked {
				r.attrAsked = 0
			}
			b.c.groups.cannotRead("the attributes of a live room cannot be read", err)
		case reply.Ver > r.attrTold: // an earlier read may have brought them
			r.attrTold = reply.Ver
			b.Live(func() { b.c.ev.tellGroupAttributesChanged(r.id, reply.Attributes) })
		}
	})
}
