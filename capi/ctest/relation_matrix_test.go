package ctest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/faultproxy"
	"github.com/tidings-im/tidings/internal/testing/scenario"
	"github.com/tidings-im/tidings/internal/testing/soak"
)

// relationEvents are the callbacks of relations, and their names in package client.
var relationEvents = map[string]string{
	"TIMOnAddFriendCallback": "friends_added", "TIMOnDeleteFriendCallback": "friends_deleted", "TIMUpdateFriendProfileCallback": "friends_updated",
	"TIMFriendAddRequestCallback": "friend_requests", "TIMFriendApplicationListDeletedCallback": "friend_requests_deleted",
	"TIMFriendApplicationListReadCallback": "friend_requests_read", "TIMFriendBlackListAddedCallback": "blacklist_added",
	"TIMFriendBlackListDeletedCallback": "blacklist_deleted",
}

// setters of the callbacks of relations.
func (d *device) hearRelations() {
	for kind := range relationEvents {
		d.call(strings.Replace(kind, "TIM", "TIMSet", 1), on)
	}
}

// related is a C program that is a device of the matrix of relations. One program is a device of one user after the other.
type related struct {
	*device
	proxy *faultproxy.Proxy
	from  int // where the lines of this user begin
}

// TestRelationMatrix runs the rows of the matrix of relations through C: every cause fires on four programs, two devices of each of two users, what it
// should, with its JSON, and nothing else, wherever the devices that do not act are meanwhile; on the device that acts, the result comes before the
// events. The four programs of a state stay up for all of its rows. The long form has the causes of the operator, too.
func TestRelationMatrix(t *testing.T) {
	start := func(opts ...imtest.Option) *imtest.Server {
		s := imtest.Start(t, opts...)
		for _, u := range scenario.Others {
			s.Dial(u, noEvents)
		}
		return s
	}
	whole, short := start(), start(imtest.FeedKeep(scenario.Keep))
	driverProgram(t)
	var states sync.WaitGroup
	for _, state := range scenario.States {
		s := whole
		if state == scenario.Cut {
			s = short
		}
		states.Go(func() { t.Run(state, func(t *testing.T) { relationMatrix(t, s, state) }) })
	}
	states.Wait()
}

func relationMatrix(t *testing.T, s *imtest.Server, state string) {
	programs := map[string][]*related{}
	for _, u := range []string{"ann", "bob"} {
		for _, platform := range []string{"linux", "android"} {
			proxy := faultproxy.Start(t, s.URL)
			d := newDevice(t, s, u, "", "TIDINGS_SERVER="+proxy.URL, "TIDINGS_PLATFORM="+platform)
			programs[u] = append(programs[u], &related{device: d, proxy: proxy})
		}
	}
	all := func(f func(*related)) {
		for _, u := range programs {
			for _, d := range u {
				f(d)
			}
		}
	}
	all((*related).listen)
	for i, c := range scenario.Causes {
		for _, operator := range []bool{false, true} {
			if operator && (c.Operator == "" || !soak.On()) {
				continue
			}
			who := map[bool]string{false: "by a device", true: "by the operator"}[operator]
			t.Run(c.Name+"/"+who, func(t *testing.T) {
				c.Run(t, s, fmt.Sprintf("-%s%v%d-", state[:2], operator, i), state, operator, func(user string, n int) scenario.Device {
					d := programs[user[:3]][n]
					d.t, d.user, d.from = t, user, d.position()
					d.login()
					d.synced(d.from)
					return d
				})
				all(func(d *related) { d.must("TIMLogout", on) })
			})
			all(func(d *related) { d.t = t })
		}
	}
	all(func(d *related) { d.quit() })
}

// listen sets the callbacks that a program of the matrix has beside those of every device.
func (d *related) listen() {
	d.t.Helper()
	d.hearRelations()
	d.call("TIMSetLogCallback", on)
}

