package ctest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// round is a user whose program gets each of the eight callbacks of relations in a round of calls, by the names of their types in that order.
type round struct {
	*device
	bob *client.Client
	n   int
}

var roundOrder = []string{
	"TIMFriendBlackListAddedCallback", "TIMFriendBlackListDeletedCallback", "TIMOnAddFriendCallback", "TIMUpdateFriendProfileCallback", "TIMOnDeleteFriendCallback",
	"TIMFriendAddRequestCallback", "TIMFriendApplicationListReadCallback", "TIMFriendApplicationListDeletedCallback",
}

func newRound(t *testing.T) *round {
	s := imtest.Start(t)
	for _, u := range []string{"cid", "dan", "eve"} {
		s.Dial(u, noEvents)
	}
	d := &round{device: newDevice(t, s, "ann", ""), bob: s.Dial("bob", noEvents)}
	d.begin()
	d.must("TIMProfileModifySelfUserProfile", `{"user_profile_item_add_permission":2}`, on)
	return d
}

// begin logs in with all callbacks set.
func (d *round) begin() {
	d.t.Helper()
	at := d.position()
	d.hearRelations()
	d.login()
	d.synced(at)
}

// cause does what fires a callback.
func (d *round) cause(kind string) {
	d.t.Helper()
	switch kind {
	case "TIMFriendBlackListAddedCallback":
		d.must("TIMFriendshipAddToBlackList", `["cid"]`, on)
	case "TIMFriendBlackListDeletedCallback":
		d.must("TIMFriendshipDeleteFromBlackList", `["cid"]`, on)
	case "TIMOnAddFriendCallback":
		d.must("TIMFriendshipAddFriend", `{"friendship_add_friend_param_identifier":"dan"}`, on)
	case "TIMUpdateFriendProfileCallback":
		d.n++
		d.must("TIMFriendshipModifyFriendProfile", fmt.Sprintf(`{"friendship_modify_friend_profile_param_identifier":"dan",
			"friendship_modify_friend_profile_param_item":{"friend_profile_item_remark":"%d"}}`, d.n), on)
	case "TIMOnDeleteFriendCallback":
		d.must("TIMFriendshipDeleteFriend", `{"friendship_delete_friend_param_identifier_array":["dan"]}`, on)
	case "TIMFriendAddRequestCallback":
		if r, err := d.bob.Friends().Add(d.t.Context(), &im.AddFriendRequest{UserId: "ann"}); err != nil || r.Code != im.CodeWaitsForApproval {
			d.t.Fatal(r, err)
		}
	case "TIMFriendApplicationListReadCallback":
		d.must("TIMFriendshipReportPendencyReaded", 0, on)
	case "TIMFriendApplicationListDeletedCallback":
		d.must("TIMFriendshipDeletePendency", `{"friendship_delete_pendency_param_type":0,"friendship_delete_pendency_param_identifier_array":["bob"]}`, on)
	}
}

// heard are the calls of a callback from a position on.
func (d *round) heard(from int, kind string) (all []line) {
	for _, l := range d.all()[from:] {
		if l.kind == kind {
			all = append(all, l)
		}
	}
	return all
}

// until waits for the n-th call of a callback from a position on.
func (d *round) until(from int, kind string, n int) {
	d.t.Helper()
	d.wait(from, kind, func(l line) bool {
		if l.kind == kind {
			n--
		}
		return n == 0
	})
}

