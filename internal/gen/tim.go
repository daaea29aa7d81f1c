package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// timCodec writes AppendTIM and ParseTIM for every message with the option tim. The functions that they use are in im/json_write.go and
// im/json_read.go.
func timCodec(c *code, files []*protogen.File) error {
	for _, f := range files {
		for _, m := range f.Messages {
			if !boolOption(m.Desc, "tim") {
				continue
			}
			o, err := newObject(m)
			if err != nil {
				return err
			}
			o.appendMethod(c)
			o.parseMethod(c)
		}
	}
	return nil
}

// object is what the codec of one message is written from.
type object struct {
	name string // the Go type
	keys []key
	// Set if exactly one of several messages has its keys beside ours; an enum field selects it.
	oneof   *protogen.Oneof
	kind    *protogen.Field
	raw     *protogen.Field
	choices []choice
}

// key is a JSON key of an object, by its own name or an older spelling.
type key struct {
	text  string
	field *protogen.Field
	// Set if the key belongs to a message whose keys are beside ours.
	flat *protogen.Field
}

type choice struct {
	value *protogen.EnumValue
	field *protogen.Field
	keys  []key
}

func newObject(m *protogen.Message) (*object, error) {
	o := &object{name: m.GoIdent.GoName}
	for _, f := range m.Fields {
		if boolOption(f.Desc, "internal") {
			if f.Desc.Kind() == protoreflect.BytesKind && f.Desc.Name() == "raw" {
				o.raw = f
			}
			continue
		}
		oneof := f.Oneof
		if oneof != nil && oneof.Desc.IsSynthetic() { // an optional field
			oneof = nil
		}
		if !boolOption(f.Desc, "flatten") {
			if oneof != nil {
				return nil, fmt.Errorf("%s: a oneof has a JSON form only if its fields are flattened", f.Desc.FullName())
			}
			if err := check(f); err != nil {
				return nil, err
			}
			o.keys = append(o.keys, keysOf(f)...)
			continue
		}
		keys, err := flatKeys(f)
		if err != nil {
			return nil, err
		}
		if oneof == nil {
			o.keys = append(o.keys, keys...)
			continue
		}
		if o.oneof != nil && o.oneof != oneof {
			return nil, fmt.Errorf("%s: two flattened oneofs", m.Desc.FullName())
		}
		o.oneof = oneof
		o.choices = append(o.choices, choice{field: f, keys: keys})
	}
	if o.oneof != nil {
		if err := o.findKind(m); err != nil {
			return nil, err
		}
	}
	if f := endless(m, nil); f != nil {
		return nil, fmt.Errorf("%s: written with its defaults it never ends; it needs omit_empty", f.Desc.FullName())
	}
	seen := make(map[string]bool)
	for _, k := range o.allKeys() {
		if seen[k.text] {
			return nil, fmt.Errorf("%s: two fields with the key %s", m.Desc.FullName(), k.text)
		}
		seen[k.text] = true
	}
	return o, nil
}

// findKind finds the enum field that selects the field of the oneof: for each of them, its enum has a value whose name ends in the field's name.
func (o *object) findKind(m *protogen.Message) error {
	for _, f := range m.Fields {
		if f.Enum == nil {
			continue
		}
		found := 0
		for i := range o.choices {
			suffix := "_" + strings.ToUpper(string(o.choices[i].field.Desc.Name()))
			for _, v := range f.Enum.Values {
				if strings.HasSuffix(string(v.Desc.Name()), suffix) {
					o.choices[i].value = v
					found++
				}
			}
		}
		if found == len(o.choices) {
			o.kind = f
		}
	}
	if o.kind == nil {
		return fmt.Errorf("%s: no enum field names the fields of the oneof", m.Desc.FullName())
	}
	if o.raw == nil {
		return fmt.Errorf("%s: a flattened oneof needs an internal `bytes raw` for kinds that are not known", m.Desc.FullName())
	}
	return nil
}

func (o *object) allKeys() []key {
	keys := slices.Clone(o.keys)
	for _, c := range o.choices {
		keys = append(keys, c.keys...)
	}
	return keys
}

