package webhook_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/restjson"
)

// modify gives a message another text.
func (d *device) modify(to string, m *im.Message, text string) (*im.Message, error) {
	m.ElemArray = im.Text(text).ElemArray
	return d.ModifyMessage(d.t.Context(), client.C2C(to), m)
}

// askedOf waits for the question about a modification.
func (r *receiver) askedOf(text string) event {
	r.t.Helper()
	for {
		if e := r.next(beforeSend); e.ModifyFlag != 0 {
			if e.text() != text {
				r.t.Errorf("asked about %q, want %q", e.text(), text)
			}
			return e
		}
	}
}

// TestModifications: the program is asked about a modification as about a message, has the same answers, and can tell the two apart.
func TestModifications(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""))
	alice, bob := dial(t, s, "alice"), dial(t, s, "bob")
	sent := alice.must("bob", "first")
	bob.got("first")
	want := append(r.next(beforeSend).keys, "ModifyFlag", "MsgFrom_Account") // the fields of a message that is sent, and two more
	r.on(beforeSend, func(e *event) string {
		switch e.text() {
		case "rewrite":
			return `{"ErrorCode":0,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"rewritten"}}],"CloudCustomData":"by the hook"}`
		case "refuse":
			return `{"ErrorCode":1}`
		case "rude":
			return `{"ErrorCode":120001,"ErrorInfo":"` + strings.Repeat("é", 1000) + `"}`
		case "drop":
			return `{"ErrorCode":2}`
		case "unfit":
			return `{"ErrorCode":0,"CloudCustomData":"` + strings.Repeat("x", 17<<10) + `"}`
		}
		return fine
	})
	now, err := alice.modify("bob", sent, "second")
	if err != nil || im.TextOf(now) != "second" {
		t.Fatalf("%v, %v", now, err)
	}
	keys := r.askedOf("second").keys
	slices.Sort(want)
	slices.Sort(keys)
	if !slices.Equal(keys, want) {
		t.Errorf("the body has %q, want %q", keys, want)
	}
	for _, d := range []*device{alice, bob} {
		if u := get(t, "update", d.updated); im.TextOf(u) != "second" || u.Version != 1 {
			t.Errorf("%s hears %v", d.UserID(), u)
		}
	}
	// The other person may modify it, too. The key is the one by which the admin API finds the message, with its sender.
	got, err := bob.modify("alice", now, "rewrite")
	if err != nil || im.TextOf(got) != "rewritten" || got.CloudCustomStr != "by the hook" {
		t.Fatalf("%v, %v", got, err)
	}
	e := r.askedOf("rewrite")
	if e.From_Account != "bob" || e.To_Account != "alice" || e.MsgFrom_Account != "alice" || e.MsgSeq != 1 || e.query.Get("OptPlatform") != "Linux" ||
		e.MsgKey != restjson.Key(1, uint32(sent.Rand), int64(sent.ServerTime)) || e.query.Get("ClientIP") != "127.0.0.1" {
		t.Errorf("asked %+v", e)
	}
	for _, d := range []*device{alice, bob} {
		if u := get(t, "update", d.updated); im.TextOf(u) != "rewritten" || u.CloudCustomStr != "by the hook" || u.Version != 2 {
			t.Errorf("%s hears %v", d.UserID(), u)
		}
	}
	for text, code := range map[string]int32{"refuse": im.CodeRefusedByWebhook, "rude": 120001} {
		var e *im.Error
		if _, err := alice.modify("bob", got, text); !errors.As(err, &e) || e.Code != code || len(e.Desc) > im.MaxDesc || text == "rude" && !strings.HasPrefix(e.Desc, "éé") {
			t.Errorf("%s: %v", text, err)
		}
		r.askedOf(text)
	}
	dropped, err := alice.modify("bob", got, "drop")
	if err != nil || im.TextOf(dropped) != "drop" || dropped.Version != 2 {
		t.Errorf("the dropped one is answered %v, %v", dropped, err)
	}
	r.askedOf("drop")
	if got, err = alice.modify("bob", dropped, "unfit"); err != nil {
		t.Fatal(err)
	}
	r.askedOf("unfit")
	for _, d := range []*device{alice, bob} {
		if u := get(t, "update", d.updated); im.TextOf(u) != "unfit" || u.Version != 3 || u.CloudCustomStr != "by the hook" {
			t.Errorf("%s hears %v", d.UserID(), u)
		}
	}
	// Not asked: a conflict, one with the mark, and one of the admin API.
	n := r.count(beforeSend)
	old := &im.Message{MsgId: got.MsgId, Seq: got.Seq, Version: 1}
	if _, err := alice.modify("bob", old, "late"); im.CodeOf(err) != im.CodeModifyConflict {
		t.Errorf("%v", err)
	}
	got.DisableCloudMessagePreHook = true
	if _, err := alice.modify("bob", got, "refuse"); err != nil {
		t.Fatal(err)
	}
	u := fmt.Sprintf("http%s/v4/openim/modify_c2c_msg?sdkappid=%d&identifier=%s&usersig=%s", strings.TrimPrefix(s.URL, "ws"), s.AppID, imtest.Admin, s.Sig(imtest.Admin))
	resp, err := http.Post(u, "application/json", strings.NewReader(fmt.Sprintf(`{"From_Account":"alice","To_Account":"bob","MsgKey":%q,
		"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"drop"}}]}`, e.MsgKey)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for _, want := range []string{"refuse", "drop"} {
		for _, d := range []*device{alice, bob} {
			if u := get(t, "update", d.updated); im.TextOf(u) != want {
				t.Errorf("%s hears %v, want %s", d.UserID(), u, want)
			}
		}
	}
	if r.count(beforeSend) != n {
		t.Errorf("asked %d times more", r.count(beforeSend)-n)
	}
}

// TestModificationUnanswered: the policy for a program that does not respond holds for modifications.
func TestModificationUnanswered(t *testing.T) {
	r := listen(t)
	hold := make(chan struct{})
	defer close(hold)
	r.on(beforeSend, func(e *event) string {
		switch e.text() {
		case "slow":
			<-hold
		case "status":
			return ""
		}
		return fine
	})
	for _, refuse := range []bool{false, true} {
		s := imtest.Start(t, imtest.Webhook(r.URL, ""), imtest.WebhookDeadline(200*time.Millisecond, refuse))
		alice, bob := dial(t, s, "alice"), dial(t, s, "bob")
		var m *im.Message
		// The first may take longer than the deadline on a busy machine.
		for m == nil {
			m, _ = alice.send("bob", "first")
		}
		bob.got("first")
		for _, text := range []string{"slow", "status"} {
			now, err := alice.modify("bob", m, text)
			if refuse {
				if im.CodeOf(err) != im.CodeWebhookFailed {
					t.Errorf("%s: %v, want %d", text, err, im.CodeWebhookFailed)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if u := get(t, "update", bob.updated); im.TextOf(u) != text {
				t.Errorf("bob hears %v", u)
			}
			m = now
		}
	}
}

// TestGroupModifications: the program is asked about modifications of messages to groups as about messages, and not about those that are not made: of somebody else's message,
// of one of a member who is muted, with the mark, a conflict.
func TestGroupModifications(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), imtest.WebhookDeadline(patience, false))
	ann, bob := connect(t, s, "ann"), connect(t, s, "bob")
	ann.found("g1", im.GroupType_GROUP_TYPE_PUBLIC, "bob")
	var sent im.SendReply
	bob.call(im.Method_SEND, toGroup("g1", 7, "first"), &sent)
	want := append(r.next(beforeGroup).keys, "MsgSeq", "ModifyFlag", "MsgFrom_Account") // the fields of a message that is sent, and three more
	slices.Sort(want)
	answers := map[string]string{
		"rewrite": `{"ErrorCode":0,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"rewritten"}}],"CloudCustomData":"by the hook"}`,
		"refuse":  `{"ErrorCode":1}`, "rude": `{"ErrorCode":10101,"ErrorInfo":"no"}`, "drop": `{"ErrorCode":2}`,
	}
	r.on(beforeGroup, func(e *event) string {
		if a := answers[e.text()]; a != "" {
			return a
		}
		return fine
	})
	version := uint64(0)
	modify := func(c *conn, text string, code int32, with func(*im.ModifyRequest)) *im.ModifyReply {
		t.Helper()
		req := &im.ModifyRequest{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: "g1"}, Epoch: sent.Epoch, Seq: sent.Entry.Seq, Version: version, Message: im.Text(text)}
		with(req)
		var reply im.ModifyReply
		if got := c.try(im.Method_MODIFY, req, &reply); got != code {
			t.Errorf("%s is answered %d, want %d", text, got, code)
		}
		if reply.Change.GetRev() > 0 {
			version = reply.Change.Version
		}
		return &reply
	}
	plain := func(*im.ModifyRequest) {}
	for _, x := range []struct {
		text string
		code int32
		now  string
	}{{"second", 0, "second"}, {"rewrite", 0, "rewritten"}, {"refuse", im.CodeGroupRefused, ""}, {"rude", 10101, ""}, {"drop", 0, "drop"}} {
		reply := modify(bob, x.text, x.code, plain)
		if x.now != "" && im.TextOf(reply.Change.Message) != x.now {
			t.Errorf("%s is answered %v", x.text, reply)
		}
		e := r.last(beforeGroup)
		if slices.Sort(e.keys); e.text() != x.text || !slices.Equal(e.keys, want) || e.ModifyFlag != 1 || e.MsgFrom_Account != "bob" || e.From_Account != "bob" || e.Operator_Account != "bob" ||
			e.MsgSeq != sent.Entry.Seq || !strings.Contains(e.body, `"Random":7,`) {
			t.Errorf("%s: asked %s", x.text, e.body)
		}
	}
	if got := ann.log("g1"); !slices.Equal(got, []string{"tip", "rewritten"}) || version != 2 {
		t.Errorf("the log has %q, version %d", got, version)
	}
	asked := r.count(beforeGroup)
	modify(ann, "refuse", im.CodeNotMember, plain)
	modify(bob, "refuse", 0, func(req *im.ModifyRequest) { req.Version = 0 })
	modify(bob, "marked", 0, func(req *im.ModifyRequest) { req.Message.DisableCloudMessagePreHook = true })
	ann.call(im.Method_MODIFY_MEMBER, &im.ModifyMemberRequest{Group: group("g1"), UserId: "bob", Mute: new(uint64(100))}, &im.Empty{})
	modify(bob, "refuse", im.CodeMuted, plain)
	if n := r.count(beforeGroup) - asked; n != 0 {
		t.Errorf("asked %d times about what is not made", n)
	}
	if got := ann.log("g1"); got[1] != "marked" {
		t.Errorf("the log has %q", got)
	}
}
