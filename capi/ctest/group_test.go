package ctest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// groupSteps are calls about groups by ann, who is with bob in a group; in what they return, times are "*".
var groupSteps = []struct {
	fn   string
	args []any
	code int
	want string
}{
	{"TIMGroupCreate", []any{`{"create_group_param_group_name":"Ops","create_group_param_group_id":"ops","create_group_param_group_type":0,"create_group_param_notification":"n","create_group_param_introduction":"i","create_group_param_face_url":"f","create_group_param_add_option":1,"create_group_param_approve_option":2,"create_group_param_max_member_num":50,"create_group_param_custom_info":[{"group_info_custom_string_info_key":"k","group_info_custom_string_info_value":"v"}],"create_group_param_group_member_array":[{"group_member_info_identifier":"bob","group_member_info_member_role":300,"group_member_info_name_card":"Bobby","group_member_info_custom_info":[{"group_member_info_custom_string_info_key":"team","group_member_info_custom_string_info_value":"red"},{"group_member_info_custom_string_info_key":"desk","group_member_info_custom_string_info_value":"3"}]}]}`}, 0, `{"create_group_result_groupid":"ops"}`},
	{"TIMGroupCreate", []any{`{"create_group_param_group_name":"Ops","create_group_param_group_id":"ops"}`}, 10025, ``},
	{"TIMGroupGetGroupInfoList", []any{`["ops","none"]`}, 0, `[{"get_groups_info_result_code":0,"get_groups_info_result_desc":"","get_groups_info_result_info":{"group_detail_info_add_option":1,"group_detail_info_approve_option":2,"group_detail_info_create_time":"*","group_detail_info_custom_info":[{"group_info_custom_string_info_key":"k","group_info_custom_string_info_value":"v"}],"group_detail_info_face_url":"f","group_detail_info_group_id":"ops","group_detail_info_group_name":"Ops","group_detail_info_group_type":0,"group_detail_info_info_seq":"*","group_detail_info_introduction":"i","group_detail_info_is_shutup_all":false,"group_detail_info_is_support_topic":false,"group_detail_info_last_info_time":"*","group_detail_info_last_msg_time":"*","group_detail_info_max_member_num":50,"group_detail_info_member_num":2,"group_detail_info_next_msg_seq":"*","group_detail_info_notification":"n","group_detail_info_online_member_num":0,"group_detail_info_owner_identifier":"ann","group_detail_info_searchable":0,"group_detail_info_visible":0,"group_detial_info_add_option":1,"group_detial_info_create_time":"*","group_detial_info_custom_info":[{"group_info_custom_string_info_key":"k","group_info_custom_string_info_value":"v"}],"group_detial_info_face_url":"f","group_detial_info_group_id":"ops","group_detial_info_group_name":"Ops","group_detial_info_group_type":0,"group_detial_info_info_seq":"*","group_detial_info_introduction":"i","group_detial_info_is_shutup_all":false,"group_detial_info_is_support_topic":false,"group_detial_info_last_info_time":"*","group_detial_info_last_msg_time":"*","group_detial_info_max_member_num":50,"group_detial_info_member_num":2,"group_detial_info_next_msg_seq":"*","group_detial_info_notification":"n","group_detial_info_online_member_num":0,"group_detial_info_owener_identifier":"ann","group_detial_info_searchable":0,"group_detial_info_visible":0}},{"get_groups_info_result_code":10010,"get_groups_info_result_desc":"there is no group \"none\"","get_groups_info_result_info":{"group_detail_info_add_option":0,"group_detail_info_approve_option":0,"group_detail_info_create_time":0,"group_detail_info_custom_info":[],"group_detail_info_face_url":"","group_detail_info_group_id":"none","group_detail_info_group_name":"","group_detail_info_group_type":0,"group_detail_info_info_seq":0,"group_detail_info_introduction":"","group_detail_info_is_shutup_all":false,"group_detail_info_is_support_topic":false,"group_detail_info_last_info_time":0,"group_detail_info_last_msg_time":0,"group_detail_info_max_member_num":0,"group_detail_info_member_num":0,"group_detail_info_next_msg_seq":0,"group_detail_info_notification":"","group_detail_info_online_member_num":0,"group_detail_info_owner_identifier":"","group_detail_info_searchable":0,"group_detail_info_visible":0,"group_detial_info_add_option":0,"group_detial_info_create_time":0,"group_detial_info_custom_info":[],"group_detial_info_face_url":"","group_detial_info_group_id":"none","group_detial_info_group_name":"","group_detial_info_group_type":0,"group_detial_info_info_seq":0,"group_detial_info_introduction":"","group_detial_info_is_shutup_all":false,"group_detial_info_is_support_topic":false,"group_detial_info_last_info_time":0,"group_detial_info_last_msg_time":0,"group_detial_info_max_member_num":0,"group_detial_info_member_num":0,"group_detial_info_next_msg_seq":0,"group_detial_info_notification":"","group_detial_info_online_member_num":0,"group_detial_info_owener_identifier":"","group_detial_info_searchable":0,"group_detial_info_visible":0}}]`},
	{"TIMGroupModifyGroupInfo", []any{`{"group_modify_info_param_group_id":"ops","group_modify_info_param_modify_flag":7,"group_modify_info_param_group_name":"Operations","group_modify_info_param_notification":"N","group_modify_info_param_introduction":"I","group_modify_info_param_face_url":"not named by the flag"}`}, 0, ``},
	{"TIMGroupModifyGroupInfo", []any{`{"group_modify_info_param_group_id":"ops","group_modify_info_param_modify_flag":5112,"group_modify_info_param_face_url":"F","group_modify_info_param_add_option":1,"group_modify_info_param_approve_option":1,"group_modify_info_param_max_member_num":60,"group_modify_info_param_visible":1,"group_modify_info_param_searchable":1,"group_modify_info_param_is_shutup_all":true,"group_modify_info_param_custom_info":[{"group_info_custom_string_info_key":"k","group_info_custom_string_info_value":"w"}]}`}, 0, ``},
	{"TIMGroupModifyGroupInfo", []any{`{"group_modify_info_param_group_id":"ops","group_modify_info_param_modify_flag":0,"group_modify_info_param_group_name":"x"}`}, 10004, ``},
	{"TIMGroupGetGroupInfoList", []any{`["ops"]`}, 0, `[{"get_groups_info_result_code":0,"get_groups_info_result_desc":"","get_groups_info_result_info":{"group_detail_info_add_option":1,"group_detail_info_approve_option":1,"group_detail_info_create_time":"*","group_detail_info_custom_info":[{"group_info_custom_string_info_key":"k","group_info_custom_string_info_value":"w"}],"group_detail_info_face_url":"F","group_detail_info_group_id":"ops","group_detail_info_group_name":"Operations","group_detail_info_group_type":0,"group_detail_info_info_seq":"*","group_detail_info_introduction":"I","group_detail_info_is_shutup_all":true,"group_detail_info_is_support_topic":false,"group_detail_info_last_info_time":"*","group_detail_info_last_msg_time":"*","group_detail_info_max_member_num":60,"group_detail_info_member_num":2,"group_detail_info_next_msg_seq":"*","group_detail_info_notification":"N","group_detail_info_online_member_num":0,"group_detail_info_owner_identifier":"ann","group_detail_info_searchable":1,"group_detail_info_visible":1,"group_detial_info_add_option":1,"group_detial_info_create_time":"*","group_detial_info_custom_info":[{"group_info_custom_string_info_key":"k","group_info_custom_string_info_value":"w"}],"group_detial_info_face_url":"F","group_detial_info_group_id":"ops","group_detial_info_group_name":"Operations","group_detial_info_group_type":0,"group_detial_info_info_seq":"*","group_detial_info_introduction":"I","group_detial_info_is_shutup_all":true,"group_detial_info_is_support_topic":false,"group_detial_info_last_info_time":"*","group_detial_info_last_msg_time":"*","group_detial_info_max_member_num":60,"group_detial_info_member_num":2,"group_detial_info_next_msg_seq":"*","group_detial_info_notification":"N","group_detial_info_online_member_num":0,"group_detial_info_owener_identifier":"ann","group_detial_info_searchable":1,"group_detial_info_visible":1}}]`},
	{"TIMGroupModifyMemberInfo", []any{`{"group_modify_member_info_group_id":"ops","group_modify_member_info_identifier":"bob","group_modify_member_info_modify_flag":22,"group_modify_member_info_member_role":200,"group_modify_member_info_shutup_time":0,"group_modify_member_info_name_card":"not named by the flag","group_modify_member_info_custom_info":[{"group_member_info_custom_string_info_key":"team","group_member_info_custom_string_info_value":"blue"}]}`}, 0, ``},
	{"TIMGroupModifyMemberInfo", []any{`{"group_modify_member_info_group_id":"ops","group_modify_member_info_identifier":"ann","group_modify_member_info_modify_flag":9,"group_modify_member_info_msg_flag":2,"group_modify_member_info_name_card":"Annie"}`}, 0, ``},
	{"TIMGroupModifyMemberInfo", []any{`{"group_modify_member_info_group_id":"ops","group_modify_member_info_identifier":"nobody","group_modify_member_info_modify_flag":8}`}, 10019, ``},
	{"TIMGroupGetMemberInfoList", []any{`{"group_get_members_info_list_param_group_id":"ops"}`}, 0, `{"group_get_member_info_list_result_info_array":[{"group_member_info_custom_info":[],"group_member_info_face_url":"","group_member_info_friend_remark":"","group_member_info_group_id":"ops","group_member_info_identifier":"ann","group_member_info_is_online":false,"group_member_info_join_time":"*","group_member_info_member_role":400,"group_member_info_msg_flag":2,"group_member_info_msg_seq":0,"group_member_info_name_card":"Annie","group_member_info_nick_name":"","group_member_info_online_devices":[],"group_member_info_remark":"","group_member_info_shutup_time":0},{"group_member_info_custom_info":[{"group_member_info_custom_string_info_key":"desk","group_member_info_custom_string_info_value":"3"},{"group_member_info_custom_string_info_key":"team","group_member_info_custom_string_info_value":"blue"}],"group_member_info_face_url":"b.png","group_member_info_friend_remark":"","group_member_info_group_id":"ops","group_member_info_identifier":"bob","group_member_info_is_online":false,"group_member_info_join_time":"*","group_member_info_member_role":200,"group_member_info_msg_flag":0,"group_member_info_msg_seq":0,"group_member_info_name_card":"Bobby","group_member_info_nick_name":"Bob","group_member_info_online_devices":[],"group_member_info_remark":"","group_member_info_shutup_time":0}],"group_get_member_info_list_result_next_seq":0,"group_get_memeber_info_list_result_info_array":[{"group_member_info_custom_info":[],"group_member_info_face_url":"","group_member_info_friend_remark":"","group_member_info_group_id":"ops","group_member_info_identifier":"ann","group_member_info_is_online":false,"group_member_info_join_time":"*","group_member_info_member_role":400,"group_member_info_msg_flag":2,"group_member_info_msg_seq":0,"group_member_info_name_card":"Annie","group_member_info_nick_name":"","group_member_info_online_devices":[],"group_member_info_remark":"","group_member_info_shutup_time":0},{"group_member_info_custom_info":[{"group_member_info_custom_string_info_key":"desk","group_member_info_custom_string_info_value":"3"},{"group_member_info_custom_string_info_key":"team","group_member_info_custom_string_info_value":"blue"}],"group_member_info_face_url":"b.png","group_member_info_friend_remark":"","group_member_info_group_id":"ops","group_member_info_identifier":"bob","group_member_info_is_online":false,"group_member_info_join_time":"*","group_member_info_member_role":200,"group_member_info_msg_flag":0,"group_member_info_msg_seq":0,"group_member_info_name_card":"Bobby","group_member_info_nick_name":"Bob","group_member_info_online_devices":[],"group_member_info_remark":"","group_member_info_shutup_time":0}],"group_get_memeber_info_list_result_next_seq":0}`},
	{"TIMGroupGetMemberInfoList", []any{`{"group_get_members_info_list_param_group_id":"ops","group_get_members_info_list_param_identifier_array":["bob"],"group_get_members_info_list_param_option":{"group_member_get_info_option_info_flag":0,"group_member_get_info_option_role_flag":0,"group_member_get_info_option_custom_array":["desk"]},"group_get_members_info_list_param_next_seq":0}`}, 0, `{"group_get_member_info_list_result_info_array":[{"group_member_info_custom_info":[{"group_member_info_custom_string_info_key":"desk","group_member_info_custom_string_info_value":"3"}],"group_member_info_face_url":"b.png","group_member_info_friend_remark":"","group_member_info_group_id":"ops","group_member_info_identifier":"bob","group_member_info_is_online":false,"group_member_info_join_time":"*","group_member_info_member_role":200,"group_member_info_msg_flag":0,"group_member_info_msg_seq":0,"group_member_info_name_card":"Bobby","group_member_info_nick_name":"Bob","group_member_info_online_devices":[],"group_member_info_remark":"","group_member_info_shutup_time":0}],"group_get_member_info_list_result_next_seq":0,"group_get_memeber_info_list_result_info_array":[{"group_member_info_custom_info":[{"group_member_info_custom_string_info_key":"desk","group_member_info_custom_string_info_value":"3"}],"group_member_info_face_url":"b.png","group_member_info_friend_remark":"","group_member_info_group_id":"ops","group_member_info_identifier":"bob","group_member_info_is_online":false,"group_member_info_join_time":"*","group_member_info_member_role":200,"group_member_info_msg_flag":0,"group_member_info_msg_seq":0,"group_member_info_name_card":"Bobby","group_member_info_nick_name":"Bob","group_member_info_online_devices":[],"group_member_info_remark":"","group_member_info_shutup_time":0}],"group_get_memeber_info_list_result_next_seq":0}`},
	{"TIMGroupGetMemberInfoList", []any{`{"group_get_members_info_list_param_group_id":"ops","group_get_members_info_list_param_option":{"group_member_get_info_option_role_flag":1}}`}, 0, `{"group_get_member_info_list_result_info_array":[{"group_member_info_custom_info":[],"group_member_info_face_url":"","group_member_info_friend_remark":"","group_member_info_group_id":"ops","group_member_info_identifier":"ann","group_member_info_is_online":false,"group_member_info_join_time":"*","group_member_info_member_role":400,"group_member_info_msg_flag":2,"group_member_info_msg_seq":0,"group_member_info_name_card":"Annie","group_member_info_nick_name":"","group_member_info_online_devices":[],"group_member_info_remark":"","group_member_info_shutup_time":0}],"group_get_member_info_list_result_next_seq":0,"group_get_memeber_info_list_result_info_array":[{"group_member_info_custom_info":[],"group_member_info_face_url":"","group_member_info_friend_remark":"","group_member_info_group_id":"ops","group_member_info_identifier":"ann","group_member_info_is_online":false,"group_member_info_join_time":"*","group_member_info_member_role":400,"group_member_info_msg_flag":2,"group_member_info_msg_seq":0,"group_member_info_name_card":"Annie","group_member_info_nick_name":"","group_member_info_online_devices":[],"group_member_info_remark":"","group_member_info_shutup_time":0}],"group_get_memeber_info_list_result_next_seq":0}`},
	{"TIMGroupGetMemberInfoList", []any{`{"group_get_members_info_list_param_group_id":"none"}`}, 10010, ``},
	{"TIMGroupGetJoinedGroupList", nil, 0, `[{"group_base_info_face_url":"F","group_base_info_group_id":"ops","group_base_info_group_name":"Operations","group_base_info_group_type":0,"group_base_info_info_seq":"*","group_base_info_is_shutup_all":true,"group_base_info_lastest_seq":"*","group_base_info_latest_seq":"*","group_base_info_msg_flag":2,"group_base_info_readed_seq":0,"group_base_info_self_info":{"group_self_info_join_time":"*","group_self_info_msg_flag":2,"group_self_info_role":400,"group_self_info_unread_num":0}}]`},
	{"TIMGroupSearchGroups", []any{`{"group_search_params_keyword_list":["OPER"],"group_search_params_field_list":[1,2]}`}, 0, `[{"group_detail_info_add_option":1,"group_detail_info_approve_option":1,"group_detail_info_create_time":"*","group_detail_info_custom_info":[{"group_info_custom_string_info_key":"k","group_info_custom_string_info_value":"w"}],"group_detail_info_face_url":"F","group_detail_info_group_id":"ops","group_detail_info_group_name":"Operations","group_detail_info_group_type":0,"group_detail_info_info_seq":"*","group_detail_info_introduction":"I","group_detail_info_is_shutup_all":true,"group_detail_info_is_support_topic":false,"group_detail_info_last_info_time":"*","group_detail_info_last_msg_time":"*","group_detail_info_max_member_num":60,"group_detail_info_member_num":2,"group_detail_info_next_msg_seq":"*","group_detail_info_notification":"N","group_detail_info_online_member_num":0,"group_detail_info_owner_identifier":"ann","group_detail_info_searchable":1,"group_detail_info_visible":1,"group_detial_info_add_option":1,"group_detial_info_create_time":"*","group_detial_info_custom_info":[{"group_info_custom_string_info_key":"k","group_info_custom_string_info_value":"w"}],"group_detial_info_face_url":"F","group_detial_info_group_id":"ops","group_detial_info_group_name":"Operations","group_detial_info_group_type":0,"group_detial_info_info_seq":"*","group_detial_info_introduction":"I","group_detial_info_is_shutup_all":true,"group_detial_info_is_support_topic":false,"group_detial_info_last_info_time":"*","group_detial_info_last_msg_time":"*","group_detial_info_max_member_num":60,"group_detial_info_member_num":2,"group_detial_info_next_msg_seq":"*","group_detial_info_notification":"N","group_detial_info_online_member_num":0,"group_detial_info_owener_identifier":"ann","group_detial_info_searchable":1,"group_detial_info_visible":1}]`},
	{"TIMGroupSearchGroups", []any{`{"group_search_params_keyword_list":["oper"],"group_search_params_field_list":[1]}`}, 0, `[]`},
	{"TIMGroupSearchGroupMembers", []any{`{"group_search_member_params_keyword_list":["Bobby"],"group_search_member_params_groupid_list":["ops"],"group_search_member_params_field_list":[8]}`}, 0, `[{"group_search_member_result_groupid":"ops","group_search_member_result_member_info_list":[{"group_member_info_custom_info":[],"group_member_info_face_url":"","group_member_info_friend_remark":"","group_member_info_group_id":"ops","group_member_info_identifier":"bob","group_member_info_is_online":false,"group_member_info_join_time":0,"group_member_info_member_role":0,"group_member_info_msg_flag":0,"group_member_info_msg_seq":0,"group_member_info_name_card":"Bobby","group_member_info_nick_name":"","group_member_info_online_devices":[],"group_member_info_remark":"","group_member_info_shutup_time":0}],"group_search_member_result_menber_info_list":[{"group_member_info_custom_info":[],"group_member_info_face_url":"","group_member_info_friend_remark":"","group_member_info_group_id":"ops","group_member_info_identifier":"bob","group_member_info_is_online":false,"group_member_info_join_time":0,"group_member_info_member_role":0,"group_member_info_msg_flag":0,"group_member_info_msg_seq":0,"group_member_info_name_card":"Bobby","group_member_info_nick_name":"","group_member_info_online_devices":[],"group_member_info_remark":"","group_member_info_shutup_time":0}]}]`},
	{"TIMMsgSetGroupReceiveMessageOpt", []any{"ops", 3}, 0, ``},
	{"TIMGroupGetOnlineMemberCount", []any{"ops"}, 0, `{"group_get_online_member_count_result":2}`},
	{"TIMGroupGetOnlineMemberCount", []any{"none"}, 10010, `{"group_get_online_member_count_result":0}`},
	{"TIMGroupInitGroupAttributes", []any{"ops", `[{"group_attribute_key":"a","group_attribute_value":"1"},{"group_atrribute_key":"b","group_atrribute_value":"2"}]`}, 0, ``},
	{"TIMGroupSetGroupAttributes", []any{"ops", `[{"group_attribute_key":"c","group_attribute_value":"3"}]`}, 0, ``},
	{"TIMGroupGetGroupAttributes", []any{"ops", ""}, 0, `[{"group_atrribute_key":"a","group_atrribute_value":"1","group_attribute_key":"a","group_attribute_value":"1"},{"group_atrribute_key":"b","group_atrribute_value":"2","group_attribute_key":"b","group_attribute_value":"2"},{"group_atrribute_key":"c","group_atrribute_value":"3","group_attribute_key":"c","group_attribute_value":"3"}]`},
	{"TIMGroupGetGroupAttributes", []any{"ops", `["b","none"]`}, 0, `[{"group_atrribute_key":"b","group_atrribute_value":"2","group_attribute_key":"b","group_attribute_value":"2"}]`},
	{"TIMGroupGetGroupAttributes", []any{"ops", "{bad"}, 6027, `[]`},
	{"TIMGroupDeleteGroupAttributes", []any{"ops", `["none"]`}, 10050, ``},
	{"TIMGroupDeleteGroupAttributes", []any{"ops", `["b"]`}, 0, ``},
	{"TIMGroupDeleteGroupAttributes", []any{"ops", "[]"}, 0, ``},
	{"TIMGroupGetGroupAttributes", []any{"ops", "[]"}, 0, `[]`},
	{"TIMGroupSetGroupAttributes", []any{"ops", "[]"}, 10004, ``},
	{"TIMGroupGetPendencyList", []any{"{}"}, 0, `{"group_pendency_result_next_start_time":0,"group_pendency_result_pendency_array":[{"group_pendency_add_time":"*","group_pendency_apply_invite_msg":"let me in","group_pendency_approval_msg":"","group_pendency_authentication":"","group_pendency_form_identifier":"cid","group_pendency_form_user_defined_data":"","group_pendency_from_face_url":"","group_pendency_from_nick_name":"","group_pendency_group_id":"ops","group_pendency_handle_result":0,"group_pendency_handled":0,"group_pendency_key":"*","group_pendency_pendency_type":0,"group_pendency_self_identifier":"ann","group_pendency_to_identifier":"","group_pendency_to_user_defined_data":""}],"group_pendency_result_read_time_seq":0,"group_pendency_result_unread_num":1}`},
	{"TIMGroupGetPendencyList", []any{`{"group_pendency_option_start_time":1,"group_pendency_option_max_limited":10}`}, 0, `{"group_pendency_result_next_start_time":0,"group_pendency_result_pendency_array":[],"group_pendency_result_read_time_seq":0,"group_pendency_result_unread_num":1}`},
	{"TIMGroupReportPendencyReaded", []any{0}, 0, ``},
	{"TIMGroupInviteMember", []any{`{"group_invite_member_param_group_id":"ops","group_invite_member_param_identifier_array":["cid","bob","nobody"],"group_invite_member_param_user_data":"hi"}`}, 0, `[{"group_invite_member_result_identifier":"cid","group_invite_member_result_result":1},{"group_invite_member_result_identifier":"bob","group_invite_member_result_result":2},{"group_invite_member_result_identifier":"nobody","group_invite_member_result_result":0}]`},
	{"TIMGroupDeleteMember", []any{`{"group_delete_member_param_group_id":"ops","group_delete_member_param_identifier_array":["cid","nobody","ann"],"group_delete_member_param_user_data":"bye"}`}, 0, `[{"group_delete_member_result_identifier":"cid","group_delete_member_result_result":1},{"group_delete_member_result_identifier":"nobody","group_delete_member_result_result":0},{"group_delete_member_result_identifier":"ann","group_delete_member_result_result":0}]`},
	{"TIMGroupModifyGroupInfo", []any{`{"group_modify_info_param_group_id":"ops","group_modify_info_param_modify_flag":-2147483648,"group_modify_info_param_owner":"bob"}`}, 0, ``},
	{"TIMGroupModifyGroupInfo", []any{`{"group_modify_info_param_group_id":"ops","group_modify_info_param_modify_flag":2147483648,"group_modify_info_param_owner":"ann"}`}, 10007, ``},
	{"TIMGroupDelete", []any{"ops"}, 10007, ``},
	{"TIMGroupQuit", []any{"ops"}, 0, ``},
	{"TIMGroupQuit", []any{"ops"}, 10007, ``},
	{"TIMGroupJoin", []any{"ops", "let me in"}, 0, ``},
	{"TIMGroupJoin", []any{"none", ""}, 10010, ``},
	{"TIMGroupCreate", []any{`{"create_group_param_group_name":"Meeting","create_group_param_group_id":"meeting","create_group_param_group_type":2}`}, 0, `{"create_group_result_groupid":"meeting"}`},
	{"TIMGroupDelete", []any{"meeting"}, 0, ``},
}

