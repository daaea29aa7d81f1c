package chat

import (
	"context"

	"github.com/tidings-im/tidings/im"
)

// askFriendAdd asks the before-hook about a friend whom a user wants to add, before the Update. refused is the result of the call if the hook refuses it;
// otherwise everything is checked as if there were no hook.
func (c *Chat) askFriendAdd(ctx context.Context, s *Caller, req *im.AddFriendRequest) (refused *im.FriendResult, err error) {
	return nil, nil
}

// askFriendResponse asks it about the answer to a request.
func (c *Chat) askFriendResponse(ctx context.Context, s *Caller, req *im.AnswerRequestRequest) (refused *im.FriendResult, err error) {
	return nil, nil
}
