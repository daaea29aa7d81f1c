package chat

import (
	"testing"

	"github.com/tidings-im/tidings/im"
)

// TestNothingUrgentIsDropped: while much waits in a live room that no rate holds back, messages of operators are refused, and nothing else is.
func TestNothingUrgentIsDropped(t *testing.T) {
	r := &liveRoom{guests: map[UID]*guest{}}
	r.talk.init(&Config{RoomRate: defaultRoomRate})
	r.working = true // its goroutine is late
	ran := 0
	for range maxUrgent {
		r.urgently(func() { ran++ })
	}
	m := &send{}
	m.call.Caller = &Caller{Operator: true}
	if _, err := r.queueUp(m); im.CodeOf(err) != im.CodeGroupTooFast {
		t.Errorf("a message of an operator: %v", err)
	}
	r.urgently(func() { ran++ })
	for _, f := range r.urgent {
		f()
	}
	if ran != maxUrgent+1 {
		t.Errorf("%d of %d are left", ran, maxUrgent+1)
	}
	r.urgent = r.urgent[:maxUrgent-1]
	if _, err := r.queueUp(m); err != nil {
		t.Errorf("a message of an operator that has room: %v", err)
	}
}
