package histcheck

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// groupIDs are the groups of a history: few, so that much happens to each.
var groupIDs = []string{"room-work", "room-public", "room-meeting", "@TGS#_club", "room-gate"}

// asksToJoin reports whether who wants to join the groups of an id waits until owner or admins answer.
func asksToJoin(id string) bool { return id == "room-gate" }

// fieldKeys are the attributes and the fields of the app's own that groups have.
var fieldKeys = []string{"color", "topic"}

// memberField is the field of the app's own that members have.
const memberField = "mood"

// typeOfID is the type of the groups that have an id, one after the other.
func typeOfID(id string) im.GroupType {
	if id == liveRoom {
		return im.GroupType_GROUP_TYPE_AVCHATROOM
	}
	return []im.GroupType{im.GroupType_GROUP_TYPE_WORK, im.GroupType_GROUP_TYPE_PUBLIC, im.GroupType_GROUP_TYPE_MEETING, im.GroupType_GROUP_TYPE_COMMUNITY,
		im.GroupType_GROUP_TYPE_PUBLIC}[max(slices.Index(groupIDs, id), 0)]
}

// convOf is a conversation by what histories call it.
func convOf(id string) client.Conv {
	if isGroup(id) {
		return client.Group(id)
	}
	return client.C2C(id)
}

// GroupNow is what a device answers about a group that its user is in.
type GroupNow struct {
	Name, Owner string
	Count       int
	Members     map[string]im.GroupMemberRole
	Cards       map[string]string
	Attributes  map[string]string
	// Fields are those of the app's own, of the group and of members.
	Fields       string
	MemberFields map[string]string
}

// group carries out a command about groups. What the call returned for the user is in Num.
func (a *agent) group(ctx context.Context, cmd *command, r *reply) error {
	g, id := a.c.Groups(), cmd.Conv
	other := ""
	if len(cmd.Users) > 0 {
		other = cmd.Users[0]
	}
	switch strings.TrimPrefix(cmd.Op, groupOp) {
	case "create":
		req := &im.CreateGroupRequest{GroupId: id, Type: typeOfID(id), Name: cmd.Text, Introduction: cmd.Text}
		if req.Type == im.GroupType_GROUP_TYPE_PUBLIC || req.Type == im.GroupType_GROUP_TYPE_MEETING {
			free := im.GroupAddOption_GROUP_ADD_OPTION_ANY
			req.AddOption, req.ApproveOption = &free, &free
			if asked := im.GroupAddOption_GROUP_ADD_OPTION_AUTH; asksToJoin(id) {
				req.AddOption = &asked
			}
		}
		for _, u := range cmd.Users {
			req.Members = append(req.Members, &im.GroupMemberInfo{Identifier: u})
		}
		_, err := g.Create(ctx, req)
		return err
	case "dissolve":
		return g.Delete(ctx, id)
	case "join":
		waits, err := g.Join(ctx, id, cmd.Text)
		if waits {
			r.Num = 1
		}
		if err == nil && waits && !asksToJoin(id) {
			return fmt.Errorf("joining %s waits, and everybody may join", id)
		}
		return err
	case "quit":
		return g.Quit(ctx, id)
	case "invite":
		rs, err := g.Invite(ctx, id, cmd.Users, "")
		if len(rs) == 1 {
			r.Num = int(rs[0].Result)
		}
		return err
	case "kick":
		rs, err := g.Kick(ctx, id, cmd.Users, "")
		if len(rs) == 1 {
			r.Num = int(rs[0].Result)
		}
		return err
	case "rename":
		return g.Modify(ctx, id, &im.ModifyGroupRequest{Name: &cmd.Text})
	case "notice":
		return g.Modify(ctx, id, &im.ModifyGroupRequest{Notification: &cmd.Text})
	case "transfer":
		return g.Modify(ctx, id, &im.ModifyGroupRequest{Owner: &cmd.Text})
	case "muteall":
		return g.Modify(ctx, id, &im.ModifyGroupRequest{ShutupAll: &cmd.Flag})
	case "role":
		role := normal
		if cmd.Flag {
			role = admins
		}
		return g.ModifyMember(ctx, id, other, &im.ModifyMemberRequest{Role: &role})
	case "mute":
		seconds := uint64(0)
		if cmd.Flag {
			seconds = 3600 // longer than any history
		}
		return g.ModifyMember(ctx, id, other, &im.ModifyMemberRequest{Mute: &seconds})
	case "card":
		return g.ModifyMember(ctx, id, other, &im.ModifyMemberRequest{NameCard: &cmd.Text})
	case "attribute":
		if cmd.Text == "" {
			return g.DeleteAttributes(ctx, id, []string{other})
		}
		return g.SetAttributes(ctx, id, []*im.GroupAttributes{{Key: other, Value: cmd.Text}})
	case "field":
		return g.Modify(ctx, id, &im.ModifyGroupRequest{Custom: []*im.GroupInfoCustomString{{Key: other, Value: cmd.Text}}})
	case "memberfield":
		return g.ModifyMember(ctx, id, other, &im.ModifyMemberRequest{Custom: []*im.GroupMemberInfoCustomString{{Key: memberField, Value: cmd.Text}}})
	case "answer":
		p := &im.GroupPendency{}
		if err := p.UnmarshalVT(cmd.Param); err != nil {
			return err
		}
		return g.HandleRequest(ctx, p, cmd.Flag, cmd.Text)
	case "online":
		n, err := g.OnlineCount(ctx, id)
		r.Num = n
		return err
	case "requests":
		for req := (&im.GroupRequestsRequest{Limit: 5}); ; {
			page, err := g.Requests(ctx, req)
			if err != nil {
				return err
			}
			for _, p := range page.PendencyArray {
				r.Msgs = append(r.Msgs, encode(p))
			}
			if req.StartTime = page.NextStartTime; req.StartTime == 0 {
				return nil
			}
		}
	case "list":
		now, err := groupNow(ctx, g, id)
		r.Group = now
		return err
	}
	return fmt.Errorf("unknown operation %q", cmd.Op)
}

