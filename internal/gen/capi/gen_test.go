package capi

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestParams(t *testing.T) {
	p, err := parseParams("const char* conv_id, enum TIMConvType conv_type, char* buffer, TIMCommCallback cb, const void* user_data")
	if err != nil {
		t.Fatal(err)
	}
	f := &function{params: p}
	if f.shape() != "snocp" {
		t.Errorf("shape %q", f.shape())
	}
	if _, err := parseParams("long double x"); err == nil {
		t.Error("an unknown type was taken")
	}
}

// TestReferencePages: a callback type is set by functions that take it, and its parameters are not functions; every enum that a page names has its
// values on enums.md; and the descriptions of keys are about Tidings, not about the header of TIM.
func TestReferencePages(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	tab, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	page := string(callbackPage(tab))
	for _, cb := range tab.callbacks {
		_, part, _ := strings.Cut(page, "\n## "+cb.name+"\n")
		part, _, _ = strings.Cut(part, "\n## ")
		set, brings := lineOf(part, "Set by: "), lineOf(part, "Passes: ")
		for _, f := range tab.funcs {
			takes := slices.ContainsFunc(f.params, func(p param) bool { return p.typ == cb.name })
			named := regexp.MustCompile(`\b` + f.name + `\b`)
			if want := takes && cb.name != "TIMCommCallback"; named.MatchString(set) != want {
				t.Errorf("%s: set by %q, and %s takes it: %v", cb.name, set, f.name, takes)
			}
			if named.MatchString(brings) {
				t.Errorf("%s brings %q", cb.name, brings)
			}
		}
		if brings == "" && slices.ContainsFunc(cb.params, func(p param) bool { return p.kind == 's' }) {
			t.Errorf("%s brings nothing", cb.name)
		}
	}
	enums := string(enumPage(tab))
	for _, r := range tab.enums {
		_, part, _ := strings.Cut(enums, "\n## "+r["enum"]+"\n")
		part, _, _ = strings.Cut(part, "\n## ")
		if !strings.Contains(part, "| "+r["value"]+" | "+r["constant"]+" |") {
			t.Errorf("enums.md: %s has no %s", r["enum"], r["constant"])
		}
	}
	for name, b := range pages(tab) {
		if left := regexp.MustCompile(`enum TIM\w+ *[|>]`).Find(b); left != nil {
			t.Errorf("%s: %s is no link to its values", name, left)
		}
	}
	for _, r := range tab.keys {
		if regexp.MustCompile(`(?i)the header|default "/"|functions\.tsv`).MatchString(r["meaning"]) {
			t.Errorf("%s: %s", r["key"], r["meaning"])
		}
	}
	if got, want := link(tab, "SdkConfig, message ids"), "[SdkConfig](json.md#sdkconfig), message ids"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func lineOf(text, start string) string {
	for line := range strings.SplitSeq(text, "\n") {
		if rest, ok := strings.CutPrefix(line, start); ok {
			return rest
		}
	}
	return ""
}

// TestHandlers: the column call is a handler's code, and what it cannot mean is refused.
func TestHandlers(t *testing.T) {
	params, err := parseParams("const char* conv_id, enum TIMConvType conv_type, const char* json, uint64_t seq, bool on, TIMCommCallback cb, const void* user_data")
	if err != nil {
		t.Fatal(err)
	}
	for call, want := range map[string]string{
		"Quit()":                       "ready(func(c *call, cl *client.Client) { cl.QuitFunc(c.done()) })",
		"Groups().Quit(conv_id, on)":   "ready(func(c *call, cl *client.Client) { cl.Groups().QuitFunc(c.text[0], c.num(2) != 0, c.done()) })",
		"Mark(conv, seq) []Message":    "ready(func(c *call, cl *client.Client) { cl.MarkFunc(c.conv(), uint64(c.num(1)), doneList[*im.Message](c)) })",
		"Find(json Message) Message":   "object(func(c *call, cl *client.Client, v *im.Message) { cl.FindFunc(v, doneOne[*im.Message](c)) })",
		"Set(json []Message)":          "list(func(c *call, cl *client.Client, v []*im.Message) { cl.SetFunc(v, c.done()) })",
		"Add(json ids, conv_type)":     "names(func(c *call, cl *client.Client, v []string) { cl.AddFunc(v, int32(c.num(0)), c.done()) })",
		"quit()":                       "",
		"Quit":                         "",
		"Quit(group_id)":               "",
		"Quit(user_data)":              "",
		"Quit(json ids, json Message)": "",
	} {
		f := &function{name: "f", class: "online", params: params, row: row{"call": call, "json": "json=object@-3"}}
		if got, err := f.handler(); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s (%v)", call, got, err)
		}
	}
	for _, f := range []*function{
		{name: "f", class: "sync", params: params, row: row{"call": "Quit()"}},
		{name: "f", class: "online", row: row{"call": "Quit(conv)"}},
		{name: "f", class: "online", params: params, row: row{"call": "Quit(json ids)"}},
	} {
		if got, err := f.handler(); err == nil {
			t.Errorf("%v: %s", f.row, got)
		}
	}
}
