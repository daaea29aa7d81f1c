// Demo starts a server, lets two people talk, and prints each event of their clients as it fires.
//
//	make demo
//
// It is also a test: it waits for everything that must happen, and exits with 1 if something does not.
package main

import (
	"fmt"
	"path/filepath"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/examples/internal/stage"
	"github.com/tidings-im/tidings/im"
)

func main() {
	d := &demo{stage.New("demo", filepath.Join("bin", "tidings"))}
	defer d.End()

	d.Scene("A server, and two people who log in")
	d.Start()
	alice, bob := d.device("alice", "laptop"), d.device("bob", "laptop")
	alice.login().synced()
	bob.login().synced()

	d.Scene("A message, live")
	alice.send("bob", "Hello, Bob!")
	alice.Expect("conversation", "Hello, Bob! (sent)")
	bob.Expect("new message", "Hello, Bob!")
	bob.Expect("conversation added", "1 unread, last: Hello, Bob!")
	bob.Expect("total unread", "1")

	d.Scene("Bob reads it, and Alice gets a receipt")
	bob.Does("reads the conversation")
	d.Must(bob.MarkRead(d.Ctx, client.C2C("alice"), nil))
	bob.Expect("conversation updated", "0 unread, last: Hello, Bob!")
	bob.Expect("total unread", "0")
	alice.Expect("receipt", "bob has read")
	alice.Expect("conversation updated", "Hello, Bob! (read)")

	d.Scene("Alice takes a message back")
	slip := alice.send("bob", "The password is swordfish")
	alice.Expect("conversation updated", "swordfish (sent)")
	bob.Expect("new message", "swordfish")
	bob.Expect("total unread", "1")
	alice.Does("recalls it")
	d.Must(alice.Revoke(d.Ctx, client.C2C("bob"), slip, "wrong window"))
	alice.Expect("recalled", "wrong window")
	alice.Expect("conversation updated", "(recalled)")
	bob.Expect("recalled", "wrong window")
	bob.Expect("total unread", "0")

	d.Scene("Bob wants to be asked before somebody adds him, and Alice asks")
	bob.Does("wants to be asked")
	d.Must(bob.Profiles().SetSelf(d.Ctx, &im.UserProfileItem{AddPermission: new(im.ProfileAddPermission_PROFILE_ADD_PERMISSION_NEED_CONFIRM)}))
	alice.Does("asks bob")
	asked, err := alice.Friends().Add(d.Ctx, &im.AddFriendRequest{UserId: "bob", Both: true, Wording: "It is me, Alice", Remark: "Bobby"})
	d.Must(err)
	alice.Heard("result", asked.Desc)
	bob.Expect("friend request", "It is me, Alice")
	bob.Does("reads it")
	d.Must(bob.Friends().ReadRequests(d.Ctx, 0))
	bob.Expect("friend requests read", "")
	bob.Does("accepts")
	_, err = bob.Friends().AnswerRequest(d.Ctx, &im.AnswerRequestRequest{UserId: "alice", Action: client.AcceptAndAdd})
	d.Must(err)
	bob.Expect("friends added", "alice")
	bob.Expect("friend request gone", "alice")
	alice.Expect("friends added", "bob")

	d.Scene("A remark and a friend group are the user's own; a new name is told to friends")
	alice.Does("changes the remark about bob")
	d.Must(alice.Friends().Update(d.Ctx, "bob", &im.FriendProfileItem{Remark: new("Bob from ops")}))
	alice.Expect("friend changed", "remark Bob from ops")
	alice.Does("puts him into a friend group")
	_, err = alice.Friends().CreateGroups(d.Ctx, []string{"work"}, []string{"bob"})
	d.Must(err)
	alice.Expect("friend changed", "groups work")
	bob.Does("gives himself a name")
	d.Must(bob.Profiles().SetSelf(d.Ctx, &im.UserProfileItem{NickName: new("Robert")}))
	alice.Expect("friend changed", "name Robert")

	d.Scene("A blacklist stops messages, and does not tell")
	mallory := d.device("mallory", "laptop")
	mallory.login().synced()
	bob.Does("blocks mallory")
	_, err = bob.Friends().Block(d.Ctx, []string{"mallory"})
	d.Must(err)
	bob.Expect("blacklist", "mallory")
	mallory.send("bob", "Buy now!")
	mallory.Expect("conversation", "Buy now! (sent)")
	bob.Does("unblocks mallory")
	_, err = bob.Friends().Unblock(d.Ctx, []string{"mallory"})
	d.Must(err)
	bob.Expect("unblocked", "mallory")

	d.Scene("Alice takes Bob off both lists")
	alice.Does("ends the friendship")
	_, err = alice.Friends().Delete(d.Ctx, []string{"bob"}, true)
	d.Must(err)
	alice.Expect("friends deleted", "bob")
	bob.Expect("friends deleted", "alice")

	d.groups(alice, bob, mallory)
	d.room(alice, bob)

	d.Scene("Messages while Bob is away")
	bob.away()
	for _, text := range []string{"Are you there?", "I have news.", "Call me!"} {
		alice.send("bob", text)
	}
	alice.Expect("conversation updated", "Call me! (sent)")
	bob.open()
	bob.login()
	bob.Expect("new message", "Are you there?")
	bob.Expect("new message", "I have news.")
	bob.Expect("new message", "Call me!")
	bob.Expect("total unread", "3")
	bob.synced()

	d.Scene("The server restarts")
	d.Stop()
	alice.Expect("network", "disconnected")
	bob.Expect("network", "disconnected")
	d.Start()
	alice.Expect("network", "link connected")
	bob.Expect("network", "link connected")
	alice.send("bob", "Where were we?")
	alice.Expect("conversation updated", "Where were we? (sent)")
	bob.Expect("new message", "Where were we?")
	bob.Expect("total unread", "4")

	d.Scene("Alice logs in on another computer, and the first one is kicked")
	desktop := d.device("alice", "desktop")
	desktop.login()
	desktop.Expect("new message", "Where were we?") // older ones are in the history
	desktop.synced()
	alice.Expect("kicked offline", "")

	d.Scene("A device that is kicked while away is notified at its next login, once")
	desktop.away()
	alice.login().synced()
	desktop.open()
	desktop.Does("logs in")
	err = desktop.Login(d.Ctx)
	desktop.Heard("login refused", fmt.Sprint(err))
	if im.CodeOf(err) != im.CodeKickedWhileAway {
		d.Fail("the code of the refusal should be %d", im.CodeKickedWhileAway)
	}
	desktop.login().synced()
	alice.Expect("kicked offline", "")

	d.Scene("Was each message announced once, in order, and not to the device that sent it?")
	bob.announced("Hello, Bob!", "The password is swordfish", "Are you there?", "I have news.", "Call me!", "Where were we?")
	desktop.announced("Where were we?") // if nothing is unread, a new device gets only the last one
	alice.announced()
	d.Done("Yes. All that should happen has happened.")
}
