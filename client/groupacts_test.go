package client_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

var groupTypes = map[string]im.GroupType{"Public": publicGroup, "Work": workGroup, "Meeting": meetingGroup, "Community": communityGroup}

// groupAct makes a call about a group, or in one, and returns its outcome: an act of the matrix of groups, and of a scenario. In a group that it creates,
// everybody may join and invite, unless its type forbids that.
func groupAct(ctx context.Context, t testing.TB, c *client.Client, group, verb string, args []string) string {
	t.Helper()
	g, conv := c.Groups(), client.Group(group)
	arg := func(i int) string {
		if i >= len(args) {
			t.Fatalf("%s: argument %d is missing", verb, i+1)
		}
		return args[i]
	}
	number := func(i int) uint64 {
		n, err := strconv.ParseUint(arg(i), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	modify := func(change *im.ModifyGroupRequest) string { return outcome(g.Modify(ctx, group, change)) }
	member := func(user string, change *im.ModifyMemberRequest) string {
		return outcome(g.ModifyMember(ctx, group, user, change))
	}
	send := func(m *im.Message) string {
		_, err := c.SendMessage(ctx, conv, m)
		return outcome(err)
	}
	message := func(i int) *im.Message {
		ms, err := c.Messages(ctx, conv, &im.GetMsgListParam{LastMsgSeq: number(i), Count: 1})
		if err != nil || len(ms) == 0 || ms[0].Seq != number(i) {
			t.Fatalf("%s has no message %d of %s: %v", c.UserID(), number(i), group, err)
		}
		return ms[0]
	}
	// request finds what a user asked, or was invited to, and answers it.
	request := func(user string, accept bool) string {
		page, err := g.Requests(ctx, nil)
		if err != nil {
			return outcome(err)
		}
		for _, p := range page.PendencyArray {
			if p.GroupId == group && p.FormIdentifier == user && p.Handled == 0 {
				return outcome(g.HandleRequest(ctx, p, accept, ""))
			}
		}
		return "no request of " + user
	}
	results := func(codes []uint32, err error) string {
		if err != nil {
			return outcome(err)
		}
		if slices.ContainsFunc(codes, func(n uint32) bool { return n != 1 }) {
			return fmt.Sprint("results ", codes)
		}
		return "ok"
	}
	switch verb {
	case "create":
		req := &im.CreateGroupRequest{GroupId: group, Name: "name", Type: groupTypes[arg(0)]}
		if req.Type == publicGroup || req.Type == meetingGroup { // of the others the options are fixed
			req.AddOption, req.ApproveOption = new(im.GroupAddOption_GROUP_ADD_OPTION_ANY), new(im.GroupAddOption_GROUP_ADD_OPTION_ANY)
		}
		for _, m := range args[1:] {
			req.Members = append(req.Members, &im.GroupMemberInfo{Identifier: m})
		}
		_, err := g.Create(ctx, req)
		return outcome(err)
	case "join":
		_, err := g.Join(ctx, group, "")
		return outcome(err)
	case "apply":
		if waits, err := g.Join(ctx, group, arg(0)); err != nil || !waits {
			return fmt.Sprint(waits, err)
		}
		return "ok"
	case "accept", "agree":
		return request(arg(0), true)
	case "refuse", "decline":
		return request(arg(0), false)
	case "invite", "ask":
		rs, err := g.Invite(ctx, group, args, "")
		var codes []uint32
		for _, r := range rs {
			codes = append(codes, r.Result)
			if verb == "ask" {
				codes[len(codes)-1] = r.Result / 3 // asked
			}
		}
		return results(codes, err)
	case "kick":
		rs, err := g.Kick(ctx, group, args, "")
		var codes []uint32
		for _, r := range rs {
			codes = append(codes, r.Result)
		}
		return results(codes, err)
	case "quit":
		return outcome(g.Quit(ctx, group))
	case "dissolve":
		return outcome(g.Delete(ctx, group))
	case "name":
		return modify(&im.ModifyGroupRequest{Name: &args[0]})
	case "notice":
		return modify(&im.ModifyGroupRequest{Notification: &args[0]})
	case "introduction":
		return modify(&im.ModifyGroupRequest{Introduction: &args[0]})
	case "face":
		return modify(&im.ModifyGroupRequest{FaceUrl: &args[0]})
	case "custom":
		return modify(&im.ModifyGroupRequest{Custom: []*im.GroupInfoCustomString{{Key: arg(0), Value: arg(1)}}})
	case "owner":
		return modify(&im.ModifyGroupRequest{Owner: &args[0]})
	case "addoption":
		return modify(&im.ModifyGroupRequest{AddOption: new(im.GroupAddOption(number(0)))})
	case "inviteoption":
		return modify(&im.ModifyGroupRequest{ApproveOption: new(im.GroupAddOption(number(0)))})
	case "muteall":
		return modify(&im.ModifyGroupRequest{ShutupAll: new(number(0) == 1)})
	case "admin":
		return member(arg(0), &im.ModifyMemberRequest{Role: new(im.GroupMemberRole_GROUP_MEMBER_ROLE_ADMIN)})
	case "noadmin":
		return member(arg(0), &im.ModifyMemberRequest{Role: new(im.GroupMemberRole_GROUP_MEMBER_ROLE_NORMAL)})
	case "mute":
		return member(arg(0), &im.ModifyMemberRequest{Mute: new(number(1))})
	case "card":
		return member(c.UserID(), &im.ModifyMemberRequest{NameCard: &args[0]})
	case "field":
		return member(c.UserID(), &im.ModifyMemberRequest{Custom: []*im.GroupMemberInfoCustomString{{Key: arg(0), Value: arg(1)}}})
	case "set":
		return outcome(g.SetAttributes(ctx, group, attribute(arg(0), arg(1))))
	case "init":
		return outcome(g.InitAttributes(ctx, group, attribute(arg(0), arg(1))))
	case "unset":
		return outcome(g.DeleteAttributes(ctx, group, args))
	case "say":
		return send(textMessage(arg(0)))
	case "at":
		m := textMessage(arg(0))
		for _, u := range args[1:] {
			if u == "all" {
				u = "__kImSDK_MessageAtALL__"
			}
			m.GroupAtUserArray = append(m.GroupAtUserArray, u)
		}
		return send(m)
	case "to":
		m := textMessage(arg(0))
		m.TargetGroupMemberArray = args[1:]
		return send(m)
	case "online":
		m := textMessage(arg(0))
		m.IsOnlineMsg = true
		return send(m)
	case "recall":
		return outcome(c.Revoke(ctx, conv, message(0), ""))
	case "modify":
		m := message(0)
		m.ElemArray = textMessage(arg(1)).ElemArray
		_, err := c.ModifyMessage(ctx, conv, m)
		return outcome(err)
	case "opt":
		return outcome(c.SetRecvOpt(ctx, []client.Conv{conv}, int32(number(0))))
	case "pin", "unpin":
		return outcome(c.PinConversation(ctx, conv, verb == "pin"))
	case "draft":
		return outcome(c.SetDraft(conv, &im.Draft{Msg: textMessage(arg(0))}))
	case "nodraft":
		return outcome(c.SetDraft(conv, nil))
	case "read":
		return outcome(c.MarkRead(ctx, conv, nil))
	case "clear":
		return outcome(c.ClearHistory(ctx, conv))
	case "delete":
		return outcome(c.DeleteMessages(ctx, conv, []*im.Message{message(0)}))
	case "deleteconv":
		return outcome(c.DeleteConversation(ctx, conv))
	}
	t.Fatalf("unknown act %q", verb)
	return ""
}
