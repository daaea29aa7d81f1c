// Demo starts a server and lets two people talk, and shows each event of their clients as it fires.
//
//	make demo
//
// It is a test, too: it waits for everything that must happen, and exits with 1 if something does not.
package main

import (
	"fmt"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

func main() {
	d := newDemo()
	defer d.end()

	d.scene("A server, and two people who log in")
	d.start()
	alice, bob := d.device("alice", "laptop"), d.device("bob", "laptop")
	alice.login().synced()
	bob.login().synced()

	d.scene("A message, live")
	alice.send("bob", "Hello, Bob!")
	alice.expect("conversation", "Hello, Bob! (sent)")
	bob.expect("new message", "Hello, Bob!")
	bob.expect("conversation added", "1 unread, last: Hello, Bob!")
	bob.expect("total unread", "1")

	d.scene("Bob reads it, and Alice gets a receipt")
	bob.does("reads the conversation")
	d.must(bob.MarkRead(d.ctx, client.C2C("alice"), nil))
	bob.expect("conversation updated", "0 unread, last: Hello, Bob!")
	bob.expect("total unread", "0")
	alice.expect("receipt", "bob has read")
	alice.expect("conversation updated", "Hello, Bob! (read)")

	d.scene("Alice takes a message back")
	slip := alice.send("bob", "The password is swordfish")
	alice.expect("conversation updated", "swordfish (sent)")
	bob.expect("new message", "swordfish")
	bob.expect("total unread", "1")
	alice.does("recalls it")
	d.must(alice.Revoke(d.ctx, client.C2C("bob"), slip, "wrong window"))
	alice.expect("recalled", "wrong window")
	alice.expect("conversation updated", "(recalled)")
	bob.expect("recalled", "wrong window")
	bob.expect("total unread", "0")

	d.scene("Messages while Bob is away")
	bob.away()
	for _, text := range []string{"Are you there?", "I have news.", "Call me!"} {
		alice.send("bob", text)
	}
	alice.expect("conversation updated", "Call me! (sent)")
	bob.open()
	bob.login()
	bob.expect("new message", "Are you there?")
	bob.expect("new message", "I have news.")
	bob.expect("new message", "Call me!")
	bob.expect("total unread", "3")
	bob.synced()

	d.scene("The server restarts")
	d.stop()
	alice.expect("network", "disconnected")
	bob.expect("network", "disconnected")
	d.start()
	alice.expect("network", "link connected")
	bob.expect("network", "link connected")
	alice.send("bob", "Where were we?")
	alice.expect("conversation updated", "Where were we? (sent)")
	bob.expect("new message", "Where were we?")
	bob.expect("total unread", "4")

	d.scene("Alice logs in on another computer, and the first one is kicked")
	desktop := d.device("alice", "desktop")
	desktop.login()
	desktop.expect("new message", "Where were we?") // older ones are in the history
	desktop.synced()
	alice.expect("kicked offline", "")

	d.scene("A device that is kicked while away is told at its next login, once")
	desktop.away()
	alice.login().synced()
	desktop.open()
	desktop.does("logs in")
	err := desktop.Login(d.ctx)
	desktop.heard("login refused", "%v", err)
	if im.CodeOf(err) != im.CodeKickedWhileAway {
		d.fail("the code of the refusal should be %d", im.CodeKickedWhileAway)
	}
	desktop.login().synced()
	alice.expect("kicked offline", "")

	d.scene("Was each message announced once, in order, and not to the device that sent it?")
	bob.announced("Hello, Bob!", "The password is swordfish", "Are you there?", "I have news.", "Call me!", "Where were we?")
	desktop.announced("Where were we?") // where nothing is unread, a new device is told of the last one only
	alice.announced()
	fmt.Printf("\n%s\n", paint(green, "Yes. All that should happen has happened."))
}
