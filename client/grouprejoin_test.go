package client_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// twoOfBob are ann's device, one of bob's, and another of his that is not checked. Ann's group has him.
func twoOfBob(t *testing.T) (ann, bob, other *device) {
	s := imtest.Start(t)
	ann, bob = dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
	pad := config(t, s, "bob")
	pad.Platform = im.Platform_PLATFORM_PAD
	other = dial(t, pad)
	ann.openGroup("g", publicGroup, "bob")
	for _, d := range []*device{bob, other} {
		d.skipTo(`add g unread 0 last "tip 1 by ann of bob"`)
	}
	return ann, bob, other
}

// A device that learns at its login that its user has left a group knows how much they had sent before: when they join again, nothing of that is unread.
func TestUnreadAfterJoiningAgain(t *testing.T) {
	ann, bob, other := twoOfBob(t)
	bob.Close()
	other.sayIn("g", "one")
	other.sayIn("g", "two")
	other.quitGroup("g")
	bob = dial(t, bob.cfg)
	bob.hearsApart("new one", "new two", "new report 8 of g by bob", `upd g unread 0 last "two"`)
	ann.sayIn("g", "between")
	other.joinGroup("g")
	bob.hears("tip tip 1 by bob of bob", "new tip 1 by bob of bob", `upd g unread 0 last "tip 1 by bob of bob"`)
	ann.sayIn("g", "three")
	bob.hears("new three", `upd g unread 1 last "three"`, "total 1")
}

// A device that knows that its user has left a group hears of a membership that began and ended while it was away, when they have joined once more.
func TestMembershipWhileAway(t *testing.T) {
	ann, bob, other := twoOfBob(t)
	other.quitGroup("g")
	bob.hears("new report 8 of g by bob")
	bob.Close()
	ann.sayIn("g", "between")
	other.joinGroup("g")
	ann.sayIn("g", "two")
	other.quitGroup("g")
	ann.sayIn("g", "between again")
	other.joinGroup("g")
	ann.sayIn("g", "three")
	bob = dial(t, bob.cfg)
	bob.hearsApart("tip tip 1 by bob of bob", "new tip 1 by bob of bob", "new two", "tip tip 1 by bob of bob", "new tip 1 by bob of bob", "new three",
		"new report 8 of g by bob", `upd g unread 1 last "three"`, "total 1")
	bob = bob.again()
	bob.hears()
}

// TestRejoinedBeforeThePull: a device learns that its user has left a group, and is closed before it has pulled what the membership was. Meanwhile the user
// joins again. The device still hears all of both memberships, and nothing in between.
func TestRejoinedBeforeThePull(t *testing.T) {
	for _, restart := range []bool{true, false} { // false: the pull is refused for a while
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			key := &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: "g"}
			head := func(h *im.Head) *im.Head {
				h.Conv, h.Epoch, h.Others, h.Time, h.GroupType = key, 5, h.Seq, int64(1_700_000_000_000+h.Seq), publicGroup
				return h
			}
			heads := make(chan *im.Head, 1)
			f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
				r := &im.HeadsReply{Cursor: 1}
				select {
				case h := <-heads:
					r.Heads = append(r.Heads, h)
				default:
				}
				l.reply(fr, r)
			})
			serve := func(l *fakeLink, fr *im.Frame) {
				l.reply(fr, pulled(t, fr, func(_, seq uint64) *im.Entry {
					if seq > 6 && seq <= 9 { // between the memberships
						return nil
					}
					return fromBen(seq, fmt.Sprint(seq))
				}))
			}
			f.answer(im.Method_PULL, serve)
			d := open(t, fakeConfig(t, f))
			d.login()
			l := <-f.links
			d.WaitQuiet()
			l.push(pushed{im.Method_HEAD, head(&im.Head{Seq: 1, JoinedSeq: 0, Row: 1, MemberSet: 1})})
			d.hears("new 1", `add g unread 1 last "1"`, "total 1")

			asked := make(chan struct{}, 10)
			f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
				if !restart {
					l.refuse(fr, im.CodeServerInternal)
				}
				asked <- struct{}{}
			})
			l.push(pushed{im.Method_HEAD, head(&im.Head{Seq: 6, Left: true, Row: 2, MemberSet: 2})})
			<-asked
			back := head(&im.Head{Seq: 11, JoinedSeq: 9, Row: 3, MemberSet: 4})
			if restart {
				d.Beat() // the head has been written
				heads <- back
				f.answer(im.Method_PULL, serve)
				d = d.again()
			} else {
				d.WaitQuiet()
				f.answer(im.Method_PULL, serve)
				l.push(pushed{im.Method_HEAD, back})
			}
			d.until(t, "the last message", func([]event) bool { return slices.Contains(d.groupWords(), "new 11") })
			var got []string
			for _, w := range d.groupWords() {
				if strings.HasPrefix(w, "new ") {
					got = append(got, w)
				}
			}
			wantTexts(t, "heard", got, "new 2", "new 3", "new 4", "new 5", "new 6", "new 10", "new 11")
		})
	}
}
