package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/restjson"
)

const patience = 20 * time.Second

// event is what the receiver got.
type event struct {
	query url.Values
	id    string
	keys  []string
	body  string

	CallbackCommand, From_Account, To_Account, MsgKey, CloudCustomData, ErrorInfo string
	MsgFrom_Account                                                               string
	ModifyFlag                                                                    int
	MsgSeq                                                                        uint64
	MsgRandom                                                                     uint32
	MsgTime, UnreadMsgNum                                                         int64
	OnlineOnlyFlag, SendMsgResult                                                 int
	MsgBody                                                                       json.RawMessage
	Operator_Account, EventType, EventCause                                       string
	MemberList                                                                    []struct{ Member_Account string }
}

func (e *event) text() string {
	elems, err := restjson.ReadBody(e.MsgBody)
	if err != nil {
		return err.Error()
	}
	return im.TextOf(&im.Message{ElemArray: elems})
}

const (
	beforeSend = "C2C.CallbackBeforeSendMsg"
	afterSend  = "C2C.CallbackAfterSendMsg"
	fine       = `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}`
)

// receiver is the program of the app's owner.
type receiver struct {
	*httptest.Server
	t testing.TB

	mu     sync.Mutex
	answer func(e *event) string // may block; "" is HTTP status 500
	events []event
	heard  chan event
}

func listen(t testing.TB) *receiver {
	r := &receiver{t: t, heard: make(chan event, 10000)}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	b, err := io.ReadAll(req.Body)
	var e event
	var all map[string]json.RawMessage
	if err = errors.Join(err, json.Unmarshal(b, &e), json.Unmarshal(b, &all)); err != nil || req.Method != http.MethodPost {
		r.t.Errorf("%s %s: %v", req.Method, b, err)
	}
	for k := range all {
		e.keys = append(e.keys, k)
	}
	e.body = string(b)
	e.query, e.id = req.URL.Query(), req.Header.Get("Tidings-Event-Id")
	r.mu.Lock()
	r.events = append(r.events, e)
	answer := r.answer
	r.mu.Unlock()
	out := fine
	if answer != nil {
		out = answer(&e)
	}
	r.heard <- e
	if out == "" {
		w.WriteHeader(http.StatusInternalServerError)
	}
	io.WriteString(w, out)
}

// on sets the answer to a command; other commands get a good answer.
func (r *receiver) on(command string, f func(e *event) string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = func(e *event) string {
		if e.CallbackCommand != command {
			return fine
		}
		return f(e)
	}
}

// next waits for the next event of a command.
func (r *receiver) next(command string) event {
	r.t.Helper()
	for {
		if e := get(r.t, command, r.heard); e.CallbackCommand == command {
			return e
		}
	}
}

func (r *receiver) count(command string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.events {
		if r.events[i].CallbackCommand == command {
			n++
		}
	}
	return n
}

func get[T any](t testing.TB, what string, from chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s came", what)
		panic("unreachable")
	}
}

type device struct {
	*client.Client
	t        testing.TB
	messages chan *im.Message
	updated  chan *im.Message
}

func dial(t testing.TB, s *imtest.Server, user string) *device {
	t.Helper()
	d := &device{t: t, messages: make(chan *im.Message, 10000), updated: make(chan *im.Message, 100)}
	d.Client = s.Dial(user, client.Events{
		NewMessages: func(ms []*im.Message) {
			for _, m := range ms {
				d.messages <- m
			}
		},
		Updated: func(ms []*im.Message) {
			for _, m := range ms {
				d.updated <- m
			}
		},
	})
	return d
}

func (d *device) send(to, text string) (*im.Message, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return d.SendMessage(ctx, client.C2C(to), im.Text(text))
}

func (d *device) must(to, text string) *im.Message {
	d.t.Helper()
	m, err := d.send(to, text)
	if err != nil {
		d.t.Fatal(err)
	}
	return m
}

