package gateway

import (
	"slices"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/tidings-im/tidings/im"
)

// FuzzCalls draws a method and makes the call with any bytes as its body, in an existing conversation. Each call is answered, by a body that can be
// read and is not too large or by a code that is not the server's own failure; and the other person can read everything afterwards.
func FuzzCalls(f *testing.F) {
	var methods []im.Method
	for number := range im.Method_name {
		m := im.Method(number)
		if info, ok := m.Info(); ok && info.NewRequest != nil && m != im.Method_LOGIN && m != im.Method_LOGOUT && m != im.Method_KICKED_ACK {
			methods = append(methods, m) // those three end a connection, or cannot be made here
		}
	}
	slices.Sort(methods)
	n := start(f, options{})
	alice, mallory := n.login(device{user: "alice"}), n.login(device{user: "mallory"})
	epoch := mallory.send("alice", "one").Epoch
	mallory.send("alice", "two")
	one, yes := uint64(1), true
	recvOpt := int32(2)
	seed := func(m im.Method, req im.Msg) {
		body, err := req.MarshalVT()
		if err != nil {
			f.Fatal(err)
		}
		at := slices.Index(methods, m)
		if at < 0 {
			f.Fatalf("%s is not among the methods", m)
		}
		for _, resent := range []bool{false, true} {
			f.Add(byte(at), resent, body)
		}
	}
	key := key("alice")
	seed(im.Method_SEND, &im.SendRequest{Conv: key, ClientTime: 1700000000, Random: 7, Message: text("hi")})
	seed(im.Method_SEND, &im.SendRequest{Conv: key, ClientTime: 1700000000, Random: 8, Message: &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_MERGER,
		Body: &im.Elem_Merger{Merger: &im.MergerElem{Title: "t", CompatibleText: "c", MessageArray: []*im.Message{text("in")}}}}}}})
	seed(im.Method_PULL, &im.PullRequest{Conv: key, Epoch: epoch, From: 1, To: 2, Limit: 1, NewestFirst: true})
	seed(im.Method_CHANGES, &im.ChangesRequest{Conv: key, Epoch: epoch, From: 1, To: 1})
	seed(im.Method_HEADS, &im.HeadsRequest{Cursor: 1, After: 1, WithLast: true, Only: []*im.ConvKey{key}})
	seed(im.Method_READ, &im.ReadRequest{Positions: []*im.ReadPosition{{Conv: key, Epoch: epoch, Seq: 1}}})
	seed(im.Method_REVOKE, &im.RevokeRequest{Conv: key, Epoch: epoch, Seq: 2, Reason: "why"})
	seed(im.Method_LOOKUP, &im.LookupRequest{Keys: []*im.SendKey{{Conv: key, ClientTime: 1700000000, Random: 7}}})
	seed(im.Method_ROW, &im.RowRequest{Conv: key, Epoch: epoch, Pinned: &yes, RecvOpt: &recvOpt, ClearedSeq: &one, Hide: true})
	seed(im.Method_DELETE, &im.DeleteRequest{Conv: key, Epoch: epoch, Seqs: []uint64{1, 2}})
	seed(im.Method_MODIFY, &im.ModifyRequest{Conv: key, Epoch: epoch, Seq: 1, Message: text("new")})
	seed(im.Method_HEARTBEAT, &im.Empty{})

	f.Fuzz(func(t *testing.T, which byte, resent bool, body []byte) {
		if len(body) > im.MaxMessage/2 {
			return
		}
		m := methods[int(which)%len(methods)]
		alice.t, mallory.t = t, t
		mallory.id++
		mallory.write(im.AppendFrame(nil, &im.Frame{Id: mallory.id, Method: m, Body: body, Resent: resent}))
		answer := mallory.await(mallory.id)
		info, _ := m.Info()
		switch {
		case answer.Code == im.CodeServerInternal:
			t.Fatalf("%s fails: %s", m, answer.Desc)
		case answer.Code == 0:
			if err := info.NewReply().UnmarshalVT(answer.Body); err != nil || len(answer.Body) > im.MaxReply {
				t.Fatalf("%s is answered with %d bytes: %v", m, len(answer.Body), err)
			}
		}
		var failures dto.Metric
		if n.metrics.failures.Write(&failures); failures.GetCounter().GetValue() != 0 {
			t.Fatalf("%s failed inside the server", m)
		}
		if m != im.Method_SEND && m != im.Method_MODIFY && m != im.Method_REVOKE {
			return
		}
		// What she was pushed, and what she can pull from the end.
		alice.call(im.Method_HEARTBEAT, &im.Empty{}, 0, nil)
		for _, p := range alice.pushes {
			if info, ok := p.Method.Info(); !ok || info.NewReply().UnmarshalVT(p.Body) != nil {
				t.Fatalf("a %s that cannot be read is pushed", p.Method)
			}
		}
		heads := alice.heads(&im.HeadsRequest{WithLast: true})
		for _, h := range heads.Heads {
			pull := &im.PullReply{}
			alice.call(im.Method_PULL, &im.PullRequest{Conv: h.Conv, Epoch: h.Epoch, From: 1, To: h.Seq, NewestFirst: true, Limit: 2}, 0, pull)
			if h.Rev > 0 {
				alice.call(im.Method_CHANGES, &im.ChangesRequest{Conv: h.Conv, Epoch: h.Epoch, From: h.Rev, To: h.Rev}, 0, &im.ChangesReply{})
			}
		}
		for _, c := range []*conn{alice, mallory} {
			c.pushes, c.log = nil, nil
		}
	})
}
