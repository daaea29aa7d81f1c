package chat_test

import (
	"context"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/hook"
	"github.com/tidings-im/tidings/internal/store"
)

// The hook is asked about each add that does something: also about one of both by a user who has the other as a friend already.
func TestHookIsAskedAboutEachAdd(t *testing.T) {
	var asked []string
	onlySingle := func(_ context.Context, b *hook.SnsPrevFriendAdd, _ hook.Source) (v hook.SnsPrevFriendAddVerdict) {
		asked = append(asked, b.AddType)
		if b.AddType != "Add_Type_Single" {
			v.Err = im.Errorf(38000, "only one-way")
		}
		return v
	}
	st, err := store.Open(t.Context(), store.Config{Dir: t.TempDir(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	r := on(t, st, chat.Config{Hooks: hook.Set{SnsPrevFriendAdd: onlySingle}})
	a, b := r.user("a"), r.user("b")
	for _, step := range []struct {
		both  bool
		code  int32
		asked string
	}{
		{both, 38000, "[Add_Type_Both]"},
		{onlyMe, 0, "[Add_Type_Single]"},
		{onlyMe, im.CodeAlreadyFriends, "[]"},
		{both, 38000, "[Add_Type_Both]"},
	} {
		r.is("the add", a.adds("b", step.both), step.code)
		r.is("asked", asked, step.asked)
		asked = nil
	}
	r.is("b's list", b.has(), "")
	r.is("b adds", b.adds("a", onlyMe), 0)
	asked = nil
	r.is("both are friends", a.adds("b", both), im.CodeAlreadyFriends)
	r.is("asked", asked, "[]")
}