var pendencyKeys = regexp.MustCompile(`"group_pendency_key":"\d+"`)

// The functions about groups, with their JSON as it is.
func TestGroupFunctions(t *testing.T) {
	s := imtest.Start(t)
	bob, cid := s.Dial("bob", noEvents), s.Dial("cid", noEvents)
	if err := bob.Profiles().SetSelf(t.Context(), &im.UserProfileItem{NickName: new("Bob"), FaceUrl: new("b.png")}); err != nil {
		t.Fatal(err)
	}
	d := newDevice(t, s, "ann", "")
	d.login()
	for _, step := range groupSteps {
		if step.fn == "TIMGroupGetPendencyList" && step.args[0] == `{}` {
			if _, err := cid.Groups().Join(t.Context(), "ops", "let me in"); err != nil {
				t.Fatal(err)
			}
		}
		a := d.ask(step.fn, append(step.args, on)...)
		got := pendencyKeys.ReplaceAllString(timeValues.ReplaceAllString(a.json, `"$1":"*"`), `"group_pendency_key":"*"`)
		if a.code != step.code || got != step.want {
			t.Errorf("%s %q: %d %s\n%s\nwant %d\n%s", step.fn, step.args, a.code, a.desc, got, step.code, step.want)
		}
	}
	d.must("TIMGroupCreate", `{"create_group_param_group_name":"Club","create_group_param_group_id":"club"}`, on)
	if _, err := cid.Groups().Join(t.Context(), "club", "me too"); err != nil {
		t.Fatal(err)
	}
	requests := decode[struct {
		List []json.RawMessage `json:"group_pendency_result_pendency_array"`
	}](t, d.must("TIMGroupGetPendencyList", `{}`, on)).List
	handle := func(accept bool) int {
		return d.ask("TIMGroupHandlePendency", fmt.Sprintf(`{"group_handle_pendency_param_is_accept":%v,"group_handle_pendency_param_handle_msg":"welcome","group_handle_pendency_param_pendency":%s}`,
			accept, requests[0]), on).code
	}
	if len(requests) != 1 || handle(true) != 0 || handle(true) != 10024 {
		t.Errorf("requests %s", requests)
	}
	d.must("TIMGroupReportPendencyReaded", 0, on)
	page := d.must("TIMGroupGetPendencyList", `{}`, on)
	for _, part := range []string{`"group_pendency_approval_msg":"welcome"`, `"group_pendency_handle_result":1`, `"group_pendency_handled":2`, `"group_pendency_result_unread_num":0`} {
		if !strings.Contains(page, part) {
			t.Errorf("%s is not in %s", part, page)
		}
	}
	d.quit()
}