// check refuses what the codec cannot write or the options cannot mean.
func check(f *protogen.Field) error {
	d := f.Desc
	bad := func(why string) error { return fmt.Errorf("%s: %s", d.FullName(), why) }
	zeroAs := option(d, "zero_as") != nil
	switch d.Kind() {
	case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.EnumKind:
		if zeroAs && d.IsList() {
			return bad("zero_as is for single numbers")
		}
	case protoreflect.StringKind, protoreflect.BoolKind, protoreflect.DoubleKind, protoreflect.MessageKind:
		if zeroAs {
			return bad("zero_as is for integers and enums")
		}
	default:
		return bad("no TIM JSON form for " + d.Kind().String())
	}
	if d.IsMap() {
		return bad("no TIM JSON form for maps")
	}
	if f.Message != nil && !boolOption(f.Message.Desc, "tim") {
		return bad(string(f.Message.Desc.Name()) + " has no TIM JSON form")
	}
	if name := option(d, "written_if"); name != nil {
		if by := writtenIf(f); by == nil || by.Desc.Kind() != protoreflect.BoolKind || by.Desc.IsList() || !boolOption(by.Desc, "internal") || !d.IsList() || boolOption(d, "omit_empty") {
			return bad(fmt.Sprintf("written_if is for lists, and names an internal bool field, not %v", name))
		}
	}
	if boolOption(d, "omit_empty") && (zeroAs || d.HasOptionalKeyword()) {
		return bad("omit_empty contradicts optional and zero_as")
	}
	return nil
}

func keysOf(f *protogen.Field) []key {
	keys := []key{{text: f.Desc.JSONName(), field: f}}
	if old, ok := option(f.Desc, "old").(protoreflect.List); ok {
		for i := range old.Len() {
			keys = append(keys, key{text: old.Get(i).String(), field: f})
		}
	}
	return keys
}

// flatKeys returns the keys of a message that has no JSON object of its own.
func flatKeys(flat *protogen.Field) ([]key, error) {
	if flat.Message == nil || flat.Desc.IsList() || !boolOption(flat.Message.Desc, "tim") {
		return nil, fmt.Errorf("%s: flatten is for single messages with a TIM JSON form", flat.Desc.FullName())
	}
	o, err := newObject(flat.Message)
	if err != nil {
		return nil, err
	}
	if o.oneof != nil {
		return nil, fmt.Errorf("%s: the flattened message has a flattened oneof itself", flat.Desc.FullName())
	}
	for i := range o.keys {
		if o.keys[i].flat != nil {
			return nil, fmt.Errorf("%s: flattened twice", flat.Desc.FullName())
		}
		o.keys[i].flat = flat
	}
	return o.keys, nil
}

// endless finds a field whose defaults make a message contain itself.
func endless(m *protogen.Message, path []*protogen.Message) *protogen.Field {
	path = append(path, m)
	for _, f := range m.Fields {
		if f.Message == nil || f.Desc.IsList() || boolOption(f.Desc, "omit_empty") || boolOption(f.Desc, "internal") {
			continue
		}
		if slices.Contains(path, f.Message) {
			return f
		}
		if found := endless(f.Message, path); found != nil {
			return found
		}
	}
	return nil
}

func (o *object) appendMethod(c *code) {
	c.p("")
	c.p("func (m *%s) AppendTIM(b []byte) []byte {", o.name)
	c.p("start := len(b)")
	if o.oneof != nil {
		c.p("switch m.Get%s() {", o.kind.GoName)
		for _, choice := range o.choices {
			c.p("case %s:", choice.value.GoIdent.GoName)
			o.appendKeys(c, append(slices.Clone(o.keys), choice.keys...))
			c.p("return closeObject(b, start)")
		}
		c.p("}")
		c.p("if b, ok := appendRaw(b, m.Get%s(), %q, int32(m.Get%s())); ok {", o.raw.GoName, o.kind.Desc.JSONName(), o.kind.GoName)
		c.p("return b")
		c.p("}")
	}
	o.appendKeys(c, slices.Clone(o.keys))
	c.p("return closeObject(b, start)")
	c.p("}")
}

