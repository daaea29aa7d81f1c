package gateway

import (
	"encoding/binary"
	"sync"

	"github.com/tidings-im/tidings/im"
)

// What waits to be written to a session is a run of frames in one buffer, behind room for the header of a WebSocket message, so that it can be
// written without copying.

const (
	// headRoom is the longest header of a message that a server writes.
	headRoom = 10
	// maxWrite is the size above which no further frame is put into a message: a socket that takes less than this within Config.Stall is too slow to
	// be kept.
	maxWrite = 128 << 10
	// spareBuffer is the size of a buffer that is worth keeping for another session.
	spareBuffer = 64 << 10
)

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 4<<10)
	return &b
}}

// add appends a frame, with a body that is not encoded yet if there is one. The caller holds s.mu.
func (s *session) add(f *im.Frame, body im.Body) {
	s.begun()
	if body == nil {
		s.out = im.AppendFrame(s.out, f)
	} else {
		s.out = im.AppendMessage(s.out, f, body)
	}
	s.tally()
	s.wake(false)
}

// begun counts a frame that is about to be appended.
func (s *session) begun() {
	if s.out == nil {
		s.out = (*buffers.Get().(*[]byte))[:headRoom]
	}
	s.frames++
}

// wake has what waits written, unless that is being done: by a goroutine of its own or, if the event is one to many, by those for all of them. What else is written to
// the session does not wait for these. The goroutine counts as a part of the one that reads, which still runs: a session whose reader has ended takes no frames. The
// caller holds s.mu.
func (s *session) wake(many bool) {
	switch {
	case s.writing && (many || !s.fanned):
	case many:
		s.writing, s.fanned = true, true
		s.g.fan.add(s)
	default:
		s.writing, s.fanned = true, false
		s.g.wg.Go(func() { s.contain(s.write) })
	}
}

// waiting is how many bytes wait to be written.
func (s *session) waiting() int { return len(s.out) }

// fairShare is how many bytes may wait in a session whatever waits in others.
const fairShare = 64 << 10

// tally updates Gateway.backlog. It is called after each change of what waits; the caller holds s.mu.
func (s *session) tally() {
	n := len(s.out) + s.written + s.held
	if n <= fairShare {
		n = 0
	}
	if n != s.tallied {
		s.g.backlog.Add(int64(n - s.tallied))
		s.tallied = n
	}
}

// most returns how many bytes may wait in one session at this moment.
func (s *session) most() int {
	if s.g.backlog.Load() > s.g.cfg.QueueMemory {
		return min(fairShare, s.g.cfg.QueueBytes)
	}
	return s.g.cfg.QueueBytes
}

// drop throws away what waits. The caller holds s.mu.
func (s *session) drop() {
	s.out, s.frames, s.work, s.held, s.lane = nil, 0, nil, 0, lane{}
	s.tally()
}

// admit counts a push, and reports whether there is room for it. What comes after a dropped push is dropped too, until everything has been written:
// the client will ask for everything anyway. The caller holds s.mu.
func (s *session) admit(size int) bool {
	if s.state != live {
		return false
	}
	s.queued++
	if s.behind || s.frames >= s.g.cfg.QueueFrames || s.waiting()+size > s.most() {
		if !s.behind {
			s.behind = true
			s.g.log.Debug("session is behind", "user", s.caller.Name, "bytes", s.waiting(), "frames", s.frames)
		}
		s.g.metrics.dropped.Inc()
		return false
	}
	return true
}

// push queues an event, which is a frame. many is that of wake.
func (s *session) push(frame []byte, many bool) {
	s.contain(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.admit(len(frame)) {
			s.begun()
			s.out = append(s.out, frame...)
			s.tally()
			s.wake(many)
		}
	})
}

// lag makes the client ask for what is new, as if a push to it had been dropped.
func (s *session) lag() {
	s.contain(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.state == live && !s.behind {
			s.behind = true
			s.wake(true) // often one of all sessions of a group
		}
	})
}

// write writes until nothing waits, then ends the connection if it is to be ended.
func (s *session) write() {
	for {
		out, last := s.takeOut()
		if out == nil {
			if last != nil {
				s.hangUp(last)
			}
			return
		}
		if !s.wrote(out, s.writeOut(out)) {
			return
		}
	}
}

