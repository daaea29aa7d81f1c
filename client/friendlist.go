package client

import (
	"github.com/tidings-im/tidings/im"
)

// List returns the friends with their profiles, the oldest friendship first, from local data.
//
//tidings:call
func (f Friends) list(to caller[[]*im.FriendProfile]) {
	doReading(f.c, to, func(finish func([]*im.FriendProfile, error)) { finish(nil, nil) })
}

// Info returns what is known of users, in their order: of a friend what List has, of anybody else the profile, with relation type 0. A user who does not
// exist has an error code.
//
//tidings:call
func (f Friends) info(to caller[[]*im.FriendInfoGetResult], users []string) {
	doReading(f.c, to, func(finish func([]*im.FriendInfoGetResult, error)) { finish(nil, nil) })
}

// Search returns the friends for whom one of the named fields contains one of the keywords, in the order of List, from local data. Letters that differ
// only in case are equal.
//
//tidings:call
func (f Friends) search(to caller[[]*im.FriendInfoGetResult], p *im.FriendSearchParam) {
	doReading(f.c, to, func(finish func([]*im.FriendInfoGetResult, error)) { finish(nil, nil) })
}

// Blacklist returns the users whom this one has blocked, from local data.
//
//tidings:call
func (f Friends) blacklist(to caller[[]*im.FriendProfile]) {
	doReading(f.c, to, func(finish func([]*im.FriendProfile, error)) { finish(nil, nil) })
}

// Groups returns friend groups with their friends, from local data: those with the names, or all if there are none.
//
//tidings:call
func (f Friends) groups(to caller[[]*im.FriendGroupInfo], names []string) {
	doReading(f.c, to, func(finish func([]*im.FriendGroupInfo, error)) { finish(nil, nil) })
}
