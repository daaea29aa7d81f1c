// Tour shows every callback of messages, conversations and sessions as it fires, in programs that know only TIMCloud.h: it starts a server and, for each device, a
// process of device.c, and tells them what to do.
//
//	make demo
//
// It is a test, too: it waits for everything that must happen, and exits with 1 if something does not.
package main

import (
	"fmt"
	"time"
)

func main() {
	s := newStage()
	defer s.end()

	s.scene("A server, and two people who log in; Bob has a phone, too")
	s.start()
	alice, bob, phone := s.device("alice", "laptop", "linux"), s.device("bob", "laptop", "linux"), s.device("bob", "phone", "android")
	for _, d := range []*device{alice, bob, phone} {
		d.login()
		d.expect("network", "connecting")
		d.expect("network", "connected")
		d.expect("sync start", "")
		d.expect("sync finish", "")
	}

	s.scene("A message, live: on both of Bob's devices")
	alice.send("bob", "Hello, Bob!")
	alice.expect("conversation", "Hello, Bob! (sent)")
	for _, d := range []*device{bob, phone} {
		d.expect("new message", "from alice: Hello, Bob!")
		d.expect("conversation added", "with alice, 1 unread")
		d.expect("total unread", "1")
	}

	s.scene("Bob answers from his laptop: his phone hears it")
	bob.send("alice", "Hello, Alice!")
	alice.expect("new message", "from bob: Hello, Alice!")
	alice.expect("total unread", "1")
	phone.expect("new message", "from me: Hello, Alice!")

	s.scene("Bob reads on his phone: his laptop knows, and Alice gets a receipt")
	phone.do("reads", "read", "alice")
	phone.expect("total unread", "0")
	bob.expect("total unread", "0")
	alice.expect("receipt", "bob has read")

	s.scene("Alice takes a message back")
	alice.send("bob", "The password is swordfish")
	for _, d := range []*device{bob, phone} {
		d.expect("new message", "swordfish")
		d.expect("total unread", "1")
	}
	alice.doTo("recalls it", "revoke", "bob", alice.last("bob"))
	alice.expect("recall", "")
	bob.expect("recall", "by alice")
	bob.expect("conversation updated", "(recalled)")
	bob.expect("total unread", "0")
	phone.expect("recall", "by alice")
	phone.expect("total unread", "0")

	s.scene("Alice corrects a message, then Bob does: either side may")
	alice.send("bob", "See you at tne")
	for _, d := range []*device{bob, phone} {
		d.expect("new message", "at tne")
	}
	alice.doTo("corrects it", "modify", "bob", alice.last("bob").text("See you at ten"))
	alice.expect("update", "See you at ten")
	bob.expect("update", "See you at ten")
	bob.doTo("corrects it again", "modify", "alice", bob.last("alice").text("See you at eleven"))
	for _, d := range []*device{bob, alice, phone} {
		d.expect("update", "See you at eleven")
		d.expect("conversation updated", "See you at eleven")
	}

	s.scene("The operator's webhook rewrites a message: Alice is told")
	s.rewrite("[removed]")
	alice.send("bob", "Buy now!")
	alice.expect("update", "[removed]")
	alice.expect("conversation updated", "[removed] (sent)")
	for _, d := range []*device{bob, phone} {
		d.expect("new message", "[removed]")
		d.expect("total unread", "2")
	}
	s.rewrite("")

	s.scene("The operator recalls a message of Alice's")
	alice.send("bob", "What the operator does not like")
	for _, d := range []*device{bob, phone} {
		d.expect("new message", "does not like")
		d.expect("total unread", "3")
	}
	s.withdraw("alice", "bob", alice.last("bob"))
	for _, d := range []*device{alice, bob, phone} {
		d.expect("recall", "by administrator")
		d.expect("conversation updated", "(recalled)")
	}
	bob.expect("total unread", "2")
	phone.expect("total unread", "2")

	s.scene("Bob's conversations: a draft, a pin, receive options, deletion")
	bob.do("begins to write", "draft", "alice", "Dear Alice")
	bob.expect("conversation updated", "draft: Dear Alice")
	phone.do("pins the conversation", "pin", "alice")
	phone.expect("conversation updated", "pinned")
	bob.expect("conversation updated", "pinned")
	unread := bob.total()
	bob.do("wants no notice of Alice", "mute", "alice", "2")
	bob.expect("total unread", "0")
	phone.expect("total unread", "0")
	bob.do("wants notice of Alice again", "mute", "alice", "0")
	bob.expect("total unread", fmt.Sprint(unread))
	bob.do("deletes the conversation", "deleteconv", "alice")
	bob.expect("conversation deleted", "with alice")
	bob.expect("total unread", "0")
	phone.expect("conversation deleted", "with alice")
	phone.expect("total unread", "0")

	s.scene("Messages while Bob is away")
	bob.away()
	alice.do("reads", "read", "bob")
	for _, text := range []string{"Are you there?", "I have news.", "Call me!"} {
		alice.send("bob", text)
	}
	bob.login()
	bob.expect("sync start", "")
	for _, text := range []string{"Are you there?", "I have news.", "Call me!"} {
		bob.expect("new message", text)
	}
	bob.expect("conversation added", "3 unread")
	bob.expect("total unread", "3")
	bob.expect("sync finish", "")

	s.scene("A device that Bob never used: it begins with what is unread")
	tablet := s.device("bob", "tablet", "pad")
	tablet.login()
	tablet.expect("new message", "Call me!")
	tablet.expect("sync finish", "")

	s.scene("The server goes, and comes back")
	s.stop()
	alice.expect("network", "disconnected")
	alice.expect("network", "connecting")
	alice.expect("network", "failed")
	s.start()
	alice.expect("network", "connected")
	bob.expect("network", "connected")
	for _, d := range []*device{phone, tablet} {
		d.expect("network", "connected")
	}
	alice.send("bob", "Where were we?")
	for _, d := range []*device{bob, phone, tablet} {
		d.expect("new message", "Where were we?")
		d.expect("total unread", "4")
	}
	alice.expect("conversation updated", "Where were we? (sent)")

	s.scene("Alice logs in on another computer, and the first one is kicked")
	desktop := s.device("alice", "desktop", "windows")
	desktop.login()
	desktop.expect("sync finish", "")
	alice.expect("kicked offline", "")

	s.scene("A device that is kicked while it is away is told at its next login, once")
	desktop.away()
	alice.login()
	alice.expect("sync finish", "")
	desktop.fails("logs in", 6208, "login", s.ticket("alice", time.Hour))
	desktop.login()
	desktop.expect("sync finish", "")
	alice.expect("kicked offline", "")

	s.scene("The operator kicks Bob: all of his devices")
	s.kick("bob")
	for _, d := range []*device{bob, phone, tablet} {
		d.expect("kicked offline", "")
	}

	s.scene("A ticket that runs out while Carol is logged in")
	carol := s.device("carol", "laptop", "linux")
	short := s.ticket("carol", 2*time.Second)
	carol.do("logs in with a ticket of 2 seconds", "login", short)
	carol.expect("sync finish", "")
	carol.expect("ticket expired", "")
	carol.fails("logs in with it again", 70001, "login", short)
	carol.login()
	carol.expect("sync finish", "")

	s.scene("Log lines, at or above the level that a program asks for")
	carol.do("wants warnings only", "loglevel", "5")
	carol.fails("calls with bad JSON", -3, "revoke", "alice", "{")
	carol.do("wants all from debug on", "loglevel", "3")
	carol.fails("calls with bad JSON again", -3, "revoke", "alice", "{")
	carol.expect("log line", "TIMMsgRevoke refused")
	carol.away()
	s.check(carol.count("log line", "TIMMsgRevoke refused") == 1, "carol was told of one call that was refused")
	s.check(carol.logFile("TIMMsgRevoke refused") == 0 && carol.logFile("logged in") > 0, "the log file has what stands at info and above")

	s.scene("Was each message announced once on each device, and not on the one that sent it?")
	s.check(bob.told() == "Hello, Bob!|The password is swordfish|See you at tne|[removed]|What the operator does not like|Are you there?|I have news.|Call me!|Where were we?",
		"bob's laptop was told of each once, in order")
	s.check(alice.told() == "Hello, Alice!", "alice's laptop was told of Bob's message alone")
	s.print("\n%s", paint(green, "Yes. All that should happen has happened."))
}
