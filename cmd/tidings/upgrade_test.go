package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
	"github.com/tidings-im/tidings/usersig"
)

// TestUpgrade: what the server of commit d96abb9 stored, before there were profiles and relations, is there after an upgrade: its users have empty
// profiles, may become friends, and a client of that time, which knows neither the calls nor the push of the feed nor groups, goes on sending and pulling;
// groups can be made with its user in them.
func TestUpgrade(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		s := &served{t: t, dir: t.TempDir()}
		kept, err := os.ReadFile("testdata/d96abb9.db")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.dir, "tidings.db"), kept, 0o600); err != nil {
			t.Fatal(err)
		}
		upgraded(t, s)
	})
	t.Run("postgres", func(t *testing.T) {
		dump, err := os.ReadFile("testdata/d96abb9.sql") // by pg_dump --inserts
		if err != nil {
			t.Fatal(err)
		}
		s := &served{t: t, dir: t.TempDir(), postgres: pgtest.DSN(t)}
		conn, err := pgx.Connect(t.Context(), s.postgres)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.PgConn().Exec(t.Context(), string(dump)).ReadAll(); err != nil {
			t.Fatal(err)
		}
		conn.Close(t.Context())
		upgraded(t, s)
	})
}

// oldClient sends frames as a client of that time does.
type oldClient struct {
	t *testing.T
	*rawLink
	next   uint64
	pushes map[im.Method]int
}

func (o *oldClient) call(method im.Method, req interface {
	MarshalVT() ([]byte, error)
}, reply interface{ UnmarshalVT([]byte) error }) {
	o.t.Helper()
	body, err := req.MarshalVT()
	if err != nil {
		o.t.Fatal(err)
	}
	o.next++
	id := o.next
	if err := o.write(im.AppendFrame(nil, &im.Frame{Id: id, Method: method, Body: body})); err != nil {
		o.t.Fatal(err)
	}
	for found := false; !found; {
		msg, err := o.message()
		if err == nil {
			err = im.ReadFrames(msg, func(f *im.Frame) error {
				if f.Id != id {
					o.pushes[f.Method]++
					return nil
				}
				found = true
				if f.Code != 0 {
					return im.Errorf(f.Code, "%s", f.Desc)
				}
				return reply.UnmarshalVT(f.Body)
			})
		}
		if err != nil {
			o.t.Fatalf("%v: %v", method, err)
		}
	}
}

