package client_test

import (
	"fmt"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// card returns what a message shows of its sender as a member.
func card(m *im.Message) string {
	i := m.GetSenderGroupMemberInfo()
	if i == nil {
		return "none"
	}
	return fmt.Sprintf("%s %q", i.Identifier, i.NameCard)
}

// cards lists what the messages of a group show of their senders, the oldest first.
func (d *device) cards(group string, p *im.GetMsgListParam) (all []string) {
	d.t.Helper()
	ms, err := d.Messages(within(d.t), client.Group(group), p)
	if err != nil {
		d.t.Fatal(err)
	}
	for i := range ms {
		m := ms[len(ms)-1-i]
		all = append(all, text(m)+": "+card(m))
	}
	return all
}

// TestNameCardsInMessages: messages in groups show the name card that their sender has now: live ones, those that were missed, in the history and without
// a server, and in the list of conversations. A changed card alone is no event.
func TestNameCardsInMessages(t *testing.T) {
	s := imtest.Start(t)
	ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
	pad := config(t, s, "ann")
	pad.Platform = im.Platform_PLATFORM_PAD
	annPad := dial(t, pad)
	ann.openGroup("g", publicGroup, "bob")
	wear := func(by *device, user, card string) {
		t.Helper()
		code(t, "name card", by.Groups().ModifyMember(within(t), "g", user, &im.ModifyMemberRequest{NameCard: &card}), 0)
	}
	live := func(d *device, words, want string) {
		t.Helper()
		d.until(t, words, func(events []event) bool {
			e, ok := last(d.of("new"), "new")
			return ok && e.text == words
		})
		if e, _ := last(d.of("new"), "new"); card(e.msg) != want {
			t.Errorf("%q at %s shows %s, want %s", words, d.UserID(), card(e.msg), want)
		}
	}
	if m := ann.sayIn("g", "one"); card(m) != `ann ""` {
		t.Errorf("sent with %s", card(m))
	}
	live(bob, "one", `ann ""`)
	live(annPad, "one", `ann ""`)
	wear(ann, "ann", "Ann (ops)")
	wantTexts(t, "the own new card", ann.cards("g", &im.GetMsgListParam{Count: 1}), `one: ann "Ann (ops)"`)
	if cv := bob.groupConv("g"); card(cv.LastMsg) != `ann ""` {
		t.Errorf("before a message has brought the card, the list shows %s", card(cv.LastMsg))
	}
	wantTexts(t, "the history, which brings it", bob.cards("g", &im.GetMsgListParam{Count: 1}), `one: ann "Ann (ops)"`)
	if m := ann.sayIn("g", "two"); card(m) != `ann "Ann (ops)"` {
		t.Errorf("sent with %s", card(m))
	}
	live(bob, "two", `ann "Ann (ops)"`)
	live(annPad, "two", `ann "Ann (ops)"`)
	wantTexts(t, "older messages", bob.cards("g", nil), `tip 1 by ann of bob: @TIM#SYSTEM ""`, `one: ann "Ann (ops)"`, `two: ann "Ann (ops)"`)
	online := textMessage("online")
	online.IsOnlineMsg = true
	wear(ann, "ann", "Ann (oncall)")
	ann.sendIn("g", online)
	live(bob, "online", `ann "Ann (oncall)"`)
	if m := ann.say("bob", "apart"); card(m) != "none" {
		t.Errorf("a message to a user shows %s", card(m))
	}
	live(bob, "apart", "none")

	// An owner gives the card of a member; the owner's device knows it at once, the member's own with its head.
	bob.sayIn("g", "three")
	live(ann, "three", `bob ""`)
	wear(ann, "bob", "Bob of sales")
	wantTexts(t, "a card that was given", ann.cards("g", &im.GetMsgListParam{Count: 1}), `three: bob "Bob of sales"`)
	if m := bob.sayIn("g", "four"); card(m) != `bob "Bob of sales"` {
		t.Errorf("sent with %s", card(m))
	}
	live(annPad, "four", `bob "Bob of sales"`)
	bob.Beat()
	bob.WaitQuiet()
	bob.settled()
	n := len(bob.all())
	wear(ann, "ann", "Ann")
	bob.Beat()
	bob.WaitQuiet()
	bob.settled()
	if more := bob.all()[n:]; len(more) > 0 {
		t.Errorf("a card fires %v", more)
	}

	// Missed messages, then without a server.
	bob.Close()
	ann.sayIn("g", "five")
	ann.sayIn("g", "six")
	bob = bob.again()
	live(bob, "six", `ann "Ann"`)
	fresh := dial(t, config(t, s, "bob"))
	if cv := fresh.groupConv("g"); card(cv.LastMsg) != `ann "Ann"` {
		t.Errorf("the last message on a fresh device shows %s", card(cv.LastMsg))
	}
	want := []string{`tip 1 by ann of bob: @TIM#SYSTEM ""`, `one: ann "Ann"`, `two: ann "Ann"`, `three: bob "Bob of sales"`, `four: bob "Bob of sales"`, `five: ann "Ann"`, `six: ann "Ann"`}
	wantTexts(t, "the history on a fresh device", fresh.cards("g", nil), want...)
	fresh.Close()
	bob = bob.again()
	s.Stop()
	wantTexts(t, "offline", bob.cards("g", nil), want...)
	cfg := bob.cfg
	bob.Close()
	bob = failsToLogIn(t, cfg, cfg.UserSig)
	wantTexts(t, "opened without a server", bob.cards("g", nil), want...)
}

// TestNameCardsOfAnotherStore: the versions of another store's cards say nothing about those of a group with the same id in this one.
func TestNameCardsOfAnotherStore(t *testing.T) {
	s := imtest.Start(t, imtest.SecretKey("one key for both"))
	ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
	say := func(words string, wears ...string) {
		t.Helper()
		ann.openGroup("g", publicGroup, "bob")
		for _, card := range wears {
			code(t, "name card", bob.Groups().ModifyMember(within(t), "g", "bob", &im.ModifyMemberRequest{NameCard: &card}), 0)
		}
		bob.sayIn("g", words)
		ann.until(t, words, func([]event) bool { e, ok := last(ann.of("new"), "new"); return ok && e.text == words })
		if e, _ := last(ann.of("new"), "new"); card(e.msg) != fmt.Sprintf("bob %q", wears[len(wears)-1]) {
			t.Errorf("%q shows %s", words, card(e.msg))
		}
	}
	say("old", "1", "2", "3", "4", "old card")
	s.Restart(imtest.Dir(t.TempDir()))
	for _, d := range []*device{ann, bob} {
		d.until(t, "reconnect", func(es []event) bool { e, _ := last(es, "net"); return e.n == 0 && len(d.of("net")) > 3 })
	}
	say("new", "new card")
}
