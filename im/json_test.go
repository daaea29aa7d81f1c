package im

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// olderSpellings removes what we write beside the keys that the reference library passed to the send callback.
var olderSpellings = strings.NewReplacer(`"group_member_info_remark":"",`, "")

// sent is a message as the send callback of the observed program got it, without login: what the SDK fills in, and what the program gave.
func sent(clientTime, random, uniqueID uint64, elem *Elem) *Message {
	return &Message{
		ElemArray: []*Elem{elem}, ConvId: "bob", ConvType: ConvType_CONV_TYPE_C2C, CloudCustomStr: "cc",
		IsFromSelf: true, IsRead: true, ClientTime: clientTime, Rand: random, Status: MessageStatus_MESSAGE_STATUS_SENT,
		MsgId: fmt.Sprintf("-%d-%d", clientTime, random), UniqueId: uniqueID,
	}
}

var observed = map[string]*Message{
	"text": sent(1795380851, 2118839473, 7711102041028488369, &Elem{Body: &Elem_Text{&TextElem{Content: "hello"}}}),
	"custom": sent(1795380852, 2118839474, 7711102045323455666, &Elem{
		ElemType: ElemType_ELEM_TYPE_CUSTOM,
		Body:     &Elem_Custom{&CustomElem{Data: "d", Desc: "de", Ext: "ex", Sound: "s"}},
	}),
	"face": sent(1795380852, 2118839475, 7711102045323455667, &Elem{
		ElemType: ElemType_ELEM_TYPE_FACE,
		Body:     &Elem_Face{&FaceElem{Index: 3, Buf: "b"}},
	}),
	"location": sent(1795380852, 2118839476, 7711102045323455668, &Elem{
		ElemType: ElemType_ELEM_TYPE_LOCATION,
		Body:     &Elem_Location{&LocationElem{Desc: "x", Longitude: 1.5, Latitude: 2.5}},
	}),
	"image": sent(1795380853, 2118839477, 7711102049618422965, &Elem{
		ElemType: ElemType_ELEM_TYPE_IMAGE,
		Body:     &Elem_Image{&ImageElem{OrigPath: "media/a.png"}},
	}),
	"group": func() *Message {
		m := sent(1795380855, 1206476050, 1206476050, &Elem{Body: &Elem_Text{&TextElem{Content: "hello"}}})
		m.ConvId, m.ConvType, m.CloudCustomStr = "@TGS#1", ConvType_CONV_TYPE_GROUP, ""
		m.GroupAtUserArray, m.NeedReadReceipt, m.SenderGroupMemberInfo = []string{"bob"}, true, &GroupMemberInfo{}
		return m
	}(),
}

func TestObservedMessages(t *testing.T) {
	f, err := os.Open("testdata/observed_messages.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var line struct {
			Case string
			JSON json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		m, ok := observed[line.Case]
		if !ok {
			continue
		}
		seen++
		t.Run(line.Case, func(t *testing.T) {
			// The recording has lost the escapes of /.
			got, want := members(t, strings.ReplaceAll(olderSpellings.Replace(ToJSON(m)), `\/`, "/")), members(t, string(line.JSON))
			for key, v := range want {
				if got[key] != v {
					t.Errorf("%s: got %q, want %q", key, got[key], v)
				}
			}
			for key := range got {
				if _, ok := want[key]; !ok {
					t.Errorf("%s: the reference library has no such key here", key)
				}
			}

			var back Message
			if err := FromJSON(string(line.JSON), &back); err != nil {
				t.Fatal(err)
			}
			if got, want := ToJSON(&back), ToJSON(m); got != want {
				t.Errorf("after reading and writing\n%s\nwant\n%s", got, want)
			}
		})
	}
	if seen != len(observed) {
		t.Errorf("%d cases found of %d", seen, len(observed))
	}
}

// members splits an object into its keys and compact values.
func members(t *testing.T, s string) map[string]string {
	t.Helper()
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(s), &raw); err != nil {
		t.Fatalf("%v in %s", err, s)
	}
	m := make(map[string]string)
	for key, v := range raw {
		var b bytes.Buffer
		if err := json.Compact(&b, v); err != nil {
			t.Fatal(err)
		}
		m[key] = b.String()
	}
	return m
}

