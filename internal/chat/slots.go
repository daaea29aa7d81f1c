package chat

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tidings-im/tidings/im"
)

// What may wait for the before-hook, in bytes. A user who has less than keepWaiting there is let in even if all others have filled the rest.
const (
	slotCost       = 1 << 10 // of a message, besides its own size
	keepWaiting    = 64 << 10
	mostOfUser     = 16 << 20
	mostWaiting    = 256 << 20
	shareOfSlots   = 4 // a user may have this part of the slots
	defaultAtOnce  = 64
	defaultSlotFor = 30 * time.Second
)

var (
	errHookFull = im.Errorf(im.CodeWebhookFailed, "too many messages wait for the app's webhook")
	errHookLate = im.Errorf(im.CodeWebhookFailed, "the app's webhook has no time for the message")
	errGoing    = im.Errorf(im.CodeWebhookFailed, "the server is going away")
	errStopped  = im.Errorf(im.CodeNotLoggedIn, "the session was over before the message was taken")
)

// slots are the places in which the before-hook is asked. Users take turns, and none of them may have more than their share, so that nobody's message
// waits, or is not asked about, because of what somebody else sends. What waits for a slot is limited in bytes.
type slots struct {
	limit time.Duration // how long anything waits
	share int

	mu    sync.Mutex
	free  int
	bytes int // of everything that waits or is asked about
	users map[UID]*slotUser
	// turns are the users for whom something waits and who may have another slot. While a slot is free there are none.
	turns []*slotUser
}

// slotUser exists while the user has anything waiting or asked about.
type slotUser struct {
	held, bytes int
	queue       []*slotWait
	inTurn      bool
}

type slotWait struct {
	s     *Caller
	given chan error // nil: the slot is taken
}

func (q *slots) init(n int, limit time.Duration) {
	q.free, q.share, q.limit = n, max(1, n/shareOfSlots), limit
	q.users = make(map[UID]*slotUser)
}

// enter counts a message that is to be asked about; leave removes it.
func (q *slots) enter(uid UID, size int) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.users[uid]
	mine := size
	if u != nil {
		mine += u.bytes
	}
	if mine > keepWaiting && (mine > mostOfUser || q.bytes+size > mostWaiting) {
		return errHookFull
	}
	if u == nil {
		u = &slotUser{}
		q.users[uid] = u
	}
	u.bytes += size
	q.bytes += size
	return nil
}

func (q *slots) leave(uid UID, size int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.users[uid]
	u.bytes -= size
	q.bytes -= size
	q.forget(uid, u)
}

// take waits for a slot for a caller, until the caller is stopped, the context ends, or it has taken too long. give returns it.
func (q *slots) take(ctx context.Context, s *Caller) error {
	q.mu.Lock()
	if s.stopped {
		q.mu.Unlock()
		return errStopped
	}
	u := q.users[s.UID]
	if u == nil {
		u = &slotUser{}
		q.users[s.UID] = u
	}
	w := &slotWait{s, make(chan error, 1)}
	u.queue = append(u.queue, w)
	q.turn(u)
	q.grant()
	q.mu.Unlock()

	late := time.NewTimer(q.limit)
	defer late.Stop()
	var err error
	select {
	case err := <-w.given:
		return err
	case <-late.C:
		err = errHookLate
	case <-ctx.Done():
		err = errGoing
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(u.queue, w)
	if i < 0 {
		return <-w.given // it was given at the same moment
	}
	u.queue = slices.Delete(u.queue, i, i+1)
	q.forget(s.UID, u)
	return err
}

func (q *slots) give(uid UID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.users[uid]
	u.held--
	q.free++
	q.turn(u)
	q.grant()
	q.forget(uid, u)
}

// stop ends all waiting of a caller there, and lets it take nothing more.
func (q *slots) stop(s *Caller) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.stopped = true
	u := q.users[s.UID]
	if u == nil {
		return
	}
	u.queue = slices.DeleteFunc(u.queue, func(w *slotWait) bool {
		if w.s == s {
			w.given <- errStopped
		}
		return w.s == s
	})
	q.forget(s.UID, u)
}

// turn puts a user at the end of the line, if they may be in it.
func (q *slots) turn(u *slotUser) {
	if !u.inTurn && len(u.queue) > 0 && u.held < q.share {
		u.inTurn = true
		q.turns = append(q.turns, u)
	}
}

// grant assigns free slots, one to each user in turn.
func (q *slots) grant() {
	for q.free > 0 && len(q.turns) > 0 {
		u := q.turns[0]
		q.turns[0] = nil
		q.turns = q.turns[1:]
		u.inTurn = false
		w := u.queue[0]
		u.queue = u.queue[1:]
		q.free--
		u.held++
		w.given <- nil
		q.turn(u)
	}
}

func (q *slots) forget(uid UID, u *slotUser) {
	if u.inTurn && len(u.queue) == 0 {
		u.inTurn = false
		q.turns = slices.DeleteFunc(q.turns, func(o *slotUser) bool { return o == u })
	}
	if u.held == 0 && u.bytes == 0 && len(u.queue) == 0 {
		delete(q.users, uid)
	}
}

// Stop releases the messages of a caller that wait for the before-hook: they are answered with 6014 and not stored, so that a caller that waits for
// the messages need not wait until the hook was asked about all of them. A message that the hook is being asked about continues.
func (c *Chat) Stop(s *Caller) { c.slots.stop(s) }

// asking waits until the before-hook may be asked for a caller; done is to be called when it has responded.
func (c *Chat) asking(ctx context.Context, s *Caller) (done func(), err error) {
	if err := c.slots.take(ctx, s); err != nil {
		return nil, err
	}
	return func() { c.slots.give(s.UID) }, nil
}
