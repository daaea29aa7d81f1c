package chat_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

const (
	anybody  = im.ProfileAddPermission_PROFILE_ADD_PERMISSION_ALLOW_ANY
	approval = im.ProfileAddPermission_PROFILE_ADD_PERMISSION_NEED_CONFIRM
	nobody   = im.ProfileAddPermission_PROFILE_ADD_PERMISSION_DENY_ANY

	onlyMe, both = false, true
)

// relations is a server's rules on a real store, with everybody's devices as one listener each.
type relations struct {
	*testing.T
	c  *chat.Chat
	st chat.Store

	mu  sync.Mutex
	who map[chat.UID]*friend
}

// friend is a user with one device.
type friend struct {
	*chat.Caller
	r *relations
	// told is what the device got, in order: entries that were pushed, and replies. Protected by relations.mu.
	told []*im.Relation
	// order has "reply" and "push" as the device got them.
	order []string
	calls map[uint64]chan answered
	last  uint64
	// made are the ids of calls that were made, by what they were.
	made map[string]uint64
	// other are the pushes that are not of the feed. random is that of the last message.
	other  []im.Method
	random uint32
	// looked is how many of told events has returned.
	looked int
}

type answered struct {
	body im.Body
	err  error
}

// onBoth runs a test on both stores.
func onBoth(t *testing.T, cfg chat.Config, test func(r *relations)) {
	for name, open := range map[string]func(t *testing.T) (chat.Store, error){
		"sqlite": func(t *testing.T) (chat.Store, error) {
			return store.Open(t.Context(), store.Config{Dir: t.TempDir(), Log: quiet})
		},
		"postgres": func(t *testing.T) (chat.Store, error) {
			return pg.Open(t.Context(), pg.Config{DSN: pgtest.DSN(t), Log: quiet})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st, err := open(t)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := st.Close(); err != nil {
					t.Error(err)
				}
			})
			test(on(t, st, cfg))
		})
	}
}

