package ctest

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/imtest"
)

// differs are the observed results that the library does not give, with the reason.
var differs = map[string]string{
	"TIMMsgBatchSend preinit":                "observed 0 without a callback; ours calls back whenever it returned 0",
	"TIMMsgBatchSend nologin":                "observed 0 without a callback; ours calls back whenever it returned 0",
	"TIMFriendshipModifyFriendGroup preinit": "observed 0 without a callback; ours calls back whenever it returned 0",
	"TIMFriendshipModifyFriendGroup nologin": "observed 0 without a callback; ours calls back whenever it returned 0",
	"TIMFriendshipModifyFriendGroup badjson": "observed 0 without a callback; ours calls back whenever it returned 0",
	"TIMMsgSendNewMsgEx preinit":             "observed -3 with a callback; ours calls back only if it returned 0",
	"TIMMsgSendNewMsgEx nologin":             "observed -3 with a callback; ours calls back only if it returned 0",
	"TIMMsgSendNewMsgEx badjson":             "observed -3 with a callback; ours calls back only if it returned 0",

	"TIMConvDeleteConversationList preinit":       both,
	"TIMConvDeleteConversationList nologin":       both,
	"TIMConvDeleteConversationList badjson":       both,
	"TIMConvSetConversationCustomData preinit":    both,
	"TIMConvSetConversationCustomData nologin":    both,
	"TIMConvSetConversationCustomData badjson":    both,
	"TIMConvMarkConversation preinit":             both,
	"TIMConvMarkConversation nologin":             both,
	"TIMConvMarkConversation badjson":             both,
	"TIMConvAddConversationsToGroup preinit":      both,
	"TIMConvAddConversationsToGroup nologin":      both,
	"TIMConvAddConversationsToGroup badjson":      both,
	"TIMConvDeleteConversationsFromGroup preinit": both,
	"TIMConvDeleteConversationsFromGroup nologin": both,
	"TIMConvDeleteConversationsFromGroup badjson": both,
}

const both = "observed -3 with a callback; ours calls back only if it returned 0"

// arguments returns those of the observation: texts u1, numbers 1, JSON as given.
func arguments(p prototype, json string) []any {
	var args []any
	for _, a := range p.params {
		switch {
		case a.typ == "const void*":
		case a.callback(), a.typ == "char*":
			args = append(args, on)
		case a.text() && strings.HasPrefix(p.json, a.name+"="):
			args = append(args, json)
		case a.text():
			args = append(args, "u1")
		default:
			args = append(args, 1)
		}
	}
	return args
}

// empty returns the empty JSON value that a function's JSON parameter may have.
func empty(p prototype) string {
	if strings.Contains(p.json, "=object") {
		return "{}"
	}
	return "[]"
}

// sameJSON compares JSON texts.
func sameJSON(ours, observed string) bool {
	var a, b any
	if json.Unmarshal([]byte(ours), &a) != nil || json.Unmarshal([]byte(observed), &b) != nil {
		return ours == observed
	}
	return reflect.DeepEqual(a, b)
}

// Without a server, functions return what the reference library was observed to return.
func TestObservedCalls(t *testing.T) {
	funcs, _ := prototypes(t)
	byName := map[string]prototype{}
	for _, f := range funcs {
		byName[f.name] = f
	}
	d := start(t, "TIDINGS_SERVER=ws://127.0.0.1:1")
	equal, all := 0, 0
	inited := false
	for _, r := range table(t, "capi/testdata/observed_calls.tsv") {
		p, ok := byName[r["function"]]
		if !ok {
			t.Fatalf("no function %s", r["function"])
		}
		if r["state"] != "preinit" && !inited {
			inited = true
			if r, _ := d.call("TIMInit", 1400000000, `{"sdk_config_config_file_path":"`+t.TempDir()+`"}`); r != 0 {
				t.Fatalf("TIMInit: %d", r)
			}
		}
		in := empty(p)
		if r["state"] == "badjson" {
			in = "{bad"
		}
		result, text, id := d.callID(p.name, arguments(p, in)...)
		got := line{fields: []string{""}}
		row := p.name + " " + r["state"]
		want := r["return"]
		switch want {
		case "<version string>":
			if text == "" {
				t.Errorf("%s: no version", row)
			}
			want = "0"
		case "<unix seconds>":
			if result < 1e9 {
				t.Errorf("%s: %d", row, result)
			}
			result, want = 0, "0"
		}
		got.fields[0] = ""
		async := strings.Contains(p.params0(), "TIMCommCallback")
		if async && result == 0 {
			a := d.answerOf(id, p.name)
			got.fields[0] = itoa(a.code)
			if itoa(a.code) == r["cb_code"] && a.desc != r["cb_desc"] {
				t.Errorf("%s: the callback says %q, observed %q", row, a.desc, r["cb_desc"])
			}
			if r["cb_code"] != "0" && r["cb_json"] != "" && !sameJSON(a.json, r["cb_json"]) {
				t.Errorf("%s: the callback brings %s, observed %s", row, a.json, r["cb_json"])
			}
		}
		all++
		same := itoa(result) == want && got.fields[0] == r["cb_code"]
		if same {
			equal++
		}
		switch reason := differs[row]; {
		case !same && reason == "":
			t.Errorf("%s: returned %d, callback %q; observed %s, %q", row, result, got.fields[0], r["return"], r["cb_code"])
		case same && reason != "":
			t.Errorf("%s is as observed, and should not be in the list of differences", row)
		}
	}
	t.Logf("%d of %d rows equal", equal, all)
	if equal*100 < all*95 {
		t.Errorf("only %d of %d rows equal", equal, all)
	}
	d.quit()
}

