package histcheck

import (
	"fmt"
	"math"
	"slices"

	"github.com/tidings-im/tidings/im"
)

// optNothing is the receive option under which nothing that others do in a conversation fires. What counts is the option that a device knows when it applies
// something, which no record shows: between the calls and what is told of them, both are possible. Under optMentions the same is so of what mentions nobody in
// a group.
const (
	optNothing  = 1
	optMentions = 4
)

// silence is when a device knows that conversations are silent.
type silence struct {
	calls func(conv string) []*op // that may have set an option
	quiet []int                   // the options
	told  map[string][]toldOption
	news  map[string][]Record
}

// toldOption is whether a conversation is silent as the device was told of it.
type toldOption struct {
	at     int64
	silent bool
}

// newSilence follows a device from a time on.
func newSilence(d *Device, from int64, calls func(conv string) []*op, quiet ...int) *silence {
	s := &silence{calls: calls, quiet: quiet, told: map[string][]toldOption{}, news: map[string][]Record{}}
	for _, r := range d.records() {
		if r.At < from {
			continue
		}
		switch r.Kind {
		case Add, Update:
			s.told[r.Conv] = append(s.told[r.Conv], toldOption{r.At, slices.Contains(quiet, int(decodeConv(r.Info).GetRecvOpt()))})
		case New:
			s.news[r.Conv] = append(s.news[r.Conv], r)
		}
	}
	return s
}

// options are the calls that may have made a conversation silent, and those that may have ended that.
func (s *silence) options(conv string) (sets, ends []*op) {
	for _, o := range s.calls(conv) {
		if slices.Contains(s.quiet, o.call.N) {
			sets = append(sets, o)
		} else {
			ends = append(ends, o)
		}
	}
	return sets, ends
}

// over reports whether the device certainly knew before a time that what a call had set was over: it was told that the conversation is silent, and after a later
// call that it is not.
func (s *silence) over(conv string, set *op, before int64) bool {
	_, ends := s.options(conv)
	for _, end := range ends {
		if !end.sure() || end.begin < set.end || end.end > before {
			continue
		}
		silent := false
		for _, p := range s.told[conv] {
			if p.at >= before {
				break
			}
			if p.silent {
				silent = silent || p.at > set.begin
			} else if silent && p.at > end.begin {
				return true
			}
		}
	}
	return false
}

// may reports whether the device may have known that a conversation is silent when it applied what was made at a time or later; seq is its number, if it is a
// message.
func (s *silence) may(conv string, seq uint64, made int64) bool {
	applied := int64(math.MaxInt64) // not later than the next message that was announced
	for _, r := range s.news[conv] {
		if seq != 0 && r.Seq >= seq {
			applied = min(applied, r.At)
		}
	}
	sets, _ := s.options(conv)
	return slices.ContainsFunc(sets, func(set *op) bool { return set.begin < applied && !s.over(conv, set, made) })
}

// must reports whether the device certainly knows at a time that a conversation is silent: it was told, and no call can have ended it since.
func (s *silence) must(conv string, at int64) bool {
	since, silent := int64(0), false
	for _, p := range s.told[conv] {
		if p.at < at {
			since, silent = p.at, p.silent
		}
	}
	if !silent {
		return false
	}
	sets, ends := s.options(conv)
	first := int64(math.MaxInt64)
	for _, set := range sets {
		if set.begin < since && !s.over(conv, set, since) {
			first = min(first, set.begin)
		}
	}
	return !slices.ContainsFunc(ends, func(end *op) bool { return end.begin < at && end.end > first })
}

// byOwner reports whether what is told of a silent conversation differs from what was told before in something that its owner has done: a setting, a draft,
// what is read, or a message of theirs that is the last one.
func byOwner(user string, before, now *im.ConvInfo) bool {
	set := func(x *im.ConvInfo) string {
		return fmt.Sprint(x.RecvOpt, x.IsPinned, x.IsHasDraft, x.Draft, x.C2CReadTimestamp)
	}
	return set(before) != set(now) || ownLast(user, now) && (!ownLast(user, before) || lastOf(before) != lastOf(now))
}

func lastOf(x *im.ConvInfo) string { return fmt.Sprint(x.LastMsg.GetStatus(), x.LastMsg.GetMsgId()) }

// ownLast reports whether the last message is one of the user, and as they have left it; or there is none.
func ownLast(user string, x *im.ConvInfo) bool {
	m := x.LastMsg
	return m == nil || m.IsFromSelf && (m.RevokerUserId == "" || m.RevokerUserId == user)
}

// announcedSilent compares a silent conversation with what was last told of it, one of some: what its owner has done must have been told.
func (m *model) announcedSilent(d *Device, conv string, now *im.ConvInfo, told []string, fail func(string, ...any)) {
	wrong := ""
	for _, t := range told {
		switch was := decodeConv(t); {
		case now == nil && was == nil:
			return
		case now == nil:
			wrong = "not in the list"
		case was == nil && (now.IsPinned || now.IsHasDraft || now.LastMsg != nil && ownLast(d.User, now)):
			wrong = "never told"
		case was != nil && byOwner(d.User, was, now):
			wrong = "changed by its owner"
		default:
			return
		}
	}
	fail("%s is silent, and %s: it is %v, told %v", conv, wrong, now, told)
}
