package client_test

import (
	"slices"
	"testing"

	"github.com/tidings-im/tidings/im"
)

// A read of attributes may bring what a version says that has its notice only after it. The application is told once.
func TestAttributesAreToldOnce(t *testing.T) {
	f := newFake(t)
	now := make(chan *im.AttributesReply, 1)
	f.answer(im.Method_ATTRIBUTES, func(l *fakeLink, fr *im.Frame) { l.reply(fr, <-now) })
	ann := dial(t, fakeConfig(t, f))
	l := <-f.links
	ann.settled()
	var heard []string
	for _, x := range []struct {
		ver   uint64
		value string
		told  int
	}{{1, "", 0}, {2, "2", 1}, {3, "4", 2}, {4, "4", 2}, {5, "5", 3}, {6, "4", 4}} {
		if x.ver > 1 {
			now <- &im.AttributesReply{Epoch: 5, Ver: x.ver, Attributes: []*im.GroupAttributes{{Key: "k", Value: x.value}}}
		}
		l.push(pushed{im.Method_HEAD, &im.Head{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: "g"}, Epoch: 5, Row: 1, MemberSet: 1, AttrVer: x.ver}})
		ann.settled()
		if x.told > len(heard) {
			ann.until(t, "the attributes", func([]event) bool { return len(ann.of("group_attributes_changed")) == x.told })
			heard = append(heard, ann.attributesHeard("g"))
		}
		eventually(t, "the read", func() bool { return len(now) == 0 })
	}
	ann.settled()
	if got := len(ann.of("group_attributes_changed")); got != 4 || !slices.Equal(heard, []string{"k=2", "k=4", "k=5", "k=4"}) {
		t.Errorf("told %d times: %q", got, heard)
	}
}

// A device that has lost its connection after its sync, and before it could read the attributes of a group that the sync was about, reads them on the next one.
func TestAttributesAreReadAgain(t *testing.T) {
	f := newFake(t)
	asked := make(chan bool, 1)
	f.answer(im.Method_ATTRIBUTES, func(*fakeLink, *im.Frame) { asked <- true })
	ann := dial(t, fakeConfig(t, f))
	l := <-f.links
	ann.settled()
	head := &im.Head{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: "g"}, Epoch: 5, Row: 1, MemberSet: 1}
	l.push(pushed{im.Method_HEAD, head},
		pushed{im.Method_CHANGE, &im.ChangePush{Conv: head.Conv, Epoch: 5, Change: &im.Change{Rev: 1, Kind: im.ChangeKind_CHANGE_ATTRIBUTES, Version: 2}}})
	<-asked
	f.answer(im.Method_ATTRIBUTES, func(l *fakeLink, fr *im.Frame) {
		l.reply(fr, &im.AttributesReply{Epoch: 5, Ver: 2, Attributes: []*im.GroupAttributes{{Key: "k", Value: "2"}}})
	})
	l.ws.CloseNow()
	ann.until(t, "the attributes", func([]event) bool { return len(ann.of("group_attributes_changed")) == 1 })
}
