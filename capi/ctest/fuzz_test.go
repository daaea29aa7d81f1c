package ctest

import (
	"strings"
	"testing"

	"github.com/tidings-im/tidings/imtest"
)

// samples are correct parameters for a function; the user and the ticket are for TIMLogin.
func samples(p prototype, user, ticket string) []any {
	var args []any
	for _, a := range p.params {
		switch {
		case a.typ == "const void*":
		case a.callback(), a.typ == "char*":
			args = append(args, on)
		case a.text() && strings.HasPrefix(p.json, a.name+"="):
			args = append(args, p.sample)
		case a.name == "user_id":
			args = append(args, user)
		case a.name == "user_sig":
			args = append(args, ticket)
		case a.name == "group_id":
			args = append(args, "ops")
		case a.text():
			args = append(args, "bob")
		case a.name == "sdk_app_id":
			args = append(args, 1400000000)
		default:
			args = append(args, 1)
		}
	}
	return args
}

// nasty are texts that no parameter should be.
var nasty = []string{
	null, "", " ", "{", "[", "{}", "[]", "null", "1", "[null]", "[1]", `[{"`, `{"":{}}`, `"\ud800"`, "\xff\xfe", "{\"message_elem_array\":[{}]}",
	"{\"message_elem_array\":7}", "[[[[[[[[[[", strings.Repeat("[", 3000), strings.Repeat(`{"a":`, 3000), repeat(1000), "%s%n%s%n", "../../../../etc/passwd",
	`{"message_elem_array":[{"elem_type":99,"x":1}]}`, `{"message_elem_array":[{"elem_type":0,"text_elem_content":null}]}`, `{"request_internal_operation":"internal_operation_set_custom_server_info"}`,
	`{"msg_getmsglist_param_count":-1}`, `{"msg_getmsglist_param_count":99999999999999999999}`, `{"message_seq":1e400}`, `[{"get_conversation_list_param_conv_type":"x"}]`,
}

// whoops are numbers that no parameter should be.
var whoops = []any{-1, 0, 2, 99, 2147483647, -2147483648, "9223372036854775807"}

// No parameter of any function, in any state, makes it crash; and each call is answered at most once, exactly once if it returned 0.
func TestNastyParameters(t *testing.T) {
	s := imtest.Start(t)
	s.Dial("bob", noEvents)
	for _, state := range []string{"uninit", "inited", "in"} {
		t.Run(state, func(t *testing.T) {
			d := start(t, "TIDINGS_SERVER="+s.URL)
			if state != "uninit" {
				d.call("TIMInit", 1400000000, null)
			}
			if state == "in" {
				d.must("TIMLogin", "ann", s.Sig("ann"), on)
			}
			nastyCalls(t, d, 17<<20)
			d.call("TIMUninit")
			d.quit()
			counts := map[int]int{}
			for _, l := range d.all() {
				switch {
				case l.kind == "ret" && l.num(1) == 0 && l.num(0) >= 1<<20:
					counts[l.num(0)]++
				case l.kind == "TIMCommCallback" && l.num(3) >= 1<<20:
					counts[l.num(3)]--
				}
			}
			for id, n := range counts {
				if n != 0 {
					t.Errorf("call %d: returned 0 and called back %d times", id, 1-n)
				}
			}
		})
	}
}

// nastyCalls calls every function with everything. The ids of calls with one callback begin at 1<<20, the others are below. longest is the longest
// text.
func nastyCalls(t *testing.T, d *driver, longest int) {
	nasty := append([]string{repeat(100000), repeat(longest)}, nasty...)
	funcs, _ := prototypes(t)
	id := 1 << 20
	other := 1
	for _, p := range funcs {
		switch p.name {
		case "TIMUninit", "TIMLogin", "TIMLogout":
			continue // change the state; their parameters are tried below
		}
		right := samples(p, "ann", "x")
		async := strings.Count(p.params0(), "TIMCommCallback") == 1 && p.ret == "int"
		try := func(args []any, hasCallback bool) {
			t.Helper()
			n := &other
			if async && hasCallback {
				n = &id
			}
			*n++
			d.send(command(*n, p.name, args...))
		}
		change := func(i int, v any) []any {
			args := append([]any(nil), right...)
			args[i] = v
			return args
		}
		try(right, true)
		i := 0
		for _, a := range p.params {
			switch {
			case a.typ == "const void*":
				continue
			case a.text():
				for _, v := range nasty {
					try(change(i, v), true)
				}
			case a.callback():
				try(change(i, false), false)
			case a.typ == "char*":
				try(change(i, false), true)
			default:
				for _, v := range whoops {
					try(change(i, v), true)
				}
			}
			i++
		}
	}
	for _, v := range nasty {
		d.call("TIMLogin", v, "x", false)
		d.call("TIMLogout", false)
	}
	if r, _ := d.call("TIMGetLoginStatus"); r < 1 || r > 4 {
		t.Errorf("login status %d", r)
	}
}