// events are the events since the login, with the positions of their lines.
func (d *related) events() (heard []string, at []int) {
	for i, l := range d.all() {
		switch name := relationEvents[l.kind]; {
		case i < d.from, l.kind == "ret", l.kind == "TIMCommCallback", l.kind == "TIMNetworkStatusListenerCallback", l.kind == "TIMLogCallback":
			continue
		case l.kind == "TIMConvEventCallback" && (l.num(0) == int(client.ConvSyncStart) || l.num(0) == int(client.ConvSyncFinish)):
			continue
		case name == "friend_requests_read":
			heard = append(heard, name)
		case name != "":
			heard = append(heard, name+" "+l.fields[0])
		default:
			heard = append(heard, l.String())
		}
		at = append(at, i)
	}
	return heard, at
}

func (d *related) Until(what string, cond func([]string) bool) []string {
	d.t.Helper()
	limit := time.After(scenario.Patience)
	for {
		d.mu.Lock()
		more := d.more
		d.mu.Unlock()
		heard, _ := d.events()
		if cond(heard) {
			return heard
		}
		select {
		case <-more:
		case <-limit:
			d.t.Fatalf("waited in vain for %s; heard\n%s", what, strings.Join(heard, "\n"))
		}
	}
}

// network waits for a state of the link after a position.
func (d *related) network(from int, what string, is func(client.NetworkStatus) bool) {
	d.t.Helper()
	d.wait(from, what, func(l line) bool {
		return l.kind == "TIMNetworkStatusListenerCallback" && is(client.NetworkStatus(l.num(0)))
	})
}

// Leave ends the library, or cuts the connection and lets no other one begin.
func (d *related) Leave(state string) {
	d.t.Helper()
	if state != scenario.Reconnecting {
		d.call("TIMUninit")
		return
	}
	at := d.position()
	d.proxy.Freeze()
	d.proxy.Cut()
	d.network(at, "the loss", func(s client.NetworkStatus) bool { return s != client.NetworkConnected })
}

func (d *related) Back(state string) {
	d.t.Helper()
	at := d.position()
	if state == scenario.Reconnecting {
		d.proxy.Release()
		d.network(at, "the connection", func(s client.NetworkStatus) bool { return s == client.NetworkConnected })
		return
	}
	d.init()
	d.listen()
	d.login()
	d.synced(at)
	cut := slices.ContainsFunc(d.all()[at:], func(l line) bool {
		return l.kind == "TIMLogCallback" && strings.Contains(l.fields[1], "the feed was cut off")
	})
	if cut != (state == scenario.Cut) {
		d.t.Errorf("the feed was cut off: %v", cut)
	}
}

// Act makes the call of an act. What fires for it comes after its result.
func (d *related) Act(verb string, args []string) string {
	d.t.Helper()
	fn, params := act(d.t, verb, args)
	before, _ := d.events()
	begin := d.position()
	r, _, id := d.callID(fn, append(params, on)...)
	if r != 0 {
		d.t.Fatalf("%s %v returned %d", fn, params, r)
	}
	a := d.answerOf(id, fn)
	end := slices.IndexFunc(d.all(), func(l line) bool { return l.kind == "TIMCommCallback" && l.num(3) == id })
	settled := slices.Contains(before, `friends_deleted ["marker"]`) && !slices.Contains(scenario.Others, args0(args)) // no event of an earlier call is under way
	heard, at := d.events()
	for i, h := range heard {
		if settled && at[i] >= begin && at[i] < end {
			d.t.Errorf("%s: %s comes before the result", fn, h)
		}
	}
	if a.code != 0 {
		return fmt.Sprintf("%d %s", a.code, a.desc)
	}
	if a.json == "" {
		return ""
	}
	if !strings.HasPrefix(a.json, "[") {
		a.json = "[" + a.json + "]"
	}
	var codes []string
	for _, x := range decode[[]struct {
		Code int `json:"friend_result_code"`
	}](d.t, a.json) {
		codes = append(codes, fmt.Sprint(x.Code))
	}
	return strings.Join(codes, " ")
}

