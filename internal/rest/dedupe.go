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
	// sentFor is how long the same key is the same message.
	sentFor = chat.SentFor
	// sentMax bounds the keys that are kept; above it the oldest are forgotten early.
	sentMax = 1 << 20
)

// sentKey is what makes a message of sendmsg the same message.
type sentKey struct {
	from        string
	seq, random uint32
}

// dedupe remembers the answers to sendmsg that this server gave; those that come at once wait for the first. What other servers, or an earlier run, were
// called to send stands in the store (chat.CallKey).
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
	out  sendmsgReply
	err  error
}

// hashOf tells messages apart: whom they are for, and what they say.
func hashOf(req *im.SendRequest) (uint64, error) {
	said := &im.Message{ElemArray: req.Message.ElemArray, CloudCustomStr: req.Message.CloudCustomStr, IsOnlineMsg: req.Message.IsOnlineMsg}
	b, err := (&im.SendRequest{Conv: req.Conv, Message: said}).MarshalVT()
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64(), err
}

// once sends, if nothing was sent under the key; else it answers what the first call was answered, waiting for it if need be. A call that
// failed is forgotten.
func (d *dedupe) once(ctx context.Context, key sentKey, hash uint64, send func() (sendmsgReply, error)) (out sendmsgReply, err error) {
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

	s.err = context.Canceled // should send panic
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
