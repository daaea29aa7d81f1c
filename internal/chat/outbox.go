package chat

import "github.com/tidings-im/tidings/im"

// What the app's webhook is notified of afterwards, besides messages. Each function writes to the outbox inside the Update of its cause, if there is a
// webhook. Each is about one list: a change of the lists of two users is two calls. owner is the user whose list changed.

// friendAdded is called when owner has got other as a friend. by is the one who asked for it first; response means that it was by the answer to a request.
func (c *Chat) friendAdded(tx Tx, s *Caller, owner, other, by person, response bool) error {
	return nil
}

// friendDeleted is called when owner does not have other as a friend any more.
func (c *Chat) friendDeleted(tx Tx, s *Caller, owner, other person) error { return nil }

// blocked is called when owner has blocked other.
func (c *Chat) blocked(tx Tx, s *Caller, owner, other person) error { return nil }

// unblocked is called when owner has unblocked other.
func (c *Chat) unblocked(tx Tx, s *Caller, owner, other person) error { return nil }

// portraitSet is called when the profile of owner was changed by item.
func (c *Chat) portraitSet(tx Tx, s *Caller, owner person, item *im.UserProfileItem) error {
	return nil
}