// groupNow asks a device about a group.
func groupNow(ctx context.Context, g client.Groups, id string) (*GroupNow, error) {
	x := &GroupNow{Members: map[string]im.GroupMemberRole{}, Cards: map[string]string{}, Attributes: map[string]string{}, MemberFields: map[string]string{}}
	infos, err := g.Info(ctx, []string{id})
	if err != nil {
		return nil, err
	}
	if len(infos) != 1 || infos[0].Code != 0 {
		return nil, fmt.Errorf("information about %s: %v", id, infos)
	}
	x.Name, x.Owner, x.Count = infos[0].Info.GroupName, infos[0].Info.OwnerIdentifier, int(infos[0].Info.MemberNum)
	fields := map[string]string{}
	for _, f := range infos[0].Info.CustomInfo {
		fields[f.Key] = f.Value
	}
	x.Fields = attributeWords(fields)
	for req := (&im.ListMembersRequest{Limit: 3}); ; {
		page, err := g.Members(ctx, id, req)
		if err != nil {
			return nil, err
		}
		for _, m := range page.Members {
			if x.Members[m.Identifier] != 0 {
				return nil, fmt.Errorf("%s is listed twice in %s", m.Identifier, id)
			}
			x.Members[m.Identifier], x.Cards[m.Identifier] = m.MemberRole, m.NameCard
			for _, f := range m.CustomInfo {
				x.MemberFields[m.Identifier] = f.Key + "=" + f.Value
			}
		}
		if page.Next == 0 {
			break
		}
		req.Next = page.Next
	}
	list, err := g.Attributes(ctx, id, nil)
	for _, a := range list {
		x.Attributes[a.Key] = a.Value
	}
	return x, err
}

// group makes a call about a group, and records it: other is the user or the key that it names, text what it sets, flag which way.
func (d *device) group(op, id, other, text string, flag bool) {
	cmd := &command{Conv: id, Text: text, Flag: flag}
	if other != "" {
		cmd.Users = strings.Split(other, ",")
	}
	d.blocking(Record{Op: groupOp + op, Conv: id, Tag: other, Text: text, Self: flag}, cmd)
}

// sendGroup sends a message to a group, to some members only if there are some, that mentions some users.
func (d *device) sendGroup(id string, mentions, only []string, b uint64) {
	if d.drv == nil {
		return
	}
	tag := d.newTag(Pass)
	s := d.newSend(id, tag, Pass)
	m := textMessage(tag, tag)
	s.Mentions, s.Only = mentions, only
	m.GroupAtUserArray, m.TargetGroupMemberArray = mentions, only
	if s.Uncounted = b>>32%8 == 1; s.Uncounted {
		m.IsExcludedFromUnreadCount = true
	}
	d.sendOne(s, m)
}

