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