func (o *object) appendKeys(c *code, keys []key) {
	slices.SortFunc(keys, func(a, b key) int { return cmp.Compare(a.text, b.text) })
	for _, k := range keys {
		owner := "m"
		if k.flat != nil {
			owner = "m.Get" + k.flat.GoName + "()"
		}
		appendKey(c, k, owner)
	}
}

// appendKey writes the code for one key of the message that owner gives, which may be nil.
func appendKey(c *code, k key, owner string) {
	f := k.field
	value := owner + ".Get" + f.GoName + "()"
	zeroAs := option(f.Desc, "zero_as")
	head := fmt.Sprintf("b = append(b, `,%q:`...)", k.text)
	write := func(value string) string { return "b = " + appendCall(f, value) }
	switch {
	case f.Desc.HasOptionalKeyword() && f.Message == nil:
		if zeroAs != nil {
			c.p("%s", head)
		}
		c.p("if v := %s; v != nil && v.%s != nil {", owner, f.GoName)
		if zeroAs == nil {
			c.p("%s", head)
		}
		c.p("%s", write("*v."+f.GoName))
		if zeroAs != nil {
			c.p("} else {")
			c.p("b = append(b, %q...)", fmt.Sprint(zeroAs))
		}
		c.p("}")
	case zeroAs != nil:
		c.p("%s", head)
		c.p("if v := %s; v != 0 {", value)
		c.p("%s", write("v"))
		c.p("} else {")
		c.p("b = append(b, %q...)", fmt.Sprint(zeroAs))
		c.p("}")
	case writtenIf(f) != nil:
		c.p("if %s.Get%s() {", owner, writtenIf(f).GoName)
		c.p("%s", head)
		c.p("%s", write(value))
		c.p("}")
	case boolOption(f.Desc, "omit_empty"):
		c.p("if v := %s; %s {", value, notEmpty(f))
		c.p("%s", head)
		c.p("%s", write("v"))
		c.p("}")
	default:
		c.p("%s", head)
		c.p("%s", write(value))
	}
}

// writtenIf returns the field that says whether a list is there; nil if it always is.
func writtenIf(f *protogen.Field) *protogen.Field {
	name, _ := option(f.Desc, "written_if").(string)
	for _, other := range f.Parent.Fields {
		if name != "" && string(other.Desc.Name()) == name {
			return other
		}
	}
	return nil
}

// notEmpty returns the condition that v is not empty.
func notEmpty(f *protogen.Field) string {
	switch {
	case f.Desc.IsList():
		return "len(v) > 0"
	case f.Message != nil:
		return "v != nil"
	case f.Desc.Kind() == protoreflect.StringKind:
		return `v != ""`
	case f.Desc.Kind() == protoreflect.BoolKind:
		return "v"
	}
	return "v != 0"
}

func appendCall(f *protogen.Field, value string) string {
	switch {
	case f.Desc.IsList() && f.Message != nil:
		return "appendMessages(b, " + value + ")"
	case f.Desc.IsList():
		return fmt.Sprintf("appendArray(b, %s, %s)", value, appendFunc(f))
	case f.Message != nil:
		return value + ".AppendTIM(b)"
	}
	return fmt.Sprintf("%s(b, %s)", appendFunc(f), value)
}

func appendFunc(f *protogen.Field) string {
	switch f.Desc.Kind() {
	case protoreflect.StringKind:
		return "appendString"
	case protoreflect.BoolKind:
		return "appendBool"
	case protoreflect.DoubleKind:
		return "appendDouble"
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return "appendUint"
	}
	return "appendInt"
}

