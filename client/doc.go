// Package client is the Go SDK of Tidings. It logs a device in to a server, keeps a local copy of the user's conversations and relations, and notifies the application of
// every committed change, once and in order.
//
//	c, err := client.Dial(ctx, client.Config{Server: "ws://127.0.0.1:7070", UserID: "ann", UserSig: sig}, client.Events{
//		NewMessages: func(ms []*im.Message) { ... },
//	})
//
// # Devices
//
// A device is a folder: [Config.Dir] contains its id and a database per user. Two folders are two devices, even on one computer, and one process at a time uses a folder.
// Each device gets every message, including those that arrived while its program was not running.
//
// A user has one session per platform class (desktop, mobile, pad, web; [Config.Platform] decides which): a login ends the user's other session of the same class. A
// device that is connected then gets [Events.KickedOffline]. A device that is away is notified at its next login, which fails once with [im.ErrKickedWhileAway]; the next
// try succeeds. Login again if the user asked for it, and not automatically: two programs that do so would end each other's sessions forever.
//
// [Client.Close] ends the program's use of the device, but the device stays logged in: it counts as away, and gets what it missed at its next login. [Client.Logout] ends
// the session.
//
// # Reading offline
//
// [Open] needs no server, and a client that is logged in can read what is on the device while the connection is lost. Without a login, conversations and messages on
// the device can be read if [Config.UserSig] is a ticket that a server has accepted on this device before and that has not expired or been refused since. With any other ticket they can
// be read from a successful login on. After a logout, a kick or an expired ticket, reads return [im.ErrNotLoggedIn].
//
// A call that changes something on the server fails with [im.ErrDisconnected] if there is no connection. Drafts and local custom data exist only on this device and need none. Calls
// about conversations that are made during the sync after a login wait for the sync, so a list is never older than the login.
//
// # Friends and profiles
//
// [Client.Friends] has the calls about friends, requests to become friends, friend groups and the blacklist, [Client.Profiles] those about who users are. The lists are on the
// device: [Friends.List], [Friends.Blacklist], [Friends.Groups] and [Friends.Search] work offline too, and wait for the first sync like calls about conversations do.
//
// # Two forms of a call
//
// A method that takes a context blocks until its result is known. It may be called from anywhere, including a callback. The form with the suffix Func returns at once and
// calls done exactly once, on the callback goroutine and in order with the events: a result comes before the events that it caused. The C library is built on these.
//
// A call whose context has already ended does nothing and returns ctx.Err(). If the context ends while the call runs, it returns ctx.Err() at once, but the call continues:
// a message may still be sent and a login may still succeed, and the events report it. [Client.CancelSend] takes back a message that waits for a connection. Only
// [Client.DownloadElem] ends with its context.
//
// # Errors
//
// If the server or the client refuses something, the error is an [*im.Error] with a TIM code. [im.CodeOf] returns the code of any error, and package im has sentinels
// for the common ones:
//
//	if _, err := c.SendMessage(ctx, client.C2C("bob"), im.Text("hello")); errors.Is(err, im.ErrUnknownReceiver) { ... }
//
// Temporary failures of the connection are not errors of a call: the client reconnects by itself, repeats what may be repeated, and reports the state of the link through
// [Events.Network]. A call that cannot be completed within its time limit ([Limits]) fails with the code of the reason. A send that failed is never repeated by itself;
// the message is marked as failed, and the application may send it again.
//
// If the local database fails, the affected calls return [im.CodeDatabase] and the device continues from what is on disk. A damaged database is set aside, and the device starts
// as a fresh one: the server still has everything.
//
// # Callbacks
//
// All Events and done functions of a Client run one at a time on its [Dispatcher]. They may call any method, including Close. While one runs, the others wait; if 1,000 wait,
// the client stops fetching until the application has caught up, so a slow application loses nothing.
//
// After a crash, a callback that had not returned fires again. The client never skips one.
//
// # Stability
//
// There has been no release yet: until the first one, this API may change without notice. After it, it follows semantic versioning. Codes and JSON are those of the TIM C API
// and do not change. The database in [Config.Dir] is private to this package; newer versions read those of older ones.
package client
