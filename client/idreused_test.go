package client_test

import (
	"slices"
	"testing"

	"github.com/tidings-im/tidings/im"
)

// TestRemovedBeforeTheEnd: while a device was away its user was removed from a group, which ended, and its id is another group's by now. The head of the new group
// comes before that of the old one. The device does not tell that the old group has ended: its user was no member any more.
func TestRemovedBeforeTheEnd(t *testing.T) {
	f := newFake(t)
	f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
		l.reply(fr, pulled(t, fr, func(epoch, seq uint64) *im.Entry { return fromBen(seq, map[uint64]string{5: "old", 6: "new"}[epoch]) }))
	})
	d := dial(t, fakeConfig(t, f))
	l := <-f.links
	l.push(pushed{im.Method_HEAD, groupHead("g", 5, 1, false)})
	d.hears("new old", `add g unread 1 last "old"`, "total 1")
	f.answer(im.Method_HEADS, func(l *fakeLink, fr *im.Frame) {
		req := &im.HeadsRequest{}
		if err := req.UnmarshalVT(fr.Body); err != nil {
			t.Error(err)
		}
		r := &im.HeadsReply{Cursor: 2, Heads: []*im.Head{groupHead("g", 6, 1, false)}, Next: 7}
		if req.After == 7 {
			r.Heads, r.Next = []*im.Head{groupHead("g", 5, 1, true)}, 0
		}
		l.reply(fr, r)
	})
	d = d.again()
	d.until(t, "the message of the new group", func([]event) bool { return slices.Contains(d.groupWords(), `upd g unread 1 last "new"`) })
	d.Beat()
	d.WaitQuiet()
	d.settled()
	var got []string
	for _, e := range d.of("new") {
		got = append(got, e.text)
	}
	wantTexts(t, "heard", got, "new")
}
