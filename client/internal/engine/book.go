package engine

import "github.com/tidings-im/tidings/im"

// Book is a subject that a device keeps up to date: what it has stored of it, what the server tells of it, and what the application was told of it. All methods run on
// the engine. Where the database fails they say so by Check, and the batch is undone.
type Book interface {
	// Load forgets what memory holds and reads what is stored, if a database is open: when it was opened, when a batch was undone, and when it was closed.
	Load() error
	// NewStore starts over with a server that has another store: what was known of the other one's numbers does not hold. Connected comes behind it.
	NewStore()
	// Connected follows a login that the server has taken: the first of a session, or one that goes on with it. Disconnected follows the end of that connection.
	Connected(first bool)
	Disconnected()
	// Push applies a frame that the server sent by itself. Those with the methods of other books are none of its business. An error is for bytes that
	// cannot be read: the connection is made anew.
	Push(f *im.Frame) error
	// Flush writes what the batch has changed in memory, just before its commit.
	Flush()
	// States is what differs from what the application was told, and is to be told now; nil if there is nothing. It is asked right after a commit, when
	// nothing that it answered before is on its way.
	States() *States
}

// States is a set of callbacks that say how things are.
type States struct {
	// Tell are the callbacks, in their order. Each may be the last, if the client is closed meanwhile.
	Tell []func()
	// Told keeps what the application was told. begun is how many of the callbacks have begun. It runs on the engine, while the database is open.
	Told func(begun int)
}
