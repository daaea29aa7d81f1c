// Tour prints every callback of messages, conversations, sessions, relations and groups as it fires, in programs that know only TIMCloud.h: it starts a server and, for
// each device, a process of device.c, and sends them commands.
//
//	make demo
//
// It is also a test: it waits for everything that must happen, and exits with 1 if something does not.
package main

import (
	"fmt"
	"strings"
	"time"
)

func main() {
	s := newTour()
	defer s.End()

	s.Scene("A server, and two people who log in; Bob has a phone, too")
	s.Start()
	alice, bob, phone := s.device("alice", "laptop", "linux"), s.device("bob", "laptop", "linux"), s.device("bob", "phone", "android")
	for _, d := range []*device{alice, bob, phone} {
		d.login()
		d.Expect("network", "connecting")
		d.Expect("network", "connected")
		d.Expect("sync start", "")
		d.Expect("sync finish", "")
	}

	s.Scene("A message, live: on both of Bob's devices")
	alice.send("bob", "Hello, Bob!")
	alice.Expect("conversation", "Hello, Bob! (sent)")
	for _, d := range []*device{bob, phone} {
		d.Expect("new message", "from alice: Hello, Bob!")
		d.Expect("conversation added", "with alice, 1 unread")
		d.Expect("total unread", "1")
	}

	s.Scene("Bob replies from his laptop: his phone gets it, too")
	bob.send("alice", "Hello, Alice!")
	alice.Expect("new message", "from bob: Hello, Alice!")
	alice.Expect("total unread", "1")
	phone.Expect("new message", "from me: Hello, Alice!")

	s.Scene("Bob reads on his phone: his laptop knows, and Alice gets a receipt")
	phone.do("reads", "read", "alice")
	phone.Expect("total unread", "0")
	bob.Expect("total unread", "0")
	alice.Expect("receipt", "bob has read")

	s.Scene("Alice takes a message back")
	alice.send("bob", "The password is swordfish")
	for _, d := range []*device{bob, phone} {
		d.Expect("new message", "swordfish")
		d.Expect("total unread", "1")
	}
	alice.doTo("recalls it", "revoke", "bob", alice.last("bob"))
	alice.Expect("recall", "")
	bob.Expect("recall", "by alice")
	bob.Expect("conversation updated", "(recalled)")
	bob.Expect("total unread", "0")
	phone.Expect("recall", "by alice")
	phone.Expect("total unread", "0")

	s.Scene("Alice corrects a message, then Bob does: either side may")
	alice.send("bob", "See you at tne")
	for _, d := range []*device{bob, phone} {
		d.Expect("new message", "at tne")
	}
	alice.doTo("corrects it", "modify", "bob", alice.last("bob").text("See you at ten"))
	alice.Expect("update", "See you at ten")
	bob.Expect("update", "See you at ten")
	bob.doTo("corrects it again", "modify", "alice", bob.last("alice").text("See you at eleven"))
	for _, d := range []*device{bob, alice, phone} {
		d.Expect("update", "See you at eleven")
		d.Expect("conversation updated", "See you at eleven")
	}

	s.Scene("The operator's webhook rewrites a message: Alice is notified")
	s.rewrite("[removed]")
	alice.send("bob", "Buy now!")
	alice.Expect("update", "[removed]")
	alice.Expect("conversation updated", "[removed] (sent)")
	for _, d := range []*device{bob, phone} {
		d.Expect("new message", "[removed]")
		d.Expect("total unread", "2")
	}
	s.rewrite("")

	s.Scene("The operator recalls a message of Alice's")
	alice.send("bob", "What the operator does not like")
	for _, d := range []*device{bob, phone} {
		d.Expect("new message", "does not like")
		d.Expect("total unread", "3")
	}
	s.withdraw("alice", "bob", alice.last("bob"))
	for _, d := range []*device{alice, bob, phone} {
		d.Expect("recall", "by administrator")
		d.Expect("conversation updated", "(recalled)")
	}
	bob.Expect("total unread", "2")
	phone.Expect("total unread", "2")

	s.Scene("Bob's conversations: a draft, a pin, receive options, deletion")
	bob.do("begins to write", "draft", "alice", "Dear Alice")
	bob.Expect("conversation updated", "draft: Dear Alice")
	phone.do("pins the conversation", "pin", "alice")
	phone.Expect("conversation updated", "pinned")
	bob.Expect("conversation updated", "pinned")
	unread := bob.total()
	bob.do("wants no notice of Alice", "mute", "alice", "2")
	bob.Expect("total unread", "0")
	phone.Expect("total unread", "0")
	bob.do("wants notice of Alice again", "mute", "alice", "0")
	bob.Expect("total unread", fmt.Sprint(unread))
	bob.do("deletes the conversation", "deleteconv", "alice")
	bob.Expect("conversation deleted", "with alice")
	bob.Expect("total unread", "0")
	phone.Expect("conversation deleted", "with alice")
	phone.Expect("total unread", "0")

	s.relations(alice, bob, phone)
	s.groups(alice, bob, phone)

	s.Scene("Messages while Bob is away")
	bob.away()
	alice.do("reads", "read", "bob")
	for _, text := range []string{"Are you there?", "I have news.", "Call me!"} {
		alice.send("bob", text)
	}
	bob.login()
	bob.Expect("sync start", "")
	for _, text := range []string{"Are you there?", "I have news.", "Call me!"} {
		bob.Expect("new message", text)
	}
	bob.Expect("conversation added", "3 unread")
	bob.Expect("total unread", "3")
	bob.Expect("sync finish", "")

	s.Scene("A device that Bob never used: it begins with what is unread")
	tablet := s.device("bob", "tablet", "pad")
	tablet.login()
	tablet.Expect("new message", "Call me!")
	tablet.Expect("sync finish", "")

	s.Scene("The server goes, and comes back")
	s.Stop()
	alice.Expect("network", "disconnected")
	alice.Expect("network", "connecting")
	alice.Expect("network", "failed")
	s.Start()
	alice.Expect("network", "connected")
	bob.Expect("network", "connected")
	for _, d := range []*device{phone, tablet} {
		d.Expect("network", "connected")
	}
	alice.send("bob", "Where were we?")
	for _, d := range []*device{bob, phone, tablet} {
		d.Expect("new message", "Where were we?")
		d.Expect("total unread", "4")
	}
	alice.Expect("conversation updated", "Where were we? (sent)")

	s.Scene("Alice logs in on another computer, and the first one is kicked")
	desktop := s.device("alice", "desktop", "windows")
	desktop.login()
	desktop.Expect("sync finish", "")
	alice.Expect("kicked offline", "")

	s.Scene("A device that is kicked while away is notified at its next login, once")
	desktop.away()
	alice.login()
	alice.Expect("sync finish", "")
	desktop.fails("logs in", 6208, "login", s.Ticket("alice", time.Hour))
	desktop.login()
	desktop.Expect("sync finish", "")
	alice.Expect("kicked offline", "")

	s.Scene("The operator kicks Bob: all of his devices")
	s.kick("bob")
	for _, d := range []*device{bob, phone, tablet} {
		d.Expect("kicked offline", "")
	}

	s.Scene("A ticket that runs out while Carol is logged in")
	carol := s.device("carol", "laptop", "linux")
	short := s.Ticket("carol", 2*time.Second)
	carol.do("logs in with a ticket of 2 seconds", "login", short)
	carol.Expect("sync finish", "")
	carol.Expect("ticket expired", "")
	carol.fails("logs in with it again", 70001, "login", short)
	carol.login()
	carol.Expect("sync finish", "")

	s.Scene("Log lines, at or above the level that a program asks for")
	carol.do("wants warnings only", "loglevel", "5")
	carol.fails("calls with bad JSON", -3, "revoke", "alice", "{")
	carol.do("wants all from debug on", "loglevel", "3")
	carol.fails("calls with bad JSON again", -3, "revoke", "alice", "{")
	carol.Expect("log line", "TIMMsgRevoke refused")
	carol.away()
	s.check(carol.count("log line", "TIMMsgRevoke refused") == 1, "carol got one line about a refused call")
	s.check(carol.logFile("TIMMsgRevoke refused") == 0 && carol.logFile("logged in") > 0, "the log file has the lines at info and above")

	s.Scene("Was each message announced once on each device, and not on the one that sent it?")
	s.check(strings.Join(bob.Told(), "|") == "Hello, Bob!|The password is swordfish|See you at tne|[removed]|What the operator does not like|Are you there?|I have news.|Call me!|Where were we?",
		"bob's laptop got each once, in order")
	s.check(strings.Join(alice.Told(), "|") == "Hello, Alice!", "alice's laptop got only Bob's message")
	s.Done("Yes. All that should happen has happened.")
}
