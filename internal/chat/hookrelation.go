package chat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/hook"
)

// The codes that the app's program may give to an item that it refuses. One that it refuses with another code gets the first.
const firstOwnRefusal, lastOwnRefusal = 38000, 39000

// askFriendAdd asks the before-hook about a friend whom a user wants to add, before the Update. refused is the result of the call if the hook refuses it;
// otherwise everything is checked as if there were no hook. It is not asked about what is not done: an add of somebody who does not exist, or who is a
// friend, with both on both sides.
func (c *Chat) askFriendAdd(ctx context.Context, s *Caller, req *adding) (refused *im.FriendResult, err error) {
	ask := c.cfg.Hooks.SnsPrevFriendAdd
	if ask == nil || s.Operator {
		return nil, nil
	}
	p, err := c.person(ctx, req.UserId)
	if err == nil && p.uid != s.UID {
		_, err = c.store.Relation(ctx, s.UID, relFriend, int64(p.uid))
		if err == nil && req.Both { // they may not have the caller
			_, err = c.store.Relation(ctx, p.uid, relFriend, int64(s.UID))
		}
	}
	switch {
	case err == nil:
		return nil, nil
	case !errors.Is(err, ErrNotFound):
		return nil, err
	case p.uid == 0:
		return nil, nil
	}
	b := &hook.SnsPrevFriendAdd{
		Requester_Account: s.Name, From_Account: s.Name, AddType: "Add_Type_Single", EventTime: c.store.Now(),
		FriendItem: []hook.SnsPrevFriendAddFriendItem{
			{To_Account: req.UserId, Remark: req.Remark, GroupName: req.GroupName, AddSource: req.Source, AddWording: req.Wording}},
	}
	if req.Both {
		b.AddType = "Add_Type_Both"
	}
	var v hook.SnsPrevFriendAddVerdict
	if err := c.askAbout(ctx, s, func() error { v = ask(ctx, b, s.source()); return v.Err }); err != nil {
		return nil, err
	}
	return refusal(v.Answer.Results(), req.UserId), nil
}

// askFriendResponse asks it about the answer to a request. It is not asked about one that does not exist.
func (c *Chat) askFriendResponse(ctx context.Context, s *Caller, req *im.AnswerRequestRequest) (refused *im.FriendResult, err error) {
	ask := c.cfg.Hooks.SnsPrevFriendResponse
	if ask == nil || s.Operator {
		return nil, nil
	}
	p, err := c.person(ctx, req.UserId)
	if err == nil {
		_, err = c.store.Relation(ctx, s.UID, relRequestIn, int64(p.uid))
	}
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	b := &hook.SnsPrevFriendResponse{
		Requester_Account: s.Name, From_Account: s.Name, EventTime: c.store.Now(),
		ResponseFriendItem: []hook.SnsPrevFriendResponseResponseFriendItem{
			{To_Account: req.UserId, Remark: req.Remark, TagName: req.GroupName, ResponseAction: responseActions[req.Action]}},
	}
	var v hook.SnsPrevFriendResponseVerdict
	if err := c.askAbout(ctx, s, func() error { v = ask(ctx, b, s.source()); return v.Err }); err != nil {
		return nil, err
	}
	return refusal(v.Answer.Results(), req.UserId), nil
}

// responseActions are the names of AnswerRequestRequest.action.
var responseActions = map[int32]string{0: "Response_Action_Agree", 1: "Response_Action_AgreeAndAdd", 2: "Response_Action_Reject"}

// refusal is the result for a user whom the app's program refuses, nil if it does not.
func refusal(items []hook.Result, user string) *im.FriendResult {
	for _, item := range items {
		if item.To_Account != user || item.ResultCode == 0 {
			continue
		}
		code := item.ResultCode
		if code < firstOwnRefusal || code > lastOwnRefusal {
			code = firstOwnRefusal
		}
		info := cmp.Or(im.Shorten(item.ResultInfo, im.MaxDesc), "the app's webhook refused it")
		return &im.FriendResult{Identifier: user, Code: int32(code), Desc: info}
	}
	return nil
}

// askAbout asks a before-hook about a call, when its turn has come. As for messages, the hook itself follows the setting if its program cannot be asked or
// does not respond; a panic around it refuses the call, because nobody has allowed it.
func (c *Chat) askAbout(ctx context.Context, s *Caller, ask func() error) (err error) {
	if err := c.slots.enter(s.UID, slotCost); err != nil {
		return err
	}
	defer c.slots.leave(s.UID, slotCost)
	done, err := c.asking(ctx, s)
	if err != nil {
		return err
	}
	defer done()
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("panic in a before-hook", "err", fmt.Sprintf("%v\n%s", r, debug.Stack()))
			err = im.Errorf(im.CodeWebhookFailed, "the app's webhook could not be asked")
		}
	}()
	err = ask()
	if ctx.Err() != nil { // whatever it returns, it may have been interrupted
		return errGoing
	}
	return err
}
