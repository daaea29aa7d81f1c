package rest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/hook"
	"github.com/tidings-im/tidings/internal/restjson"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

const (
	sendmsg  = "openim/sendmsg"
	withdraw = "openim/admin_msgwithdraw"
	modify   = "openim/modify_c2c_msg"
	hello    = `[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hello"}}]`
)

// TestSendMsg sends every kind of element, with every option, as a user and as the admin.
func TestSendMsg(t *testing.T) {
	n := start(t, chat.Config{})
	alice, bob := n.dial("alice"), n.dial("bob")
	before := time.Now().Unix()
	a := n.ok(sendmsg, `{"SyncOtherMachine":1,"From_Account":"alice","To_Account":"bob","MsgSeq":93847636,"MsgRandom":1287657,"MsgTimeStamp":1557387418,
		"MsgLifeTime":60,"CloudCustomData":"cloud","ForbidCallbackControl":["ForbidBeforeSendMsgCallback","ForbidAfterSendMsgCallback"],
		"SendMsgControl":["NoUnread","NoLastMsg"],"IsNeedReadReceipt":1,"SupportMessageExtension":1,
		"OfflinePushInfo":{"PushFlag":1,"Title":"t","Desc":"d","Ext":"e",
			"AndroidInfo":{"Sound":"a.mp3","HuaWeiChannelID":"c1","XiaoMiChannelID":"c2","OPPOChannelID":"c3","GoogleChannelID":"c4","VIVOClassification":0,"HuaWeiCategory":"IM"},
			"ApnsInfo":{"Sound":"b.mp3","BadgeMode":1,"Title":"at","SubTitle":"s","Image":"https://im.example/i.png"}},
		"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hi <b>&"}},{"MsgType":"TIMFaceElem","MsgContent":{"Index":6,"Data":"f"}},
			{"MsgType":"TIMLocationElem","MsgContent":{"Desc":"pier 7","Latitude":54.32,"Longitude":10.13}},
			{"MsgType":"TIMCustomElem","MsgContent":{"Data":"{}","Desc":"x","Ext":"y","Sound":"z"}}]}`)
	seq, random, at, ok := restjson.ReadKey(a.MsgKey)
	if !ok || seq != 1 || random != 1287657 || at != a.MsgTime || at < before {
		t.Errorf("answered %+v", a)
	}
	m := next(t, "message", bob.messages)
	if len(m.ElemArray) != 4 || m.ElemArray[0].GetText().Content != "hi <b>&" || m.ElemArray[1].GetFace().Index != 6 ||
		m.ElemArray[2].GetLocation().Latitude != 54.32 || m.ElemArray[3].GetCustom().Sound != "z" || m.CloudCustomStr != "cloud" || m.Sender != "alice" ||
		!m.NeedReadReceipt || !m.SupportMessageExtension || !m.IsExcludedFromUnreadCount || !m.ExcludedFromLastMessage ||
		m.OfflinePushConfig.GetTitle() != "t" || m.OfflinePushConfig.Flag != 1 || m.Rand != 1287657 || m.Seq != 1 || m.MsgId != a.MsgId {
		t.Errorf("bob got %v", m)
	}
	push := &im.OfflinePushConfig{Title: "t", Desc: "d", Ext: "e", Flag: 1,
		AndroidConfig: &im.AndroidOfflinePushConfig{Sound: "a.mp3", XiaomiChannelId: "c2", OppoChannelId: "c3", FcmChannelId: "c4", HuaweiCategory: "IM", VivoClassification: proto.Uint32(0)},
		IosConfig:     &im.IOSOfflinePushConfig{Title: "at", Sound: "b.mp3", Image: "https://im.example/i.png", IgnoreBadge: true}}
	if !proto.Equal(m.OfflinePushConfig, push) {
		t.Errorf("bob got the settings %v", m.OfflinePushConfig)
	}
	if own := next(t, "message", alice.messages); own.MsgId != a.MsgId || !own.IsFromSelf {
		t.Errorf("the sender's device got %v", own)
	}
	if total, err := bob.TotalUnread(t.Context()); err != nil || total != 0 {
		t.Errorf("unread %d, %v", total, err)
	}
	// As the admin, who has no account before.
	a = n.ok(sendmsg, `{"To_Account":"bob","MsgRandom":1,"MsgBody":%s}`, hello)
	if m := next(t, "message", bob.messages); m.Sender != DefaultAdmin || m.MsgId != a.MsgId {
		t.Errorf("bob got %v", m)
	}
	if total, err := bob.TotalUnread(t.Context()); err != nil || total != 1 {
		t.Errorf("unread %d, %v", total, err)
	}
	bob.barrier(alice)
}