// NULL and "" for each text of each function: a wrong parameter, except where the rule differs. These are not observations: the reference library
// crashes on some of them.
func TestMissingTexts(t *testing.T) {
	type place struct{ function, parameter, value string }
	rule := map[place]map[string]string{}
	for _, r := range table(t, "capi/testdata/rule_calls.tsv") {
		if (r["return"] == "-4") != (r["reason"] == "") {
			t.Errorf("%s, %s %s: what is not -4 has a reason, and nothing else has", r["function"], r["parameter"], r["value"])
		}
		rule[place{r["function"], r["parameter"], r["value"]}] = r
	}
	funcs, _ := prototypes(t)
	// A function that accepts NULL and leads to another state comes last.
	first := slices.IndexFunc(funcs, func(p prototype) bool { return p.name == "TIMInit" })
	funcs = append(slices.Delete(slices.Clone(funcs), first, first+1), funcs[first])
	s := imtest.Start(t)
	s.Dial("bob", noEvents)
	all := stands(s, s.Sig("ann"))
	used := 0
	for _, at := range all {
		d, state := at.prepare(t), at.name
		for _, p := range funcs {
			in := p.sample
			if in == "" {
				in = empty(p)
			}
			for i, a := range p.params {
				for name, value := range map[string]any{"NULL": null, `""`: ""} {
					if !a.text() {
						continue
					}
					r, ok := rule[place{p.name, a.name, name}]
					if !ok {
						t.Errorf("there is no rule for %s %s of %s", name, a.name, p.name)
						continue
					}
					used++
					args := arguments(p, in)
					args[i] = value
					result, _, id := d.callID(p.name, args...)
					if itoa(result) != r["return"] {
						t.Errorf("%s: %s with %s %s: %d, want %s", state, p.name, name, a.name, result, r["return"])
					}
					if result == 0 && strings.Contains(p.params0(), "TIMCommCallback") {
						d.answerOf(id, p.name)
					}
				}
			}
		}
		d.quit()
	}
	if used != len(all)*len(rule) {
		t.Errorf("%d of %d rules were looked at", used/len(all), len(rule))
	}
}

// What was observed beyond the table.
func TestObservedBesides(t *testing.T) {
	d := start(t, "TIDINGS_SERVER=ws://127.0.0.1:1")
	want := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	result := func(fn string, args ...any) int { r, _ := d.call(fn, args...); return r }
	want("TIMInit with app id 0", result("TIMInit", 0, "{}"), -4)
	want("TIMInit with malformed JSON", result("TIMInit", 1400000000, "{bad"), -3)
	want("login status before TIMInit", result("TIMGetLoginStatus"), 3)
	want("login before TIMInit", d.ask("TIMLogin", "u", "s", on).code, 6013)
	want("TIMInit without JSON", result("TIMInit", 1400000000, null), 0)
	want("a second TIMInit", result("TIMInit", 1400000000, ""), 0)
	want("login with NULL", result("TIMLogin", null, "s", on), -4)
	want("login with an empty user", result("TIMLogin", "", "s", on), -4)
	want("login with an empty ticket", result("TIMLogin", "u", "", on), -4)
	want("login with NULL ticket", result("TIMLogin", "u", null, on), -4)
	want("login with a bad user id", d.ask("TIMLogin", "a user with blanks", "s", on).code, 7003)
	want("login with a long user id", d.ask("TIMLogin", strings.Repeat("u", 33), "s", on).code, 7003)
	want("send with malformed JSON", result("TIMMsgSendMessage", "bob", 1, "{bad", on, on), -3)
	want("send to NULL", result("TIMMsgSendMessage", null, 1, "{}", on, on), -4)
	want("conversation", d.ask("TIMConvCreate", "bob", 1, on).code, 0)
	want("config", d.ask("TIMSetConfig", "{}", on).code, 0)
	want("logout without a login", d.ask("TIMLogout", on).code, 6014)
	want("user id", result("TIMGetLoginUserID", on), 0)
	want("user id into NULL", result("TIMGetLoginUserID", false), -4)

	// Without a server the link's states are connecting, then failed with a code, and it is tried again.
	d.call("TIMSetNetworkStatusListenerCallback", on)
	r, _, id := d.callID("TIMLogin", "u", "s", on)
	want("login without a server", r, 0)
	first, second := d.event("TIMNetworkStatusListenerCallback", 1), d.event("TIMNetworkStatusListenerCallback", 2)
	want("first state", first.num(0), 2)
	want("second state", second.num(0), 3)
	if second.num(1) == 0 {
		t.Errorf("connecting failed with code 0: %s", second)
	}
	d.event("TIMNetworkStatusListenerCallback", 4)
	want("login status", result("TIMGetLoginStatus"), 2)
	want("end", result("TIMUninit"), 0)
	want("login that was running", d.answerOf(id, "TIMLogin").code, 7009)
	want("login status", result("TIMGetLoginStatus"), 3)
	d.quit()
}