func TestWrite(t *testing.T) {
	for _, c := range []struct {
		m    TIM
		want string
	}{
		{&TextElem{Content: "a/b\"\\\b\f\n\r\t\x00\x1f\x7f\xffé\u2028😀"},
			`{"text_elem_content":"a\/b\"\\\b\f\n\r\t\u0000\u001f` + "\x7f\ufffdé\u2028😀" + `"}`},
		{&LocationElem{Longitude: 1e21, Latitude: -0.1}, `{"location_elem_desc":"","location_elem_latitude":-0.1,"location_elem_longitude":1e+21}`},
		{&LocationElem{Longitude: math.Inf(1), Latitude: math.NaN()}, `{"location_elem_desc":"","location_elem_latitude":0,"location_elem_longitude":0}`},
		{&GroupAtInfo{Seq: math.MaxUint64, AtType: -1}, `{"conv_group_at_info_at_type":-1,"conv_group_at_info_seq":18446744073709551615}`},
		{(*SenderProfile)(nil), ToJSON(&SenderProfile{})},
		{&Elem{ElemType: ElemType_ELEM_TYPE_FACE}, `{"elem_type":6,"face_elem_buf":"","face_elem_index":0}`},
		{&Elem{ElemType: ElemType_ELEM_TYPE_SOUND, Body: &Elem_Sound{&SoundElem{FileTime: 7, Url: "u", DownloadFlag: 2}}}, `{"elem_type":2,"sound_elem_business_id":0,` +
			`"sound_elem_download_flag":2,"sound_elem_file_id":"","sound_elem_file_path":"","sound_elem_file_size":0,"sound_elem_file_time":7,"sound_elem_url":"u"}`},
		// What arrived on the wire as raw is not trusted.
		{&Elem{ElemType: 99, Raw: []byte(`{"elem_type" :99, "x":[1/2]}`)}, `{"elem_type":99}`},
		{&Elem{ElemType: 99, Raw: []byte(`{"elem_type":99},{"elem_type":0}`)}, `{"elem_type":99}`},
		{&Elem{ElemType: 99, Raw: []byte(`{"elem_type":99,"elem_type":0,"text_elem_content":"!"}`)}, `{"elem_type":99}`},
		{&Elem{ElemType: 99, Raw: []byte("{\"elem_type\":99,\"x\":\"\xff\"}")}, `{"elem_type":99}`},
		{&Elem{ElemType: 99, Raw: []byte(`{"elem_type" :99, "x":["/"]}`)}, `{"elem_type" :99, "x":["/"]}`},
		{&Elem{ElemType: ElemType_ELEM_TYPE_TEXT, Raw: []byte(`{"elem_type":0,"x":1}`)}, `{"elem_type":0,"text_elem_content":""}`},
	} {
		if got := ToJSON(c.m); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}

	if got := ListToJSON[*Message](nil); got != "[]" {
		t.Errorf("no messages: %s", got)
	}
	if got, want := ListToJSON([]*TextElem{{Content: "a"}, nil}), `[{"text_elem_content":"a"},{"text_elem_content":""}]`; got != want {
		t.Errorf("list: got %s, want %s", got, want)
	}

	got := ToJSON(&Message{OfflinePushConfig: &OfflinePushConfig{Desc: "d"}})
	const config = `{"offline_push_config_desc":"d","offline_push_config_ext":"","offline_push_config_flag":0}`
	for _, want := range []string{
		`"message_offlie_push_config":` + config, `"message_offline_push_config":` + config,
		`"message_priority":1,`, `"message_elem_array":[]`, `"message_group_receipt_unread_count":-1`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	// A number that was given is written even if it is zero.
	got = ToJSON(&Message{Priority: proto.Int32(0), GroupReceiptUnreadCount: proto.Int32(0)})
	for _, want := range []string{`"message_priority":0,`, `"message_group_receipt_unread_count":0`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

func TestRead(t *testing.T) {
	text := func(s string) *Message {
		return &Message{ElemArray: []*Elem{{Body: &Elem_Text{&TextElem{Content: s}}}}}
	}
	unknown := func(kind ElemType, raw string) *Message {
		return &Message{ElemArray: []*Elem{{ElemType: kind, Raw: []byte(raw)}}}
	}
	for _, c := range []struct {
		in   string
		want TIM
	}{
		{`{}`, &Message{}},
		{" {\n} ", &Message{}},
		{`{"unknown":[{"a":[1e999,"\ud800"]}],"Message_seq":7,"message_seq ":8}`, &Message{}},
		{`{"message_seq":1,"message_seq":2}`, &Message{Seq: 2}},
		{`{"message_seq":1,"message_seq":null}`, &Message{}},
		{`{"message\u005fse\u0071":3}`, &Message{Seq: 3}},
		{`{"message_seq":18446744073709551615}`, &Message{Seq: math.MaxUint64}},
		{`{"message_seq":-9223372036854775808}`, &Message{Seq: 1 << 63}},
		{`{"message_seq":-1}`, &Message{Seq: math.MaxUint64}},
		{`{"message_custom_int":-2147483648}`, &Message{CustomInt: 1 << 31}},
		{`{"message_custom_int":4294967295}`, &Message{CustomInt: math.MaxUint32}},
		{`{"message_platform":4294967295}`, &Message{Platform: -1}},
		{`{"message_status":2}`, &Message{Status: MessageStatus_MESSAGE_STATUS_SENT}},
		{`{"message_seq":1.25e2}`, &Message{Seq: 125}},
		{`{"message_seq":1800E-2}`, &Message{Seq: 18}},
		{`{"message_seq":3.0}`, &Message{Seq: 3}},
		{`{"message_seq":-0e5}`, &Message{}},
		{`{"message_seq":0.0e99999999999999999999}`, &Message{}},
		{`{"message_seq":1.8446744073709551615e19}`, &Message{Seq: math.MaxUint64}},
		{`{"message_priority":0}`, &Message{Priority: proto.Int32(0)}},
		{`{"message_priority":null}`, &Message{}},
		{`{"message_is_read":true,"message_sender":null,"message_sender_profile":null,"message_elem_array":null}`, &Message{IsRead: true}},
		{`{"message_sender":"a\/b\u00e9\ud83d\ude00\ud800"}`, &Message{Sender: "a/bé😀\ufffd"}},
		{"{\"message_sender\":\"a\xffb\"}", &Message{Sender: "a\ufffdb"}},
		{`{"message_sender_profile":{"user_profile_nick_name":"A"},"message_sender_profile":{}}`, &Message{SenderProfile: &SenderProfile{}}},
		{`{"message_group_at_user_array":["a",""]}`, &Message{GroupAtUserArray: []string{"a", ""}}},
		{`{"message_offlie_push_config":{"offline_push_config_desc":"d"}}`, &Message{OfflinePushConfig: &OfflinePushConfig{Desc: "d"}}},
		{`{"msg_getmsglist_param_is_remble":false}`, &GetMsgListParam{IsRamble: proto.Bool(false)}},
		{`{"msg_getmsglist_param_message_seq_array":[1,2e0]}`, &GetMsgListParam{SeqArray: []uint64{1, 2}}},

		{`{"message_elem_array":[{"text_elem_content":"x","elem_type":0}]}`, text("x")},
		{`{"message_elem_array":[{"elem_type":0}]}`, text("")},
		{`{"message_elem_array":[{"elem_type":4,"file_elem_file_path":"a\/b","file_elem_file_name":"b","file_elem_file_size":3,"text_elem_content":[1]}]}`,
			message(&Elem{ElemType: ElemType_ELEM_TYPE_FILE, Body: &Elem_File{&FileElem{FilePath: "a/b", FileName: "b", FileSize: 3}}})},
		// Keys of another element are unknown keys.
		{`{"message_elem_array":[{"custom_elem_data":{"a":[1]},"elem_type":0,"text_elem_content":"x","face_elem_index":[[2]]}]}`, text("x")},
		{`{"message_elem_array":[ {"elem_type" : 99, "x":["/", 1.0]} ]}`, unknown(99, `{"elem_type" : 99, "x":["/", 1.0]}`)},
		{`{"message_elem_array":[{"elem_type":-1}]}`, unknown(-1, `{"elem_type":-1}`)},
		{`{"message_elem_array":[{"elem_type":98,"text_elem_content":[1]}]}`, unknown(98, `{"elem_type":98,"text_elem_content":[1]}`)},
		{"{\"message_elem_array\":[{\"elem_type\":98,\"x\":\"\xff\"}]}", unknown(98, "{\"elem_type\":98,\"x\":\"\ufffd\"}")},
	} {
		got := c.want.(proto.Message).ProtoReflect().New().Interface()
		if err := FromJSON(c.in, got.(TIM)); err != nil {
			t.Errorf("%s: %v", c.in, err)
		} else if !proto.Equal(got, c.want.(proto.Message)) {
			t.Errorf("%s: got %v, want %v", c.in, got, c.want)
		}
	}

	// The previous content of m is gone.
	m := &Message{Seq: 1, Sender: "x"}
	if err := FromJSON(`{"message_seq":2}`, m); err != nil || !proto.Equal(m, &Message{Seq: 2}) {
		t.Errorf("into a used message: %v, %v", m, err)
	}

	list, err := ListFromJSON[TextElem](`[{"text_elem_content":"a"},{}]`)
	if err != nil || len(list) != 2 || list[0].Content != "a" || list[1] == nil {
		t.Errorf("list: %v, %v", list, err)
	}
	if list, err := ListFromJSON[TextElem](`[]`); err != nil || len(list) != 0 {
		t.Errorf("empty list: %v, %v", list, err)
	}
}

func TestReadErrors(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct{ in, path, msg string }{
		{``, "", "empty"},
		{`  `, "", "empty"},
		{`{"a":{"what somebody wrote"`, "", "unexpected EOF at byte 27"}, // no key of the input is repeated

		{`null`, "", "want an object, found null"},
		{`[]`, "", "want an object, found an array"},
		{`"x"`, "", "want an object, found a string"},
		{`{`, "", "unexpected EOF at byte 1"},
		{`{"message_seq":1`, "", "unexpected EOF at byte 16"},
		{`{"message_seq":}`, "", "missing value after object name"},
		{`{"message_seq":01}`, "", "invalid character '1'"},
		{`{"message_seq":+1}`, "", "invalid character '+'"},
		{`{"message_elem_array":[{"elem_type":0},]}`, "", "invalid character ',' at start of value at byte 38"},
		{`{} x`, "", "invalid character 'x'"},
		{`{}{}`, "", "more than one value"},
		{`{'message_seq':1}`, "", "invalid character '\\''"},
		{`{"message_seq":"1"}`, "/message_seq", "want an integer, found a string"},
		{`{"message_seq":true}`, "/message_seq", "want an integer, found true"},
		{`{"message_seq":{"a":1}}`, "/message_seq", "want an integer, found an object"},
		{`{"message_seq":18446744073709551616}`, "/message_seq", "out of range"},
		{`{"message_seq":-9223372036854775809}`, "/message_seq", "out of range"},
		{`{"message_seq":1e20}`, "/message_seq", "out of range"},
		{`{"message_seq":1e999999999999999999}`, "/message_seq", "out of range"},
		{`{"message_seq":1e-999999999999999999}`, "/message_seq", "want an integer, found a fraction"},
		{`{"message_seq":0.5}`, "/message_seq", "want an integer, found a fraction"},
		{`{"message_custom_int":4294967296}`, "/message_custom_int", "out of range"},
		{`{"message_custom_int":-2147483649}`, "/message_custom_int", "out of range"},
		{`{"message_conv_type":"1"}`, "/message_conv_type", "want an integer, found a string"},
		{`{"message_sender":1}`, "/message_sender", "want a string, found a number"},
		{`{"message_is_read":1}`, "/message_is_read", "want true or false, found a number"},
		{`{"message_elem_array":{}}`, "/message_elem_array", "want an array, found an object"},
		{`{"message_elem_array":[null]}`, "/message_elem_array/0", "want an element, found null"},
		{`{"message_elem_array":[{"elem_type":0},1]}`, "/message_elem_array/1", "want an object, found a number"},
		{`{"message_group_at_user_array":["a",2]}`, "/message_group_at_user_array/1", "want a string, found a number"},
		{`{"message_sender_profile":{"user_profile_nick_name":[]}}`, "/message_sender_profile/user_profile_nick_name", "want a string, found an array"},
		{`{"message_elem_array":[{"text_elem_content":"x"}]}`, "/message_elem_array/0/elem_type", "missing"},
		{`{"message_elem_array":[{"elem_type":null}]}`, "/message_elem_array/0/elem_type", "missing"},
		{`{"message_elem_array":[{"elem_type":"0"}]}`, "/message_elem_array/0/elem_type", "want an integer, found a string"},
		{`{"message_elem_array":[{"text_elem_content":[1],"elem_type":0}]}`, "/message_elem_array/0/text_elem_content", "want a string, found an array"},
		{`{"message_elem_array":[{"custom_elem_data":tru,"elem_type":0}]}`, "", "invalid character ','"},
		{`{"message_elem_array":[{"elem_type":7,"location_elem_latitude":1e999}]}`, "/message_elem_array/0/location_elem_latitude", "out of range"},
		{`{"message_elem_array":[{"elem_type":7,"location_elem_latitude":"1"}]}`, "/message_elem_array/0/location_elem_latitude", "want a number, found a string"},
		{`{"x":` + deep(MaxJSONDepth) + `}`, "", "nested deeper than 1000"},
		{`{"message_elem_array":[{"custom_elem_data":` + deep(MaxJSONDepth-2) + `,"elem_type":0}]}`, "", "nested deeper than 1000"},
	} {
		err := FromJSON(c.in, new(Message))
		var e *JSONError
		if !errors.As(err, &e) {
			t.Errorf("%s: got error %v", c.in, err)
		} else if e.Path != c.path || !strings.Contains(e.Msg, c.msg) {
			t.Errorf("%s:\n got %q\nwant %q %q", c.in, err, c.path, c.msg)
		}
	}
	if err := FromJSON(`{"x":`+deep(MaxJSONDepth-1)+`}`, new(Message)); err != nil {
		t.Errorf("as deep as it may be: %v", err)
	}
	for in, path := range map[string]string{`{}`: "", `null`: "", `[{"text_elem_content":1}]`: "/0/text_elem_content", `[]]`: ""} {
		list, err := ListFromJSON[TextElem](in)
		var e *JSONError
		if !errors.As(err, &e) || e.Path != path || list != nil {
			t.Errorf("list %s: %v, %v", in, list, err)
		}
	}
	want := "JSON at /message_seq: out of range"
	if err := FromJSON(`{"message_seq":1e30}`, new(Message)); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestMethods(t *testing.T) {
	for m := range Method_name {
		info, ok := Method(m).Info()
		if ok != (m != 0) || ok && info.Name != Method(m).String() {
			t.Errorf("%v: %v, %v", Method(m), info, ok)
		}
		if push := info.NewRequest == nil; ok && push != (m >= int32(Method_ENTRY) && m < int32(Method_CREATE_GROUP)) {
			t.Errorf("%v: push %v", Method(m), push)
		}
	}
	for _, m := range []Method{-1, 31, 1 << 30} {
		if _, ok := m.Info(); ok {
			t.Errorf("%d is known", m)
		}
	}
	var before []string
	for _, info := range methods {
		if info.BeforeLogin {
			before = append(before, info.Name)
		}
	}
	if !slices.Equal(before, []string{"LOGIN"}) {
		t.Errorf("before login: %q", before)
	}
	login, _ := Method_LOGIN.Info()
	if _, ok := login.NewRequest().(*LoginRequest); !ok {
		t.Error("LOGIN does not carry a LoginRequest")
	}
}

// Lists and objects of any values are read only as far as a caller asks.
func TestReadLoosely(t *testing.T) {
	for in, want := range map[string]string{`["a","b"]`: `[a b]`, ` [] `: `[]`, `[null]`: `[]`, `[1]`: "error", `{}`: "error", `null`: "error", `["a"`: "error", `["a"]x`: "error", ``: "error"} {
		list, err := StringsFromJSON(in)
		got := fmt.Sprint(list)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]int{`[]`: 0, `[{"a":[1,2]},null,"x",[[]]]`: 4, `{}`: -1, `[1,]`: -1, `[`: -1} {
		n, err := CountFromJSON(in)
		if err != nil {
			n = -1
		}
		if n != want {
			t.Errorf("%s has %d items, want %d", in, n, want)
		}
	}
	keys, err := KeysFromJSON(`{"a":1,"b":null,"c":{"d":[]}}`)
	if fmt.Sprint(keys) != "map[a:true b:false c:true]" || err != nil {
		t.Errorf("the keys are %v, %v", keys, err)
	}
	for _, in := range []string{`[]`, `null`, `{"a"}`, `{"a":1`} {
		if keys, err := KeysFromJSON(in); err == nil {
			t.Errorf("%s has the keys %v", in, keys)
		}
	}
}
