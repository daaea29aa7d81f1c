package client_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// about returns what fired of a conversation, totals included, from the n-th event on.
func about(d *device, conv string, n int) (out []event) {
	for _, e := range d.all()[n:] {
		if e.conv == conv || e.kind == "total" {
			out = append(out, e)
		}
	}
	return out
}

// Under receive option 1 nothing that others do fires: messages, changes, receipts, conversation, total. It is all stored, what the user does fires,
// and the end of the option reports the conversation once, as it is then. That holds for a device that was away, and for a fresh one.
func TestReceiveNothing(t *testing.T) {
	s := imtest.Start(t)
	bob, phone := two(t, s, "bob")
	alice, carol := dial(t, config(t, s, "alice")), dial(t, config(t, s, "carol"))
	fences := 0
	var devices []*device
	fence := func() {
		t.Helper()
		fences++
		what := fmt.Sprint("fence ", fences)
		m := textMessage(what)
		m.IsExcludedFromUnreadCount = true
		if _, err := carol.SendMessage(within(t), client.C2C("bob"), m); err != nil {
			t.Fatal(err)
		}
		for _, d := range devices {
			d.until(t, what, func(es []event) bool {
				return slices.ContainsFunc(es, func(e event) bool { return e.kind == "upd" && e.text == what || e.kind == "add" && e.text == what })
			})
			d.settled()
		}
	}
	devices = []*device{bob, phone}
	key := client.C2C("alice")
	first := alice.say("bob", "first")
	bob.say("alice", "read me")
	alice.count(t, "new", 1)
	fence()
	if err := phone.SetRecvOpt(within(t), []client.Conv{key}, 1); err != nil {
		t.Fatal(err)
	}
	for _, d := range devices { // the setting itself is the user's
		if e := d.untilConv("option", func(e event) bool { return e.info.RecvOpt == 1 }); e.n != 1 {
			t.Errorf("the conversation when it falls silent: %v", e)
		}
		d.until(t, "total", func(es []event) bool { e, _ := last(es, "total"); return e.n == 0 })
	}
	fence()
	marks := []int{len(bob.all()), len(phone.all())}
	silent := func(what string) {
		t.Helper()
		fence()
		for i, d := range devices {
			if es := about(d, "alice", marks[i]); len(es) > 0 {
				t.Errorf("%s, device %d:\n%s", what, i, list(es))
			}
			marks[i] = len(d.all())
		}
	}
	second := alice.say("bob", "second")
	silent("a message")
	second.CloudCustomStr = "v"
	if _, err := alice.ModifyMessage(within(t), bobs, second); err != nil {
		t.Fatal(err)
	}
	if err := alice.Revoke(within(t), bobs, first, ""); err != nil {
		t.Fatal(err)
	}
	silent("changes")
	now := textMessage("now")
	now.IsOnlineMsg = true
	if _, err := alice.SendMessage(within(t), bobs, now); err != nil {
		t.Fatal(err)
	}
	silent("online-only")
	if err := alice.MarkRead(within(t), bobs, nil); err != nil {
		t.Fatal(err)
	}
	silent("a receipt")

	// The user's own.
	phone.say("alice", "mine")
	bob.until(t, "own message", func(es []event) bool {
		return slices.ContainsFunc(about(bob, "alice", marks[0]), func(e event) bool { return e.kind == "new" && e.text == "mine" })
	})
	bob.untilConv("own message", func(e event) bool { return e.conv == "alice" && e.text == "mine" })
	if err := phone.PinConversation(within(t), key, true); err != nil {
		t.Fatal(err)
	}
	bob.untilConv("pin", func(e event) bool { return e.info.IsPinned })
	if err := phone.PinConversation(within(t), key, false); err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		d.untilConv("no pin", func(e event) bool { return !e.info.IsPinned })
	}
	fence()
	marks = []int{len(bob.all()), len(phone.all())}
	third := alice.say("bob", "third")
	silent("a message after an own one")

	// Away, and fresh.
	bob.Close()
	devices, marks = []*device{phone}, marks[1:]
	alice.say("bob", "fourth")
	silent("a message, with one device away")
	bob = dial(t, bob.cfg)
	pad := config(t, s, "bob")
	pad.Platform = im.Platform_PLATFORM_PAD
	fresh := dial(t, pad)
	devices, marks = []*device{phone, bob, fresh}, []int{marks[0], 0, 0}
	fence()
	if got := about(fresh, "alice", 0); len(got) != 2 || got[0].text != "read me" || got[1].text != "mine" {
		t.Errorf("a fresh device is told more than the user's own messages:\n%s", list(got))
	}
	marks[2] = len(fresh.all())
	silent("back, and fresh")
	for i, d := range devices {
		ms, err := d.Messages(within(t), key, nil)
		if err != nil || len(ms) != 6 || text(ms[0]) != "fourth" || ms[3].CloudCustomStr != "v" || ms[5].Status != im.MessageStatus_MESSAGE_STATUS_REVOKED {
			t.Errorf("device %d lists %v, %v", i, ms, err)
		}
		c, err := d.ConversationsByKey(within(t), []client.Conv{key})
		if err != nil || len(c) != 1 || c[0].UnreadNum != 3 || text(c[0].LastMsg) != "fourth" || c[0].RecvOpt != 1 {
			t.Errorf("device %d has the conversation %v, %v", i, c, err)
		}
	}

	// The end.
	if err := bob.SetRecvOpt(within(t), []client.Conv{key}, 0); err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		d.until(t, "total", func(es []event) bool { e, _ := last(es, "total"); return e.n == 3 })
	}
	fence()
	for i, d := range devices {
		want := []string{"receipt", "upd", "total"}
		if d == fresh { // which began with the receipt, and has not been notified of the conversation
			want = []string{"add", "total"}
		}
		es := about(d, "alice", marks[i])
		if got := kinds(es); !slices.Equal(got, want) {
			t.Errorf("device %d at the end of the option: %s", i, list(es))
			continue
		}
		if e := es[len(es)-2]; e.n != 3 || e.text != "fourth" {
			t.Errorf("device %d is told %v", i, e)
		}
		marks[i] = len(d.all())
	}
	alice.say("bob", "fifth")
	for _, d := range devices {
		d.until(t, "fifth", func(es []event) bool { e, _ := last(es, "new"); return e.text == "fifth" })
	}
	if err := alice.Revoke(within(t), bobs, third, ""); err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		d.until(t, "recall", func(es []event) bool { e, _ := last(es, "revoke"); return e.seq == third.Seq })
	}
}