// What the functions of groups return for JSON that is not as it should be: "-3" at once, "10004" in the callback, ": 1 0" in the results about single
// users and groups. One user of a list who cannot be does not concern the others.
func TestGroupRefusals(t *testing.T) {
	s := imtest.Start(t)
	for _, u := range []string{"bob", "cid"} {
		s.Dial(u, noEvents)
	}
	d := newDevice(t, s, "ann", "")
	d.login()
	d.must("TIMGroupCreate", `{"create_group_param_group_name":"W","create_group_param_group_id":"w","create_group_param_group_type":1}`, on)
	d.must("TIMGroupCreate", `{"create_group_param_group_name":"G","create_group_param_group_id":"g","create_group_param_group_member_array":[{"group_member_info_identifier":"bob"}]}`, on)
	list := func(n int) string {
		var ids []string
		for i := range n {
			ids = append(ids, fmt.Sprint("u", i))
		}
		return im.StringsToJSON(ids)
	}
	long, huge := strings.Repeat("x", 33), strings.Repeat("x", 100_000)
	odd := im.StringsToJSON([]string{"", "cid", long, "a b", huge, "nobody", "ann", "cid"})
	invite := func(users string) string {
		return `{"group_invite_member_param_group_id":"w","group_invite_member_param_identifier_array":` + users + `}`
	}
	kick := func(users string) string {
		return `{"group_delete_member_param_group_id":"w","group_delete_member_param_identifier_array":` + users + `}`
	}
	modify := func(flag, rest string) string {
		return `{"group_modify_info_param_group_id":"g","group_modify_info_param_modify_flag":` + flag + `,"group_modify_info_param_` + rest + `}`
	}
	member := func(flag, rest string) string {
		return `{"group_modify_member_info_group_id":"g","group_modify_member_info_identifier":"bob","group_modify_member_info_modify_flag":` + flag + `,"group_modify_member_info_` + rest + `}`
	}
	members := func(rest string) string { return `{"group_get_members_info_list_param_group_id":"g",` + rest + `}` }
	for _, c := range [][3]string{
		{"TIMGroupCreate", null, "-4"}, {"TIMGroupCreate", "", "-4"}, {"TIMGroupCreate", `{}`, "-3"}, {"TIMGroupCreate", `[]`, "-3"}, {"TIMGroupCreate", `{`, "-3"},
		{"TIMGroupCreate", `{"create_group_param_group_name":7}`, "-3"}, {"TIMGroupCreate", `{"create_group_param_group_name":""}`, "10004"},
		{"TIMGroupCreate", `{"create_group_param_group_name":"` + strings.Repeat("n", 101) + `"}`, "10004"}, {"TIMGroupCreate", `{"create_group_param_group_name":"` + huge + `"}`, "10004"},
		{"TIMGroupCreate", `{"create_group_param_group_name":"n","create_group_param_group_type":3}`, "10004"}, {"TIMGroupCreate", `{"create_group_param_group_name":"n","create_group_param_group_type":-1}`, "10004"},
		{"TIMGroupCreate", `{"create_group_param_group_name":"n","create_group_param_group_id":"@TGS#1"}`, "10015"}, {"TIMGroupCreate", `{"create_group_param_group_name":"n","create_group_param_group_id":"a\u00e9"}`, "10015"},
		{"TIMGroupCreate", `{"create_group_param_group_name":"n","create_group_param_group_id":"` + strings.Repeat("g", 49) + `"}`, "10015"}, {"TIMGroupCreate", `{"create_group_param_group_name":"n","create_group_param_group_id":"` + huge + `"}`, "10004"},
		{"TIMGroupCreate", `{"create_group_param_group_name":"n","create_group_param_group_id":"x","create_group_param_group_type":5}`, "10015"}, {"TIMGroupCreate", `{"create_group_param_group_name":"n","create_group_param_add_option":9}`, "10004"},
		{"TIMGroupCreate", `{"create_group_param_group_name":"n","create_group_param_group_member_array":[{"group_member_info_identifier":"nobody"}]}`, "10019"},
		{"TIMGroupCreate", `{"create_group_param_group_name":"n","create_group_param_group_member_array":[{"group_member_info_identifier":"bob","group_member_info_member_role":400}]}`, "10004"},
		{"TIMGroupCreate", `{"create_group_param_group_name":"n","create_group_param_group_member_array":"bob"}`, "-3"}, {"TIMGroupCreate", `{"create_group_param_group_name":"n","create_group_param_max_member_num":0}`, ":"},
		{"TIMGroupDelete", null, "-4"}, {"TIMGroupDelete", "", "-4"}, {"TIMGroupDelete", "none", "10010"}, {"TIMGroupDelete", huge, "10004"}, {"TIMGroupDelete", "w", "10007"},
		{"TIMGroupQuit", null, "-4"}, {"TIMGroupQuit", "none", "10010"}, {"TIMGroupQuit", huge, "10004"}, {"TIMGroupQuit", "g", "10009"},
		{"TIMGroupGetOnlineMemberCount", "", "-4"}, {"TIMGroupGetOnlineMemberCount", "none", "10010"}, {"TIMGroupGetOnlineMemberCount", huge, "10004"},
		{"TIMGroupGetGroupInfoList", `[]`, "-3"}, {"TIMGroupGetGroupInfoList", `{}`, "-3"}, {"TIMGroupGetGroupInfoList", `[1]`, "-3"}, {"TIMGroupGetGroupInfoList", list(101), "10004"}, {"TIMGroupGetGroupInfoList", list(200_000), "10004"},
		{"TIMGroupGetGroupInfoList", im.StringsToJSON([]string{"g", "", huge, "none", "g"}), ": 0 10010 10010 10010 0"},
		{"TIMGroupInviteMember", `{}`, "-3"}, {"TIMGroupInviteMember", `{"group_invite_member_param_group_id":"w"}`, "-3"}, {"TIMGroupInviteMember", invite(`[]`), "10004"}, {"TIMGroupInviteMember", invite(`"bob"`), "-3"},
		{"TIMGroupInviteMember", invite(odd), ": 0 1 0 0 0 0 2 1"}, {"TIMGroupInviteMember", invite(list(20)), ":" + strings.Repeat(" 0", 20)}, {"TIMGroupInviteMember", invite(list(21)), "10005"},
		{"TIMGroupInviteMember", invite(list(101)), "10004"}, {"TIMGroupInviteMember", invite(list(200_000)), "10004"}, {"TIMGroupInviteMember", strings.Replace(invite(odd), `"w"`, `"none"`, 1), "10010"},
		{"TIMGroupInviteMember", strings.Replace(invite(odd), `"w"`, `""`, 1), "10015"}, {"TIMGroupInviteMember", strings.Replace(invite(`["bob"]`), `}`, `,"group_invite_member_param_user_data":"`+huge+`"}`, 1), "10004"},
		{"TIMGroupDeleteMember", `{}`, "-3"}, {"TIMGroupDeleteMember", kick(`[]`), "10004"}, {"TIMGroupDeleteMember", kick(odd), ": 0 1 0 0 0 0 0 1"}, {"TIMGroupDeleteMember", kick(odd), ": 0 2 0 0 0 0 0 2"},
		{"TIMGroupDeleteMember", kick(list(100)), ":" + strings.Repeat(" 0", 100)}, {"TIMGroupDeleteMember", kick(list(101)), "10004"}, {"TIMGroupDeleteMember", kick(list(200_000)), "10004"},
		{"TIMGroupModifyGroupInfo", `{}`, "-3"}, {"TIMGroupModifyGroupInfo", `{"group_modify_info_param_group_id":"g"}`, "-3"}, {"TIMGroupModifyGroupInfo", modify("0", `group_name":"x"`), "10004"},
		{"TIMGroupModifyGroupInfo", modify("1", `group_name":7`), "-3"}, {"TIMGroupModifyGroupInfo", modify("1", `group_name":""`), "10004"}, {"TIMGroupModifyGroupInfo", modify("1", `notification":"no name"`), "10004"}, {"TIMGroupModifyGroupInfo", modify("1", `group_name":"`+huge+`"`), "10004"},
		{"TIMGroupModifyGroupInfo", modify("4", `introduction":"`+strings.Repeat("i", 401)+`"`), "10004"}, {"TIMGroupModifyGroupInfo", modify("16", `add_option":3`), "10004"}, {"TIMGroupModifyGroupInfo", modify("4096", `approve_option":99`), "10004"},
		{"TIMGroupModifyGroupInfo", modify("32", `max_member_num":1000000`), "10038"}, {"TIMGroupModifyGroupInfo", modify("32", `max_member_num":18446744073709551615`), "10004"},
		{"TIMGroupModifyGroupInfo", modify("512", `custom_info":[]`), "10004"}, {"TIMGroupModifyGroupInfo", modify("512", `custom_info":[{"group_info_custom_string_info_key":"","group_info_custom_string_info_value":"v"}]`), "10004"},
		{"TIMGroupModifyGroupInfo", modify("-2147483647", `owner":"bob"`), "10004"}, {"TIMGroupModifyGroupInfo", modify("-2147483648", `owner":""`), "10019"}, {"TIMGroupModifyGroupInfo", modify("-2147483648", `owner":"nobody"`), "10019"},
		{"TIMGroupModifyGroupInfo", modify("-2147483648", `owner":"cid"`), "10007"}, {"TIMGroupModifyGroupInfo", modify("4294967296", `owner":"bob"`), "-3"}, {"TIMGroupModifyGroupInfo", modify("-2147483648", `owner":"ann"`), ":"},
		{"TIMGroupModifyMemberInfo", `{}`, "-3"}, {"TIMGroupModifyMemberInfo", member("0", `name_card":"x"`), "10004"}, {"TIMGroupModifyMemberInfo", member("8", `name_card":"`+strings.Repeat("c", 51)+`"`), "10004"},
		{"TIMGroupModifyMemberInfo", member("2", `member_role":400`), "10004"}, {"TIMGroupModifyMemberInfo", member("2", `member_role":1`), "10004"}, {"TIMGroupModifyMemberInfo", member("1", `msg_flag":1`), "10007"}, {"TIMGroupModifyMemberInfo", member("1", `msg_flag":-1`), "10004"},
		{"TIMGroupModifyMemberInfo", member("4", `shutup_time":4294967296`), "10004"}, {"TIMGroupModifyMemberInfo", member("4", `shutup_time":-1`), "10004"}, {"TIMGroupModifyMemberInfo", member("16", `custom_info":[]`), "10004"},
		{"TIMGroupModifyMemberInfo", strings.Replace(member("8", `name_card":"x"`), `"bob"`, `"cid"`, 1), "10007"}, {"TIMGroupModifyMemberInfo", strings.Replace(member("8", `name_card":"x"`), `"bob"`, `""`, 1), "10019"},
		{"TIMGroupGetMemberInfoList", `{}`, "-3"}, {"TIMGroupGetMemberInfoList", members(`"group_get_members_info_list_param_identifier_array":` + odd), ":"}, {"TIMGroupGetMemberInfoList", members(`"group_get_members_info_list_param_identifier_array":` + list(101)), "10004"},
		{"TIMGroupGetMemberInfoList", members(`"group_get_members_info_list_param_option":{"group_member_get_info_option_role_flag":8}`), "10004"}, {"TIMGroupGetMemberInfoList", members(`"group_get_members_info_list_param_option":7`), "-3"},
		{"TIMGroupGetMemberInfoList", members(`"group_get_members_info_list_param_next_seq":18446744073709551615`), "10004"}, {"TIMGroupGetMemberInfoList", members(`"group_get_members_info_list_param_next_seq":99`), ":"},
		{"TIMGroupGetPendencyList", `[]`, "6027"}, {"TIMGroupGetPendencyList", `{"group_pendency_option_start_time":"1"}`, "6027"}, {"TIMGroupGetPendencyList", `{"group_pendency_option_start_time":18446744073709551615}`, "10004"},
		{"TIMGroupGetPendencyList", `{"group_pendency_option_max_limited":4294967295}`, ":"},
		{"TIMGroupHandlePendency", `{}`, "-3"}, {"TIMGroupHandlePendency", `{"group_handle_pendency_param_pendency":null}`, "-3"}, {"TIMGroupHandlePendency", `{"group_handle_pendency_param_pendency":[]}`, "-3"},
		{"TIMGroupHandlePendency", `{"group_handle_pendency_param_pendency":{"group_pendency_group_id":"g"}}`, "10004"},
		{"TIMGroupHandlePendency", `{"group_handle_pendency_param_pendency":{"group_pendency_group_id":"g","group_pendency_key":"77","group_pendency_form_identifier":"cid"}}`, "10004"},
		{"TIMGroupReportPendencyReaded", "-1", "10004"},
		{"TIMGroupSearchGroups", `[]`, "-3"}, {"TIMGroupSearchGroups", `{}`, "10004"}, {"TIMGroupSearchGroups", `{"group_search_params_keyword_list":[" "]}`, "10004"},
		{"TIMGroupSearchGroups", `{"group_search_params_keyword_list":` + list(6) + `}`, "10004"}, {"TIMGroupSearchGroups", `{"group_search_params_keyword_list":["g"],"group_search_params_field_list":[4]}`, "10004"},
		{"TIMGroupSearchGroups", `{"group_search_params_keyword_list":"g"}`, "-3"}, {"TIMGroupSearchGroups", `{"group_search_params_keyword_list":["` + huge + `"]}`, ":"},
		{"TIMGroupSearchGroupMembers", `[]`, "-3"}, {"TIMGroupSearchGroupMembers", `{}`, "10004"}, {"TIMGroupSearchGroupMembers", `{"group_search_member_params_keyword_list":` + list(200_000) + `}`, "10004"},
		{"TIMGroupSearchGroupMembers", `{"group_search_member_params_keyword_list":["b"],"group_search_member_params_field_list":[16]}`, "10004"},
		{"TIMGroupSearchGroupMembers", `{"group_search_member_params_keyword_list":["b"],"group_search_member_params_groupid_list":` + list(200_000) + `}`, ":"},
	} {
		d.refuses(c[0], c[1], c[2])
	}
	for _, c := range []struct {
		fn, want string
		args     []any
	}{
		{"TIMGroupJoin", "-4", []any{null, "hi"}}, {"TIMGroupJoin", "10013", []any{"g", null}}, {"TIMGroupJoin", "10013", []any{"g", "hi"}}, {"TIMGroupJoin", "10010", []any{"none", "hi"}}, {"TIMGroupJoin", "10004", []any{"g", huge}},
		{"TIMGroupInitGroupAttributes", "-4", []any{"", "[]"}}, {"TIMGroupInitGroupAttributes", "6027", []any{"g", "{}"}}, {"TIMGroupInitGroupAttributes", "6027", []any{"g", `[{"group_attribute_key":7}]`}},
		{"TIMGroupInitGroupAttributes", ":", []any{"g", "[]"}}, {"TIMGroupInitGroupAttributes", "10004", []any{"g", `[{"group_attribute_key":"","group_attribute_value":"v"}]`}},
		{"TIMGroupSetGroupAttributes", "10004", []any{"g", "[]"}}, {"TIMGroupSetGroupAttributes", "10004", []any{"g", `[{"group_attribute_key":"` + long + `"}]`}}, {"TIMGroupSetGroupAttributes", "10004", []any{"g", `[{"group_attribute_key":"k","group_attribute_value":"` + huge + `"}]`}},
		{"TIMGroupSetGroupAttributes", "10004", []any{"g", "[" + strings.Repeat(`{"group_attribute_key":"k"},`, 200) + `{"group_attribute_key":"k"}]`}}, {"TIMGroupSetGroupAttributes", "10010", []any{"none", `[{"group_attribute_key":"k"}]`}},
		{"TIMGroupDeleteGroupAttributes", "6027", []any{"g", "{}"}}, {"TIMGroupDeleteGroupAttributes", "10050", []any{"g", `["k"]`}}, {"TIMGroupDeleteGroupAttributes", "10004", []any{"g", `[""]`}}, {"TIMGroupDeleteGroupAttributes", ":", []any{"g", null}},
		{"TIMGroupGetGroupAttributes", "6027", []any{"g", "[1]"}}, {"TIMGroupGetGroupAttributes", ":", []any{"g", null}}, {"TIMGroupGetGroupAttributes", ":", []any{"g", list(200_000)}}, {"TIMGroupGetGroupAttributes", "10010", []any{"none", ""}},
	} {
		d.refusesAll(c.fn, c.want, c.args...)
	}
	d.quit()
}

