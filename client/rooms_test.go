package client_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

const liveRoom = im.GroupType_GROUP_TYPE_AVCHATROOM

// TestLiveRoomOnDevices: what devices hear of a live room from joining it to its end. Nothing of it is a conversation, is unread, or is on the device's disk.
func TestLiveRoomOnDevices(t *testing.T) {
	s := imtest.Start(t)
	ann, cfg := dial(t, config(t, s, "ann")), config(t, s, "bob")
	bob := dial(t, cfg)
	ann.group("hall", liveRoom)
	ann.joinGroup("hall")
	ann.hears("tip tip 1 by ann of ann", "new tip 1 by ann of ann")
	bob.joinGroup("hall")
	for _, d := range []*device{ann, bob} {
		d.hears("tip tip 1 by bob of bob", "new tip 1 by bob of bob")
	}
	sent := ann.sayIn("hall", "only in memory")
	if sent.Seq == 0 || sent.Status != im.MessageStatus_MESSAGE_STATUS_SENT || !sent.IsFromSelf || sent.ConvId != "hall" {
		t.Errorf("sent %v", sent)
	}
	ann.hears()
	bob.hears("new only in memory")
	code(t, "write", bob.Groups().SetAttributes(within(t), "hall", []*im.GroupAttributes{{Key: "song", Value: "1"}}), 0)
	for _, d := range []*device{ann, bob} {
		d.hears(`group_attributes_changed {"group":"hall","attributes":[{"group_atrribute_key":"song","group_atrribute_value":"1","group_attribute_key":"song","group_attribute_value":"1"}]}`)
	}
	ann.rename("hall", "new name")
	bob.hears("tip tip 6 by ann flag 1 new name", "new tip 6 by ann flag 1 new name")
	ann.forget()
	if members := ann.roles("hall"); members != "bob 200, ann 400" {
		t.Errorf("members %s", members)
	}
	for _, d := range []*device{ann, bob} {
		if list, err := d.Conversations(within(t)); err != nil || len(list) > 0 {
			t.Errorf("conversations %v, %v", list, err)
		}
	}

	ann.kick("hall", "bob")
	bob.hears("new report 4 of hall by ann")
	ann.sayIn("hall", "without bob")
	bob.hears()
	bob.joinGroup("hall")
	bob.hears("tip tip 1 by bob of bob", "new tip 1 by bob of bob")
	bob.quitGroup("hall")
	ann.skipTo("new tip 2 by bob of bob")
	ann.sayIn("hall", "without bob again")
	bob.hears()
	bob.joinGroup("hall")
	bob.hears("tip tip 1 by bob of bob", "new tip 1 by bob of bob")
	ann.endGroup("hall")
	bob.hears("new report 5 of hall by ann")
	bob.Close()
	if err := filepath.WalkDir(cfg.Dir, func(path string, f os.DirEntry, err error) error {
		if err != nil || f.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, words := range []string{"only in memory", "without bob"} {
			if strings.Contains(string(b), words) {
				t.Errorf("%q is in %s", words, path)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestBackInLiveRoom: devices are back in a room within 10 s of the server's restart, by themselves and without a tip, before anything is sent again: a message
// that is sent meanwhile arrives. After another login a device is in no room.
func TestBackInLiveRoom(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
	ann.group("hall", liveRoom)
	ann.joinGroup("hall")
	bob.joinGroup("hall")
	ann.skipTo("new tip 1 by bob of bob")
	bob.skipTo("new tip 1 by bob of bob")
	from := time.Now()
	s.Restart()
	for _, d := range []*device{ann, bob} {
		d.until(t, "reconnect", func(es []event) bool { e, _ := last(es, "net"); return e.n == 0 && len(d.of("net")) > 1 })
	}
	for n := uint64(0); n != 2; {
		info, err := ann.Groups().Info(within(t), []string{"hall"})
		if err != nil || time.Since(from) > 10*time.Second {
			t.Fatalf("%d are back after %s, %v", n, time.Since(from), err)
		}
		n = info[0].Info.GetMemberNum()
	}
	bob.WaitQuiet()
	bob.forget()
	ann.forget()
	ann.sayIn("hall", "after the restart")
	bob.hears("new after the restart")
	ann.hears()

	if err := bob.Logout(within(t)); err != nil {
		t.Fatal(err)
	}
	ann.hears("tip tip 2 by bob of bob", "new tip 2 by bob of bob")
	bob.login()
	bob.forget()
	_, err := bob.SendMessage(within(t), group("hall"), textMessage("not joined"))
	code(t, "send", err, im.CodeNotMember)
	if _, err := bob.Groups().Members(within(t), "hall", &im.ListMembersRequest{}); im.CodeOf(err) != im.CodeNotMember {
		t.Errorf("members: %v", err)
	}
}

// TestNoDeletionInLiveRoom: a live room keeps no messages, so none is deleted there.
func TestNoDeletionInLiveRoom(t *testing.T) {
	s := imtest.Start(t)
	ann := dial(t, config(t, s, "ann"))
	ann.group("live", im.GroupType_GROUP_TYPE_AVCHATROOM)
	ann.joinGroup("live")
	m := ann.sayIn("live", "hi")
	wantCode(t, ann.DeleteMessages(within(t), group("live"), []*im.Message{m}), im.CodeGroupNoDelete)
}

// Attributes of a room, and attributes and information of a group, that could not be read are read with the next sync, although nothing names their versions again. A read that brings what the
// application knows already tells nothing.
func TestFailedReadsOfGroups(t *testing.T) {
	f := newFake(t)
	f.answer(im.Method_JOIN_GROUP, func(l *fakeLink, fr *im.Frame) {
		l.reply(fr, &im.JoinGroupReply{Epoch: 7, HeartbeatSeconds: 10, AttrVer: 1})
	})
	refused := make(chan *im.Frame, 10)
	refuse := func(l *fakeLink, fr *im.Frame) {
		refused <- fr
		l.refuse(fr, im.CodeServerInternal)
	}
	f.answer(im.Method_ATTRIBUTES, refuse)
	f.answer(im.Method_GROUPS, refuse)
	ann := dial(t, fakeConfig(t, f))
	l := <-f.links
	ann.settled()
	ann.joinGroup("hall")
	hall := &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: "hall"}
	head := groupHead("g", 5, 0, false)
	head.InfoSeq, head.AttrVer = 1, 1
	l.push(pushed{im.Method_HEAD, head}) // what a group has when the device meets it is no news
	if fr := <-refused; fr.Method != im.Method_GROUPS {
		t.Fatalf("asked %v", fr.Method)
	}
	version := func(key *im.ConvKey, epoch, rev, ver uint64) pushed {
		return pushed{im.Method_CHANGE, &im.ChangePush{Conv: key, Epoch: epoch, Change: &im.Change{Rev: rev, Kind: im.ChangeKind_CHANGE_ATTRIBUTES, Version: ver}}}
	}
	l.push(version(hall, 7, 0, 2), version(head.Conv, 5, 1, 2))
	<-refused
	<-refused
	f.answer(im.Method_GROUPS, func(l *fakeLink, fr *im.Frame) {
		l.reply(fr, &im.GroupsReply{Results: []*im.GetGroupInfoResult{{Info: &im.GroupDetailInfo{GroupId: "g", GroupName: "the name", InfoSeq: 1}}}, Epochs: []uint64{5}})
	})
	f.answer(im.Method_ATTRIBUTES, func(l *fakeLink, fr *im.Frame) {
		req := &im.GroupRequest{}
		if err := req.UnmarshalVT(fr.Body); err != nil {
			t.Error(err)
		}
		l.reply(fr, &im.AttributesReply{Epoch: req.Epoch, Ver: 3, Attributes: []*im.GroupAttributes{{Key: "k", Value: req.GroupId}}})
	})
	ann.until(t, "the attributes", func([]event) bool { return len(ann.of("group_attributes_changed")) == 2 })
	for _, id := range []string{"g", "hall"} {
		if got := ann.attributesHeard(id); got != "k="+id {
			t.Errorf("attributes of %s: %q", id, got)
		}
	}
	eventually(t, "the name", func() bool {
		list, err := ann.Conversations(within(t))
		return err == nil && len(list) == 1 && list[0].ShowName == "the name"
	})
	l.push(version(hall, 7, 0, 3))
	ann.Beat()
	ann.Beat()
	ann.settled()
	if n := len(ann.of("group_attributes_changed")); n != 2 {
		t.Errorf("told %d times", n)
	}
}

// TestRemovedBeforeJoining: a device joins a room, and reads only then in its feed that its user was removed from it: before that, when the device was away, or
// since, or from an earlier room of the id. It is in the room unless that was since.
func TestRemovedBeforeJoining(t *testing.T) {
	for _, c := range []struct {
		name  string
		epoch uint64
		after int64
		in    bool
	}{{"before", 5, -1000, true}, {"since", 5, 1000, false}, {"an earlier room", 4, 1000, true}} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			f.feed = 1
			report := kicked(2, c.epoch, 0)
			feeds := make(chan func(), 10)
			friend := &im.Relation{Kind: im.RelationKind_RELATION_FRIEND, Ver: 3, UserId: "zoe", State: &im.RelationState{}}
			f.answer(im.Method_FEED, func(l *fakeLink, fr *im.Frame) {
				req := &im.FeedRequest{}
				if err := req.UnmarshalVT(fr.Body); err != nil {
					t.Error(err)
				}
				feeds <- func() {
					l.reply(fr, &im.FeedReply{From: req.From, To: req.To, Entries: []*im.Relation{report, friend}})
				}
			})
			f.answer(im.Method_JOIN_GROUP, func(l *fakeLink, fr *im.Frame) {
				l.reply(fr, &im.JoinGroupReply{Epoch: 5, HeartbeatSeconds: 10, At: report.Time - c.after})
			})
			d := dial(t, fakeConfig(t, f))
			d.friendList()
			l := <-f.links
			l.push(pushed{im.Method_FED, &im.FeedPush{From: 3, Entries: []*im.Relation{friend}}})
			feed := <-feeds
			if _, err := d.Groups().Join(within(t), "g", ""); err != nil {
				t.Fatal(err)
			}
			feed()
			d.until(t, "what follows the report", func([]event) bool { return len(d.of("friends_added")) > 0 })
			l.push(pushed{im.Method_LIVE, &im.EntryPush{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: "g"}, Epoch: 5, Entry: fromBen(1, "hi")}})
			d.Beat()
			d.Beat()
			want := []string{"new report 4 of g by ben"}
			if c.in {
				want = append(want, "new hi")
			}
			wantTexts(t, "heard", d.groupWords(), want...)
		})
	}
}
