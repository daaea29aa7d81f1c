package chat

import (
	"context"

	"github.com/tidings-im/tidings/im"
)

var errNotBuilt = im.Errorf(im.CodeBadRequest, "this server cannot do that yet")

func (c *Chat) Profiles(ctx context.Context, call Call[*im.ProfilesReply], req *im.ProfilesRequest) error {
	return errNotBuilt
}

func (c *Chat) SetProfile(ctx context.Context, call Call[*im.VersionedProfile], req *im.SetProfileRequest) error {
	return errNotBuilt
}