func (d *device) got(text string) *im.Message {
	d.t.Helper()
	m := get(d.t, "message", d.messages)
	if im.TextOf(m) != text {
		d.t.Fatalf("%s got %q, want %q", d.UserID(), im.TextOf(m), text)
	}
	return m
}

// fieldsOf reads the names in a column of the table of webhooks.
func fieldsOf(t testing.TB, command string) (query, body []string) {
	t.Helper()
	table, err := os.ReadFile("testdata/webhooks.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		col := strings.Split(strings.TrimSpace(line), "\t")
		if col[0] != command {
			continue
		}
		for f := range strings.SplitSeq(col[2], "; ") {
			name, _, _ := strings.Cut(f, ":")
			body = append(body, name)
		}
		query = strings.Fields(strings.NewReplacer("[", "", "]", "").Replace(col[1]))
		slices.Sort(query)
		slices.Sort(body)
		return query, body
	}
	t.Fatalf("the table has no %s", command)
	return nil, nil
}

// TestBodies compares requests with the table of webhooks, field by field.
func TestBodies(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL+"/hook?mine=1", "xxxxyyyy"))
	alice, bob := dial(t, s, "alice"), dial(t, s, "bob")
	m := im.Text("hi <&>")
	m.CloudCustomStr = "cloud"
	m.ElemArray = append(m.ElemArray, im.Face(3, "smile").ElemArray...)
	sent, err := alice.SendMessage(t.Context(), client.C2C("bob"), m)
	if err != nil {
		t.Fatal(err)
	}
	bob.got("hi <&>")
	for _, command := range []string{beforeSend, afterSend} {
		e := r.next(command)
		query, body := fieldsOf(t, command)
		var names []string
		for k := range e.query {
			if k != "mine" {
				names = append(names, k)
			}
		}
		slices.Sort(names)
		slices.Sort(e.keys)
		if !slices.Equal(names, query) || !slices.Equal(e.keys, body) {
			t.Errorf("%s: query %q, want %q; body %q, want %q", command, names, query, e.keys, body)
		}
		q := e.query
		if q.Get("SdkAppid") != fmt.Sprint(s.AppID) || q.Get("CallbackCommand") != command || q.Get("contenttype") != "json" ||
			q.Get("mine") != "1" || len(q.Get("Sign")) != 64 {
			t.Errorf("%s: query %v", command, q)
		}
		if e.From_Account != "alice" || e.To_Account != "bob" || e.MsgRandom != uint32(sent.Rand) || e.OnlineOnlyFlag != 0 || e.CloudCustomData != "cloud" ||
			e.text() != "hi <&>" || strings.Count(string(e.MsgBody), "MsgType") != 2 || e.MsgKey != restjson.Key(e.MsgSeq, e.MsgRandom, e.MsgTime) {
			t.Errorf("%s: %+v", command, e)
		}
		if command == beforeSend {
			if q.Get("ClientIP") != "127.0.0.1" || q.Get("OptPlatform") != "Linux" || e.MsgSeq != sent.ClientTime || e.id != "" {
				t.Errorf("%s: %+v", command, e)
			}
			continue
		}
		if e.MsgSeq != 1 || e.MsgTime != int64(sent.ServerTime) || e.SendMsgResult != 0 || e.ErrorInfo != "send msg succeed" || e.UnreadMsgNum != 1 || e.id == "" {
			t.Errorf("%s: %+v", command, e)
		}
	}
}

