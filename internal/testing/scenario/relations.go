package scenario

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// Cause is something about relations or profiles that ann does, and everything that fires for it on each of her devices and on each of bob's: a row of
// the matrix of relations. Acts are lines like "ann add bob hi".
type Cause struct {
	// Name is what docs/events.md calls it.
	Name string
	// Given is done before, Do is the cause, and Result what its call returns.
	Given  []string
	Do     string
	Result string
	// Operator is the operator's call that does the same, if there is one: a command and its body.
	Operator string
	// Mine and Theirs are the events, with their JSON as it is; times are "*".
	Mine, Theirs []string
}

// Where the other devices of both users are while the cause happens.
const (
	Online       = "online"
	Away         = "away"         // the application is closed
	Reconnecting = "reconnecting" // without a connection
	Cut          = "cut"          // away for so long that the feed no longer has the change
)

// States are all of them.
var States = []string{Online, Away, Reconnecting, Cut}

// InTurn returns the states of the nth case of a matrix that runs elsewhere in all states: one, and each in turn. In the long form it returns all.
func InTurn(n int) []string { return soak.Pick(States[n%len(States):][:1], States) }

// Keep is how many entries the feeds of a server keep on which devices are cut off.
const Keep = 2

// Device is a device of a user.
type Device interface {
	// Act makes the call of an act, and returns its outcome.
	Act(verb string, args []string) string
	// Until waits until cond holds for the events so far, each "NAME JSON", and returns them.
	Until(what string, cond func([]string) bool) []string
	// Leave goes to another state than Online, and Back comes back; when it returns, everything that happened meanwhile has been told or is on its way
	// to the callbacks. Back fails the test if a device that was to be cut off was not.
	Leave(state string)
	Back(state string)
}

// Others are the users who must exist beside those of the causes.
var Others = []string{"marker", "filler"}

var times = regexp.MustCompile(`"(\w+_time)":[1-9]\d*`)