// Every function of relations and profiles may be called inside every callback of relations: it returns, and is answered once.
func TestCallsInRelationCallbacks(t *testing.T) {
	d := newRound(t)
	funcs, _ := prototypes(t)
	ids := map[int]string{}
	for _, p := range funcs {
		if !strings.HasPrefix(p.name, "TIMFriendship") && !strings.HasPrefix(p.name, "TIMProfile") {
			continue
		}
		p.sample = strings.ReplaceAll(p.sample, "bob", "eve")
		from := d.position()
		for _, kind := range roundOrder {
			id := d.nextID()
			ids[id] = p.name + " inside " + kind
			d.send("hook\t" + kind + "\t" + command(id, p.name, samples(p, "ann", "")...))
		}
		for _, kind := range roundOrder {
			d.cause(kind)
			d.until(from, kind, 1)
		}
	}
	d.must("TIMLogout", on)
	for id, what := range ids {
		if l := d.returned(id, what); l.num(1) != 0 {
			t.Errorf("%s returned %d", what, l.num(1))
		}
		d.answerOf(id, what)
	}
	d.quit()
	for id, what := range ids {
		n := 0
		for _, l := range d.heard(0, "TIMCommCallback") {
			if l.num(3) == id {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s was answered %d times", what, n)
		}
	}
}

// A callback of relations that removes itself is not called again; one that sets itself again with other user data gets that from the next call on.
func TestRelationCallbackReplaced(t *testing.T) {
	d := newRound(t)
	setter := func(kind string) string { return strings.Replace(kind, "TIM", "TIMSet", 1) }
	const first, second = 70, 80
	for i, kind := range roundOrder {
		from := d.position()
		d.send(command(first, setter(kind), on)) // the id is the user data
		d.returned(first, setter(kind))
		d.send("hook\t" + kind + "\t" + command(second+i, setter(kind), on))
		play := func() {
			t.Helper()
			for _, k := range roundOrder {
				d.cause(k)
			}
		}
		play()
		d.until(from, kind, 1)
		play()
		d.until(from, kind, 2)
		d.send("hook\t" + kind + "\t" + command(100+i, setter(kind), false))
		play()
		d.until(from, kind, 3)
		at := d.position()
		play() // not heard
		last := roundOrder[len(roundOrder)-1]
		if kind == last { // another one shows that it is through
			last = roundOrder[0]
			d.until(at, last, 1)
			at = d.position()
			d.cause(roundOrder[0])
			d.cause(roundOrder[1])
		}
		d.until(at, last, 1)
		d.call(setter(kind), on)
		at = d.position()
		play()
		d.until(from, kind, 4)
		d.until(at, roundOrder[len(roundOrder)-1], 1) // the next kind counts from here
		var data []int
		for _, l := range d.heard(from, kind) {
			data = append(data, l.num(len(l.fields)-1))
		}
		if len(data) != 4 || data[0] != first || data[1] != second+i || data[2] != second+i {
			t.Errorf("%s got the user data %v", kind, data)
		}
	}
	d.quit()
}

// TIMUninit inside a callback of relations returns, and nothing is called afterwards; the next run of the library is not told what that callback was, and
// is told what it has missed.
func TestUninitInRelationCallback(t *testing.T) {
	d := newRound(t)
	for i, kind := range roundOrder {
		from := d.position()
		d.send("hook\t" + kind + "\t" + command(40+i, "TIMUninit"))
		for _, k := range roundOrder[:i] {
			d.cause(k)
			d.until(from, k, 1)
		}
		d.cause(kind)
		if l := d.returned(40+i, "TIMUninit"); l.num(1) != 0 {
			t.Errorf("%s: TIMUninit returned %d", kind, l.num(1))
		}
		if a := d.ask("TIMFriendshipGetFriendProfileList", on); a.code != 6013 {
			t.Errorf("%s: a call after it: %+v", kind, a)
		}
		if n := len(d.heard(from, kind)); n != 1 {
			t.Errorf("%s fired %d times", kind, n)
		}
		back := d.position()
		d.init()
		d.begin()
		for _, k := range roundOrder[i+1:] {
			d.cause(k)
			d.until(back, k, 1)
		}
		d.must("TIMLogout", on)
		var got []string
		for _, l := range d.all()[back:] {
			if slices.Contains(roundOrder, l.kind) {
				got = append(got, l.kind)
			}
		}
		if !slices.Equal(got, roundOrder[i+1:]) {
			t.Errorf("after TIMUninit inside %s the next run heard %q", kind, got)
		}
		d.login()
	}
	d.quit()
}

// Nothing of a user is called back after the callback of their logout, the TIMUninit that ended their session, or the login of the next user after they
// were kicked: not while the next user logs in or is logged in, whose events are their own. What the first user was not told is told at their next login, once.
func TestNextUserHearsNothingOfTheFirst(t *testing.T) {
	s := imtest.Start(t)
	const n = 40
	for _, u := range []string{"ann", "bob"} {
		for i := range n {
			s.Dial(fmt.Sprint(u, "-", i), noEvents)
		}
	}
	d := newDevice(t, s, "ann", "")
	d.hearRelations()
	for _, u := range []string{"ann", "bob"} { // both exist, and the device is fresh for neither
		at := d.position()
		d.user = u
		d.login()
		d.synced(at)
		d.must("TIMLogout", on)
	}
	user := ""
	begins := d.position()
	added := map[string]int{}
	check := func(upTo int) {
		t.Helper()
		for _, l := range d.all()[begins:upTo] {
			if l.kind != "TIMOnAddFriendCallback" {
				continue
			}
			for _, name := range decode[[]string](t, l.fields[0]) {
				if added[name]++; !strings.HasPrefix(name, user) || added[name] > 1 {
					t.Errorf("%s is told of %s, time %d", user, name, added[name])
				}
			}
		}
		begins = upTo
	}
	for i := range n {
		user = []string{"ann", "bob"}[i%2]
		d.user = user
		d.login()
		next := []string{"bob", "ann"}[i%2]
		logout, login := d.nextID(), d.nextID()
		inside, kicked := i%4 == 2, i%4 == 3
		if inside { // another user logs in while the callback of the first has not returned
			// The second hook first: a friend who is owed from before may be told at any moment.
			d.send("hook\tTIMCommCallback\t" + command(login, "TIMLogin", next, s.Sig(next), on))
			d.send("hook\tTIMOnAddFriendCallback\t" + command(logout, "TIMLogout", on))
		} else {
			d.send("hook\tTIMOnAddFriendCallback\tblock")
		}
		for k := range 2 {
			s.Operate("sns/friend_add", fmt.Sprintf(`{"From_Account":%q,"AddFriendItem":[{"To_Account":"%s-%d","AddSource":"AddSource_Type_x"}],"AddType":"Add_Type_Single"}`, user, user, i/2*2+k))
		}
		ended := func() int {
			t.Helper()
			d.answerOf(logout, "TIMLogout")
			return 1 + slices.IndexFunc(d.all(), func(l line) bool { return l.kind == "TIMCommCallback" && l.num(3) == logout })
		}
		if inside {
			check(ended())
			if a := d.answerOf(login, "TIMLogin"); a.code != 0 {
				t.Fatalf("login of %s: %+v", next, a)
			}
			continue
		}
		d.wait(begins, "a friend", func(l line) bool { return l.kind == "blocked" })
		if kicked {
			d.send("hook\tTIMKickedOfflineCallback\t" + command(login, "TIMLogin", next, s.Sig(next), on))
			s.Dial(user, noEvents)
			d.send("release")
			d.returned(login, "TIMLogin")
			check(slices.IndexFunc(d.all(), func(l line) bool { return l.kind == "ret" && l.num(0) == login }))
			if a := d.answerOf(login, "TIMLogin"); a.code != 0 {
				t.Fatalf("login of %s: %+v", next, a)
			}
			continue
		}
		if i%4 == 0 {
			d.send(command(logout, "TIMLogout", on))
			d.returned(logout, "TIMLogout")
			d.send("release")
			check(ended())
			continue
		}
		d.send("release")
		d.call("TIMUninit")
		check(d.position())
		d.init()
		d.hearRelations()
	}
	user = "ann" // who logged in inside the callback of the last kick
	d.must("TIMLogout", on)
	check(d.position())
	for _, u := range []string{"ann", "bob"} {
		user, d.user = u, u
		at := d.position()
		d.login()
		d.synced(at)
		d.must("TIMFriendshipGetFriendProfileList", on) // it comes when the device has all changes, behind what is told of them
		d.must("TIMLogout", on)
		check(d.position())
	}
	if len(added) != 2*n {
		t.Errorf("told of %d friends, want %d", len(added), 2*n)
	}
	d.quit()
}
