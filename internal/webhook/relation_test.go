package webhook_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/server"
)

// conn is a client that knows only the wire, and drops what is pushed.
type conn struct {
	t    testing.TB
	user string
	ws   *websocket.Conn
	id   uint64
}

func connect(t testing.TB, s *imtest.Server, user string) *conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, s.URL+"/ws", &websocket.DialOptions{Subprotocols: []string{im.Subprotocol}})
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	t.Cleanup(func() { ws.CloseNow() })
	c := &conn{t: t, user: user, ws: ws}
	c.call(im.Method_LOGIN, &im.LoginRequest{UserId: user, UserSig: s.Sig(user), DeviceId: "device of " + user, Platform: im.Platform_PLATFORM_LINUX, Groups: true}, &im.LoginReply{})
	return c
}

// begin makes a call and does not wait for the reply.
func (c *conn) begin(m im.Method, req im.Body) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c.id++
	if err := c.ws.Write(ctx, websocket.MessageBinary, im.AppendMessage(nil, &im.Frame{Id: c.id, Method: m}, req)); err != nil {
		c.t.Fatal(err)
	}
}

// try makes a call and returns the code of the reply.
func (c *conn) try(m im.Method, req im.Body, reply im.Msg) int32 {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c.begin(m, req)
	code, answered := int32(0), false
	for !answered {
		_, b, err := c.ws.Read(ctx)
		if err != nil {
			c.t.Fatal(err)
		}
		if err := im.ReadFrames(b, func(f *im.Frame) error {
			if f.Id != c.id {
				return nil
			}
			code, answered = f.Code, true
			if f.Code != 0 {
				return nil
			}
			return reply.UnmarshalVT(f.Body)
		}); err != nil {
			c.t.Fatal(err)
		}
	}
	return code
}

func (c *conn) call(m im.Method, req im.Body, reply im.Msg) {
	c.t.Helper()
	if code := c.try(m, req, reply); code != 0 {
		c.t.Fatalf("%s answered %d", m, code)
	}
}

// add adds a friend and returns the code of the result.
func (c *conn) add(req *im.AddFriendRequest) int32 {
	c.t.Helper()
	r := &im.FriendResult{}
	c.call(im.Method_ADD_FRIEND, req, r)
	return r.Code
}

func users(names ...string) *im.UsersRequest { return &im.UsersRequest{UserIds: names} }

func nick(name string) *im.SetProfileRequest {
	return &im.SetProfileRequest{Item: &im.UserProfileItem{NickName: &name}}
}

// same compares a body with a wanted one, whose EventTime may be any time of now.
func same(t testing.TB, e event, want string) {
	t.Helper()
	var got, other map[string]any
	if err := json.Unmarshal([]byte(e.body), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &other); err != nil {
		t.Fatal(err)
	}
	at, ok := got["EventTime"].(float64)
	if text, isText := got["EventTime"].(string); isText {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			at, ok = float64(n), true
		}
	}
	if ok {
		if d := time.Since(time.UnixMilli(int64(at))); d < -time.Minute || d > time.Minute {
			t.Errorf("%s at %v", e.CallbackCommand, time.UnixMilli(int64(at)))
		}
		delete(got, "EventTime")
	} else if other["EventTime"] != nil {
		t.Errorf("%s has no EventTime", e.CallbackCommand)
	}
	delete(other, "EventTime")
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(other)
	if string(a) != string(b) {
		t.Errorf("%s:\n%s\nwant\n%s", e.CallbackCommand, a, b)
	}
}