// Run runs a cause with users of its own, and compares what fires on their devices: the first of a user acts. dial logs a device in and returns when its
// first sync has ended.
func (c *Cause) Run(t testing.TB, s *imtest.Server, id, state string, operator bool, dial func(user string, n int) Device) {
	t.Helper()
	name := func(word string) string {
		if word == "ann" || word == "bob" {
			return word + id
		}
		return word
	}
	devices := map[string][]Device{}
	for _, u := range []string{"ann", "bob"} {
		for n := range 2 {
			devices[u] = append(devices[u], dial(u+id, n))
		}
	}
	act := func(line string) string {
		words := Split(line)
		for i := range words {
			words[i] = name(words[i])
		}
		user := strings.TrimSuffix(words[0], id)
		return devices[user][0].Act(words[1], words[2:])
	}
	all := func(f func(d Device)) {
		for _, u := range []string{"ann", "bob"} {
			for _, d := range devices[u] {
				f(d)
			}
		}
	}
	// marked adds a friend on each side and deletes them, which every device is told after all that was before.
	marks := 0
	marked := func() {
		marks++
		for u := range devices {
			act(u + " add marker")
			act(u + " delete marker")
		}
		all(func(d Device) {
			d.Until("the mark", func(heard []string) bool { return count(heard, `friends_deleted ["marker"]`) == marks })
		})
	}
	for _, g := range c.Given {
		act(g)
	}
	marked()
	before := map[Device]int{}
	all(func(d Device) { before[d] = len(d.Until("", func([]string) bool { return true })) })
	if state != Online {
		devices["ann"][1].Leave(state)
		devices["bob"][1].Leave(state)
	}
	if operator {
		command, body, _ := strings.Cut(c.Operator, " ")
		for _, u := range []string{"ann", "bob"} {
			body = strings.ReplaceAll(body, `"`+u+`"`, `"`+u+id+`"`)
		}
		s.Operate(command, body)
	} else if got := act(c.Do); got != c.Result {
		t.Fatalf("%s: the outcome is %q, want %q", c.Do, got, c.Result)
	}
	wants := map[string][]string{"ann": c.Mine, "bob": c.Theirs}
	heard := func(u string, n int) []string {
		d := devices[u][n]
		var out []string
		for _, h := range d.Until("", func([]string) bool { return true })[before[d]:] {
			if h != `friends_added ["marker"]` && h != `friends_deleted ["marker"]` && h != `friends_added ["filler"]` && h != `friends_deleted ["filler"]` {
				out = append(out, times.ReplaceAllString(strings.ReplaceAll(h, id, ""), `"$1":"*"`))
			}
		}
		return out
	}
	enough := func(n int) {
		for u, want := range wants {
			devices[u][n].Until(fmt.Sprintf("%s %d: %q", u, n, want), func([]string) bool { return len(heard(u, n)) >= len(want) })
		}
	}
	enough(0)
	if state == Cut {
		for range Keep {
			for u := range devices {
				act(u + " add filler")
				act(u + " delete filler")
			}
		}
	}
	if state != Online {
		devices["ann"][1].Back(state)
		devices["bob"][1].Back(state)
	}
	enough(1)
	marked()
	for u, want := range wants {
		for n := range 2 {
			got, want := heard(u, n), slices.Clone(want)
			if state == Cut && n == 1 { // the whole has no order
				slices.Sort(got)
				slices.Sort(want)
			}
			if !slices.Equal(got, want) {
				t.Errorf("device %d of %s heard\n%s\nwant\n%s", n, u, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}

func count(list []string, s string) (n int) {
	for _, x := range list {
		if x == s {
			n++
		}
	}
	return n
}

// Patience is how long a device waits for what must happen.
const Patience = 20 * time.Second

const (
	added, deleted   = `friends_added ["bob"]`, `friends_deleted ["bob"]`
	addedAnn         = `friends_added ["ann"]`
	deletedAnn       = `friends_deleted ["ann"]`
	requestGone      = `friend_requests_deleted ["bob"]`
	requestOfAnnGone = `friend_requests_deleted ["ann"]`
	profileOfBob     = `{"user_profile_add_permission":1,"user_profile_birthday":0,"user_profile_custom_string_array":[],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"bob","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"","user_profile_role":0,"user_profile_self_signature":""}`
	blocked          = `blacklist_added [{"friend_profile_add_source":"","friend_profile_add_time":"*","friend_profile_add_wording":"","friend_profile_custom_string_array":[],"friend_profile_group_name_array":[],"friend_profile_identifier":"bob","friend_profile_remark":"","friend_profile_user_profile":` + profileOfBob + `}]`
	unblocked        = `blacklist_deleted ["bob"]`
	request          = `friend_requests [{"friend_add_pendency_add_source":"AddSource_Type_test","friend_add_pendency_add_time":"*","friend_add_pendency_add_wording":"hi","friend_add_pendency_face_url":"","friend_add_pendency_identifier":"ann","friend_add_pendency_nick_name":"","friend_add_pendency_type":0}]`
)

func updated(user, item string) string {
	return `friends_updated [{"friend_profile_update_identifier":"` + user + `","friend_profile_update_item":{` + item + `}}]`
}

func groups(list string) string {
	return updated("bob", `"friend_profile_item_group_name_array":`+list)
}

func lines(all ...string) []string { return all }

// Causes are the rows of the matrix of relations.
var Causes = []Cause{
	{"a friend is added one-way", nil, "ann add bob", "0", `sns/friend_add {"From_Account":"ann","AddFriendItem":[{"To_Account":"bob","AddSource":"AddSource_Type_test"}],"AddType":"Add_Type_Single"}`,
		lines(added), nil},
	{"a friend is added two-way", nil, "ann add2 bob", "0", `sns/friend_add {"From_Account":"ann","AddFriendItem":[{"To_Account":"bob","AddSource":"AddSource_Type_test"}],"AddType":"Add_Type_Both"}`,
		lines(added), lines(addedAnn)},
	{"a request is made", lines("bob permit 2"), "ann add2 bob hi", "30539", `sns/friend_add {"From_Account":"ann","AddFriendItem":[{"To_Account":"bob","AddSource":"AddSource_Type_test","AddWording":"hi"}]}`,
		nil, lines(request)},
	{"a request is made again", lines("bob permit 2", "ann add2 bob hey"), "ann add2 bob hi", "30539", `sns/friend_add {"From_Account":"ann","AddFriendItem":[{"To_Account":"bob","AddSource":"AddSource_Type_test","AddWording":"hi"}]}`,
		nil, lines(request)},
	{"a request is accepted one-way", lines("ann permit 2", "bob add2 ann"), "ann accept bob", "0", "",
		lines(requestGone), lines(addedAnn)},
	{"a request is accepted and its sender added", lines("ann permit 2", "bob add2 ann"), "ann acceptadd bob", "0", "",
		lines(added, requestGone), lines(addedAnn)},
	{"a request is rejected", lines("ann permit 2", "bob add2 ann"), "ann reject bob", "0", "",
		lines(requestGone), lines(requestOfAnnGone)},
	{"a received request is deleted", lines("ann permit 2", "bob add2 ann"), "ann forget bob 0", "0", "",
		lines(requestGone), nil},
	{"a sent request is deleted", lines("bob permit 2", "ann add2 bob"), "ann forget bob 1", "0", "",
		lines(requestGone), nil},
	{"requests are read", lines("ann permit 2", "bob add2 ann"), "ann readrequests", "", "",
		lines("friend_requests_read"), nil},
	{"a friend is deleted one-way", lines("ann add2 bob"), "ann delete bob", "0", `sns/friend_delete {"From_Account":"ann","To_Account":["bob"],"DeleteType":"Delete_Type_Single"}`,
		lines(deleted), nil},
	{"a friend is deleted two-way", lines("ann add2 bob"), "ann delete2 bob", "0", `sns/friend_delete {"From_Account":"ann","To_Account":["bob"],"DeleteType":"Delete_Type_Both"}`,
		lines(deleted), lines(deletedAnn)},
	{"a remark is set", lines("ann add2 bob"), `ann remark bob "Bob from ops"`, "", `sns/friend_update {"From_Account":"ann","UpdateItem":[{"To_Account":"bob","SnsItem":[{"Tag":"Tag_SNS_IM_Remark","Value":"Bob from ops"}]}]}`,
		lines(updated("bob", `"friend_profile_item_remark":"Bob from ops"`)), nil},
	{"a field of the app's own is set", lines("ann add2 bob"), "ann custom bob Tag_SNS_Custom_dept ops", "", `sns/friend_update {"From_Account":"ann","UpdateItem":[{"To_Account":"bob","SnsItem":[{"Tag":"Tag_SNS_Custom_dept","Value":"ops"}]}]}`,
		lines(updated("bob", `"friend_profile_item_custom_string_array":[{"friend_profile_custom_string_info_key":"dept","friend_profile_custom_string_info_value":"ops"}]`)), nil},
	{"a friend group is created", lines("ann add2 bob"), "ann newgroup work", "", "",
		nil, nil},
	{"a friend group is created with friends", lines("ann add2 bob"), "ann newgroup work bob", "0", `sns/friend_update {"From_Account":"ann","UpdateItem":[{"To_Account":"bob","SnsItem":[{"Tag":"Tag_SNS_IM_Group","Value":["work"]}]}]}`,
		lines(groups(`["work"]`)), nil},
	{"a friend group is renamed", lines("ann add2 bob", "ann newgroup work bob"), "ann renamegroup work team", "", "",
		lines(groups(`["team"]`)), nil},
	{"a friend group is filled", lines("ann add2 bob", "ann newgroup work"), "ann fillgroup work bob", "0", `sns/friend_update {"From_Account":"ann","UpdateItem":[{"To_Account":"bob","SnsItem":[{"Tag":"Tag_SNS_IM_Group","Value":["work"]}]}]}`,
		lines(groups(`["work"]`)), nil},
	{"a friend group is emptied", lines("ann add2 bob", "ann newgroup work bob"), "ann emptygroup work bob", "0", `sns/friend_update {"From_Account":"ann","UpdateItem":[{"To_Account":"bob","SnsItem":[{"Tag":"Tag_SNS_IM_Group","Value":[]}]}]}`,
		lines(groups(`[]`)), nil},
	{"a friend group is deleted", lines("ann add2 bob", "ann newgroup work bob"), "ann deletegroup work", "", "",
		lines(groups(`[]`)), nil},
	{"somebody is blocked", nil, "ann block bob", "0", `sns/black_list_add {"From_Account":"ann","To_Account":["bob"]}`,
		lines(blocked), nil},
	{"a friend is blocked", lines("ann add2 bob"), "ann block bob", "0", `sns/black_list_add {"From_Account":"ann","To_Account":["bob"]}`,
		lines(blocked, deleted), lines(deletedAnn)},
	{"somebody is unblocked", lines("ann block bob"), "ann unblock bob", "0", `sns/black_list_delete {"From_Account":"ann","To_Account":["bob"]}`,
		lines(unblocked), nil},
	{"a profile is changed", nil, "ann nick Annie", "", `profile/portrait_set {"From_Account":"ann","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"Annie"}]}`,
		nil, nil},
	{"a friend changes their profile", lines("ann add2 bob"), "ann nick Annie", "", `profile/portrait_set {"From_Account":"ann","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":"Annie"}]}`,
		nil, lines(updated("ann", `"user_profile_item_nick_name":"Annie"`))},
}
