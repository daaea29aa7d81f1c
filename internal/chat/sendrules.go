package chat

import "github.com/tidings-im/tidings/im"

// SendRules are who may send to whom. They are the same for all messages, except those of operators.
type SendRules struct {
	// OnlyFriends and RefuseBlocked are those of Config.
	OnlyFriends, RefuseBlocked bool
}

// Check returns an error for a message of sender that the conversation does not take: ErrDropped, or one for the sender. It reads only the conversation's
// row, so a store can check each entry where it gives it its number: what was done to the conversation before that number counts, and nothing after it.
func (r *SendRules) Check(cv *Conv, sender UID) error {
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

// blockedBy reports whether the other one of a C2C conversation has blocked a user.
func (cv *Conv) blockedBy(uid UID) bool {
	if uid == cv.A {
		return cv.Flags&BBlocksA != 0
	}
	return cv.Flags&ABlocksB != 0
}