// TestVerdicts: what the program may answer about a message.
func TestVerdicts(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""))
	alice, bob := dial(t, s, "alice"), dial(t, s, "bob")
	r.on(beforeSend, func(e *event) string {
		switch e.text() {
		case "rewrite":
			return `{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"rewritten"}}],"CloudCustomData":"by the hook"}`
		case "cloud":
			return `{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","CloudCustomData":"by the hook"}`
		case "refuse":
			return `{"ActionStatus":"OK","ErrorCode":1,"ErrorInfo":""}`
		case "first":
			return `{"ActionStatus":"OK","ErrorCode":120001,"ErrorInfo":"rude"}`
		case "last":
			return `{"ActionStatus":"FAIL","ErrorCode":130000,"ErrorInfo":"ruder"}`
		case "outside":
			return `{"ActionStatus":"OK","ErrorCode":130001,"ErrorInfo":"not mine"}`
		case "drop":
			return `{"ActionStatus":"OK","ErrorCode":2,"ErrorInfo":""}`
		case "unfit": // a rewritten message that nobody could send
			return `{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","CloudCustomData":"` + strings.Repeat("x", 17<<10) + `"}`
		}
		return fine
	})
	alice.must("bob", "plain")
	bob.got("plain")

	// The send succeeds with the new content, and the update fires.
	m := alice.must("bob", "rewrite")
	if got := bob.got("rewritten"); got.CloudCustomStr != "by the hook" || got.Seq != 2 || got.MsgId != m.MsgId {
		t.Errorf("bob got %v", got)
	}
	if u := get(t, "update", alice.updated); im.TextOf(u) != "rewritten" || u.CloudCustomStr != "by the hook" || u.MsgId != m.MsgId {
		t.Errorf("alice's update: %v", u)
	}
	alice.must("bob", "cloud")
	if got := bob.got("cloud"); got.CloudCustomStr != "by the hook" {
		t.Errorf("bob got %v", got)
	}
	if u := get(t, "update", alice.updated); im.TextOf(u) != "cloud" || u.CloudCustomStr != "by the hook" {
		t.Errorf("alice's update: %v", u)
	}
	for _, c := range []struct {
		text string
		code int32
		desc string
	}{{"refuse", im.CodeRefusedByWebhook, ""}, {"first", 120001, "rude"}, {"last", 130000, "ruder"}, {"outside", im.CodeRefusedByWebhook, "not mine"}} {
		_, err := alice.send("bob", c.text)
		if want := im.Errorf(c.code, "%s", c.desc); im.CodeOf(err) != c.code || c.desc != "" && err.Error() != want.Error() {
			t.Errorf("%s: %v, want %d %s", c.text, err, c.code, c.desc)
		}
	}
	dropped := alice.must("bob", "drop")
	if dropped.Seq != 0 || dropped.ServerTime == 0 || im.TextOf(dropped) != "drop" {
		t.Errorf("the dropped message is %v", dropped)
	}
	alice.must("bob", "unfit")
	if got := bob.got("unfit"); got.Seq != 4 {
		t.Errorf("bob got %v", got)
	}
	// The after-hook reports what was stored, as it was stored.
	for _, want := range []string{"plain", "rewritten", "cloud", "unfit"} {
		if e := r.next(afterSend); e.text() != want {
			t.Errorf("told of %q, want %q", e.text(), want)
		}
	}
	select {
	case u := <-alice.updated:
		t.Errorf("an update of %v", u)
	default:
	}
}

// TestUnanswered: a program that does not answer properly, or not in time, under both policies.
func TestUnanswered(t *testing.T) {
	r := listen(t)
	hold := make(chan struct{})
	defer close(hold)
	answers := map[string]string{
		"status": "", "text": "fine", "no code": `{"ActionStatus":"OK"}`, "bad code": `{"ErrorCode":"0"}`, "bad body": `{"ErrorCode":0,"MsgBody":[{}]}`,
	}
	r.on(beforeSend, func(e *event) string {
		if a, ok := answers[e.text()]; ok {
			return a
		}
		if e.text() == "slow" {
			<-hold
		}
		return fine
	})
	for _, refuse := range []bool{false, true} {
		s := imtest.Start(t, imtest.Webhook(r.URL, ""), imtest.WebhookDeadline(200*time.Millisecond, refuse))
		alice, bob := dial(t, s, "alice"), dial(t, s, "bob")
		for _, text := range []string{"slow", "status", "text", "no code", "bad code", "bad body"} {
			m, err := alice.send("bob", text)
			if refuse {
				if im.CodeOf(err) != im.CodeWebhookFailed {
					t.Errorf("%s: %v, want %d", text, err, im.CodeWebhookFailed)
				}
				continue
			}
			if err != nil || m.Seq == 0 {
				t.Errorf("%s: %v, %v", text, m, err)
			}
			bob.got(text)
		}
		alice.must("bob", "fine")
		bob.got("fine")
	}
}

