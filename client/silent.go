package client

import (
	"hash/fnv"

	"github.com/tidings-im/tidings/im"
)

// optNothing is the receive option under which a conversation is silent: what others do in it is stored and fires nothing, on any of the user's
// devices. What the user does in it fires as always.
const optNothing = 1

// optMentions is the receive option under which a group is silent except for messages that mention the user; only these count.
const optMentions = 4

// quiet reports whether the conversation's receive option makes it silent, for all that others do or for most of it.
func (cv *conv) quiet() bool { return cv.RecvOpt == optNothing || cv.mentionsOnly() }

func (cv *conv) mentionsOnly() bool { return cv.RecvOpt == optMentions && cv.key().Type == convGroup }

// silent reports whether something about a message fires nothing because of who did it. The message may be nil.
func (b *conversations) silent(cv *conv, by string, m *im.Message) bool {
	return cv.quiet() && by != b.c.cfg.UserID && !b.heard(cv, m)
}

// heard reports whether a message is one that is received although the conversation is quiet.
func (b *conversations) heard(cv *conv, m *im.Message) bool {
	me, all := b.mentions(m)
	return cv.mentionsOnly() && (me || all)
}

// messageAt returns the content of a message of the log; nil if the conversation's receive option does not depend on it, or it is not on the device.
func (b *conversations) messageAt(cv *conv, seq uint64) *im.Message {
	if !cv.mentionsOnly() {
		return nil
	}
	row, err := b.DB.At(&cv.ConvRow, seq)
	m := &im.Message{}
	if !b.Check(err) || row == nil || im.Decode(row.Body, m) != nil {
		return nil
	}
	return m
}

// stays reports whether a silent conversation is to stay as it was announced because only others have changed it since. hash is what to keep if it is
// announced: its upper half covers what the user has set and read, and the lower one the last message, if it is the user's own or there is none.
func (b *conversations) stays(cv *conv, info *im.ConvInfo) (hash int64, stays bool) {
	last := info.LastMsg
	own := last == nil || last.IsFromSelf && (last.RevokerUserId == "" || last.RevokerUserId == b.c.cfg.UserID) || b.heard(cv, last)
	h := fnv.New32a()
	if own {
		h.Write([]byte{byte(last.GetStatus())})
		h.Write([]byte(last.GetMsgId()))
	}
	part := &im.ConvInfo{Id: info.Id, Type: info.Type, RecvOpt: info.RecvOpt, IsPinned: info.IsPinned, IsHasDraft: info.IsHasDraft, Draft: info.Draft,
		C2CReadTimestamp: info.C2CReadTimestamp, GroupReadSequence: info.GroupReadSequence}
	if cv.mentionsOnly() {
		part.UnreadNum, part.GroupAtInfoArray = info.UnreadNum, info.GroupAtInfoArray
	}
	set := hashOf(part)
	hash = set&^0xffffffff | int64(h.Sum32()|1) // never 0: that is no conversation
	switch {
	case cv.Announced == 0:
		mentioned := cv.mentionsOnly() && info.UnreadNum > 0
		return hash, (last == nil || !own) && !info.IsPinned && !info.IsHasDraft && !cv.Listed && !mentioned
	case own:
		return hash, hash == cv.Announced
	}
	return hash, cv.Announced&^0xffffffff == set&^0xffffffff
}
