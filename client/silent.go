package client

import (
	"hash/fnv"

	"github.com/tidings-im/tidings/im"
)

// optNothing is the receive option under which a conversation is silent: what others do in it is stored and fires nothing, on any of the user's
// devices. What the user does in it fires as always.
const optNothing = 1

// silent reports whether something fires nothing because of who did it.
func (b *conversations) silent(cv *conv, by string) bool {
	return cv.RecvOpt == optNothing && by != b.c.cfg.UserID
}

// stays reports whether a silent conversation is to stay as it was announced because only others have changed it since. hash is what to keep if it is
// announced: its upper half covers what the user has set and read, and the lower one the last message, if it is the user's own or there is none.
func (b *conversations) stays(cv *conv, info *im.ConvInfo) (hash int64, stays bool) {
	last := info.LastMsg
	own := last == nil || last.IsFromSelf && (last.RevokerUserId == "" || last.RevokerUserId == b.c.cfg.UserID)
	h := fnv.New32a()
	if own {
		h.Write([]byte{byte(last.GetStatus())})
		h.Write([]byte(last.GetMsgId()))
	}
	set := hashOf(&im.ConvInfo{Id: info.Id, Type: info.Type, RecvOpt: info.RecvOpt, IsPinned: info.IsPinned, IsHasDraft: info.IsHasDraft, Draft: info.Draft,
		C2CReadTimestamp: info.C2CReadTimestamp, GroupReadSequence: info.GroupReadSequence})
	hash = set&^0xffffffff | int64(h.Sum32()|1) // never 0: that is no conversation
	switch {
	case cv.Announced == 0:
		return hash, (last == nil || !own) && !info.IsPinned && !info.IsHasDraft && !cv.Listed
	case own:
		return hash, hash == cv.Announced
	}
	return hash, cv.Announced&^0xffffffff == set&^0xffffffff
}