// takeOut takes what waits, to be written, with the BEHIND push if it was time for that. If nothing waits, it returns nil, and how the connection is to be ended;
// the caller writes no more.
func (s *session) takeOut() (out []byte, last *ending) {
	s.g.telling.RLock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.g.telling.RUnlock()
	if s.written > 0 {
		s.written = 0
		s.tally()
	}
	if len(s.out) == 0 && s.behind && s.state == live {
		s.behind = false
		s.queued++
		f := im.Frame{Method: im.Method_BEHIND}
		s.add(&f, nil)
	}
	s.takeLane()
	out = s.out
	if len(out) == 0 {
		s.writing = false
		return nil, s.last
	}
	s.out, s.frames, s.written = nil, 0, len(out)
	s.room.Broadcast()
	return out, nil
}

// wrote is called with what takeOut returned, and how writing it ended. It reports whether more may be written.
func (s *session) wrote(out []byte, err error) bool {
	if cap(out) <= spareBuffer {
		spare := out // not &out, which would be memory for each call
		buffers.Put(&spare)
	}
	if err == nil {
		return true
	}
	// The reader notices too, and ends the session; but not while it waits for room, which nobody makes any more.
	s.mu.Lock()
	s.writing = false
	if s.state < ended {
		s.state = ended
	}
	s.written = 0
	s.drop()
	s.room.Broadcast()
	s.mu.Unlock()
	s.cut()
	return false
}

// writeOut writes frames that are behind headRoom.
func (s *session) writeOut(out []byte) error {
	for first := headRoom; first < len(out); {
		end := first
		for end < len(out) {
			size, n := binary.Uvarint(out[end:])
			if end > first && end-first+n+int(size) > maxWrite {
				break
			}
			end += n + int(size)
		}
		// What was before the frames has been written, and makes room for the header.
		start := putHeader(out[:first], end-first)
		if err := s.writeAll(out[start:end]); err != nil {
			return err
		}
		first = end
	}
	return nil
}

// writeAll writes a whole message, or the close frame, however long the socket takes.
func (s *session) writeAll(b []byte) error {
	s.since.Store(s.g.now.Load()) // the sweep also ends the wait for a control frame that the socket does not take
	s.whole.Lock()
	defer s.whole.Unlock()
	return s.writeRest(b)
}

// writeRest writes the rest of a message, however long the socket takes. The caller holds s.whole.
func (s *session) writeRest(b []byte) error {
	s.since.Store(s.g.now.Load())
	_, err := s.conn.Write(b)
	s.since.Store(0)
	return err
}

// putHeader writes the header of a binary message of n bytes at the end of room, and returns where it begins.
func putHeader(room []byte, n int) int {
	const finBinary = 0x82
	at := len(room)
	switch {
	case n < 126:
		at -= 2
		room[at+1] = byte(n)
	case n < 1<<16:
		at -= 4
		room[at+1] = 126
		binary.BigEndian.PutUint16(room[at+2:], uint16(n))
	default:
		at -= 10
		room[at+1] = 127
		binary.BigEndian.PutUint64(room[at+2:], uint64(n))
	}
	room[at] = finBinary
	return at
}

// ending is how a connection is to be closed.
type ending struct {
	code   uint16
	reason string
}

// finish ends the session: what waits is still written, then the connection is closed. Nothing is read any more. It does not block.
func (s *session) finish(code uint16, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil || s.state == gone {
		return
	}
	s.state = ended
	s.last = &ending{code, reason}
	s.due = s.g.now.Load() + int64(s.g.cfg.AckWithin) + int64(s.g.cfg.Sweep)
	s.room.Broadcast()
	s.wake(false)
}

// hangUp writes the close frame, which nothing follows. The connection is not closed yet: with frames of the client unread, the system would reset
// it, and the client might lose what was just written to it. The client closes it, or the sweep does.
func (s *session) hangUp(e *ending) {
	frame := make([]byte, 4, 4+len(e.reason))
	frame[0], frame[1] = 0x88, byte(2+len(e.reason))
	binary.BigEndian.PutUint16(frame[2:], e.code)
	frame = append(frame, e.reason...)
	err := s.writeAll(frame)
	if err == nil {
		err = s.conn.CloseWrite()
	}
	if err != nil {
		s.cut()
	}
}

// cut closes the connection at once.
func (s *session) cut() { s.conn.Close() }
