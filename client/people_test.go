package client_test

import (
	"fmt"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// TestNamesAreAttached: messages and conversations show what a sender shows now: for live messages, for what was missed, in the history and after a recall,
// and the remark about a friend. A change of a profile alone is no event of a conversation.
func TestNamesAreAttached(t *testing.T) {
	s := imtest.Start(t)
	ctx := t.Context()
	events := make(chan string, 100)
	messages := make(chan *im.Message, 100)
	convs := make(chan *im.ConvInfo, 100)
	alice := s.Dial("alice", client.Events{})
	if err := alice.Profiles().SetSelf(ctx, &im.UserProfileItem{NickName: new("Alice"), FaceUrl: new("https://a.example/1.png")}); err != nil {
		t.Fatal(err)
	}
	bob := s.Dial("bob", client.Events{
		NewMessages: func(list []*im.Message) {
			for _, m := range list {
				messages <- m
			}
		},
		Conversations: func(e client.ConvEvent, list []*im.ConvInfo) {
			for _, c := range list {
				events <- e.String()
				convs <- c
			}
		},
	})
	send := func(text string) *im.Message {
		t.Helper()
		m, err := alice.SendMessage(ctx, client.C2C("bob"), im.Text(text))
		if err != nil {
			t.Fatal(err)
		}
		if p := m.SenderProfile; p.NickName == "" {
			t.Errorf("the sender's own message shows %v", p)
		}
		return m
	}
	shows := func(m *im.Message, nick, remark string) {
		t.Helper()
		if p := m.GetSenderProfile(); p.GetNickName() != nick || p.GetFriendRemark() != remark || p.GetFaceUrl() != "https://a.example/1.png" || p.GetIdentifier() != "alice" {
			t.Errorf("message shows %v; want %q, %q", p, nick, remark)
		}
	}
	send("one")
	shows(<-messages, "Alice", "")
	c := <-convs
	if e := <-events; e != "add" || c.ShowName != "Alice" || c.FaceUrl != "https://a.example/1.png" {
		t.Errorf("%s: %q %q", e, c.ShowName, c.FaceUrl)
	}
	if err := alice.Profiles().SetSelf(ctx, &im.UserProfileItem{NickName: new("Alicia")}); err != nil {
		t.Fatal(err)
	}
	// The next message brings the new name, also to the old message; between the two there is no event.
	send("two")
	shows(<-messages, "Alicia", "")
	c = <-convs
	if e := <-events; e != "update" || c.ShowName != "Alicia" || im.TextOf(c.LastMsg) != "two" {
		t.Errorf("%s: %v", e, c)
	}
	history, err := bob.Messages(ctx, client.C2C("alice"), &im.GetMsgListParam{Count: 10})
	if err != nil || len(history) != 2 {
		t.Fatal(len(history), err)
	}
	shows(history[1], "Alicia", "")
	if _, err := bob.Friends().Add(ctx, &im.AddFriendRequest{UserId: "alice", Remark: "A."}); err != nil {
		t.Fatal(err)
	}
	list, err := bob.Conversations(ctx)
	if err != nil || len(list) != 1 {
		t.Fatal(len(list), err)
	}
	// The friend reaches the list with the feed, right behind the result.
	for list[0].ShowName != "A." {
		if list, err = bob.Conversations(ctx); err != nil {
			t.Fatal(err)
		}
	}
	shows(list[0].LastMsg, "Alicia", "A.")

	carol := s.Dial("carol", client.Events{})
	if _, err := alice.SendMessage(ctx, client.C2C("carol"), im.Text("hello")); err != nil {
		t.Fatal(err)
	}
	got, err := carol.Profiles().Get(ctx, []string{"alice", "nobody", "carol"}, false)
	if err != nil || len(got) != 2 || got[0].NickName != "Alicia" || got[1].Identifier != "carol" {
		t.Errorf("%v, %v", got, err)
	}
}

// TestNewestName: of what a device was told about a user the newest version counts, also if an older one arrives later with an older range of messages.
func TestNewestName(t *testing.T) {
	f := newFake(t)
	d := dial(t, fakeConfig(t, f))
	l := <-f.links
	person := func(ver uint64, nick string) *im.Person { return &im.Person{UserId: "ben", NickName: nick, Ver: ver} }
	push := func(seq uint64, p *im.Person) pushed {
		return pushed{im.Method_ENTRY, &im.EntryPush{Conv: ben(), Epoch: 5, Entry: fromBen(seq, fmt.Sprint(seq)), Person: p}}
	}
	f.answer(im.Method_PULL, func(l *fakeLink, fr *im.Frame) {
		req, reply := &im.PullRequest{}, &im.PullReply{Epoch: 5, People: []*im.Person{person(3, "Old")}}
		if err := req.UnmarshalVT(fr.Body); err != nil {
			t.Error(err)
		}
		for reply.From, reply.To = req.From, req.To; req.From <= req.To; req.From++ {
			reply.Entries = append(reply.Entries, fromBen(req.From, fmt.Sprint(req.From)))
		}
		l.reply(fr, reply)
	})
	l.push(push(1, person(2, "First")))
	d.count(t, "new", 1)
	l.push(push(4, person(5, "New"))) // 2 to 4 are pulled, with a name from before
	d.count(t, "new", 4)
	l.push(push(5, nil))
	d.count(t, "new", 5)
	d.settled()
	list, err := d.Conversations(within(t))
	if err != nil || len(list) != 1 || list[0].ShowName != "New" || list[0].LastMsg.SenderProfile.NickName != "New" {
		t.Fatalf("%v, %v", list, err)
	}
}

// What an application does with a profile that it was given changes nothing for the next one who asks.
func TestProfileBelongsToTheCaller(t *testing.T) {
	s := imtest.Start(t)
	alice, bob := s.Dial("alice", client.Events{}), s.Dial("bob", client.Events{})
	own := []*im.UserProfileCustomStringInfo{{Key: "Colour", Value: "red"}}
	if err := alice.Profiles().SetSelf(t.Context(), &im.UserProfileItem{NickName: new("Alice"), CustomStringArray: own}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		got, err := bob.Profiles().Get(t.Context(), []string{"alice"}, false)
		if err != nil || len(got) != 1 || got[0].NickName != "Alice" || got[0].CustomStringArray[0].Value != "red" {
			t.Fatal(i, got, err)
		}
		got[0].NickName, got[0].CustomStringArray[0].Value = "Mallory", "black"
	}
}