// TestQuietSend: with SyncOtherMachine 2 the sender has the message nowhere, then or later.
func TestQuietSend(t *testing.T) {
	n := start(t, chat.Config{})
	alice, bob := n.dial("alice"), n.dial("bob")
	n.ok(sendmsg, `{"SyncOtherMachine":2,"From_Account":"alice","To_Account":"bob","MsgRandom":1,"MsgBody":%s}`, hello)
	if m := next(t, "message", bob.messages); im.TextOf(m) != "hello" {
		t.Errorf("bob got %v", m)
	}
	if _, err := bob.SendMessage(t.Context(), client.C2C("alice"), im.Text("who?")); err != nil {
		t.Fatal(err)
	}
	if m := next(t, "message", alice.messages); im.TextOf(m) != "who?" || m.Seq != 2 {
		t.Errorf("alice got %v", m)
	}
	fresh := n.dialFresh("alice")
	if m := next(t, "message", fresh.messages); im.TextOf(m) != "who?" {
		t.Errorf("a fresh device of alice got %v", m)
	}
	ms, err := fresh.Messages(t.Context(), client.C2C("bob"), &im.GetMsgListParam{Count: 10})
	if err != nil || len(ms) != 1 || im.TextOf(ms[0]) != "who?" {
		t.Errorf("a fresh device of alice has %v, %v", ms, err)
	}
}