func upgraded(t *testing.T, s *served) {
	s.start()
	sig := func(user string) string {
		sig, err := usersig.Sign(server.DefaultAppID, killKey, user, time.Hour, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	link, err := dialRaw(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	link.SetDeadline(time.Now().Add(30 * time.Second))
	old := &oldClient{t: t, rawLink: link, pushes: map[im.Method]int{}}
	old.call(im.Method_LOGIN, &im.LoginRequest{UserId: "bob", UserSig: sig("bob"), DeviceId: "of d96abb9", Platform: im.Platform_PLATFORM_LINUX}, &im.LoginReply{})

	heads := &im.HeadsReply{}
	old.call(im.Method_HEADS, &im.HeadsRequest{}, heads)
	texts := func() (all []string) {
		t.Helper()
		for _, h := range heads.Heads {
			reply := &im.PullReply{}
			old.call(im.Method_PULL, &im.PullRequest{Conv: h.Conv, Epoch: h.Epoch, From: 1, To: h.Seq}, reply)
			for _, e := range reply.Entries {
				all = append(all, fmt.Sprintf("%s %v %s", e.Sender, e.Status, e.Message.ElemArray[0].GetText().GetContent()))
			}
			if want := map[string]uint64{"alice": 5, "carol": 1}[h.Conv.Id]; h.ReadSeq != want && h.Conv.Id == "carol" {
				t.Errorf("%s was read up to %d, not %d", h.Conv.Id, h.ReadSeq, want)
			}
		}
		return all
	}
	before := texts()
	revoked := 0
	for _, x := range before {
		if x == "alice MESSAGE_STATUS_REVOKED from alice 4" {
			revoked++
		}
	}
	if len(before) != 7 || revoked != 1 {
		t.Fatalf("of 7 messages, of which one was recalled, there are %q", before)
	}

	// A new client beside it: profiles are empty, and what it does reaches the old one as a push that it does not know.
	alice, err := client.Dial(t.Context(), client.Config{Server: "ws://" + s.addr, UserID: "alice", UserSig: sig("alice"), Dir: t.TempDir(), Platform: im.Platform_PLATFORM_LINUX}, client.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer alice.Close()
	profiles, err := alice.Profiles().Get(t.Context(), []string{"alice", "bob", "carol"}, true)
	if err != nil || len(profiles) != 3 {
		t.Fatalf("profiles: %v, %v", profiles, err)
	}
	for i, user := range []string{"alice", "bob", "carol"} {
		if p := profiles[i]; p.Identifier != user || p.NickName != "" || p.FaceUrl != "" || len(p.CustomStringArray) != 0 {
			t.Errorf("the profile of %s is not empty: %v", user, p)
		}
	}
	r, err := alice.Friends().Add(t.Context(), &im.AddFriendRequest{UserId: "bob", Both: true, Remark: "of old"})
	if err != nil || r.Code != 0 {
		t.Fatalf("add: %v, %v", r, err)
	}
	name := "Alice"
	if err := alice.Profiles().SetSelf(t.Context(), &im.UserProfileItem{NickName: &name}); err != nil {
		t.Fatal(err)
	}
	for old.pushes[im.Method_FED] < 2 { // bob has a friend; the friend has a name
		old.call(im.Method_HEARTBEAT, &im.Empty{}, &im.HeartbeatReply{})
	}
	sent := &im.SendReply{}
	old.call(im.Method_SEND, &im.SendRequest{
		Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: "alice"}, ClientTime: 1700000000, Random: 7,
		Message: &im.Message{ElemArray: []*im.Elem{{Body: &im.Elem_Text{Text: &im.TextElem{Content: "still here"}}}}},
	}, sent)
	if seq := sent.GetEntry().GetSeq(); seq != 7 {
		t.Errorf("the next message has seq %d, not 7", seq)
	}
	// A group, in which the old client's user is: nothing of it goes to the old client, except that its feed has numbers.
	if n := old.pushes[im.Method_ENTRY]; n != 0 {
		t.Fatalf("%d entries before anybody else has sent", n)
	}
	second, err := dialRaw(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	second.SetDeadline(time.Now().Add(30 * time.Second))
	groups := &oldClient{t: t, rawLink: second, pushes: map[im.Method]int{}}
	groups.call(im.Method_LOGIN, &im.LoginRequest{UserId: "carol", UserSig: sig("carol"), DeviceId: "new", Platform: im.Platform_PLATFORM_LINUX, Groups: true}, &im.LoginReply{})
	made := &im.CreateGroupReply{}
	groups.call(im.Method_CREATE_GROUP, &im.CreateGroupRequest{GroupId: "of old", Name: "Of old", Type: im.GroupType_GROUP_TYPE_PUBLIC,
		Members: []*im.GroupMemberInfo{{Identifier: "bob"}, {Identifier: "alice"}}}, made)
	inGroup := &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: "of old"}
	said := &im.SendReply{}
	groups.call(im.Method_SEND, &im.SendRequest{Conv: inGroup, ClientTime: 1700000000, Random: 8,
		Message: &im.Message{ElemArray: []*im.Elem{{Body: &im.Elem_Text{Text: &im.TextElem{Content: "in the group"}}}}}}, said)
	log := &im.PullReply{}
	groups.call(im.Method_PULL, &im.PullRequest{Conv: inGroup, Epoch: made.Epoch, From: 1, To: 2}, log)
	if len(log.Entries) != 2 || said.Entry.Seq != 2 || log.Entries[1].Message.ElemArray[0].GetText().GetContent() != "in the group" {
		t.Errorf("the log of the group is %v", log)
	}
	if _, err := alice.SendMessage(t.Context(), client.C2C("bob"), im.Text("to an old client")); err != nil {
		t.Fatal(err)
	}
	for old.pushes[im.Method_ENTRY] == 0 {
		old.call(im.Method_HEARTBEAT, &im.Empty{}, &im.HeartbeatReply{})
	}
	if n := old.pushes[im.Method_ENTRY]; n != 1 {
		t.Errorf("the old client got %d entries, want that of alice", n)
	}
	heads = &im.HeadsReply{}
	old.call(im.Method_HEADS, &im.HeadsRequest{}, heads)
	if after := texts(); len(after) != len(before)+2 {
		t.Errorf("after %q there are %q", before, after)
	}
}
