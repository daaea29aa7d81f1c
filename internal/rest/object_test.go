package rest

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/restjson"
)

// sample has a field of each kind.
type sample struct {
	Text  string
	Names []string
	Items []sampleItem
	Part  sampleItem
	Maybe *sampleItem
	Count *uint32
	Word  *string
	Body  msgBody
	Most  int64
	On    restjson.Flag
}

type sampleItem struct{ Key string }

func (r *sample) read(o *object) {
	text(o, &r.Text, needs(1, 2), "Text", "Older")
	list(o, &r.Names, needs(3).limit(2, 4), "Names")
	objects(o, &r.Items, needs(5).limit(3, 14), "Items")
	inner(o, &r.Part, needs(6), "Part")
	innerMaybe(o, &r.Maybe, may(7), "Maybe")
	maybe(o, &r.Count, may(8), "Count")
	maybe(o, &r.Word, may(12).limit(3, 13), "Word")
	elements(o, &r.Body, needs(15, 16), "Body")
	r.Most = 9
	value(o, &r.Most, may(9), "Most")
	value(o, &r.On, may(10), "On")
}

func (r *sampleItem) read(o *object) { text(o, &r.Key, needs(11), "key") }

const (
	whole = `{"Text":"t","Names":["a"],"Items":[{"key":"k"}],"Part":{"key":"p"},"Maybe":{"key":"m"},"Count":0,"Word":"abc","Body":[],"Most":3,"On":1,"unknown":{}}`
	least = `{"Older":"t","Names":["a"],"Items":[{"key":"k"}],"Part":{"key":"p"},"Maybe":null,"Count":null}`
)

// TestObject: fields are read by their exact names and older spellings, absent ones have the table's defaults, and unknown ones are ignored.
func TestObject(t *testing.T) {
	count, word := uint32(0), "abc"
	for body, want := range map[string]*sample{
		whole: {"t", []string{"a"}, []sampleItem{{"k"}}, sampleItem{"p"}, &sampleItem{"m"}, &count, &word, msgBody{[]byte("[]"), needs(15, 16)}, 3, true},
		least: {"t", []string{"a"}, []sampleItem{{"k"}}, sampleItem{"p"}, nil, nil, nil, msgBody{nil, needs(15, 16)}, 9, false},
	} {
		got, err := readBody[sample](([]byte)(body))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %+v, %v", body, got, err)
		}
	}
}

// TestObjectRefusals: the first wrong field is named, with its place and its code.
func TestObjectRefusals(t *testing.T) {
	for _, c := range []struct {
		from, to string
		code     int32
		text     string
	}{
		{`"Text":"t"`, `"Text":""`, 1, "Text is missing"},
		{`"Text":"t"`, `"text":"t"`, 1, "Text is missing"},
		{`"Text":"t"`, `"Text":null`, 1, "Text is missing"},
		{`"Text":"t"`, `"Text":7`, 2, "Text has a value of the wrong type"},
		{`"Text":"t"`, `"Older":7`, 2, "Older has a value of the wrong type"},
		{`["a"]`, `[]`, 3, "Names is missing"},
		{`["a"]`, `"a"`, 3, "Names has a value"},
		{`["a"]`, `["a","b","c"]`, 4, "Names has 3 items, more than 2"},
		{`[{"key":"k"}]`, `[]`, 5, "Items is missing"},
		{`[{"key":"k"}]`, `{}`, 5, "Items has a value"},
		{`[{"key":"k"}]`, `[{"key":"k"},{"Key":"k"}]`, 11, "Items[1].key is missing"},
		{`[{"key":"k"}]`, `[{"key":"k"},null]`, 11, "Items[1].key is missing"},
		{`"Part":{"key":"p"},`, ``, 6, "Part is missing"},
		{`{"key":"p"}`, `[]`, 6, "Part has a value"},
		{`{"key":"p"}`, `{"key":1}`, 11, "Part.key has a value"},
		{`{"key":"m"}`, `{}`, 11, "Maybe.key is missing"},
		{`"Count":0`, `"Count":"0"`, 8, "Count has a value"},
		{`"Count":0`, `"Count":4294967296`, 8, "Count has a value of the wrong type, or out of range"},
		{`[{"key":"k"}]`, `[{},{},{},{}]`, 14, "Items has 4 items, more than 3"},
		{`[{"key":"k"}]`, `[{"key":"k"},7]`, 5, "Items has a value"},
		{`"abc"`, `"abcd"`, 13, "Word has 4 bytes, more than 3"},
		{`"Most":3`, `"Most":1.5`, 9, "Most has a value"},
		{`"On":1`, `"On":2`, 10, "On is neither 0 nor 1"},
		{whole, `[]`, codeNotJSON, "not a JSON object"},
		{whole, `{}`, 1, "Text is missing"},
	} {
		body := strings.Replace(whole, c.from, c.to, 1)
		_, err := readBody[sample]([]byte(body))
		if im.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s is refused with %v, want %d %s", body, err, c.code, c.text)
		}
		if body == whole {
			t.Errorf("%s is not in the body", c.from)
		}
	}
	for body, want := range map[string]bool{`{"On":true}`: true, `{"On":false}`: false, `{"On":1}`: true} {
		var v struct{ On restjson.Flag }
		if err := json.Unmarshal([]byte(body), &v); err != nil || bool(v.On) != want {
			t.Errorf("%s: %v, %v", body, v.On, err)
		}
	}
}

// TestElements: elements are read when the call asks for them, and refused with the codes of the call.
func TestElements(t *testing.T) {
	for body, code := range map[string]int32{`null`: 15, `[]`: 15, `{}`: 15, `[{}]`: 16, `[{"MsgType":"TIMTextElem","MsgContent":{"Text":1}}]`: 16,
		`[{"MsgType":"TIMTextElem","MsgContent":{"Text":"x"}}]`: 0} {
		r, err := readBody[sample]([]byte(strings.Replace(whole, `"Body":[]`, `"Body":`+body, 1)))
		if err != nil || r.Body.there() != (body != "null") {
			t.Fatalf("%s: %v", body, err)
		}
		if elems, err := r.Body.elems(); im.CodeOf(err) != code || (code == 0) != (len(elems) == 1) {
			t.Errorf("%s has %d elements, %v, want %d", body, len(elems), err, code)
		}
	}
}
