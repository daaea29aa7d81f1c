package main

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// limitChecks writes the method Check of every request, and of the messages in it: whether each field is within its limit.
func limitChecks(c *code, files []*protogen.File) error {
	g := limitGen{c, make(map[string]*protogen.Message), make(map[string]bool)}
	for _, f := range files {
		for _, m := range f.Messages {
			g.messages[m.GoIdent.GoName] = m
		}
	}
	for _, f := range files {
		for _, e := range f.Enums {
			if e.GoIdent.GoName != "Method" {
				continue
			}
			for _, v := range e.Values {
				request, _ := option(v.Desc, "request").(string)
				m := g.messages[request]
				if m == nil || g.done[request+"!"] {
					continue
				}
				g.done[request+"!"] = true
				if err := g.message(m); err != nil {
					return err
				}
				c.p("")
				c.p("// Check says which field is beyond its limit.")
				c.p("func (m *%s) Check() error { return plain(m.check()) }", request)
			}
		}
	}
	return nil
}

type limitGen struct {
	*code
	messages map[string]*protogen.Message
	done     map[string]bool
}

// message writes the check of a message and of those in it.
func (g *limitGen) message(m *protogen.Message) error {
	name := m.GoIdent.GoName
	if g.done[name] {
		return nil
	}
	g.done[name] = true
	var inner []*protogen.Message
	g.p("")
	g.p("func (m *%s) check() *Error {", name)
	g.p("if m == nil { return nil }")
	for _, f := range m.Fields {
		in, err := g.field(f)
		if err != nil {
			return err
		}
		if in != nil {
			inner = append(inner, in)
		}
	}
	g.p("return nil")
	g.p("}")
	for _, in := range inner {
		if err := g.message(in); err != nil {
			return err
		}
	}
	return nil
}

// field writes the check of a field, and returns the message that must be checked for it.
func (g *limitGen) field(f *protogen.Field) (*protogen.Message, error) {
	d := f.Desc
	limit, limited := option(d, "max").(uint64)
	value := "m.Get" + f.GoName + "()"
	call := func(format string, args ...any) {
		g.p("if err := %s; err != nil { return err }", fmt.Sprintf(format, args...))
	}
	need := func() error {
		if !limited {
			return fmt.Errorf("%s: a field of a request needs a max", d.FullName())
		}
		return nil
	}
	switch {
	case d.IsMap() || d.ContainingOneof() != nil && !d.ContainingOneof().IsSynthetic():
		return nil, fmt.Errorf("%s: requests have no maps and no oneofs", d.FullName())
	case d.IsList():
		call("checkItems(%q, len(%s), %d)", d.Name(), value, limit)
		switch d.Kind() {
		case protoreflect.StringKind:
			each, ok := option(d, "max_each").(uint64)
			if !ok {
				return nil, fmt.Errorf("%s: a list of texts in a request needs a max_each", d.FullName())
			}
			g.p("for i, x := range %s { if err := checkText(\"\", x, %d); err != nil { return err.in(%q, i) } }", value, each, d.Name())
			return nil, need()
		case protoreflect.MessageKind:
			g.p("for i, x := range %s { if err := x.check(); err != nil { return err.in(%q, i) } }", value, d.Name())
			return f.Message, need()
		case protoreflect.Uint64Kind:
			g.p("for i, x := range %s { if err := checkNumber(\"\", x, %d); err != nil { return err.in(%q, i) } }", value, int64(math.MaxInt64), d.Name())
			return nil, need()
		}
		return nil, fmt.Errorf("%s: no check is known for a list of these", d.FullName())
	}
	switch d.Kind() {
	case protoreflect.StringKind:
		call("checkText(%q, %s, %d)", d.Name(), value, limit)
		return nil, need()
	case protoreflect.BytesKind:
		call("checkSize(%q, len(%s), %d)", d.Name(), value, limit)
		return nil, need()
	case protoreflect.MessageKind:
		if limited {
			call("checkMessage(%q, %s.SizeVT(), %d)", d.Name(), value, limit)
			return nil, nil
		}
		g.p("if err := %s.check(); err != nil { return err.in(%q, -1) }", value, d.Name())
		return f.Message, nil
	case protoreflect.Uint64Kind, protoreflect.Uint32Kind:
		if !limited {
			limit = math.MaxInt64
		}
		if limited || d.Kind() == protoreflect.Uint64Kind {
			call("checkNumber(%q, uint64(%s), %d)", d.Name(), value, limit)
		}
		return nil, nil
	case protoreflect.Int64Kind, protoreflect.Int32Kind:
		if !limited {
			limit = math.MaxInt64
		}
		call("checkSigned(%q, int64(%s), %d)", d.Name(), value, limit)
		return nil, nil
	case protoreflect.BoolKind, protoreflect.EnumKind:
		return nil, nil
	}
	return nil, fmt.Errorf("%s: no check is known for a %s", d.FullName(), d.Kind())
}