// A report comes as a new message that belongs to no conversation; this is its element.
func TestGroupReports(t *testing.T) {
	s := imtest.Start(t)
	bob := s.Dial("bob", noEvents)
	d := newDevice(t, s, "ann", "")
	d.login()
	d.synced(0)
	if _, err := bob.Groups().Create(t.Context(), &im.CreateGroupRequest{GroupId: "g", Name: "G"}); err != nil {
		t.Fatal(err)
	}
	reported := func(typ int, want string) {
		t.Helper()
		part := fmt.Sprintf(`"group_report_elem_report_type":%d,`, typ)
		l := d.wait(0, part, func(l line) bool { return l.kind == "TIMRecvNewMsgCallback" && strings.Contains(l.fields[0], part) })
		elem := decode[[]map[string]any](t, l.fields[0])[0]["message_elem_array"]
		if !reflect.DeepEqual(elem, decode[any](t, want)) {
			t.Errorf("report %d: %v, want %s", typ, elem, want)
		}
	}
	const by = `"group_report_elem_op_user":"bob","group_report_elem_op_group_memberinfo":{"group_member_info_custom_info":[],"group_member_info_face_url":"","group_member_info_friend_remark":"",
		"group_member_info_group_id":"","group_member_info_identifier":"bob","group_member_info_is_online":false,"group_member_info_join_time":0,"group_member_info_member_role":0,"group_member_info_msg_flag":0,
		"group_member_info_msg_seq":0,"group_member_info_name_card":"","group_member_info_nick_name":"","group_member_info_online_devices":[],"group_member_info_remark":"","group_member_info_shutup_time":0},
		"group_report_elem_group_id":"g","group_report_elem_group_name":"G","group_report_elem_platform":"","group_report_elem_shut_up_time":0`
	d.must("TIMGroupJoin", "g", "please", on)
	page, err := bob.Groups().Requests(t.Context(), &im.GroupRequestsRequest{})
	if err != nil || len(page.PendencyArray) != 1 {
		t.Fatal(page, err)
	}
	if err := bob.Groups().HandleRequest(t.Context(), page.PendencyArray[0], true, "welcome"); err != nil {
		t.Fatal(err)
	}
	reported(2, `[{"elem_type":8,"group_report_elem_report_type":2,"group_report_elem_msg":"welcome","group_report_elem_user_data":"",`+by+`}]`)
	if _, err := bob.Groups().Kick(t.Context(), "g", []string{"ann"}, "because"); err != nil {
		t.Fatal(err)
	}
	reported(4, `[{"elem_type":8,"group_report_elem_report_type":4,"group_report_elem_msg":"","group_report_elem_user_data":"because",`+by+`}]`)
	d.quit()
}

