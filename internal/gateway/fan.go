package gateway

import (
	"runtime"
	"sync"
)

// An event to many sessions is written by a few goroutines, one session after the other. If each session had its own, hundreds of them would be in front of whatever
// else becomes ready at that moment, such as the reader of a message between two people, its commit, and the writer to its receiver.

const (
	// fanDirect is how many sessions of an audience are written to without waiting for the others.
	fanDirect = 8
	// fanTurn is after how many sessions a writer lets others go first.
	fanTurn = 16
)

// fan contains the sessions to which a part of an event to many is to be written.
type fan struct {
	wg *sync.WaitGroup

	mu      sync.Mutex
	waiting []*session
	next    int
	// There are at most so many writers: the other half of the processors stays free for what is not for many.
	writers, most int
}

func (f *fan) init(wg *sync.WaitGroup) { f.wg, f.most = wg, max(1, runtime.GOMAXPROCS(0)/2) }

// add is called with s.mu held.
func (f *fan) add(s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = append(f.waiting, s)
	if f.writers < f.most {
		f.writers++
		f.wg.Go(f.write)
	}
}

// take returns the next session. If there is none, the writer ends.
func (f *fan) take() *session {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == len(f.waiting) {
		f.waiting, f.next = f.waiting[:0], 0
		f.writers--
		return nil
	}
	s := f.waiting[f.next]
	f.waiting[f.next] = nil
	if f.next++; f.next >= 1024 && f.next > len(f.waiting)/2 {
		n := copy(f.waiting, f.waiting[f.next:])
		clear(f.waiting[n:])
		f.waiting, f.next = f.waiting[:n], 0
	}
	return s
}

// write is a writer. No session holds it up: what a socket does not take at once is left to a goroutine of the session.
func (f *fan) write() {
	var now onceWriter
	for n := 1; ; n++ {
		s := f.take()
		if s == nil {
			return
		}
		s.contain(func() { s.writeNow(&now) })
		if n%fanTurn == 0 {
			runtime.Gosched()
		}
	}
}

// fetched takes the session off the fan, if it is still there.
func (s *session) fetched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.fanned
	s.fanned = false
	return was
}

// writeNow writes what waits, if nobody else does, as far as that is possible without waiting.
func (s *session) writeNow(now *onceWriter) {
	if !s.fetched() {
		return
	}
	for {
		out, last := s.takeOut()
		var rest []byte
		switch {
		case out == nil && last == nil:
			return
		case out == nil:
			s.g.wg.Go(func() { s.contain(func() { s.hangUp(last) }) })
			return
		case s.conn.raw != nil && len(out)-headRoom <= maxWrite && s.whole.TryLock():
			start := putHeader(out[:headRoom], len(out)-headRoom)
			n, err := now.write(s.conn.raw, out[start:])
			if rest = out[start+n:]; err != nil || len(rest) == 0 {
				s.whole.Unlock()
				if !s.wrote(out, err) {
					return
				}
				continue
			}
		}
		s.handOver(out, rest)
		return
	}
}

// handOver leaves writing to a goroutine of the session: what takeOut returned, or the rest of it, if its beginning was written. With a rest, the caller holds s.whole,
// and the goroutine unlocks it.
func (s *session) handOver(out, rest []byte) {
	s.g.wg.Go(func() {
		s.contain(func() {
			var err error
			if rest == nil {
				err = s.writeOut(out)
			} else {
				err = s.writeRest(rest)
				s.whole.Unlock()
			}
			if s.wrote(out, err) {
				s.write()
			}
		})
	})
}
