package main

import (
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
	"github.com/tidings-im/tidings/usersig"
)

// TestKill9Calls kills a server that has made a call, before the caller has the reply. The call is sent again to the next server, after somebody else has changed
// the same: it has a reply, and what the other one made stays.
func TestKill9Calls(t *testing.T) {
	for _, store := range []string{"sqlite", "postgres"} {
		t.Run(store, func(t *testing.T) {
			s := &served{t: t, dir: t.TempDir()}
			if store == "postgres" {
				s.postgres = pgtest.DSN(t)
			}
			s.start()
			login := func(user string, generation uint64) (*rawLink, uint64) {
				t.Helper()
				sig, err := usersig.Sign(server.DefaultAppID, killKey, user, time.Hour, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				l, err := dialRaw(s.addr)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { l.Close() })
				l.SetDeadline(time.Now().Add(30 * time.Second))
				reply, err := l.loginAs(&im.LoginRequest{UserId: user, UserSig: sig, DeviceId: "of " + user, Platform: im.Platform_PLATFORM_LINUX, Groups: true, Run: 7,
					Resume: generation > 0, Generation: generation})
				if err != nil {
					t.Fatal(err)
				}
				return l, reply.Generation
			}
			send := func(l *rawLink, f *im.Frame, req im.Body) {
				t.Helper()
				if err := l.write(im.AppendMessage(nil, f, req)); err != nil {
					t.Fatal(err)
				}
			}
			// until reads up to a frame.
			until := func(l *rawLink, is func(*im.Frame) bool) (found *im.Frame) {
				t.Helper()
				for found == nil {
					msg, err := l.message()
					if err == nil {
						err = im.ReadFrames(msg, func(f *im.Frame) error {
							if found == nil && is(f) {
								found = &im.Frame{Code: f.Code, Desc: f.Desc, Body: append([]byte(nil), f.Body...)}
							}
							return nil
						})
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				return found
			}
			call := func(l *rawLink, id uint64, m im.Method, resent bool, req im.Body) *im.Frame {
				t.Helper()
				send(l, &im.Frame{Id: id, Method: m, Resent: resent}, req)
				f := until(l, func(f *im.Frame) bool { return f.Id == id })
				if f.Code != 0 {
					t.Fatalf("%s is answered %d (%s)", m, f.Code, f.Desc)
				}
				return f
			}
			rename := func(name string) im.Body {
				return &im.ModifyGroupRequest{Group: &im.GroupRequest{GroupId: "g"}, Name: &name}
			}
			ann, generation := login("ann", 0)
			bob, bobs := login("bob", 0)
			call(ann, 2, im.Method_CREATE_GROUP, false, &im.CreateGroupRequest{GroupId: "g", Name: "first", Type: im.GroupType_GROUP_TYPE_WORK,
				Members: []*im.GroupMemberInfo{{Identifier: "bob"}}})
			send(ann, &im.Frame{Id: 3, Method: im.Method_MODIFY_GROUP}, rename("ann's"))
			until(bob, func(f *im.Frame) bool {
				return f.Method == im.Method_ENTRY && strings.Contains(string(f.Body), "ann's")
			})
			s.kill()
			s.start()
			bob, _ = login("bob", bobs)
			call(bob, 3, im.Method_MODIFY_GROUP, false, rename("bob's"))
			ann, _ = login("ann", generation)
			call(ann, 3, im.Method_MODIFY_GROUP, true, rename("ann's"))
			var groups im.GroupsReply
			if err := groups.UnmarshalVT(call(ann, 4, im.Method_GROUPS, false, &im.GroupsRequest{GroupIds: []string{"g"}}).Body); err != nil {
				t.Fatal(err)
			}
			if info := groups.Results[0].Info; info.GroupName != "bob's" || info.InfoSeq != 3 {
				t.Errorf("the group is %v", info)
			}
		})
	}
}