// Every function of groups may be called inside every callback of groups: it returns, and is answered once.
func TestCallsInGroupCallbacks(t *testing.T) {
	s := imtest.Start(t)
	bob := s.Dial("bob", noEvents)
	d := newDevice(t, s, "ann", "")
	kinds := []string{"TIMGroupTipsEventCallback", "TIMGroupAttributeChangedCallback"}
	for _, kind := range kinds {
		d.call(strings.Replace(kind, "TIM", "TIMSet", 1), on)
	}
	d.login()
	d.synced(0)
	if _, err := bob.Groups().Create(t.Context(), &im.CreateGroupRequest{GroupId: "club", Name: "Club", Members: []*im.GroupMemberInfo{{Identifier: "ann"}}}); err != nil {
		t.Fatal(err)
	}
	d.wait(0, "the tip", func(l line) bool { return l.kind == kinds[0] })
	n := 0
	cause := func(kind string) error {
		n++
		if kind == kinds[0] {
			return bob.Groups().Modify(t.Context(), "club", &im.ModifyGroupRequest{Name: new(fmt.Sprint("Club ", n))})
		}
		return bob.Groups().SetAttributes(t.Context(), "club", []*im.GroupAttributes{{Key: "n", Value: fmt.Sprint(n)}})
	}
	funcs, _ := prototypes(t)
	ids := map[int]string{}
	for _, p := range funcs {
		if !strings.HasPrefix(p.name, "TIMGroup") {
			continue
		}
		for _, kind := range kinds {
			from, id := d.position(), d.nextID()
			ids[id] = p.name + " inside " + kind
			d.send("hook\t" + kind + "\t" + command(id, p.name, samples(p, "ann", "")...))
			d.call("TIMGetLoginStatus") // the program has taken the hook
			if err := cause(kind); err != nil {
				t.Fatal(err)
			}
			d.wait(from, kind, func(l line) bool { return l.kind == kind })
		}
	}
	for id, what := range ids {
		if l := d.returned(id, what); l.num(1) != 0 {
			t.Errorf("%s returned %d", what, l.num(1))
		}
		d.answerOf(id, what)
	}
	d.must("TIMLogout", on)
	d.quit()
	answers := map[int]int{}
	for _, l := range d.all() {
		if l.kind == "TIMCommCallback" {
			answers[l.num(3)]++
		}
	}
	for id, what := range ids {
		if answers[id] != 1 {
			t.Errorf("%s was answered %d times", what, answers[id])
		}
	}
	if len(ids) < 40 {
		t.Errorf("only %d calls", len(ids))
	}
}
