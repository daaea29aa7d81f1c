package engine

import "github.com/tidings-im/tidings/im"

// Book is a subject that a device keeps up to date: what it has stored, what the server sends about it, and what was reported to the application. All
// methods run on the engine. If the database fails, they report it to Check, and the batch is undone.
type Book interface {
	// Load resets memory and reads what is stored, if a database is open: after it was opened, after a batch was undone, and after it was closed.
	Load() error
	// NewStore starts over with a server that has another store: what was known of the other one's numbers does not hold. Connected follows.
	NewStore()
	// Connected is called after a login that the server has accepted: the first of a session, or one that continues it. Disconnected is called after
	// the end of that connection.
	Connected(first bool)
	Disconnected()
	// Push applies a frame that the server sent by itself. It ignores methods of other books. It returns an error for bytes that cannot be read: the
	// client then reconnects.
	Push(f *im.Frame) error
	// Flush writes what the batch has changed in memory, just before its commit.
	Flush()
	// States returns what differs from what was reported to the application, and is to be reported; nil if there is nothing. It is called right after
	// a commit, when nothing that it returned before is under way.
	States() *States
}

// States is a set of callbacks that report a state.
type States struct {
	// Tell are the callbacks, in their order. Each may be the last, if the client is closed in between.
	Tell []func()
	// Told records what was reported to the application. begun is how many of the callbacks have begun. It runs on the engine, with 0 if the
	// database has been closed meanwhile.
	Told func(begun int)
}