// TestQuietSendToADeletedConversation: what is sent for a user without them having it does not bring back a conversation that they have deleted, on no device. The
// next message that they have does.
func TestQuietSendToADeletedConversation(t *testing.T) {
	n := start(t, chat.Config{})
	alice, bob := n.dial("alice"), n.dial("bob")
	if _, err := bob.SendMessage(t.Context(), client.C2C("alice"), im.Text("hi")); err != nil {
		t.Fatal(err)
	}
	next(t, "message", alice.messages)
	if err := alice.DeleteConversation(t.Context(), client.C2C("bob")); err != nil {
		t.Fatal(err)
	}
	n.ok(sendmsg, `{"SyncOtherMachine":2,"From_Account":"alice","To_Account":"bob","MsgRandom":1,"MsgBody":%s}`, hello)
	next(t, "message", bob.messages)
	listed := func(d *device) int {
		t.Helper()
		list, err := d.Conversations(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	fresh := n.dialFresh("alice")
	for name, d := range map[string]*device{"her device": alice, "a fresh device": fresh} {
		if k := listed(d); k != 0 {
			t.Errorf("%s lists %d conversations", name, k)
		}
	}
	if k := listed(bob); k != 1 {
		t.Errorf("bob lists %d conversations", k)
	}
	if _, err := bob.SendMessage(t.Context(), client.C2C("alice"), im.Text("again")); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, fresh} {
		next(t, "message", d.messages)
		if k := listed(d); k != 1 {
			t.Errorf("%d conversations are listed with a message in one", k)
		}
	}
}

// dialFresh makes another device of a user, beside the first.
func (n *node) dialFresh(user string) *device {
	cfg := n.config(user)
	cfg.Platform = im.Platform_PLATFORM_PAD
	return n.dialWith(cfg)
}

// TestOnlineOnly: neither is stored.
func TestOnlineOnly(t *testing.T) {
	n := start(t, chat.Config{})
	bob := n.dial("bob")
	n.ok("im_open_login_svc/account_import", `{"UserID":"alice"}`)
	for i, how := range []string{`"OnlineOnlyFlag":1`, `"MsgLifeTime":0`} {
		a := n.ok(sendmsg, `{"From_Account":"alice","To_Account":"bob","MsgRandom":%d,"MsgBody":%s,%s}`, i, hello, how)
		if m := next(t, "message", bob.messages); !m.IsOnlineMsg || m.Seq != 0 || im.TextOf(m) != "hello" {
			t.Errorf("%s: %v", how, m)
		}
		if seq, _, _, ok := restjson.ReadKey(a.MsgKey); !ok || seq != 0 {
			t.Errorf("%s: key %q", how, a.MsgKey)
		}
	}
	if a := n.ok(sendmsg, `{"From_Account":"alice","To_Account":"bob","MsgRandom":7,"MsgBody":%s}`, hello); !strings.HasPrefix(a.MsgKey, "1_7_") {
		t.Errorf("the first stored one has key %q", a.MsgKey)
	}
}

func TestSendMsgRefusals(t *testing.T) {
	n := start(t, chat.Config{})
	for _, user := range []string{"alice", "bob"} {
		n.ok("im_open_login_svc/account_import", `{"UserID":%q}`, user)
	}
	for _, c := range []struct {
		code   int32
		fields string
	}{
		{codeNoTo, `"MsgRandom":1,"MsgBody":` + hello},
		{codeNoTo, `"To_Account":["bob"],"MsgRandom":1,"MsgBody":` + hello},
		{im.CodeUnknownReceiver, `"To_Account":"nobody","MsgRandom":1,"MsgBody":` + hello},
		{im.CodeUnknownReceiver, `"From_Account":"nobody","To_Account":"bob","MsgRandom":1,"MsgBody":` + hello},
		{codeNoFrom, `"From_Account":1,"To_Account":"bob","MsgRandom":1,"MsgBody":` + hello},
		{codeNoRandom, `"To_Account":"bob","MsgBody":` + hello},
		{codeNoRandom, `"To_Account":"bob","MsgRandom":"1","MsgBody":` + hello},
		{codeNoRandom, `"To_Account":"bob","MsgRandom":4294967296,"MsgBody":` + hello},
		{codeBadSeq, `"To_Account":"bob","MsgRandom":1,"MsgSeq":"x","MsgBody":` + hello},
		{codeBadTime, `"To_Account":"bob","MsgRandom":1,"MsgTimeStamp":"x","MsgBody":` + hello},
		{codeBadSync, `"To_Account":"bob","MsgRandom":1,"SyncOtherMachine":"1","MsgBody":` + hello},
		{codeBadSync, `"To_Account":"bob","MsgRandom":1,"SyncOtherMachine":3,"MsgBody":` + hello},
		{codeBadLife, `"To_Account":"bob","MsgRandom":1,"MsgLifeTime":"60","MsgBody":` + hello},
		{codeBadLife, `"To_Account":"bob","MsgRandom":1,"MsgLifeTime":-1,"MsgBody":` + hello},
		{codeLongLife, `"To_Account":"bob","MsgRandom":1,"MsgLifeTime":604801,"MsgBody":` + hello},
		{codeBadPush, `"To_Account":"bob","MsgRandom":1,"OfflinePushInfo":"x","MsgBody":` + hello},
		{codeBadField, `"To_Account":"bob","MsgRandom":1,"CloudCustomData":{},"MsgBody":` + hello},
		{codeBadField, `"To_Account":"bob","MsgRandom":1,"OnlineOnlyFlag":2,"MsgBody":` + hello},
		{codeBadField, `"To_Account":"bob","MsgRandom":1,"SendMsgControl":"NoUnread","MsgBody":` + hello},
		{restjson.CodeBodyEmpty, `"To_Account":"bob","MsgRandom":1`},
		{restjson.CodeBodyEmpty, `"To_Account":"bob","MsgRandom":1,"MsgBody":{}`},
		{restjson.CodeElement, `"To_Account":"bob","MsgRandom":1,"MsgBody":[{"MsgType":"TIMTextElem"}]`},
		{restjson.CodeElement, `"To_Account":"bob","MsgRandom":1,"MsgBody":[{"MsgType":"TIMSoundElem","MsgContent":{}}]`},
		{codeBodyLength, `"To_Account":"bob","MsgRandom":1,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"` + strings.Repeat("x", 13<<10) + `"}}]`},
	} {
		n.refused(c.code, sendmsg, "{%s}", c.fields)
	}
	if a := n.ok(sendmsg, `{"To_Account":"bob","MsgRandom":7,"MsgBody":%s}`, hello); !strings.HasPrefix(a.MsgKey, "1_7_") {
		t.Errorf("a refused call stored something: key %q", a.MsgKey)
	}
}

// TestSameMessage: (From_Account, MsgSeq, MsgRandom) within five minutes is one message, even if the calls are concurrent.
func TestSameMessage(t *testing.T) {
	n := start(t, chat.Config{})
	alice, bob := n.dial("alice"), n.dial("bob")
	n.api.sent.now = n.now
	send := func(seq, random int, text string) answer {
		return n.post(sendmsg, `{"From_Account":"alice","To_Account":"bob","MsgSeq":%d,"MsgRandom":%d,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":%q}}]}`, seq, random, text)
	}
	var wg sync.WaitGroup
	answers := make([]answer, 8)
	for i := range answers {
		wg.Go(func() { answers[i] = send(5, 6, "once") })
	}
	wg.Wait()
	for _, a := range answers {
		if a.ErrorCode != 0 || fmt.Sprint(a) != fmt.Sprint(answers[0]) {
			t.Errorf("%+v and %+v", a, answers[0])
		}
	}
	if a := send(5, 6, "other"); a.ErrorCode != im.CodeInvalidParameters {
		t.Errorf("another message under the key: %+v", a)
	}
	// Another MsgSeq is another message, even if everything else is the same, in the same second.
	if a := send(6, 6, "once"); a.ErrorCode != 0 || !strings.HasPrefix(a.MsgKey, "2_6_") {
		t.Errorf("%+v", a)
	}
	if a := send(7, 6, "third"); a.ErrorCode != 0 || !strings.HasPrefix(a.MsgKey, "3_6_") {
		t.Errorf("%+v", a)
	}
	n.ahead.Add(int64(sentFor))
	if a := send(5, 6, "later"); a.ErrorCode != 0 || !strings.HasPrefix(a.MsgKey, "4_6_") {
		t.Errorf("after five minutes: %+v", a)
	}
	for _, want := range []string{"once", "once", "third", "later"} {
		if m := next(t, "message", bob.messages); im.TextOf(m) != want {
			t.Errorf("bob got %q, want %q", im.TextOf(m), want)
		}
	}
	bob.barrier(alice)
	// A refused call may be repeated.
	if a := n.post(sendmsg, `{"From_Account":"alice","To_Account":"carol","MsgSeq":9,"MsgRandom":9,"MsgBody":%s}`, hello); a.ErrorCode != im.CodeUnknownReceiver {
		t.Errorf("%+v", a)
	}
	n.ok("im_open_login_svc/account_import", `{"UserID":"carol"}`)
	n.ok(sendmsg, `{"From_Account":"alice","To_Account":"carol","MsgSeq":9,"MsgRandom":9,"MsgBody":%s}`, hello)
}

// TestSameMessageElsewhere: a call that is repeated at another server of the same database, or after a restart, is the same message and gets the same
// reply; an online-only one is delivered once.
func TestSameMessageElsewhere(t *testing.T) {
	dsn := pgtest.DSN(t)
	var nodes []*node
	another := func() *node {
		st, err := pg.Open(t.Context(), pg.Config{DSN: dsn, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		n := &node{t: t}
		n.serve(st, chat.Config{})
		nodes = append(nodes, n)
		return n
	}
	one, two := another(), another()
	bob, cfg := one.dial("bob"), two.config("bob")
	cfg.Platform = im.Platform_PLATFORM_ANDROID
	other := two.dialWith(cfg)
	alice := one.dial("alice")
	var mu sync.Mutex
	call := func(n *node, more, text string) answer {
		return n.post(sendmsg, `{"From_Account":"alice","To_Account":"bob","MsgSeq":5,%s,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":%q}}]}`, more, text)
	}
	for _, c := range []struct{ more, text string }{{`"MsgRandom":6`, "stored"}, {`"MsgRandom":7,"OnlineOnlyFlag":1`, "online"}} {
		var answers []answer
		if c.text == "online" { // whose replies have no number that all could look up
			answers = append(answers, call(one, c.more, c.text), call(two, c.more, c.text))
		} else {
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					a := call(nodes[i%2], c.more, c.text)
					mu.Lock()
					defer mu.Unlock()
					answers = append(answers, a)
				})
			}
			wg.Wait()
		}
		answers = append(answers, call(another(), c.more, c.text)) // which has just started
		for _, a := range answers {
			if a.ErrorCode != 0 || a.MsgKey == "" || a.MsgId != answers[0].MsgId || c.text == "stored" && fmt.Sprint(a) != fmt.Sprint(answers[0]) {
				t.Errorf("%+v and %+v", a, answers[0])
			}
		}
		if a := call(another(), c.more, "other"); a.ErrorCode != im.CodeInvalidParameters {
			t.Errorf("another message under the key: %+v", a)
		}
	}
	// The next message of each server: nothing arrived twice before it.
	carol := two.dial("carol")
	for _, x := range []struct{ to, from *device }{{bob, alice}, {other, carol}} {
		if _, err := x.from.SendMessage(t.Context(), client.C2C("bob"), im.Text("last")); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]int{}
	for _, d := range []*device{bob, other} {
		for {
			m := next(t, "message", d.messages)
			if im.TextOf(m) == "last" {
				break
			}
			got[im.TextOf(m)]++
		}
	}
	if got["online"] != 1 || got["stored"] > 2 {
		t.Errorf("bob's devices got %v", got)
	}
	ms, err := alice.Messages(t.Context(), client.C2C("bob"), &im.GetMsgListParam{Count: 20})
	if err != nil || len(ms) != 2 {
		t.Errorf("the log has %d messages, %v", len(ms), err)
	}
}

