package gateway

import (
	"slices"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// Every kind of audience gets an event once, nobody else gets it, and hears reports whether anybody would.
func TestAudience(t *testing.T) {
	n := start(t, options{})
	all := map[string]*conn{
		"alice's desk":  n.login(device{user: "alice", device: "desk"}),
		"alice's phone": n.login(device{user: "alice", device: "phone", platform: im.Platform_PLATFORM_IOS}),
		"bob's desk":    n.login(device{user: "bob", device: "desk"}), // the same device
	}
	alice, bob := chat.UID(all["alice's desk"].reply.TinyId), chat.UID(all["bob's desk"].reply.TinyId)
	nobody, err := n.rules.Account(t.Context(), "nobody")
	if err != nil {
		t.Fatal(err)
	}
	session := func(uid chat.UID, device string) chat.SessionID {
		for _, s := range n.sessionsOf(uid) {
			if s.caller.Device == device {
				return s.caller.ID
			}
		}
		t.Fatalf("no session of %d at %s", uid, device)
		return chat.SessionID{}
	}
	desk := session(alice, "desk")
	elsewhere := desk
	elsewhere.Server++
	both := []chat.UID{alice, bob}
	for name, c := range map[string]struct {
		to   chat.Audience
		hear []string
	}{
		"nobody":                          {},
		"a user":                          {chat.Audience{Users: both[:1]}, []string{"alice's desk", "alice's phone"}},
		"users":                           {chat.Audience{Users: both}, []string{"alice's desk", "alice's phone", "bob's desk"}},
		"a user who is not there":         {chat.Audience{Users: []chat.UID{nobody.UID}}, nil},
		"but for a session":               {chat.Audience{Users: both, Except: desk}, []string{"alice's phone", "bob's desk"}},
		"but for one at another server":   {chat.Audience{Users: both, Except: elsewhere}, []string{"alice's desk", "alice's phone", "bob's desk"}},
		"one session":                     {chat.Audience{Users: both, Only: desk}, []string{"alice's desk"}},
		"one session at another server":   {chat.Audience{Users: both, Only: elsewhere}, nil},
		"one session of somebody else":    {chat.Audience{Users: both[1:], Only: desk}, nil},
		"but for a device":                {chat.Audience{Users: both, ExceptDevice: chat.Device{User: alice, ID: "desk"}}, []string{"alice's phone", "bob's desk"}},
		"but for a session and a device":  {chat.Audience{Users: both, Except: desk, ExceptDevice: chat.Device{User: alice, ID: "phone"}}, []string{"bob's desk"}},
		"a group, whose members are none": {chat.Audience{Group: 1}, nil},
	} {
		encoded := 0
		n.tell(c.to, func() chat.Event {
			encoded++
			return chat.Event{To: c.to, Method: im.Method_HEAD, Frame: im.AppendFrame(nil, &im.Frame{Method: im.Method_HEAD})}
		})
		if want := min(len(c.hear), 1); encoded != want {
			t.Errorf("%s: it is encoded %d times, want %d", name, encoded, want)
		}
		for who, conn := range all {
			conn.call(im.Method_HEARTBEAT, &im.Empty{}, 0, nil) // behind what was queued
			want := 0
			if slices.Contains(c.hear, who) {
				want = 1
			}
			if len(conn.pushes) != want {
				t.Errorf("%s: %s hears of it %d times, want %d", name, who, len(conn.pushes), want)
			}
			conn.pushes = nil
		}
	}
}

// An event that could not be encoded is counted, and its audience gets BEHIND.
func TestEventThatCouldNotBeEncoded(t *testing.T) {
	n := start(t, options{})
	alice := n.login(device{user: "alice"})
	before := n.failed()
	to := chat.Audience{Users: []chat.UID{chat.UID(alice.reply.TinyId)}}
	n.tell(to, func() chat.Event {
		return chat.Event{To: to, Method: im.Method_BEHIND, Frame: im.AppendFrame(nil, &im.Frame{Method: im.Method_BEHIND})}
	})
	alice.push(im.Method_BEHIND, nil)
	if got := n.failed() - before; got != 1 {
		t.Errorf("the metric counts %v", got)
	}
}

// Every call of the contract is taken, by the connection or by the rules.
func TestEveryCallIsTaken(t *testing.T) {
	n := start(t, options{})
	for number := range im.Method_name {
		m := im.Method(number)
		info, ok := m.Info()
		if !ok || info.NewRequest == nil {
			continue
		}
		c := n.login(device{user: "alice"})
		c.id++
		c.write(im.AppendFrame(nil, &im.Frame{Id: c.id, Method: m}))
		if f := c.await(c.id); f.Desc == m.String()+" cannot be called" || f.Code == im.CodeServerInternal {
			t.Errorf("%s is answered with %d %s", m, f.Code, f.Desc)
		}
	}
}
