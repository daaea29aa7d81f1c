package chat_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// slowStore holds the lookup of one user until it is released.
type slowStore struct {
	chat.Store
	slow string
	let  chan struct{}
}

func (s *slowStore) UserByName(ctx context.Context, name string) (chat.User, error) {
	if name == s.slow {
		<-s.let
	}
	return s.Store.UserByName(ctx, name)
}

type answer struct {
	id  uint64
	err error
}

// Rule 12: a lookup delays the messages to that person, and nobody else's; they keep their order.
func TestLookupParksOneConversation(t *testing.T) {
	st := opened(t)
	slow := &slowStore{Store: st, slow: "slow", let: make(chan struct{})}
	rules := chat.New(slow, chat.Config{})
	for _, name := range []string{"slow", "fast"} {
		if _, err := st.CreateUser(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	u, err := rules.Account(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	res, err := rules.Login(t.Context(), u.UID, &im.LoginRequest{UserId: "alice", DeviceId: "d"}, chat.Ticket{Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan answer, 1000)
	res.Caller.Reply = func(id uint64, _ im.Method, _ im.Body, err error) { answers <- answer{id, err} }
	send := func(id uint64, to string) {
		req := &im.SendRequest{
			Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: to}, ClientTime: 1, Random: uint32(id),
			Message: &im.Message{ElemArray: []*im.Elem{{Body: &im.Elem_Text{Text: &im.TextElem{Content: strconv.FormatUint(id, 10)}}}}},
		}
		b, _ := req.MarshalVT()
		if err := rules.Call(t.Context(), res.Caller, &im.Frame{Id: id, Method: im.Method_SEND, Body: b}, nil); err != nil {
			answers <- answer{id, err}
		}
	}
	const n = 100
	for i := range uint64(n) {
		send(1000+i, "slow")
		send(i, "fast")
	}
	next := func(want uint64) {
		t.Helper()
		select {
		case a := <-answers:
			if a.id != want || a.err != nil {
				t.Fatalf("the answer is %v, want that of %d", a, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("no answer to %d", want)
		}
	}
	for i := range uint64(n) {
		next(i) // all of the fast ones, while the slow one waits
	}
	close(slow.let)
	for i := range uint64(n) {
		send(2000+i, "slow") // these arrive while the parked ones are released
	}
	for i := range uint64(n) {
		next(1000 + i)
	}
	for i := range uint64(n) {
		next(2000 + i)
	}
	rules.Wait(t.Context())
}
