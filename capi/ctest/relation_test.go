package ctest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/scenario"
)

// relationEvents are the callbacks of relations, and their names in package client.
var relationEvents = map[string]string{
	"TIMOnAddFriendCallback": "friends_added", "TIMOnDeleteFriendCallback": "friends_deleted", "TIMUpdateFriendProfileCallback": "friends_updated",
	"TIMFriendAddRequestCallback": "friend_requests", "TIMFriendApplicationListDeletedCallback": "friend_requests_deleted",
	"TIMFriendApplicationListReadCallback": "friend_requests_read", "TIMFriendBlackListAddedCallback": "blacklist_added",
	"TIMFriendBlackListDeletedCallback": "blacklist_deleted",
}

// related is a C program that is a device of the matrix of relations. One program is a device of one user after the other.
type related struct {
	*device
	from int // where the lines of this user begin
}

// setters of the callbacks of relations.
func (d *device) hearRelations() {
	for kind := range relationEvents {
		d.call(strings.Replace(kind, "TIM", "TIMSet", 1), on)
	}
}

// The rows of the matrix of relations through C: every cause fires on four programs, two devices of each of two users, what it should, with its JSON, and
// nothing else; the result comes before the events.
func TestRelationMatrix(t *testing.T) {
	s := imtest.Start(t)
	for _, u := range scenario.Others {
		s.Dial(u, noEvents)
	}
	programs := map[string][]*related{}
	for _, u := range []string{"ann", "bob"} {
		for _, platform := range []string{"linux", "android"} {
			d := newDevice(t, s, u, "", "TIDINGS_PLATFORM="+platform)
			d.hearRelations()
			programs[u] = append(programs[u], &related{device: d})
		}
	}
	for i, c := range scenario.Causes {
		t.Run(c.Name, func(t *testing.T) {
			c.Run(t, s, fmt.Sprintf("-%d-", i), scenario.Online, false, func(user string, n int) scenario.Device {
				d := programs[user[:3]][n]
				d.user, d.from = user, d.position()
				d.login()
				d.synced(d.from)
				return d
			})
			for _, u := range programs {
				for _, d := range u {
					d.must("TIMLogout", on)
				}
			}
		})
	}
	for _, u := range programs {
		for _, d := range u {
			d.quit()
		}
	}
}