func on(t *testing.T, st chat.Store, cfg chat.Config) *relations {
	cfg.Log = quiet
	r := &relations{T: t, c: chat.New(st, cfg), st: st, who: make(map[chat.UID]*friend)}
	r.c.Subscribe(chat.Carrier{Tell: r.tell})
	return r
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func (r *relations) tell(_ chat.Audience, event func() chat.Event) {
	e := event()
	if e.Method != im.Method_FED {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, uid := range e.To.Users {
			if u := r.who[uid]; u != nil {
				u.other = append(u.other, e.Method)
			}
		}
		return
	}
	push := &im.FeedPush{}
	if err := im.ReadFrames(e.Frame, func(f *im.Frame) error { return im.Decode(f.Body, push) }); err != nil {
		r.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, uid := range e.To.Users {
		u := r.who[uid]
		u.order = append(u.order, "push")
		for i, x := range push.Entries {
			if x.Ver != push.From+uint64(i) {
				r.Errorf("entry %d of a push from %d has number %d", i, push.From, x.Ver)
			}
			u.told = append(u.told, x)
		}
	}
}

func (r *relations) user(name string) *friend {
	u, err := r.c.Account(r.Context(), name)
	if err != nil {
		r.Fatal(err)
	}
	f := &friend{Caller: &chat.Caller{UID: u.UID, Name: name, Run: rand.Uint64()}, r: r, calls: make(map[uint64]chan answered), made: make(map[string]uint64)}
	f.Reply = func(id uint64, _ im.Method, body im.Body, err error) {
		r.mu.Lock()
		f.order = append(f.order, "reply")
		to := f.calls[id]
		delete(f.calls, id)
		r.mu.Unlock()
		to <- answered{body, err}
	}
	r.mu.Lock()
	r.who[u.UID] = f
	r.mu.Unlock()
	return f
}

// settle waits until everything that is committed was told. Of the store's connections to its database many may be broken.
func (r *relations) settle() {
	r.Helper()
	for tries := 0; ; tries++ {
		done := make(chan struct{})
		err := r.st.Update(r.Context(), nil, func(tx chat.Tx) error { tx.AfterCommit(func() { close(done) }); return nil })
		if err == nil {
			<-done
			return
		}
		if tries == 50 {
			r.Fatal(err)
		}
	}
}

// call makes a call of a device. again means that it may have been made before: the last one that was the same, if there was one.
func call[R im.Body](f *friend, again bool, method im.Method, req im.Request) (R, error) {
	got := make(chan answered, 1)
	f.r.mu.Lock()
	name := fmt.Sprint(method, " ", req)
	id, made := f.made[name]
	if !again || !made {
		f.last++
		id = f.last
	}
	f.calls[id] = got
	f.r.mu.Unlock()
	var none R
	body, err := req.(interface{ MarshalVT() ([]byte, error) }).MarshalVT()
	if err == nil {
		err = f.r.c.Call(context.Background(), f.Caller, &im.Frame{Id: id, Method: method, Body: body, Resent: again}, req)
	}
	if err != nil {
		return none, err
	}
	a := <-got
	if a.err != nil {
		return none, a.err
	}
	code := int32(0)
	switch x := a.body.(type) {
	case *im.FriendReply:
		code = x.Code
	case *im.FriendResults:
		if len(x.Results) > 0 {
			code = x.Results[0].Code
		}
	}
	if code == 0 || code == im.CodeWaitsForApproval {
		f.r.mu.Lock()
		f.made[name] = id
		f.r.mu.Unlock()
	}
	if r, ok := a.body.(R); ok {
		return r, nil
	}
	// The reply of the first copy, in wire form.
	r := reflect.New(reflect.TypeFor[R]().Elem()).Interface().(R)
	wire := make([]byte, a.body.SizeVT())
	if _, err := a.body.MarshalToSizedBufferVT(wire); err != nil {
		return none, err
	}
	return r, any(r).(interface{ UnmarshalVT([]byte) error }).UnmarshalVT(wire)
}

// codeOf returns the code of a call with one result.
func (r *relations) codeOf(x interface{ GetCode() int32 }, err error) int32 {
	if err == nil {
		return x.GetCode()
	}
	if im.CodeOf(err) == 0 {
		r.Error(err)
	}
	return im.CodeOf(err)
}

func (r *relations) codesOf(x *im.FriendResults, err error) []int32 {
	if err != nil {
		return []int32{r.codeOf(nil, err)}
	}
	var codes []int32
	for _, x := range x.Results {
		codes = append(codes, x.Code)
	}
	return codes
}

func (f *friend) adds(other string, both bool, more ...func(*im.AddFriendRequest)) int32 {
	return f.addsAgain(false, other, both, more...)
}

func (f *friend) addsAgain(again bool, other string, both bool, more ...func(*im.AddFriendRequest)) int32 {
	req := &im.AddFriendRequest{UserId: other, Both: both}
	for _, x := range more {
		x(req)
	}
	return f.r.codeOf(call[*im.FriendReply](f, again, im.Method_ADD_FRIEND, req))
}

func (f *friend) answers(other string, action int32) int32 {
	return f.answersAgain(false, other, action)
}

func (f *friend) answersAgain(again bool, other string, action int32) int32 {
	return f.r.codeOf(call[*im.FriendReply](f, again, im.Method_ANSWER_REQUEST, &im.AnswerRequestRequest{UserId: other, Action: action}))
}

// users makes a call about users and returns their codes.
func (f *friend) users(method im.Method, req *im.UsersRequest) []int32 {
	return f.r.codesOf(call[*im.FriendResults](f, false, method, req))
}

func (f *friend) deletes(both bool, names ...string) []int32 {
	return f.users(im.Method_DELETE_FRIENDS, &im.UsersRequest{UserIds: names, Both: both})
}

func (f *friend) blocks(names ...string) []int32 {
	return f.users(im.Method_BLOCK, &im.UsersRequest{UserIds: names})
}

func (f *friend) unblocks(names ...string) []int32 {
	return f.users(im.Method_UNBLOCK, &im.UsersRequest{UserIds: names})
}

func (f *friend) groups(action im.FriendGroupAction, names []string, newName string, users ...string) []int32 {
	return f.r.codesOf(call[*im.FriendResults](f, false, im.Method_FRIEND_GROUPS, &im.FriendGroupsRequest{Action: action, Names: names, NewName: newName, UserIds: users}))
}

func (f *friend) permits(p im.ProfileAddPermission) {
	f.r.Helper()
	if _, err := call[*im.VersionedProfile](f, false, im.Method_SET_PROFILE, &im.SetProfileRequest{Item: &im.UserProfileItem{AddPermission: &p}}); err != nil {
		f.r.Fatal(err)
	}
}

var shortKinds = map[im.RelationKind]string{
	im.RelationKind_RELATION_FRIEND: "friend", im.RelationKind_RELATION_REQUEST_IN: "in", im.RelationKind_RELATION_REQUEST_OUT: "out",
	im.RelationKind_RELATION_BLOCKED: "blocked", im.RelationKind_RELATION_FRIEND_GROUP: "group", im.RelationKind_RELATION_REQUESTS_READ: "read",
	im.RelationKind_RELATION_SELF: "self", im.RelationKind_RELATION_FRIEND_SELF: "profile",
}

func short(x *im.Relation) string {
	s := shortKinds[x.Kind]
	if x.UserId != "" {
		s += " " + x.UserId
	}
	if x.Group != 0 && !x.Gone {
		s += " " + x.State.GetName()
	}
	if x.Gone {
		s = "-" + s
	}
	if x.Quiet {
		s += " quiet"
	}
	return s
}

// events returns what the device was told since the last call, without changes of its own profile.
func (f *friend) events() string {
	f.r.Helper()
	f.r.settle()
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	var out []string
	for _, x := range f.told[f.looked:] {
		if x.Kind != im.RelationKind_RELATION_SELF {
			out = append(out, short(x))
		}
	}
	f.looked = len(f.told)
	return strings.Join(out, ", ")
}

// whole reads all relations, page by page.
func (f *friend) whole() map[string]*im.Relation {
	f.r.Helper()
	out, _ := f.wholeAt()
	return out
}

// wholeAt also returns the end of the feed.
func (f *friend) wholeAt() (out map[string]*im.Relation, end uint64) {
	f.r.Helper()
	out = make(map[string]*im.Relation)
	req := &im.RelationsRequest{}
	for {
		page, err := call[*im.RelationsReply](f, false, im.Method_RELATIONS, req)
		if err != nil {
			f.r.Fatal(err)
		}
		for _, x := range page.Items {
			if x.Kind != im.RelationKind_RELATION_SELF {
				out[place(x)] = x
			}
		}
		if req.AfterKind, req.AfterOther = page.NextKind, page.NextOther; page.NextKind == 0 {
			return out, page.Feed
		}
	}
}

func place(x *im.Relation) string { return fmt.Sprint(int(x.Kind), " ", x.UserId, " ", x.Group) }

// has returns what stands in the user's lists, sorted.
func (f *friend) has() string {
	f.r.Helper()
	return listed(f.whole())
}

func listed(whole map[string]*im.Relation) string {
	var out []string
	for _, x := range whole {
		out = append(out, short(x))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// pull reads the feed from a number to its end.
func (f *friend) pull(from uint64) (entries []*im.Relation, cut bool) {
	f.r.Helper()
	return f.pullTo(from, 1<<40)
}

func (f *friend) pullTo(from, end uint64) (entries []*im.Relation, cut bool) {
	f.r.Helper()
	for from <= end {
		reply, err := call[*im.FeedReply](f, false, im.Method_FEED, &im.FeedRequest{From: from, To: 1 << 40})
		switch {
		case im.CodeOf(err) == im.CodeResync:
			return entries, false
		case err != nil:
			f.r.Fatal(err)
		case reply.Cut:
			return entries, true
		case reply.From != from || reply.To < from:
			f.r.Fatalf("the feed from %d is answered with %d to %d", from, reply.From, reply.To)
		}
		entries = append(entries, reply.Entries...)
		from = reply.To + 1
	}
	return entries, false
}

// agrees checks that what was pushed, what is pulled and what is listed are the same, and that the flags of conversations are what the lists say. It returns
// what stands in the lists of each, as has does.
func (r *relations) agrees(all ...*friend) (lists []string) {
	r.Helper()
	r.settle()
	for _, f := range all {
		got, end := f.wholeAt()
		lists = append(lists, listed(got))
		r.mu.Lock()
		pushed := slices.SortedFunc(slices.Values(f.told), func(a, b *im.Relation) int { return int(a.Ver) - int(b.Ver) })
		r.mu.Unlock()
		pulled, cut := f.pullTo(1, end)
		if cut || len(pulled) != len(pushed) {
			r.Fatalf("%s: %d entries were pushed, %d are pulled, cut %v", f.Name, len(pushed), len(pulled), cut)
		}
		want := make(map[string]*im.Relation)
		for i, x := range pulled {
			if x.Ver != uint64(i+1) || pushed[i].Ver != x.Ver || short(pushed[i]) != short(x) || string(wireOf(x.State)) != string(wireOf(pushed[i].State)) {
				r.Fatalf("%s: entry %d was pushed as %v and is pulled as %v", f.Name, i+1, pushed[i], x)
			}
			switch {
			case x.Kind == im.RelationKind_RELATION_SELF || x.Kind == im.RelationKind_RELATION_FRIEND_SELF:
			case x.Gone:
				if want[place(x)] == nil {
					r.Fatalf("%s: entry %d, %s, ends what was not there", f.Name, i+1, short(x))
				}
				delete(want, place(x))
			default:
				want[place(x)] = x
			}
		}
		for at := range maps.Keys(want) {
			if got[at] == nil || got[at].Ver != want[at].Ver || string(wireOf(got[at].State)) != string(wireOf(want[at].State)) {
				r.Fatalf("%s: by the feed there is %v, listed is %v", f.Name, want[at], got[at])
			}
		}
		if len(got) != len(want) {
			r.Fatalf("%s: listed are %d relations, by the feed there are %d", f.Name, len(got), len(want))
		}
		for _, other := range all {
			if other.UID <= f.UID {
				continue
			}
			cv, err := r.st.FindC2C(r.Context(), f.UID, other.UID)
			if errors.Is(err, chat.ErrNotFound) {
				continue
			}
			if err != nil {
				r.Fatal(err)
			}
			flags, err := chat.FlagsOf(func(uid chat.UID, kind im.RelationKind, other int64) (chat.Relation, error) {
				return r.st.Relation(r.Context(), uid, kind, other)
			}, f.UID, other.UID)
			if err != nil || flags != cv.Flags {
				r.Fatalf("flags of %s and %s: %b, want %b, %v", f.Name, other.Name, cv.Flags, flags, err)
			}
		}
	}
	return lists
}

func wireOf(s *im.RelationState) []byte {
	b, err := s.MarshalVT()
	if err != nil {
		panic(err)
	}
	return b
}

// is checks a value.
func (r *relations) is(what string, got, want any) {
	r.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		r.Fatalf("%s: got %q, want %q", what, g, w)
	}
}

// fill puts rows of nobody into a list, without a feed.
func (r *relations) fill(f *friend, kind im.RelationKind, n int) {
	r.Helper()
	err := r.st.Update(r.Context(), []chat.Key{{UID: f.UID}}, func(tx chat.Tx) error {
		for i := range n {
			state := &im.RelationState{Time: time.Now().UnixMilli(), Name: fmt.Sprint("full ", i)}
			if err := tx.PutRelation(chat.Relation{UID: f.UID, Kind: kind, Other: 1<<50 + int64(i), Ver: 1, Body: wireOf(state)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.Fatal(err)
	}
}

func (r *relations) empty(f *friend, kind im.RelationKind, n int) {
	r.Helper()
	err := r.st.Update(r.Context(), []chat.Key{{UID: f.UID}}, func(tx chat.Tx) error {
		for i := range n {
			if err := tx.DropRelation(f.UID, kind, 1<<50+int64(i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.Fatal(err)
	}
}