func args0(args []string) string { return strings.Join(args[:min(1, len(args))], "") }

// act returns the function of an act, and its parameters.
func act(t testing.TB, verb string, args []string) (fn string, params []any) {
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	object := func(fn, keys string, values ...any) (string, []any) {
		o := map[string]any{}
		for i, k := range strings.Fields(keys) {
			o[k] = values[i]
		}
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return fn, []any{string(b)}
	}
	const (
		addKeys    = "friendship_add_friend_param_identifier friendship_add_friend_param_friend_type friendship_add_friend_param_add_wording friendship_add_friend_param_add_source"
		deleteKeys = "friendship_delete_friend_param_identifier_array friendship_delete_friend_param_friend_type"
		itemKeys   = "friendship_modify_friend_profile_param_identifier friendship_modify_friend_profile_param_item"
		groupName  = "friendship_modify_friend_group_param_name "
	)
	both := map[bool]int{true: 1}
	switch verb {
	case "add", "add2":
		return object("TIMFriendshipAddFriend", addKeys, arg(0), both[verb == "add2"], arg(1), "AddSource_Type_test")
	case "delete", "delete2":
		return object("TIMFriendshipDeleteFriend", deleteKeys, args, both[verb == "delete2"])
	case "accept", "acceptadd", "reject":
		action := map[string]int{"accept": client.AcceptRequest, "acceptadd": client.AcceptAndAdd, "reject": client.RejectRequest}[verb]
		keys := "friend_response_identifier friend_response_action"
		if verb == "reject" {
			keys = "friend_respone_identifier friend_respone_action" // as older headers spell them
		}
		return object("TIMFriendshipHandleFriendAddRequest", keys, arg(0), action)
	case "forget":
		return object("TIMFriendshipDeletePendency", "friendship_delete_pendency_param_identifier_array friendship_delete_pendency_param_type", args[:1], json.Number(arg(1)))
	case "readrequests":
		return "TIMFriendshipReportPendencyReaded", []any{0}
	case "remark":
		return object("TIMFriendshipModifyFriendProfile", itemKeys, arg(0), map[string]any{"friend_profile_item_remark": arg(1)})
	case "custom":
		return object("TIMFriendshipModifyFriendProfile", itemKeys, arg(0), map[string]any{"friend_profile_item_custom_string_array": []any{
			map[string]any{"friend_profile_custom_string_info_key": arg(1), "friend_profile_custom_string_info_value": arg(2)}}})
	case "newgroup":
		return object("TIMFriendshipCreateFriendGroup", "friendship_create_friend_group_param_name_array friendship_create_friend_group_param_identifier_array", args[:1], args[1:])
	case "renamegroup": // the first that is present is done
		return object("TIMFriendshipModifyFriendGroup", groupName+"friendship_modify_friend_group_param_new_name friendship_modify_friend_group_param_delete_identifier_array", arg(0), arg(1), []string{"bob"})
	case "fillgroup":
		return object("TIMFriendshipModifyFriendGroup", groupName+"friendship_modify_friend_group_param_add_identifier_array friendship_modify_friend_group_param_delete_identifier_array",
			arg(0), args[1:], args[1:])
	case "emptygroup":
		return object("TIMFriendshipModifyFriendGroup", groupName+"friendship_modify_friend_group_param_delete_identifier_array", arg(0), args[1:])
	case "deletegroup":
		return "TIMFriendshipDeleteFriendGroup", []any{im.StringsToJSON(args)}
	case "block":
		return "TIMFriendshipAddToBlackList", []any{im.StringsToJSON(args)}
	case "unblock":
		return "TIMFriendshipDeleteFromBlackList", []any{im.StringsToJSON(args)}
	case "permit":
		return object("TIMProfileModifySelfUserProfile", "user_profile_item_add_permission", json.Number(arg(0)))
	case "nick":
		return object("TIMProfileModifySelfUserProfile", "user_profile_item_nick_name", arg(0))
	}
	t.Fatalf("unknown verb %q", verb)
	return "", nil
}