// TestAfterRelations compares each notification with its cause, by a user and by an operator, in the order of each user's feed.
func TestAfterRelations(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, "xxxxyyyy"), quick)
	alice, bob := connect(t, s, "alice"), connect(t, s, "bob")
	connect(t, s, "carol")
	location := "pier 7"
	permission := im.ProfileAddPermission_PROFILE_ADD_PERMISSION_NEED_CONFIRM
	bob.call(im.Method_SET_PROFILE, &im.SetProfileRequest{Item: &im.UserProfileItem{Location: &location, AddPermission: &permission,
		CustomStringArray: []*im.UserProfileCustomStringInfo{{Key: "Tag_Profile_Custom_team", Value: "<b>"}}}}, &im.VersionedProfile{})
	bob.call(im.Method_SET_PROFILE, &im.SetProfileRequest{Item: &im.UserProfileItem{Location: &location}}, &im.VersionedProfile{}) // changes nothing
	if code := alice.add(&im.AddFriendRequest{UserId: "bob", Both: true, Wording: "hi"}); code != im.CodeWaitsForApproval {
		t.Fatal(code)
	}
	bob.call(im.Method_ANSWER_REQUEST, &im.AnswerRequestRequest{UserId: "alice", Action: 1}, &im.FriendResult{})
	alice.call(im.Method_DELETE_FRIENDS, users("bob", "carol"), &im.FriendResults{}) // one is not a friend
	alice.call(im.Method_BLOCK, users("bob", "carol"), &im.FriendResults{})          // bob has alice
	alice.call(im.Method_UNBLOCK, users("bob", "nobody", "carol"), &im.FriendResults{})
	s.Operate("sns/friend_add", `{"From_Account":"alice","AddFriendItem":[{"To_Account":"bob"},{"To_Account":"carol"}],"ForceAddFlags":1,"AddType":"Add_Type_Single"}`)
	s.Operate("sns/friend_delete", `{"From_Account":"alice","To_Account":["carol"]}`)
	s.Operate("profile/portrait_set", `{"From_Account":"alice","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"A"},{"Tag":"Tag_Profile_IM_Gender","Value":"Gender_Type_Female"},
		{"Tag":"Tag_Profile_IM_Level","Value":3},{"Tag":"Tag_Profile_IM_AdminForbidType","Value":"AdminForbid_Type_SendOut"}]}`)
	pair := func(command, from, to string) string {
		return fmt.Sprintf(`{"CallbackCommand":%q,"PairList":[{"From_Account":%q,"To_Account":%q}]}`, command, from, to)
	}
	added := func(from, to, by, cmd, rest string) string {
		return fmt.Sprintf(`{"CallbackCommand":"Sns.CallbackFriendAdd","PairList":[{"From_Account":%q,"To_Account":%q,"Initiator_Account":%q}],"ClientCmd":%q,%s}`, from, to, by, cmd, rest)
	}
	for user, want := range map[string][]string{
		"alice": {
			added("alice", "bob", "alice", "friend_response", `"ForceFlag":0`),
			pair("Sns.CallbackFriendDelete", "alice", "bob"),
			`{"CallbackCommand":"Sns.CallbackBlackListAdd","PairList":[{"From_Account":"alice","To_Account":"bob"},{"From_Account":"alice","To_Account":"carol"}]}`,
			`{"CallbackCommand":"Sns.CallbackBlackListDelete","PairList":[{"From_Account":"alice","To_Account":"bob"},{"From_Account":"alice","To_Account":"carol"}]}`,
			added("alice", "bob", "alice", "friend_add", `"Admin_Account":"administrator","ForceFlag":1`),
			added("alice", "carol", "alice", "friend_add", `"Admin_Account":"administrator","ForceFlag":1`),
			pair("Sns.CallbackFriendDelete", "alice", "carol"),
			`{"CallbackCommand":"Profile.CallbackPortraitSet","Operator_Account":"administrator","From_Account":"alice","EventTime":1,"ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"A"},
				{"Tag":"Tag_Profile_IM_Gender","Value":"Gender_Type_Female"},{"Tag":"Tag_Profile_IM_AdminForbidType","Value":"AdminForbid_Type_SendOut"},{"Tag":"Tag_Profile_IM_Level","Value":3}]}`,
		},
		"bob": {
			`{"CallbackCommand":"Profile.CallbackPortraitSet","Operator_Account":"bob","From_Account":"bob","EventTime":1,"ProfileItem":[{"Tag":"Tag_Profile_IM_Location","Value":"pier 7"},
				{"Tag":"Tag_Profile_IM_AllowType","Value":"AllowType_Type_NeedConfirm"},{"Tag":"Tag_Profile_Custom_team","Value":"<b>"}]}`,
			added("bob", "alice", "alice", "friend_response", `"ForceFlag":0`),
			pair("Sns.CallbackFriendDelete", "bob", "alice"),
		},
	} {
		// Both come mixed, so everything is kept and read again.
		var got []event
		deadline := time.Now().Add(patience)
		for len(got) < len(want) && time.Now().Before(deadline) {
			got = nil
			r.mu.Lock()
			for _, e := range r.events {
				if strings.Contains(e.body, `"From_Account":"`+user+`"`) && !strings.Contains(e.CallbackCommand, "Prev") {
					got = append(got, e)
				}
			}
			r.mu.Unlock()
			select {
			case <-r.heard:
			case <-time.After(10 * time.Millisecond):
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%s: %d notifications, want %d", user, len(got), len(want))
		}
		for i := range want {
			same(t, got[i], want[i])
			by := map[bool]string{true: "RESTAPI", false: "Linux"}[strings.Contains(want[i], "administrator") || user == "alice" && i == 6]
			if q := got[i].query; q.Get("OptPlatform") != by || q.Get("ClientIP") != "127.0.0.1" || q.Get("CallbackCommand") != got[i].CallbackCommand || len(q.Get("Sign")) != 64 {
				t.Errorf("%s: query %v, want %s", got[i].CallbackCommand, q, by)
			}
			if got[i].id == "" || i > 0 && got[i].id == got[i-1].id {
				t.Errorf("%s has the id %q", got[i].CallbackCommand, got[i].id)
			}
		}
	}
}