func (o *object) parseMethod(c *code) {
	c.p("")
	c.p("func (m *%s) ParseTIM(r *JSONReader) error {", o.name)
	if o.oneof == nil {
		c.p("return readObject(r, m)")
		c.p("}")
		c.p("")
		c.p("func (m *%s) parseTIMKey(r *JSONReader, key []byte) (err error) {", o.name)
		o.parseKeys(c, "m.%s, err = %s")
		c.p("}")
		return
	}

	parser := "parse" + o.name
	c.p("p := %s{m: m}", parser)
	c.p("start := r.offset()")
	c.p("if err := readObject(r, &p); err != nil {")
	c.p("return err")
	c.p("}")
	c.p("if !p.found {")
	c.p("return r.missing(%q)", o.kind.Desc.JSONName())
	c.p("}")
	c.p("switch m.%s {", o.kind.GoName)
	for _, choice := range o.choices {
		c.p("case %s:", choice.value.GoIdent.GoName)
		c.p("body, err := p.%s.take()", partName(choice.field))
		c.p("m.%s = &%s{%s: body}", o.oneof.GoName, choice.field.GoIdent.GoName, choice.field.GoName)
		c.p("return err")
	}
	c.p("}")
	c.p("m.%s = r.since(start)", o.raw.GoName)
	c.p("return nil")
	c.p("}")
	c.p("")
	c.p("type %s struct {", parser)
	c.p("m *%s", o.name)
	c.p("found bool")
	for _, choice := range o.choices {
		name := choice.field.Message.GoIdent.GoName
		c.p("%s part[%s, *%s]", partName(choice.field), name, name)
	}
	c.p("}")
	c.p("")
	c.p("func (p *%s) parseTIMKey(r *JSONReader, key []byte) (err error) {", parser)
	o.parseKeys(c, "p.m.%s, err = %s")
	c.p("}")
}

// partName returns the name of a field of the parser of an object with a flattened oneof.
func partName(f *protogen.Field) string {
	return strings.ToLower(f.GoName[:1]) + f.GoName[1:] + "Part"
}

// parseKeys writes the switch over the keys; assign has a verb for the field and one for the read.
func (o *object) parseKeys(c *code, assign string) {
	c.p("switch string(key) {")
	for _, f := range uniqueFields(o.keys) {
		var own []string
		for _, k := range o.keys {
			if k.field == f.field && k.flat == f.flat {
				own = append(own, fmt.Sprintf("%q", k.text))
			}
		}
		c.p("case %s:", strings.Join(own, ", "))
		if f.flat != nil {
			receiver := strings.TrimSuffix(strings.Fields(assign)[0], ".%s,")
			c.p("if %s.%s == nil {", receiver, f.flat.GoName)
			c.p("%s.%s = new(%s)", receiver, f.flat.GoName, f.flat.Message.GoIdent.GoName)
			c.p("}")
			c.p("err = %s.%s.parseTIMKey(r, key)", receiver, f.flat.GoName)
			continue
		}
		if f.field == o.kind {
			c.p("p.found = !r.null()")
		}
		if by := writtenIf(f.field); by != nil {
			holder, _, _ := strings.Cut(assign, "%s")
			c.p("%s%s = !r.null()", holder, by.GoName)
		}
		c.p(assign, f.field.GoName, readCall(f.field))
	}
	for _, choice := range o.choices {
		var own []string
		for _, k := range choice.keys {
			own = append(own, fmt.Sprintf("%q", k.text))
		}
		c.p("case %s:", strings.Join(own, ", "))
		c.p("err = p.%s.parseTIMKey(r, key)", partName(choice.field))
	}
	c.p("default:")
	c.p("err = r.skip()")
	c.p("}")
	c.p("return err")
}

// uniqueFields drops the older spellings.
func uniqueFields(keys []key) []key {
	return slices.CompactFunc(slices.Clone(keys), func(a, b key) bool { return a.field == b.field && a.flat == b.flat })
}

func readCall(f *protogen.Field) string {
	switch {
	case f.Desc.IsList():
		return fmt.Sprintf("readArray(r, %s)", readFunc(f))
	case f.Desc.HasOptionalKeyword() && f.Message == nil:
		return fmt.Sprintf("readOptional(r, %s)", readFunc(f))
	}
	return readFunc(f) + "(r)"
}

func readFunc(f *protogen.Field) string {
	switch f.Desc.Kind() {
	case protoreflect.StringKind:
		return "readString"
	case protoreflect.BoolKind:
		return "readBool"
	case protoreflect.DoubleKind:
		return "readDouble"
	case protoreflect.EnumKind:
		return "readInt[" + f.Enum.GoIdent.GoName + "]"
	case protoreflect.MessageKind:
		return "readMessage[" + f.Message.GoIdent.GoName + "]"
	}
	return "readInt[" + f.Desc.Kind().String() + "]" // the names of Go and protobuf are the same
}