// TestSameMessageRefusedOnce: of two calls with one key at two servers, one is refused by the hook after the other was stored. The next repetition
// gets the reply for what is stored; a key that nobody has stored may name another message.
func TestSameMessageRefusedOnce(t *testing.T) {
	dsn := pgtest.DSN(t)
	another := func(before func(context.Context, *hook.C2CBeforeSendMsg, hook.Source) hook.C2CBeforeSendMsgVerdict) *node {
		st, err := pg.Open(t.Context(), pg.Config{DSN: dsn, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		n := &node{t: t}
		n.serve(st, chat.Config{Hooks: hook.Set{C2CBeforeSendMsg: before}})
		return n
	}
	asked, say := make(chan struct{}, 2), make(chan struct{})
	refusing := another(func(context.Context, *hook.C2CBeforeSendMsg, hook.Source) hook.C2CBeforeSendMsgVerdict {
		asked <- struct{}{}
		<-say
		return hook.C2CBeforeSendMsgVerdict{Err: im.Errorf(120001, "no")}
	})
	allowing := another(nil)
	alice := allowing.dial("alice")
	allowing.dial("bob")
	call := func(n *node, random int, text string) answer {
		return n.post(sendmsg, `{"From_Account":"alice","To_Account":"bob","MsgSeq":5,"MsgRandom":%d,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":%q}}]}`, random, text)
	}
	refused := make(chan answer, 1)
	go func() { refused <- call(refusing, 6, "x") }()
	<-asked
	stored := call(allowing, 6, "x")
	close(say)
	if a := <-refused; a.ErrorCode == 0 || stored.ErrorCode != 0 {
		t.Fatalf("refused %+v, stored %+v", a, stored)
	}
	if a := call(another(nil), 6, "x"); fmt.Sprint(a) != fmt.Sprint(stored) {
		t.Errorf("the third call: %+v, want %+v", a, stored)
	}
	if a := call(refusing, 7, "forbidden"); a.ErrorCode == 0 {
		t.Errorf("%+v", a)
	}
	if a := call(allowing, 7, "allowed"); a.ErrorCode != 0 {
		t.Errorf("a refused call in another form: %+v", a)
	}
	ms, err := alice.Messages(t.Context(), client.C2C("bob"), nil)
	if err != nil || len(ms) != 2 || im.TextOf(ms[0]) != "allowed" || im.TextOf(ms[1]) != "x" {
		t.Errorf("%v %v", ms, err)
	}
}

// TestWithdraw: an operator recalls anybody's message after the window; both users are notified.
func TestWithdraw(t *testing.T) {
	n := start(t, chat.Config{RevokeWindow: time.Nanosecond})
	alice, bob := n.dial("alice"), n.dial("bob")
	m, err := alice.SendMessage(t.Context(), client.C2C("bob"), im.Text("oops"))
	if err != nil {
		t.Fatal(err)
	}
	next(t, "message", bob.messages)
	key := restjson.Key(m.Seq, uint32(m.Rand), int64(m.ServerTime))
	for _, c := range []struct {
		code    int32
		f, t, k string
	}{
		{codeNoFrom, "", "bob", key}, {codeNoFrom, "nobody", "bob", key}, {codeNoTo, "alice", "", key}, {codeNoTo, "alice", "nobody", key},
		{codeBadKey, "alice", "bob", ""}, {codeBadKey, "alice", "bob", "1_2"},
		{im.CodeNoSuchMessage, "bob", "alice", key}, {im.CodeNoSuchMessage, "alice", "alice", key},
		{im.CodeNoSuchMessage, "alice", "bob", restjson.Key(m.Seq, uint32(m.Rand)+1, int64(m.ServerTime))},
		{im.CodeNoSuchMessage, "alice", "bob", restjson.Key(m.Seq+1, uint32(m.Rand), int64(m.ServerTime))},
		{im.CodeNoSuchMessage, "alice", "bob", restjson.Key(m.Seq, uint32(m.Rand), int64(m.ServerTime)+1)},
	} {
		n.refused(c.code, withdraw, `{"From_Account":%q,"To_Account":%q,"MsgKey":%q}`, c.f, c.t, c.k)
	}
	body := fmt.Sprintf(`{"From_Account":"alice","To_Account":"bob","MsgKey":%q}`, key)
	n.ok(withdraw, "%s", body)
	for _, d := range []*device{alice, bob} {
		if l := next(t, "recall", d.revoked); l.Seq != m.Seq || l.RevokerUserId != DefaultAdmin {
			t.Errorf("%s hears %v", d.UserID(), l)
		}
	}
	n.refused(im.CodeAlreadyRevoked, withdraw, "%s", body)
	if total, err := bob.TotalUnread(t.Context()); err != nil || total != 0 {
		t.Errorf("unread %d, %v", total, err)
	}
	// By the key that a before-hook gets, which has the client time in the place of the number.
	m, err = alice.SendMessage(t.Context(), client.C2C("bob"), im.Text("again"))
	if err != nil {
		t.Fatal(err)
	}
	n.ok(withdraw, `{"From_Account":"alice","To_Account":"bob","MsgKey":%q}`, restjson.Key(m.ClientTime, uint32(m.Rand), 0))
	if l := next(t, "recall", bob.revoked); l.Seq != m.Seq {
		t.Errorf("bob hears %v", l)
	}
}

// TestWithdrawRace: if the sender and several operators recall at once, one of them succeeds.
func TestWithdrawRace(t *testing.T) {
	n := start(t, chat.Config{})
	alice, bob := n.dial("alice"), n.dial("bob")
	for range 10 {
		m, err := alice.SendMessage(t.Context(), client.C2C("bob"), im.Text("oops"))
		if err != nil {
			t.Fatal(err)
		}
		body := fmt.Sprintf(`{"From_Account":"alice","To_Account":"bob","MsgKey":%q}`, restjson.Key(m.Seq, uint32(m.Rand), int64(m.ServerTime)))
		codes := make([]int32, 4)
		var wg sync.WaitGroup
		for i := range codes {
			wg.Go(func() {
				if i == 0 {
					codes[i] = im.CodeOf(alice.Revoke(context.Background(), client.C2C("bob"), m, ""))
					return
				}
				codes[i] = n.post(withdraw, "%s", body).ErrorCode
			})
		}
		wg.Wait()
		done := 0
		for _, code := range codes {
			switch code {
			case 0:
				done++
			case im.CodeAlreadyRevoked:
			default:
				t.Errorf("answered %d", code)
			}
		}
		if done != 1 {
			t.Errorf("%d of the calls did it", done)
		}
		for _, d := range []*device{alice, bob} {
			if l := next(t, "recall", d.revoked); l.Seq != m.Seq {
				t.Errorf("%s hears %v", d.UserID(), l)
			}
		}
	}
	next(t, "message", bob.messages)
}

// TestLayers: the admin API accepts merged messages as deep as clients may send, and refuses deeper ones with the same code.
func TestLayers(t *testing.T) {
	n := start(t, chat.Config{})
	n.dial("alice")
	bob := n.dial("bob")
	layers := func(deep int) string {
		e := `{"MsgType":"TIMTextElem","MsgContent":{"Text":"core"}}`
		for range deep {
			e = `{"MsgType":"TIMRelayElem","MsgContent":{"CompatibleText":"c","MsgList":[{"From_Account":"bob","MsgBody":[` + e + `]}]}}`
		}
		return e
	}
	const call = `{"From_Account":"alice","To_Account":"bob","MsgRandom":%d,"MsgBody":[%s]}`
	n.ok(sendmsg, call, 1, layers(im.MaxLayers))
	got := next(t, "message", bob.messages)
	for range im.MaxLayers {
		got = got.ElemArray[0].GetMerger().GetMessageArray()[0]
	}
	if im.TextOf(got) != "core" {
		t.Errorf("the core is %v", got)
	}
	n.refused(im.CodeMergerLayers, sendmsg, call, 2, layers(im.MaxLayers+1))
}

// TestModify: an operator replaces what the call names, whatever the version; a client that had the old version gets a conflict.
func TestModify(t *testing.T) {
	n := start(t, chat.Config{})
	alice, bob := n.dial("alice"), n.dial("bob")
	sent := im.Text("first")
	sent.CloudCustomStr = "a"
	m, err := alice.SendMessage(t.Context(), client.C2C("bob"), sent)
	if err != nil {
		t.Fatal(err)
	}
	got := next(t, "message", bob.messages)
	key := restjson.Key(m.Seq, uint32(m.Rand), int64(m.ServerTime))
	n.ok(modify, `{"From_Account":"alice","To_Account":"bob","MsgKey":%q,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"second"}}]}`, key)
	for _, d := range []*device{alice, bob} {
		if m := next(t, "update", d.updated); im.TextOf(m) != "second" || m.CloudCustomStr != "a" || m.Version != 1 {
			t.Errorf("%s hears %v", d.UserID(), m)
		}
	}
	n.ok(modify, `{"From_Account":"alice","To_Account":"bob","MsgKey":%q,"CloudCustomData":"b"}`, key)
	for _, d := range []*device{alice, bob} {
		if m := next(t, "update", d.updated); im.TextOf(m) != "second" || m.CloudCustomStr != "b" || m.Version != 2 {
			t.Errorf("%s hears %v", d.UserID(), m)
		}
	}
	got.ElemArray = im.Text("bob's").ElemArray // he had it before both
	now, err := bob.ModifyMessage(t.Context(), client.C2C("alice"), got)
	if im.CodeOf(err) != im.CodeModifyConflict || im.TextOf(now) != "second" {
		t.Errorf("the client's modification: %v, %v", now, err)
	}
	for _, c := range []struct {
		code         int32
		from, fields string
	}{
		{codeBadField, "alice", `"MsgKey":"` + key + `"`},
		{im.CodeUnknownReceiver, "", `"MsgKey":"` + key + `","CloudCustomData":"x"`},
		{codeNoTo, "alice", `"To_Account":"nobody","MsgKey":"` + key + `","CloudCustomData":"x"`},
		{codeBadKey, "alice", `"MsgKey":"x","CloudCustomData":"x"`},
		{codeBadField, "alice", `"MsgKey":"` + key + `","CloudCustomData":1`},
		{restjson.CodeBodyEmpty, "alice", `"MsgKey":"` + key + `","MsgBody":[]`},
		{restjson.CodeElement, "alice", `"MsgKey":"` + key + `","MsgBody":[{}]`},
		{im.CodeNoSuchMessage, "bob", `"To_Account":"alice","MsgKey":"` + key + `","CloudCustomData":"x"`},
		{im.CodeMessageSize, "alice", `"MsgKey":"` + key + `","CloudCustomData":"` + strings.Repeat("x", 17<<10) + `"`},
	} {
		to := `"To_Account":"bob",`
		if strings.Contains(c.fields, "To_Account") {
			to = ""
		}
		n.refused(c.code, modify, `{"From_Account":%q,%s%s}`, c.from, to, c.fields)
	}
	n.ok(withdraw, `{"From_Account":"alice","To_Account":"bob","MsgKey":%q}`, key)
	n.refused(im.CodeNoSuchMessage, modify, `{"From_Account":"alice","To_Account":"bob","MsgKey":%q,"CloudCustomData":"c"}`, key)
}

// TestModificationsOfOneMessage: a program that keeps modifying a message gets a code of the admin API.
func TestModificationsOfOneMessage(t *testing.T) {
	n := start(t, chat.Config{Modifications: 2})
	alice := n.dial("alice")
	n.dial("bob")
	m, err := alice.SendMessage(t.Context(), client.C2C("bob"), im.Text("first"))
	if err != nil {
		t.Fatal(err)
	}
	key := restjson.Key(m.Seq, uint32(m.Rand), int64(m.ServerTime))
	for range 2 {
		n.ok(modify, `{"From_Account":"alice","To_Account":"bob","MsgKey":%q,"CloudCustomData":"x"}`, key)
	}
	n.refused(codeTooOften, modify, `{"From_Account":"alice","To_Account":"bob","MsgKey":%q,"CloudCustomData":"x"}`, key)
}