// rowsIn counts what is in the outbox.
func rowsIn(t testing.TB, s *imtest.Server) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(s.Dir, "tidings.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT count(*) FROM outbox").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// emptied waits until the outbox is empty.
func emptied(t testing.TB, s *imtest.Server, r *receiver) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for n := rowsIn(t, s); n > 0; n = rowsIn(t, s) {
		if time.Now().After(deadline) {
			t.Fatalf("%d rows are left", n)
		}
		select {
		case <-r.heard: // an attempt
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestOutboxRestart: what the program has not taken when the server stops, it gets after the next start, in order; what it has taken is gone. Without a
// webhook nothing is written.
func TestOutboxRestart(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, quick)
	connect(t, s, "alice").call(im.Method_SET_PROFILE, nick("before the webhook"), &im.VersionedProfile{})
	s.Stop()
	if n := rowsIn(t, s); n != 0 {
		t.Errorf("%d rows without a webhook", n)
	}
	s.Restart(imtest.Webhook(r.URL, ""))
	alice := connect(t, s, "alice")
	var down atomic.Bool
	r.mu.Lock()
	r.answer = func(*event) string {
		if down.Load() {
			return ""
		}
		return fine
	}
	r.mu.Unlock()
	alice.call(im.Method_SET_PROFILE, nick("0"), &im.VersionedProfile{})
	if e := r.next("Profile.CallbackPortraitSet"); !strings.Contains(e.body, `"Value":"0"`) {
		t.Fatal(e.body)
	}
	down.Store(true)
	const n = 20
	for i := 1; i <= n; i++ {
		alice.call(im.Method_SET_PROFILE, nick(fmt.Sprint(i)), &im.VersionedProfile{})
	}
	for range 3 { // again and again the first
		if e := r.next("Profile.CallbackPortraitSet"); !strings.Contains(e.body, `"Value":"1"`) {
			t.Fatal(e.body)
		}
	}
	s.Stop()
	if got := rowsIn(t, s); got != n {
		t.Errorf("%d rows, want %d", got, n)
	}
	down.Store(false)
	for len(r.heard) > 0 {
		<-r.heard
	}
	s.Restart()
	ids := map[string]bool{}
	for i := 1; i <= n; i++ {
		if e := r.next("Profile.CallbackPortraitSet"); !strings.Contains(e.body, fmt.Sprintf(`"Value":"%d"`, i)) || ids[e.id] {
			t.Fatalf("told of %s, want %d", e.body, i)
		} else {
			ids[e.id] = true
		}
	}
	emptied(t, s, r)
}

// TestOutboxLanes: a user whose notifications the program never takes holds up nobody else's, each of which comes once and in order.
func TestOutboxLanes(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), quick)
	r.mu.Lock()
	r.answer = func(e *event) string {
		if e.From_Account == "poison" {
			return ""
		}
		return fine
	}
	r.mu.Unlock()
	poison := connect(t, s, "poison")
	for i := range 300 { // more than is read at once
		poison.call(im.Method_SET_PROFILE, nick(fmt.Sprint(i)), &im.VersionedProfile{})
	}
	const people, each = 3, 50
	var wg sync.WaitGroup
	for p := range people {
		c := connect(t, s, fmt.Sprint("user", p))
		wg.Go(func() {
			for i := range each {
				c.call(im.Method_SET_PROFILE, nick(fmt.Sprint(i)), &im.VersionedProfile{})
			}
		})
	}
	wg.Wait()
	next := map[string]int{}
	for n := 0; n < people*each; {
		e := r.next("Profile.CallbackPortraitSet")
		if e.From_Account == "poison" {
			if !strings.Contains(e.body, `"Value":"0"`) {
				t.Fatal("a notification overtook one that was not taken:", e.body)
			}
			continue
		}
		if !strings.Contains(e.body, fmt.Sprintf(`"Value":"%d"`, next[e.From_Account])) {
			t.Fatalf("told of %s, want %d", e.body, next[e.From_Account])
		}
		next[e.From_Account]++
		n++
	}
}