// events are the events since the login, with the positions of their lines.
func (d *related) events() (heard []string, at []int) {
	for i, l := range d.all() {
		switch name := relationEvents[l.kind]; {
		case i < d.from, l.kind == "ret", l.kind == "TIMCommCallback", l.kind == "TIMNetworkStatusListenerCallback":
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

func (d *related) Leave(string) {}
func (d *related) Back(string)  {}

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

var timeValues = regexp.MustCompile(`"(\w+_time|\w+_seq)":[1-9]\d*`)

// The functions that return relations and profiles, with their JSON as it is; times are "*".
func TestRelationLists(t *testing.T) {
	s := imtest.Start(t)
	bob := s.Dial("bob", noEvents)
	cid := s.Dial("cid", noEvents)
	needConfirm := im.ProfileAddPermission_PROFILE_ADD_PERMISSION_NEED_CONFIRM
	if err := cid.Profiles().SetSelf(t.Context(), &im.UserProfileItem{AddPermission: &needConfirm}); err != nil {
		t.Fatal(err)
	}
	d := newDevice(t, s, "ann", "")
	d.hearRelations()
	d.login()
	d.synced(0)
	const pendency = `{"friendship_get_pendency_list_param_type":1,"friendship_get_pendency_list_param_start_seq":0,"friendship_get_pendency_list_param_limited_size":10}`
	for i, step := range []struct{ fn, json, want string }{
		{"TIMProfileModifySelfUserProfile", `{"user_profile_item_nick_name":"Ann","user_profile_item_add_permission":2,"user_profile_item_custom_string_array":[{"user_profile_custom_string_info_key":"Tag_Profile_Custom_job","user_profile_custom_string_info_value":"ops"}]}`, ``},
		{"TIMFriendshipAddFriend", `{"friendship_add_friend_param_identifier":"bob","friendship_add_friend_param_friend_type":0,"friendship_add_friend_param_remark":"Bobby","friendship_add_friend_param_group_name":"work","friendship_add_friend_param_add_source":"AddSource_Type_test","friendship_add_friend_param_add_wording":"hi"}`, `{"friend_result_code":0,"friend_result_desc":"","friend_result_identifier":"bob"}`},
		{"TIMFriendshipAddFriend", `{"friendship_add_friend_param_identifier":"cid","friendship_add_friend_param_add_wording":"hello"}`, `{"friend_result_code":30539,"friend_result_desc":"the request waits for approval","friend_result_identifier":"cid"}`},
		{"TIMFriendshipAddFriend", `{"friendship_add_friend_param_identifier":"nobody"}`, `{"friend_result_code":30003,"friend_result_desc":"there is no such user","friend_result_identifier":"nobody"}`},
		{"TIMFriendshipGetPendencyList", pendency, `{"pendency_page_current_seq":0,"pendency_page_pendency_info_array":[{"friend_add_pendency_info_add_source":"","friend_add_pendency_info_add_time":"*","friend_add_pendency_info_add_wording":"hello","friend_add_pendency_info_face_url":"","friend_add_pendency_info_idenitifer":"cid","friend_add_pendency_info_identifier":"cid","friend_add_pendency_info_nick_name":"","friend_add_pendency_info_type":1}],"pendency_page_start_time":"*","pendency_page_unread_num":1}`},
		{"TIMFriendshipGetPendencyList", `{"friendship_get_pendency_list_param_type":0,"friendship_get_pendency_list_param_limited_size":10}`, `{"pendency_page_current_seq":0,"pendency_page_pendency_info_array":[{"friend_add_pendency_info_add_source":"","friend_add_pendency_info_add_time":"*","friend_add_pendency_info_add_wording":"","friend_add_pendency_info_face_url":"","friend_add_pendency_info_idenitifer":"bob","friend_add_pendency_info_identifier":"bob","friend_add_pendency_info_nick_name":"","friend_add_pendency_info_type":0}],"pendency_page_start_time":"*","pendency_page_unread_num":1}`},
		{"TIMFriendshipCheckFriendType", `{"friendship_check_friendtype_param_check_type":1,"friendship_check_friendtype_param_identifier_array":["bob","cid","nobody"]}`, `[{"friendship_check_friendtype_result_code":0,"friendship_check_friendtype_result_desc":"","friendship_check_friendtype_result_identifier":"bob","friendship_check_friendtype_result_relation":1},{"friendship_check_friendtype_result_code":0,"friendship_check_friendtype_result_desc":"","friendship_check_friendtype_result_identifier":"cid","friendship_check_friendtype_result_relation":0},{"friendship_check_friendtype_result_code":30003,"friendship_check_friendtype_result_desc":"there is no such user","friendship_check_friendtype_result_identifier":"nobody","friendship_check_friendtype_result_relation":0}]`},
		{"TIMProfileGetUserProfileList", `{"friendship_getprofilelist_param_identifier_array":["ann","cid"],"friendship_getprofilelist_param_force_update":true}`, `[{"user_profile_add_permission":2,"user_profile_birthday":0,"user_profile_custom_string_array":[{"user_profile_custom_string_info_key":"job","user_profile_custom_string_info_value":"ops"}],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"ann","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"Ann","user_profile_role":0,"user_profile_self_signature":""},{"user_profile_add_permission":2,"user_profile_birthday":0,"user_profile_custom_string_array":[],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"cid","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"","user_profile_role":0,"user_profile_self_signature":""}]`},
		{"TIMFriendshipAddToBlackList", `["cid"]`, `[{"friend_result_code":0,"friend_result_desc":"","friend_result_identifier":"cid"}]`},
		{"TIMFriendshipDeleteFriend", `{"friendship_delete_friend_param_friend_type":0,"friendship_delete_friend_param_identifier_array":["cid"]}`, `[{"friend_result_code":31704,"friend_result_desc":"the user is not a friend","friend_result_identifier":"cid"}]`},
		{"TIMFriendshipGetFriendProfileList", "", `[{"friend_profile_add_source":"AddSource_Type_test","friend_profile_add_time":"*","friend_profile_add_wording":"hi","friend_profile_custom_string_array":[],"friend_profile_group_name_array":["work"],"friend_profile_identifier":"bob","friend_profile_remark":"Bobby","friend_profile_user_profile":{"user_profile_add_permission":1,"user_profile_birthday":0,"user_profile_custom_string_array":[],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"bob","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"","user_profile_role":0,"user_profile_self_signature":""}}]`},
		{"TIMFriendshipGetFriendsInfo", `["bob","cid","nobody"]`, `[{"friendship_friend_info_get_result_error_code":0,"friendship_friend_info_get_result_error_message":"","friendship_friend_info_get_result_field_info":{"friend_profile_add_source":"AddSource_Type_test","friend_profile_add_time":"*","friend_profile_add_wording":"hi","friend_profile_custom_string_array":[],"friend_profile_group_name_array":["work"],"friend_profile_identifier":"bob","friend_profile_remark":"Bobby","friend_profile_user_profile":{"user_profile_add_permission":1,"user_profile_birthday":0,"user_profile_custom_string_array":[],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"bob","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"","user_profile_role":0,"user_profile_self_signature":""}},"friendship_friend_info_get_result_identifier":"bob","friendship_friend_info_get_result_relation_type":1,"friendship_friend_info_get_result_userid":"bob"},{"friendship_friend_info_get_result_error_code":0,"friendship_friend_info_get_result_error_message":"","friendship_friend_info_get_result_field_info":{"friend_profile_add_source":"","friend_profile_add_time":0,"friend_profile_add_wording":"","friend_profile_custom_string_array":[],"friend_profile_group_name_array":[],"friend_profile_identifier":"cid","friend_profile_remark":"","friend_profile_user_profile":{"user_profile_add_permission":2,"user_profile_birthday":0,"user_profile_custom_string_array":[],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"cid","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"","user_profile_role":0,"user_profile_self_signature":""}},"friendship_friend_info_get_result_identifier":"cid","friendship_friend_info_get_result_relation_type":0,"friendship_friend_info_get_result_userid":"cid"},{"friendship_friend_info_get_result_error_code":30003,"friendship_friend_info_get_result_error_message":"there is no such user","friendship_friend_info_get_result_field_info":{"friend_profile_add_source":"","friend_profile_add_time":0,"friend_profile_add_wording":"","friend_profile_custom_string_array":[],"friend_profile_group_name_array":[],"friend_profile_identifier":"nobody","friend_profile_remark":"","friend_profile_user_profile":{"user_profile_add_permission":1,"user_profile_birthday":0,"user_profile_custom_string_array":[],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"","user_profile_role":0,"user_profile_self_signature":""}},"friendship_friend_info_get_result_identifier":"nobody","friendship_friend_info_get_result_relation_type":0,"friendship_friend_info_get_result_userid":"nobody"}]`},
		{"TIMFriendshipSearchFriends", `{"friendship_search_param_keyword_list":["BOBB"],"friendship_search_param_search_field_list":[4]}`, `[{"friend_profile_add_source":"AddSource_Type_test","friend_profile_add_time":"*","friend_profile_add_wording":"hi","friend_profile_custom_string_array":[],"friend_profile_group_name_array":["work"],"friend_profile_identifier":"bob","friend_profile_remark":"Bobby","friend_profile_user_profile":{"user_profile_add_permission":1,"user_profile_birthday":0,"user_profile_custom_string_array":[],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"bob","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"","user_profile_role":0,"user_profile_self_signature":""},"friendship_friend_info_get_result_error_code":0,"friendship_friend_info_get_result_error_message":"","friendship_friend_info_get_result_field_info":{"friend_profile_add_source":"AddSource_Type_test","friend_profile_add_time":"*","friend_profile_add_wording":"hi","friend_profile_custom_string_array":[],"friend_profile_group_name_array":["work"],"friend_profile_identifier":"bob","friend_profile_remark":"Bobby","friend_profile_user_profile":{"user_profile_add_permission":1,"user_profile_birthday":0,"user_profile_custom_string_array":[],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"bob","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"","user_profile_role":0,"user_profile_self_signature":""}},"friendship_friend_info_get_result_identifier":"bob","friendship_friend_info_get_result_relation_type":1,"friendship_friend_info_get_result_userid":"bob"}]`},
		{"TIMFriendshipGetFriendGroupList", `["work"]`, `[{"friend_group_info_count":1,"friend_group_info_identifier_array":["bob"],"friend_group_info_name":"work"}]`},
		{"TIMFriendshipGetBlackList", "", `[{"friend_profile_add_source":"","friend_profile_add_time":"*","friend_profile_add_wording":"","friend_profile_custom_string_array":[],"friend_profile_group_name_array":[],"friend_profile_identifier":"cid","friend_profile_remark":"","friend_profile_user_profile":{"user_profile_add_permission":2,"user_profile_birthday":0,"user_profile_custom_string_array":[],"user_profile_face_url":"","user_profile_gender":0,"user_profile_identifier":"cid","user_profile_language":0,"user_profile_level":0,"user_profile_location":"","user_profile_nick_name":"","user_profile_role":0,"user_profile_self_signature":""}}]`},
	} {
		if i == 4 { // bob asks too, by then
			if _, err := bob.Friends().Add(t.Context(), &im.AddFriendRequest{UserId: "ann"}); err != nil {
				t.Fatal(err)
			}
		}
		if step.fn == "TIMFriendshipGetFriendProfileList" { // what follows reads local data
			d.event("TIMFriendBlackListAddedCallback", 1)
		}
		params := []any{on}
		if step.json != "" {
			params = []any{step.json, on}
		}
		if got := timeValues.ReplaceAllString(d.must(step.fn, params...), `"$1":"*"`); got != step.want {
			t.Errorf("%s %s:\n%s\nwant\n%s", step.fn, step.json, got, step.want)
		}
	}
	d.quit()
}

// What a program sets in its profile, in the answer to a request, by either spelling, and in the limits of a list, has its effect.
func TestRelationKeys(t *testing.T) {
	s := imtest.Start(t)
	d := newDevice(t, s, "ann", "")
	d.hearRelations()
	d.login()
	d.synced(0)
	d.must("TIMProfileModifySelfUserProfile", `{"user_profile_item_nick_name":"Ann","user_profile_item_gender":2,"user_profile_item_face_url":"f","user_profile_item_self_signature":"s",
		"user_profile_item_add_permission":2,"user_profile_item_location":"l","user_profile_item_language":3,"user_profile_item_birthday":19900131,"user_profile_item_level":4,
		"user_profile_item_role":5}`, on)
	profile := d.must("TIMProfileGetUserProfileList", `{"friendship_getprofilelist_param_identifier_array":["ann"],"friendship_getprofilelist_param_force_update":true}`, on)
	if err := includes("", decode[any](t, profile), decode[any](t, `[{"user_profile_nick_name":"Ann","user_profile_gender":2,"user_profile_face_url":"f","user_profile_self_signature":"s",
		"user_profile_add_permission":2,"user_profile_location":"l","user_profile_language":3,"user_profile_birthday":19900131,"user_profile_level":4,"user_profile_role":5}]`)); err != nil {
		t.Error(err)
	}
	for _, user := range []string{"bob", "cid"} {
		c := s.Dial(user, noEvents)
		if err := c.Profiles().SetSelf(t.Context(), &im.UserProfileItem{NickName: new("N " + user), FaceUrl: new("F " + user)}); err != nil {
			t.Fatal(err)
		}
		r, err := c.Friends().Add(t.Context(), &im.AddFriendRequest{UserId: "ann", Source: "AddSource_Type_test", Wording: "hi"})
		if err != nil || r.Code != im.CodeWaitsForApproval {
			t.Fatal(r, err)
		}
	}
	asked := decode[[]map[string]any](t, d.event("TIMFriendAddRequestCallback", 1).fields[0])[0]
	if err := includes("", asked, map[string]any{"friend_add_pendency_identifier": "bob", "friend_add_pendency_nick_name": "N bob", "friend_add_pendency_face_url": "F bob",
		"friend_add_pendency_type": 0.0, "friend_add_pendency_add_source": "AddSource_Type_test", "friend_add_pendency_add_wording": "hi"}); err != nil || asked["friend_add_pendency_add_time"] == 0.0 {
		t.Errorf("%v: %v", asked, err)
	}
	list := func(until int) int {
		page := d.must("TIMFriendshipGetPendencyList", fmt.Sprintf(`{"friendship_get_pendency_list_param_type":0,"friendship_get_pendency_list_param_start_time":%d}`, until), on)
		return len(decode[struct {
			List []any `json:"pendency_page_pendency_info_array"`
		}](t, page).List)
	}
	if now, before := list(0), list(1); now != 2 || before != 0 {
		t.Errorf("%d requests, %d before they were made", now, before)
	}
	d.must("TIMFriendshipHandleFriendAddRequest", `{"friend_response_identifier":"bob","friend_response_action":1,"friend_response_remark":"B","friend_response_group_name":"work"}`, on)
	d.must("TIMFriendshipHandleFriendAddRequest", `{"friend_respone_identifier":"cid","friend_respone_action":1,"friend_respone_remark":"C","friend_respone_group_name":"old"}`, on)
	d.event("TIMOnAddFriendCallback", 2)
	friends := decode[[]map[string]any](t, d.must("TIMFriendshipGetFriendProfileList", on))
	have := map[any]string{}
	for _, f := range friends {
		have[f["friend_profile_identifier"]] = fmt.Sprint(f["friend_profile_remark"], f["friend_profile_group_name_array"])
	}
	if len(have) != 2 || have["bob"] != "B[work]" || have["cid"] != "C[old]" {
		t.Errorf("friends %v", have)
	}
	d.must("TIMFriendshipModifyFriendProfile", `{"friendship_modify_friend_profile_param_identifier":"bob","friendship_modify_friend_profile_param_item":{
		"friend_profile_item_remark":"R","friend_profile_item_group_name_array":[]}}`, on)
	changed := decode[any](t, d.event("TIMUpdateFriendProfileCallback", 1).fields[0])
	if err := includes("", changed, []any{map[string]any{"friend_profile_update_identifier": "bob", "friend_profile_update_item": map[string]any{
		"friend_profile_item_remark": "R", "friend_profile_item_group_name_array": []any{}}}}); err != nil {
		t.Error(err)
	}
	d.quit()
}
