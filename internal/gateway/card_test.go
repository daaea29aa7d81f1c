package gateway

import (
	"testing"

	"github.com/tidings-im/tidings/im"
)

// pushedCard returns the card of the only push of a kind.
func (n *node) pushedCard(c *conn, method im.Method) *im.NameCard {
	c.t.Helper()
	n.settle(c)
	var card *im.NameCard
	for _, f := range c.pushes {
		if f.Method != method {
			continue
		}
		var p im.EntryPush
		if err := p.UnmarshalVT(f.Body); err != nil {
			c.t.Fatal(err)
		}
		if card != nil {
			c.t.Fatal("there are two")
		}
		card = p.Card
	}
	c.pushes = nil
	return card
}

// TestNameCardsAreAttached: whoever tells a message to a group tells the sender's present name card with it, and a newer one has a higher version.
func TestNameCardsAreAttached(t *testing.T) {
	n := start(t, options{})
	ann, bob := n.member("ann"), n.member("bob")
	epoch := ann.create("cards", public, "bob")
	n.toldSoFar(bob)
	var before, newest uint64
	newer := func(from string, card *im.NameCard, user, want string) {
		t.Helper()
		if card == nil || card.UserId != user || card.NameCard != want || card.Ver <= before {
			t.Fatalf("%s: card %v, want %q with a version above %d", from, card, want, before)
		}
		newest = max(newest, card.Ver)
	}
	wear := func(card string) {
		t.Helper()
		before = newest
		ann.call(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: named("cards"), UserId: "ann", NameCard: &card}, 0, nil)
	}
	everywhere := func(want string) {
		t.Helper()
		ann.say("cards", "hi", 0)
		newer("a push", n.pushedCard(bob, im.Method_ENTRY), "", want)
		online := ann.request("x", "online")
		online.Conv, online.Message.IsOnlineMsg = groupKey("cards"), true
		ann.call(im.Method_SEND, online, 0, nil)
		newer("a message that is not kept", n.pushedCard(bob, im.Method_ENTRY), "", want)
		var pull im.PullReply
		bob.call(im.Method_PULL, &im.PullRequest{Conv: groupKey("cards"), Epoch: epoch, From: 1, To: 2}, 0, &pull)
		if len(pull.Entries) != 2 || len(pull.Cards) != 1 {
			t.Fatalf("pulled %d entries with cards %v", len(pull.Entries), pull.Cards)
		}
		newer("a pull", pull.Cards[0], "ann", want)
		heads := bob.heads(&im.HeadsRequest{WithLast: true})
		if len(heads.Heads) != 1 || heads.Heads[0].Last.GetSender() != "ann" {
			t.Fatalf("heads %v", heads)
		}
		newer("a head", heads.Heads[0].LastCard, "", want)
	}
	everywhere("")
	wear("Ann of Ops")
	everywhere("Ann of Ops")
	wear("")
	everywhere("")

	ann.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named("cards"), Owner: new("bob")}, 0, nil)
	ann.call(im.Method_QUIT_GROUP, named("cards"), 0, nil)
	var pull im.PullReply
	bob.call(im.Method_PULL, &im.PullRequest{Conv: groupKey("cards"), Epoch: epoch, From: 1, To: 2}, 0, &pull)
	if len(pull.Entries) != 2 || len(pull.Cards) != 0 {
		t.Errorf("who has left has the cards %v", pull.Cards)
	}
}