// Options 2 and 3: messages fire and count in the conversation, not in the total.
func TestReceiveWithoutPush(t *testing.T) {
	for opt := int32(2); opt <= 3; opt++ {
		s := imtest.Start(t)
		bob, alice := dial(t, config(t, s, "bob")), dial(t, config(t, s, "alice"))
		if err := bob.SetRecvOpt(within(t), []client.Conv{client.C2C("alice")}, opt); err != nil {
			t.Fatal(err)
		}
		alice.say("bob", "one")
		bob.untilConv("one", func(e event) bool { return e.n == 1 && e.text == "one" && e.info.RecvOpt == opt })
		bob.settled()
		if new, total := bob.of("new"), bob.of("total"); len(new) != 1 || len(total) != 0 {
			t.Errorf("option %d:\n%s", opt, list(bob.all()))
		}
	}
}

// Whatever fails on the device and on its link: what is sent while a conversation is silent fires never, everything else once.
func TestSilentAtRandom(t *testing.T) {
	s := imtest.Start(t)
	proxy, url := newProxy(t, s.URL)
	cfg := config(t, s, "bob")
	cfg.Server = url
	bob, alice := dial(t, cfg), dial(t, config(t, s, "alice"))
	key := client.C2C("alice")
	alice.say("bob", "before")
	bob.count(t, "new", 1)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	fired := func(d *device) (out []string) {
		for _, e := range d.of("new") {
			out = append(out, e.text)
		}
		return out
	}
	want, run := []string{"before"}, []string{}
	n := 0
	for range 30 {
		silent := rnd.IntN(2) == 0
		opt := int32(0)
		if silent {
			opt = 1
		}
		eventually(t, "the option", func() bool { return bob.SetRecvOpt(within(t), []client.Conv{key}, opt) == nil })
		if rnd.IntN(3) == 0 {
			if err := bob.FailCommits(1); err != nil {
				t.Fatal(err)
			}
		}
		for range 1 + rnd.IntN(4) {
			n++
			what := fmt.Sprint(n)
			alice.say("bob", what)
			if !silent {
				want = append(want, what)
			}
			if rnd.IntN(5) == 0 {
				proxy.Cut()
			}
		}
		if rnd.IntN(4) == 0 {
			old := bob
			bob = old.again()
			run = append(run, fired(old)...) // the whole of it: the old one is closed
		}
		// All has arrived when the list has the last one, also after a commit that failed with the first look at it.
		for range 2 {
			eventually(t, "the last message", func() bool {
				c, err := bob.ConversationsByKey(within(t), []client.Conv{key})
				return err == nil && len(c) == 1 && text(c[0].LastMsg) == fmt.Sprint(n)
			})
			bob.settled()
		}
	}
	if got := append(run, fired(bob)...); !slices.Equal(got, want) {
		t.Errorf("seed %d: fired %v\nwant %v", seed, got, want)
	}
}
