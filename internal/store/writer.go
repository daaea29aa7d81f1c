package store

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

// op is one item for the writer: an Append, an Update if upd is set, or a Deliver if tell is.
type op struct {
	tell  func()
	entry chat.Entry
	done  func(chat.Stored, bool, error)
	upd   *update
}

// event is what the delivery goroutine delivers after the commit: the result of an Append, or an Update's AfterCommit functions.
type event struct {
	stored chat.Stored
	dup    bool
	err    error
	done   func(chat.Stored, bool, error)
	after  []func()
}

// writer is the state that only the writer goroutine touches (and Open before it runs).
type writer struct {
	insertStmt *sqlite3.SQLiteStmt
	insertArgs [13]driver.NamedValue

	events []event
	moved  []*head
	ended  []*update // answered after the commit
	inTx   bool
	broken error // set once a commit failed: nothing is done any more

	nextID, covered int64 // next entry id; last one that the rows of heads contain
	now             int64 // commit time of what is being done
	batches         int   // since the last flush of heads
	flush           bool  // the batch was asked to flush heads
	dirtyHeads      []*head
	dirtyOwns       []*own
	fullAt          time.Time // when the space was last checked
}

const idleFlush = 200 * time.Millisecond

// write is the writer goroutine.
func (s *Store) write() {
	defer s.written.Done()
	defer close(s.deliver)
	whole := false
	defer func() {
		if !whole { // an Update's fn ended the goroutine
			s.fail(errors.New("the writer goroutine was ended from inside an Update"))
		}
	}()
	idle := time.NewTimer(idleFlush)
	defer idle.Stop()
	ops := make([]op, 0, batchMax)
	for {
		var o op
		ok := true
		select {
		case o, ok = <-s.queue:
		default:
			var tick <-chan time.Time
			if s.dirty.Load() && s.broken == nil {
				idle.Reset(idleFlush)
				tick = idle.C
			}
			select {
			case o, ok = <-s.queue:
			case <-tick:
				s.flush = true
				s.batch(nil)
				continue
			case mode := <-s.settle:
				s.restartWAL(mode)
				continue
			}
		}
		if !ok {
			break
		}
		ops = append(ops[:0], o)
	more:
		for len(ops) < batchMax {
			select {
			case o, ok := <-s.queue:
				if !ok {
					break more
				}
				ops = append(ops, o)
			default:
				break more
			}
		}
		s.batch(ops)
		clear(ops)
		select {
		case mode := <-s.settle:
			s.restartWAL(mode)
		default:
		}
	}
	if s.broken == nil {
		s.flush = s.dirty.Load() || s.clock.Load() > s.now
		s.batch(nil)
	}
	whole = true
}

// batch does what was taken from the queue in one transaction, and passes the results on.
func (s *Store) batch(ops []op) {
	select {
	case s.events = <-s.free:
	default:
		s.events = make([]event, 0, 256)
	}
	err := s.broken
	if err == nil {
		s.lookForRoom()
		err = s.apply(ops)
	}
	if err != nil {
		refusal := s.refusal(err)
		s.events = s.events[:0]
		for i := range ops {
			if tell := ops[i].tell; tell != nil {
				s.events = append(s.events, event{after: []func(){tell}})
			} else if u := ops[i].upd; u == nil {
				s.events = append(s.events, s.refused(&ops[i], refusal))
			} else if u.start() {
				u.err = refusal
				close(u.ended)
			}
		}
		for _, u := range s.ended {
			if u.fn != nil || s.broken != nil || s.dirty.Load() {
				u.err = refusal
			}
			close(u.ended)
		}
	} else {
		s.publish()
		for _, u := range s.ended {
			close(u.ended)
		}
	}
	clear(s.ended)
	s.ended = s.ended[:0]
	if len(s.events) > 0 {
		s.deliver <- s.events
	}
	s.events = nil
}

// refusal returns the error for the operations of a failed transaction. Memory equals what was committed again, or the store has failed.
func (s *Store) refusal(err error) error {
	why := chat.ErrFull
	var failed error
	switch {
	case s.broken != nil:
		return s.broken
	case isFull(err):
		failed = s.noRoom(err)
	case isLocked(err):
		why, failed = chat.ErrLocked, s.lockedOut(err)
	default:
		failed = err
	}
	if failed != nil {
		s.fail(failed)
		return s.broken
	}
	return fmt.Errorf("%w: %w", why, err)
}

func (s *Store) apply(ops []op) error {
	s.now = s.Now()
	for i := range ops {
		var err error
		switch o := &ops[i]; {
		case o.tell != nil:
			s.events = append(s.events, event{after: []func(){o.tell}})
		case o.upd != nil:
			err = s.runUpdate(o.upd)
		default:
			err = s.add(o)
		}
		if err != nil {
			return err
		}
	}
	if s.inTx {
		s.batches++
	}
	if s.flush || s.batches >= flushBatches || len(s.dirtyHeads)+len(s.dirtyOwns) >= flushHeads {
		s.flush = false
		if err := s.begin(); err != nil {
			return err
		}
		if err := s.flushAll(); err != nil {
			return fmt.Errorf("heads: %w", err)
		}
	}
	return s.commit()
}

func (s *Store) begin() error {
	if s.inTx {
		return nil
	}
	if _, err := s.w.ExecContext(background, "BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	s.inTx = true
	s.letIn()
	return nil
}

func (s *Store) commit() error {
	if !s.inTx {
		return nil
	}
	if _, err := s.w.ExecContext(background, "COMMIT"); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	s.inTx = false
	s.commits.Add(1)
	return nil
}

// fail ends the store's work: what the disk holds is unknown until it is opened again.
func (s *Store) fail(err error) {
	if s.broken != nil {
		return
	}
	s.broken = fmt.Errorf("store: failed: %w", err)
	s.cfg.Fatal(s.broken)
}

// deliverAll is the delivery goroutine: it delivers batch after batch while the writer commits the next one.
func (s *Store) deliverAll() {
	defer s.delivered.Done()
	for events := range s.deliver {
		for i := range events {
			e := &events[i]
			if e.done != nil {
				tables.Contain(s.cfg.Log, func() { e.done(e.stored, e.dup, e.err) })
			}
			for _, f := range e.after {
				tables.Contain(s.cfg.Log, f)
			}
		}
		clear(events)
		select {
		case s.free <- events[:0]:
		default:
		}
	}
}

// Deliver is documented at chat.Store.
func (s *Store) Deliver(_ chat.ConvID, f func()) { _ = s.send(op{tell: f}) }

// send puts an operation into the queue.
func (s *Store) send(o op) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed.Load() {
		return chat.ErrClosed
	}
	s.queue <- o
	return nil
}

// Append queues an entry.
func (s *Store) Append(e chat.Entry, done func(chat.Stored, bool, error)) {
	if err := s.send(op{entry: e, done: done}); err != nil {
		go done(chat.Stored{}, false, err) // there is no delivery goroutine any more, and the caller may hold a lock that done takes
	}
}

// prepare prepares the statement of the hot path on the driver's own connection: that saves a tenth of database/sql's time.
func (s *Store) prepare() error {
	return s.w.Raw(func(c any) error {
		conn, ok := c.(*sqlite3.SQLiteConn)
		if !ok {
			return fmt.Errorf("unexpected driver connection %T", c)
		}
		st, err := conn.Prepare(insertSQL)
		if err != nil {
			return err
		}
		s.insertStmt = st.(*sqlite3.SQLiteStmt)
		return nil
	})
}