// TestOutboxGivesUp: what is too old is given up, of one user whose notifications the program does not take, and of all if it takes none; what comes
// later is sent.
func TestOutboxGivesUp(t *testing.T) {
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), quick, func(c *server.Config) { c.Webhook.GiveUp = 500 * time.Millisecond })
	var all atomic.Bool
	r.mu.Lock()
	r.answer = func(e *event) string {
		if all.Load() || e.From_Account == "poison" && strings.Contains(e.body, `"old`) {
			return ""
		}
		return fine
	}
	r.mu.Unlock()
	poison := connect(t, s, "poison")
	for i := range 20 {
		poison.call(im.Method_SET_PROFILE, nick(fmt.Sprint("old", i)), &im.VersionedProfile{})
	}
	emptied(t, s, r)
	poison.call(im.Method_SET_PROFILE, nick("new"), &im.VersionedProfile{})
	for !strings.Contains(r.next("Profile.CallbackPortraitSet").body, `"new"`) {
	}
	all.Store(true)
	alice := connect(t, s, "alice")
	for i := range 20 {
		alice.call(im.Method_SET_PROFILE, nick(fmt.Sprint(i)), &im.VersionedProfile{})
	}
	for strings.Contains(r.next("Profile.CallbackPortraitSet").body, "poison") {
	}
	emptied(t, s, r)
}

// before makes a before-hook answer.
func (r *receiver) before(command, answer string) {
	r.on(command, func(*event) string { return answer })
}

// TestFriendBefore: the program allows an add or an answer, or refuses it with a code of its own; what else it answers counts as no answer. It is not asked
// about calls of operators, and not about what is not done.
func TestFriendBefore(t *testing.T) {
	const prevAdd, prevResponse = "Sns.CallbackPrevFriendAdd", "Sns.CallbackPrevFriendResponse"
	r := listen(t)
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), imtest.WebhookDeadline(2*time.Second, false))
	alice, bob := connect(t, s, "alice"), connect(t, s, "bob")
	permission := im.ProfileAddPermission_PROFILE_ADD_PERMISSION_NEED_CONFIRM
	bob.call(im.Method_SET_PROFILE, &im.SetProfileRequest{Item: &im.UserProfileItem{AddPermission: &permission}}, &im.VersionedProfile{})
	add := &im.AddFriendRequest{UserId: "bob", Both: true, Remark: "B", GroupName: "work", Source: "AddSource_Type_search", Wording: "hi"}
	item := func(code int) string {
		return fmt.Sprintf(`{"ErrorCode":0,"ResultItem":[{"To_Account":"carol","ResultCode":38999},{"To_Account":"bob","ResultCode":%d,"ResultInfo":"no"}]}`, code)
	}
	for _, c := range []struct {
		answer string
		want   int32
	}{
		{item(38001), 38001}, {item(39000), 39000}, {item(1), 38000}, {item(-5), 38000},
		{fine, im.CodeWaitsForApproval}, {item(0), im.CodeWaitsForApproval}, {`{"ErrorCode":0,"ResultItem":[]}`, im.CodeWaitsForApproval},
		// No proper answer: it goes on.
		{`{"ErrorCode":1,"ResultItem":[{"To_Account":"bob","ResultCode":38001}]}`, im.CodeWaitsForApproval}, {"", im.CodeWaitsForApproval}, {"{}", im.CodeWaitsForApproval},
		{`{"ErrorCode":0,"ResultItem":{}}`, im.CodeWaitsForApproval}, {`{"ErrorCode":0,"ResultItem":[{"To_Account":"bob","ResultCode":"x"}]}`, im.CodeWaitsForApproval},
	} {
		r.before(prevAdd, c.answer)
		if code := alice.add(add); code != c.want {
			t.Errorf("%s: %d, want %d", c.answer, code, c.want)
		}
		e := r.next(prevAdd)
		same(t, e, `{"CallbackCommand":"Sns.CallbackPrevFriendAdd","Requester_Account":"alice","From_Account":"alice","AddType":"Add_Type_Both","ForceAddFlags":0,"EventTime":1,
			"FriendItem":[{"To_Account":"bob","Remark":"B","GroupName":"work","AddSource":"AddSource_Type_search","AddWording":"hi"}]}`)
		if e.query.Get("OptPlatform") != "Linux" || e.query.Get("ClientIP") != "127.0.0.1" {
			t.Errorf("query %v", e.query)
		}
	}
	r.before(prevResponse, item(38001)) // which is about somebody else
	got := &im.FriendResult{}
	bob.call(im.Method_ANSWER_REQUEST, &im.AnswerRequestRequest{UserId: "alice", Action: 1, Remark: "A", GroupName: "home"}, got)
	if got.Code != 0 {
		t.Errorf("%v", got)
	}
	same(t, r.next(prevResponse), `{"CallbackCommand":"Sns.CallbackPrevFriendResponse","Requester_Account":"bob","From_Account":"bob","EventTime":1,
		"ResponseFriendItem":[{"To_Account":"alice","Remark":"A","TagName":"home","ResponseAction":"Response_Action_AgreeAndAdd"}]}`)
	// They are friends. Nothing is asked about what is not done, and about what an operator does.
	r.before(prevAdd, item(38001))
	if code := alice.add(add); code != im.CodeAlreadyFriends {
		t.Error(code)
	}
	for user, want := range map[string]int32{"alice": im.CodeFriendParameters, "nobody": im.CodeFriendUnknown} {
		if code := alice.add(&im.AddFriendRequest{UserId: user}); code != want {
			t.Errorf("%s: %d", user, code)
		}
	}
	bob.call(im.Method_ANSWER_REQUEST, &im.AnswerRequestRequest{UserId: "alice"}, &im.FriendResult{})
	if out := s.Operate("sns/friend_add", `{"From_Account":"bob","AddFriendItem":[{"To_Account":"alice"}]}`); !strings.Contains(out, `"ResultCode":30015`) {
		t.Error(out)
	}
	if n, m := r.count(prevAdd), r.count(prevResponse); n != 12 || m != 1 {
		t.Errorf("asked %d and %d times", n, m)
	}
	// A refused answer leaves the request as it is.
	carol := connect(t, s, "carol")
	carol.call(im.Method_SET_PROFILE, &im.SetProfileRequest{Item: &im.UserProfileItem{AddPermission: &permission}}, &im.VersionedProfile{})
	r.before(prevResponse, `{"ErrorCode":0,"ResultItem":[{"To_Account":"alice","ResultCode":38002,"ResultInfo":"not today"}]}`)
	if code := alice.add(&im.AddFriendRequest{UserId: "carol"}); code != im.CodeWaitsForApproval {
		t.Error(code)
	}
	carol.call(im.Method_ANSWER_REQUEST, &im.AnswerRequestRequest{UserId: "alice"}, got)
	if got.Code != 38002 || got.Desc != "not today" || got.Identifier != "alice" {
		t.Errorf("%v", got)
	}
	page := &im.PendencyPage{}
	carol.call(im.Method_REQUESTS, &im.RequestsRequest{}, page)
	if len(page.PendencyInfoArray) != 1 {
		t.Errorf("%v", page)
	}
}

