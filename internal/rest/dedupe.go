package rest

import (
	"context"
	"hash/fnv"
	"sync"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

const (
	// sentFor is how long the same key means the same message.
	sentFor = chat.SentFor
	// sentMax limits the keys that are kept; above it the oldest are forgotten early.
	sentMax = 1 << 20
)

// sentKey identifies a message of sendmsg, or of send_group_msg, which has a group and no seq.
type sentKey struct {
	from, group string
	seq, random uint32
}

// dedupe remembers the replies to messages that this server gave; concurrent repetitions wait for the first. The store knows what other servers, or an
// earlier run, were asked to send (chat.CallKey).
type dedupe struct {
	mu   sync.Mutex
	m    map[sentKey]*sent
	ages []*sent // oldest first
	// now is the clock, for tests.
	now func() time.Time
}

type sent struct {
	key  sentKey
	at   time.Time
	hash uint64
	done chan struct{}
	out  *im.SendReply
	err  error
}

// hashOf distinguishes messages by their receivers and contents.
func hashOf(req *im.SendRequest) (uint64, error) {
	said := &im.Message{ElemArray: req.Message.ElemArray, CloudCustomStr: req.Message.CloudCustomStr, IsOnlineMsg: req.Message.IsOnlineMsg}
	b, err := (&im.SendRequest{Conv: req.Conv, Message: said}).MarshalVT()
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64(), err
}

// once sends, if nothing was sent under the key; otherwise it returns the reply of the first call, waiting for it if necessary. A call that failed is
// forgotten.
func (d *dedupe) once(ctx context.Context, key sentKey, hash uint64, send func() (*im.SendReply, error)) (out *im.SendReply, err error) {
	d.mu.Lock()
	now := time.Now()
	if d.now != nil {
		now = d.now()
	}
	d.forget(now)
	if first := d.m[key]; first != nil {
		d.mu.Unlock()
		if first.hash != hash {
			return out, im.Errorf(im.CodeInvalidParameters, "MsgSeq and MsgRandom were used for another message")
		}
		select {
		case <-first.done:
			return first.out, first.err
		case <-ctx.Done():
			return out, ctx.Err()
		}
	}
	if d.m == nil {
		d.m = make(map[sentKey]*sent)
	}
	s := &sent{key: key, at: now, hash: hash, done: make(chan struct{})}
	d.m[key] = s
	d.ages = append(d.ages, s)
	d.mu.Unlock()

	s.err = context.Canceled // in case send panics
	defer func() {
		if s.err != nil {
			d.mu.Lock()
			delete(d.m, key)
			d.mu.Unlock()
		}
		close(s.done)
	}()
	s.out, s.err = send()
	return s.out, s.err
}

// forget drops what is too old. The caller holds d.mu.
func (d *dedupe) forget(now time.Time) {
	for len(d.ages) > 0 && (now.Sub(d.ages[0].at) >= sentFor || len(d.ages) > sentMax) {
		s := d.ages[0]
		d.ages[0] = nil
		d.ages = d.ages[1:]
		if d.m[s.key] == s {
			delete(d.m, s.key)
		}
	}
}