// TestOrderAcrossTheHook: messages of one session to one person are stored in the order of the calls, however long the program takes, and a message
// to somebody else does not wait for them.
func TestOrderAcrossTheHook(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), imtest.WebhookDeadline(patience, false))
	alice, bob, carol := dial(t, s, "alice"), dial(t, s, "bob"), dial(t, s, "carol")
	hold := make(chan struct{})
	r.on(beforeSend, func(e *event) string {
		if e.text() == "0" {
			<-hold
		}
		return fine
	})
	const n = 20
	sent := make(chan *im.Message, n)
	for i := range n {
		m := im.Text(fmt.Sprint(i))
		m.DisableCloudMessagePreHook = i%3 == 1 // the program is not asked about these, and they keep their place
		if _, err := alice.SendMessageFunc(client.C2C("bob"), m, func(m *im.Message, err error) {
			if err != nil {
				t.Error(err)
			}
			sent <- m
		}); err != nil {
			t.Fatal(err)
		}
	}
	if m := alice.must("carol", "at once"); m.Seq != 1 { // while the first to bob still waits
		t.Errorf("%v", m)
	}
	carol.got("at once")
	select {
	case m := <-sent:
		t.Fatalf("%v did not wait", m)
	default:
	}
	close(hold)
	for i := range n {
		if m := get(t, "answer", sent); m.Seq != uint64(i+1) || im.TextOf(m) != fmt.Sprint(i) {
			t.Errorf("answer %d is %v", i, m)
		}
		bob.got(fmt.Sprint(i))
	}
}

// TestHookOfTheAdminAPI: a message of the admin API is shown too, unless the call forbids it.
func TestHookOfTheAdminAPI(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""))
	dial(t, s, "alice")
	bob := dial(t, s, "bob")
	r.on(beforeSend, func(e *event) string {
		if e.text() == "bad" {
			return `{"ErrorCode":120002,"ErrorInfo":"no"}`
		}
		return fine
	})
	post := func(text, more string) (code int32, key string) {
		t.Helper()
		u := fmt.Sprintf("http%s/v4/openim/sendmsg?sdkappid=%d&identifier=%s&usersig=%s", strings.TrimPrefix(s.URL, "ws"), s.AppID, imtest.Admin, s.Sig(imtest.Admin))
		body := fmt.Sprintf(`{"From_Account":"alice","To_Account":"bob","MsgRandom":5,"MsgSeq":%d,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":%q}}]%s}`, len(text), text, more)
		resp, err := http.Post(u, "application/json", bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var a struct {
			ErrorCode int32
			MsgKey    string
		}
		if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
			t.Fatal(err)
		}
		return a.ErrorCode, a.MsgKey
	}
	if code, _ := post("bad", ""); code != 120002 {
		t.Errorf("answered %d", code)
	}
	if e := r.next(beforeSend); e.query.Get("OptPlatform") != "RESTAPI" || e.query.Get("ClientIP") != "127.0.0.1" || e.From_Account != "alice" {
		t.Errorf("%+v", e)
	}
	if code, _ := post("bad", `,"ForbidCallbackControl":["ForbidBeforeSendMsgCallback","ForbidAfterSendMsgCallback"]`); code != 0 {
		t.Errorf("answered %d", code)
	}
	bob.got("bad")
	if code, _ := post("good one", ""); code != 0 {
		t.Errorf("answered %d", code)
	}
	bob.got("good one")
	if e := r.next(afterSend); e.text() != "good one" || e.UnreadMsgNum != 2 {
		t.Errorf("%+v", e)
	}
	if n := r.count(beforeSend); n != 2 {
		t.Errorf("asked %d times", n)
	}
}
