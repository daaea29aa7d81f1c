package chat

import "github.com/tidings-im/tidings/im"

// SendRules are who may send to whom. They are the same for all messages, except those of operators.
type SendRules struct {
	// OnlyFriends and RefuseBlocked are those of Config.
	OnlyFriends, RefuseBlocked bool
	// OnlyMutes: in a group, only a mute of the sender counts, and not whether they are a member.
	OnlyMutes bool
}

// Check returns an error for a message of sender that the conversation does not take: ErrDropped, or one for the sender. It reads only the conversation's
// row, what the sender is in a group, and the time of the store's clock, so a store can check each entry where it gives it its number: what was done to the
// conversation before that number counts, and nothing after it.
func (r *SendRules) Check(cv *Conv, sender UID, standing Standing, now int64) error {
	if cv.Kind == KindGroup {
		if r.OnlyMutes && !standing.In && !cv.Dissolved {
			return nil
		}
		return checkGroupSend(cv, standing, now)
	}
	if cv.Kind != KindC2C || cv.A == cv.B || cv.Flags == 0 && !r.OnlyFriends {
		return nil
	}
	blocked, mine, theirs := BBlocksA, AHasB, BHasA
	if sender == cv.B {
		blocked, mine, theirs = ABlocksB, BHasA, AHasB
	}
	switch {
	case cv.Flags&blocked != 0 && r.RefuseBlocked:
		return im.Errorf(im.CodeBlockedByReceiver, "the receiver has blocked the sender")
	case cv.Flags&blocked != 0:
		return ErrDropped
	case !r.OnlyFriends || cv.Flags&mine != 0 && cv.Flags&theirs != 0:
		return nil
	case cv.Flags&(mine|theirs) == 0:
		return im.Errorf(im.CodeNotFriends, "sender and receiver are not friends")
	case cv.Flags&theirs == 0:
		return im.Errorf(im.CodeNotInPeersList, "the sender is not in the receiver's list of friends")
	}
	return im.Errorf(im.CodeNotInOwnList, "the receiver is not in the sender's list of friends")
}

func checkGroupSend(cv *Conv, standing Standing, now int64) error {
	switch {
	case cv.Dissolved:
		return im.Errorf(im.CodeNoGroup, "the group has been dissolved")
	case !standing.In:
		return im.Errorf(im.CodeNotMember, "the sender is not a member of the group")
	case standing.MuteUntil > now:
		return im.Errorf(im.CodeMuted, "the sender may not send in the group for another %d seconds", (standing.MuteUntil-now+999)/1000)
	case cv.Flags&MuteAll != 0 && standing.Role < RoleAdmin:
		return im.Errorf(im.CodeMuted, "only the owner and admins may send in the group now")
	}
	return nil
}

// blockedBy reports whether the other one of a C2C conversation has blocked a user.
func (cv *Conv) blockedBy(uid UID) bool {
	if uid == cv.A {
		return cv.Flags&BBlocksA != 0
	}
	return cv.Flags&ABlocksB != 0
}
