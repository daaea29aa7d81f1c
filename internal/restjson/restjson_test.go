package restjson

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
)

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSample reads a sample of each element and writes the same JSON.
func TestSample(t *testing.T) {
	sample, err := os.ReadFile("testdata/msgbody.json")
	if err != nil {
		t.Fatal(err)
	}
	elems, err := ReadBody(sample)
	if err != nil {
		t.Fatal(err)
	}
	if len(elems) != 9 || elems[1].GetLocation().Latitude != 54.32 || elems[2].GetFace().Buf != "smile" || elems[3].GetCustom().Data != `{"k":1}` ||
		elems[8].GetMerger().MessageArray[0].ElemArray[0].GetText().Content != "hi" {
		t.Errorf("read %v", elems)
	}
	var got, want any
	if err := json.Unmarshal(marshal(t, Body(&im.Message{ElemArray: elems})), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(sample, &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("wrote %v\nwant  %v", got, want)
	}
}

func TestMarshalKeepsText(t *testing.T) {
	const s = "<a href=\"x\">&</a>\u2028\x00\U0001f600"
	b := marshal(t, Body(im.Text(s)))
	if bytes.Contains(b, []byte(`\u003c`)) {
		t.Errorf("escaped for HTML: %s", b)
	}
	elems, err := ReadBody(b)
	if err != nil || elems[0].GetText().Content != s {
		t.Errorf("came back as %v, %v", elems, err)
	}
}

func TestBadBodies(t *testing.T) {
	for _, c := range []struct {
		body string
		code int32
		says string
	}{
		{``, CodeBodyEmpty, "array"},
		{`null`, CodeBodyEmpty, "array"},
		{`[]`, CodeBodyEmpty, "array"},
		{`"hi"`, CodeBodyEmpty, "array"},
		{`{"MsgType":"TIMTextElem"}`, CodeBodyEmpty, "array"},
		{`["hi"]`, CodeElement, "MsgBody[0]"},
		{`[{"MsgContent":{"Text":"x"}}]`, CodeElement, "MsgType"},
		{`[{"MsgType":"TIMTextElem"}]`, CodeElement, "MsgContent"},
		{`[{"MsgType":"TIMTextElem","MsgContent":null}]`, CodeElement, "MsgContent"},
		{`[{"MsgType":"TIMTextElem","MsgContent":{"Text":1}}]`, CodeElement, "TIMTextElem"},
		{`[{"MsgType":"TIMTextElem","MsgContent":{"Text":"a"}},{"MsgType":"TIMFaceElem","MsgContent":{"Index":"1"}}]`, CodeElement, "MsgBody[1]"},
		{`[{"MsgType":"TIMDanceElem","MsgContent":{}}]`, CodeElement, "TIMDanceElem"},
		{`[{"MsgType":"TIMRelayElem","MsgContent":{"MsgList":[{"MsgBody":[{"MsgType":"x"}]}]}}]`, CodeElement, "MsgList[0]"},
	} {
		_, err := ReadBody([]byte(c.body))
		if im.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %d with %q", c.body, err, c.code, c.says)
		}
	}
}

// TestLimits: what does not fit into one message is refused while it is read, and a number that JSON does not have is an error, not a panic.
func TestLimits(t *testing.T) {
	relay := func(list ...string) string {
		return `{"MsgType":"TIMRelayElem","MsgContent":{"CompatibleText":"c","MsgList":[` + strings.Join(list, ",") + `]}}`
	}
	layers := func(n int) string {
		e := `{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}`
		for range n {
			e = relay(`{"MsgBody":[` + e + `]}`)
		}
		return "[" + e + "]"
	}
	many := func(n int, s string) string { return strings.Repeat(s+",", n-1) + s }
	for _, c := range []struct {
		name, body string
		code       int32
	}{
		{"100 layers", layers(im.MaxLayers), 0},
		{"101 layers", layers(im.MaxLayers + 1), im.CodeMergerLayers},
		{"1000 layers", layers(1000), im.CodeMergerLayers},
		{"300 messages", "[" + relay(many(im.MaxMerged, "{}")) + "]", 0},
		{"301 messages", "[" + relay(many(im.MaxMerged+1, "{}")) + "]", CodeElement},
		{"1200 messages in all", "[" + many(4, relay(many(im.MaxMerged, "{}"))) + "]", CodeElement},
		{"101 elements", "[" + many(im.MaxElems+1, `{"MsgType":"TIMTextElem","MsgContent":{}}`) + "]", CodeElement},
	} {
		elems, err := ReadBody([]byte(c.body))
		if im.CodeOf(err) != c.code || c.code == 0 && err != nil {
			t.Errorf("%s: %v, want %d", c.name, err, c.code)
		}
		if err != nil {
			continue
		}
		again, err := ReadBody(marshal(t, Body(&im.Message{ElemArray: elems})))
		if err != nil || len(again) != len(elems) {
			t.Errorf("%s does not come back: %v", c.name, err)
		}
	}
	if b, err := Marshal(Body(im.Location("nowhere", math.NaN(), 0))); err == nil {
		t.Errorf("NaN became %s", b)
	}
}

func TestKeys(t *testing.T) {
	if k := Key(41, 4294967295, 1700000000); k != "41_4294967295_1700000000" {
		t.Errorf("made %q", k)
	}
	seq, random, time, ok := ReadKey("41_4294967295_1700000000")
	if !ok || seq != 41 || random != 4294967295 || time != 1700000000 {
		t.Errorf("read %d %d %d %v", seq, random, time, ok)
	}
	for _, bad := range []string{"", "1", "1_2", "1_2_3_4", "a_2_3", "1_4294967296_3", "1_2_-3", "_2_3", "1__3"} {
		if _, _, _, ok := ReadKey(bad); ok {
			t.Errorf("%q is taken", bad)
		}
	}
}
