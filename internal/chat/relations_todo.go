package chat

import (
	"context"

	"github.com/tidings-im/tidings/im"
)

var errNotBuilt = im.Errorf(im.CodeBadRequest, "this server cannot do that yet")

func (c *Chat) Feed(ctx context.Context, call Call[*im.FeedReply], req *im.FeedRequest) error {
	return errNotBuilt
}

func (c *Chat) Relations(ctx context.Context, call Call[*im.RelationsReply], req *im.RelationsRequest) error {
	return errNotBuilt
}

func (c *Chat) Profiles(ctx context.Context, call Call[*im.ProfilesReply], req *im.ProfilesRequest) error {
	return errNotBuilt
}

func (c *Chat) SetProfile(ctx context.Context, call Call[*im.VersionedProfile], req *im.SetProfileRequest) error {
	return errNotBuilt
}

func (c *Chat) AddFriend(ctx context.Context, call Call[*im.FriendResult], req *im.AddFriendRequest) error {
	return errNotBuilt
}

func (c *Chat) DeleteFriends(ctx context.Context, call Call[*im.FriendResults], req *im.UsersRequest) error {
	return errNotBuilt
}

func (c *Chat) UpdateFriend(ctx context.Context, call Call[*im.Empty], req *im.UpdateFriendRequest) error {
	return errNotBuilt
}

func (c *Chat) CheckFriends(ctx context.Context, call Call[*im.CheckFriendsReply], req *im.UsersRequest) error {
	return errNotBuilt
}

func (c *Chat) Requests(ctx context.Context, call Call[*im.PendencyPage], req *im.RequestsRequest) error {
	return errNotBuilt
}

func (c *Chat) AnswerRequest(ctx context.Context, call Call[*im.FriendResult], req *im.AnswerRequestRequest) error {
	return errNotBuilt
}

func (c *Chat) DeleteRequests(ctx context.Context, call Call[*im.FriendResults], req *im.UsersRequest) error {
	return errNotBuilt
}

func (c *Chat) ReadRequests(ctx context.Context, call Call[*im.Empty], req *im.ReadRequestsRequest) error {
	return errNotBuilt
}

func (c *Chat) Block(ctx context.Context, call Call[*im.FriendResults], req *im.UsersRequest) error {
	return errNotBuilt
}

func (c *Chat) Unblock(ctx context.Context, call Call[*im.FriendResults], req *im.UsersRequest) error {
	return errNotBuilt
}

func (c *Chat) FriendGroups(ctx context.Context, call Call[*im.FriendResults], req *im.FriendGroupsRequest) error {
	return errNotBuilt
}