// deleteGroup deletes some messages and tips of a group for its user.
func (d *device) deleteGroup(pick uint64) {
	m := d.known(pick>>32%4 == 0, pick)
	if m == nil || !isGroup(m.ConvId) {
		return
	}
	ms := []*im.Message{m}
	d.seen.Lock()
	for _, x := range slices.Backward(d.got) {
		if len(ms) < 1+int(pick>>36%4) && x.ConvId == m.ConvId && x.Seq < last(ms).Seq {
			ms = append(ms, x)
		}
	}
	d.seen.Unlock()
	rec := Record{Op: "delete", Conv: m.ConvId}
	for _, x := range ms {
		words := messageWords(x.CloudCustomStr, x.Sender)
		if t := tip(x); t != nil {
			words = TipWords(t)
		}
		rec.Seqs, rec.Tags = append(rec.Seqs, x.Seq), append(rec.Tags, words)
	}
	d.blocking(rec, &command{Conv: m.ConvId, Msgs: encodeAll(ms)})
}

// groupRecords are the records of an event about groups.
func groupRecords(e client.Event) (rs []Record, ok bool) {
	if len(e.Args) == 0 {
		return nil, false
	}
	switch told := e.Args[0].(type) {
	case *im.GroupTipsElem:
		return []Record{{Kind: Tip, Conv: told.GroupId, Text: TipWords(told)}}, true
	case string:
		list, is := e.Args[len(e.Args)-1].([]*im.GroupAttributes)
		if !is {
			return nil, false
		}
		as := map[string]string{}
		for _, a := range list {
			as[a.Key] = a.Value
		}
		return []Record{{Kind: Attributes, Conv: told, Text: attributeWords(as)}}, true
	}
	return nil, false
}

// words are the text of a message, or what it reports.
func words(m *im.Message) string {
	if t := tip(m); t != nil {
		return TipWords(t)
	}
	if r := report(m); r != nil {
		return ReportWords(r)
	}
	return text(m)
}

// lookAtGroups asks a device about all groups.
func (d *device) lookAtGroups() (map[string]*Listed, string) {
	trouble := ""
	ask := func(cmd *command) *reply {
		r := d.tell(cmd)
		if r == nil || r.Code != 0 {
			trouble = cmp.Or(trouble, fmt.Sprintf("%s %s: %v", cmd.Op, cmd.Conv, r))
			return &reply{}
		}
		return r
	}
	all := map[string]*Listed{}
	for _, b := range ask(&command{Op: "conversations"}).Convs {
		x := &im.ConvInfo{}
		if err := x.UnmarshalVT(b); err != nil {
			return nil, err.Error()
		}
		if x.Id == liveRoom { // who is not in it has a conversation with what could not be sent
			if x.UnreadNum != 0 || x.LastMsg.GetSeq() != 0 || x.LastMsg.GetStatus() == im.MessageStatus_MESSAGE_STATUS_SENT {
				trouble = cmp.Or(trouble, fmt.Sprintf("the live room is a conversation: %v", x))
			}
			continue
		}
		if isGroup(x.Id) {
			all[x.Id] = &Listed{Conv: x}
		}
	}
	for _, id := range sortedKeys(all) {
		x := all[id]
		in := d.r.memberOf(d.User, id)
		p := &im.GetMsgListParam{Count: 50, IsRamble: &in}
		listed := map[string]bool{}
		for trouble == "" {
			r := ask(&command{Op: "history", Conv: id, Param: encode(p)})
			for _, b := range r.Msgs {
				m := decode(b)
				x.Items = append(x.Items, Item{Seq: m.Seq, Version: m.Version, Sender: m.Sender, Text: words(m), Tag: m.CloudCustomStr, ID: m.MsgId, Status: m.Status, Read: m.IsRead})
				p.LastMsg = m
				if k := fmt.Sprint(m.Seq, " ", m.MsgId, " ", words(m)); listed[k] && m.Seq > 0 {
					trouble = cmp.Or(trouble, fmt.Sprintf("%s: lists %s twice", id, k))
				} else {
					listed[k] = true
				}
			}
			if len(r.Msgs) == 0 {
				break
			}
		}
		if in {
			if now := ask(&command{Op: groupOp + "list", Conv: id}).Group; now != nil {
				x.GroupNow = *now
			}
			for _, p := range d.requests(id) {
				q := GroupRequest{User: p.FormIdentifier, Words: p.ApplyInviteMsg, Answer: p.ApprovalMsg, Accepted: p.HandleResult == 1}
				if p.Handled > 0 {
					q.Handler = "somebody"
				}
				x.Requests = append(x.Requests, q.String())
			}
		}
	}
	return all, trouble
}

// memberOf reports whether a user is in the group that has an id, as the server had it last.
func (r *runner) memberOf(user, id string) bool {
	in := false
	for _, g := range r.h.Groups {
		if g.ID == id {
			in = g.member(user)
		}
	}
	return in
}