// TestFriendBeforeDead: a program that hangs costs an add its deadline; then the setting counts. What it allowed is checked again when it has answered.
func TestFriendBeforeDead(t *testing.T) {
	r := listen(t)
	hold := make(chan struct{})
	r.on("Sns.CallbackPrevFriendAdd", func(*event) string { <-hold; return fine })
	s := imtest.Start(t, imtest.Webhook(r.URL, ""), imtest.WebhookDeadline(100*time.Millisecond, true))
	connect(t, s, "bob")
	alice := connect(t, s, "alice")
	if code := alice.try(im.Method_ADD_FRIEND, &im.AddFriendRequest{UserId: "bob"}, &im.FriendResult{}); code != im.CodeWebhookFailed {
		t.Errorf("refuse: %d", code)
	}
	s.Restart(imtest.WebhookDeadline(100*time.Millisecond, false))
	alice = connect(t, s, "alice")
	if code := alice.add(&im.AddFriendRequest{UserId: "bob"}); code != 0 {
		t.Errorf("deliver: %d", code)
	}
	close(hold)
	asked, goOn := make(chan bool, 1), make(chan bool)
	r.on("Sns.CallbackPrevFriendAdd", func(*event) string { asked <- true; <-goOn; return fine })
	s.Restart(imtest.WebhookDeadline(patience, false))
	bob, carol := connect(t, s, "bob"), connect(t, s, "carol")
	done := make(chan int32)
	go func() {
		r := &im.FriendResult{}
		carol.call(im.Method_ADD_FRIEND, &im.AddFriendRequest{UserId: "bob"}, r)
		done <- r.Code
	}()
	get(t, "question", asked)
	bob.call(im.Method_BLOCK, users("carol"), &im.FriendResults{})
	close(goOn)
	if code := get(t, "answer", done); code != im.CodeBlockedByPeer {
		t.Errorf("%d after a block that came while the program was asked", code)
	}
}
