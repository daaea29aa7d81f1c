package client_test

import (
	"fmt"
	"testing"
	"unicode/utf8"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// Any text may be a remark, a wording, the name of a friend group, or part of a profile: it is kept as it is, on both stores, or refused with a code of
// its kind; what is kept reaches the other side.
func TestRelationTexts(t *testing.T) { relationTexts(t, imtest.Start(t)) }

// The same on PostgreSQL.
func TestRelationTextsPostgres(t *testing.T) {
	relationTexts(t, imtest.Start(t, imtest.Postgres(pgtest.Copy(t, pgtest.DSN(t)))))
}

func relationTexts(t *testing.T, s *imtest.Server) {
	ann, bob := dial(t, config(t, s, "ann")), dial(t, config(t, s, "bob"))
	ctx := within(t)
	if err := bob.Profiles().SetSelf(ctx, &im.UserProfileItem{AddPermission: new(im.ProfileAddPermission_PROFILE_ADD_PERMISSION_NEED_CONFIRM)}); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Friends().Add(ctx, &im.AddFriendRequest{UserId: "ann"}); err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"\x00", "a\x00b", "\xff", "a\xed\xa0\x80", "😀", "\u202e\u200d", "'; --", "%_\\", " ", "\t\n", "\ufffe"} {
		refused := func(err error, what string) {
			t.Helper()
			if code := im.CodeOf(err); err != nil && code/10000 != 3 && code/10000 != 4 && code != im.CodeInvalidParameters || err == nil && !utf8.ValidString(text) {
				t.Errorf("%s %q: %v", what, text, err)
			}
		}
		r, err := ann.Friends().Add(ctx, &im.AddFriendRequest{UserId: "bob", Wording: text, Remark: text})
		refused(err, "wording")
		if err == nil && r.Code != im.CodeWaitsForApproval {
			t.Errorf("a request with %q: %v", text, r)
		}
		if err == nil {
			page, err := bob.Friends().Requests(ctx, &im.RequestsRequest{Type: client.RequestsReceived})
			if err != nil || len(page.PendencyInfoArray) != 1 || page.PendencyInfoArray[0].AddWording != text {
				t.Errorf("wording %q: %v, %v", text, page, err)
			}
		}
		err = bob.Friends().Update(ctx, "ann", &im.FriendProfileItem{Remark: &text, CustomStringArray: []*im.FriendProfileCustomStringInfo{{Key: "k", Value: text}}})
		refused(err, "remark")
		kept := err == nil
		rs, err := bob.Friends().CreateGroups(ctx, []string{fmt.Sprint(i, text)}, []string{"ann"})
		refused(err, "group")
		if err == nil && (len(rs) != 1 || rs[0].Code != 0) {
			t.Errorf("group %q: %v", text, rs)
		}
		err = ann.Profiles().SetSelf(ctx, &im.UserProfileItem{NickName: &text, SelfSignature: &text, CustomStringArray: []*im.UserProfileCustomStringInfo{{Key: "k", Value: text}}})
		refused(err, "nick")
		named := err == nil
		rs, err = bob.Friends().Delete(ctx, []string{text, "nobody"}, false)
		if err != nil || len(rs) != 2 || rs[0].Code != im.CodeFriendUnknown || rs[0].Identifier != text {
			t.Errorf("user %q: %v, %v", text, rs, err)
		}
		if ps, err := bob.Profiles().Get(ctx, []string{text, "ann"}, true); err != nil || len(ps) != 1 || named && (ps[0].NickName != text || ps[0].SelfSignature != text) {
			t.Errorf("profile %q: %v, %v", text, ps, err)
		}
		if kept {
			eventually(t, "the remark", func() bool {
				fs, err := bob.Friends().List(ctx)
				return err == nil && len(fs) == 1 && fs[0].Remark == text && fs[0].CustomStringArray[0].Value == text
			})
		}
	}
}
