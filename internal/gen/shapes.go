package main

import (
	"fmt"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// shapeTable writes the tables for im/check.go: the fields of every message on the wire, and how often they may occur.
func shapeTable(c *code, files []*protogen.File) error {
	all := onTheWire(files)
	flattened, removing := flattenedOf(all), removingOf(all)
	c.p("")
	c.p("const (")
	for i, m := range all {
		if i == 0 {
			c.p("shape%s = iota", m.GoIdent.GoName)
			continue
		}
		c.p("shape%s", m.GoIdent.GoName)
	}
	c.p(")")
	c.p("")
	c.p("var shapes = [...]shape{")
	totals := 0
	for _, m := range all {
		layers, _ := option(m.Desc, "layers").(uint32)
		removes := ""
		if removing[m] {
			removes = "removes: true, "
		}
		c.p("shape%s: {name: %q, size: sizeOf[%s](), layers: %d, %sfields: []shapeField{", m.GoIdent.GoName, m.Desc.Name(), m.GoIdent.GoName, layers, removes)
		counters, oneofs := 0, map[*protogen.Oneof]int{}
		for _, f := range m.Fields {
			kind, err := wireKind(f)
			if err != nil {
				return err
			}
			inAll, _ := option(f.Desc, "max_in_all").(uint32)
			if inAll > 0 && (f.Message == nil || !f.Desc.IsList()) {
				return fmt.Errorf("%s: max_in_all is for messages that are repeated", f.Desc.FullName())
			}
			most := uint64(0)
			switch {
			case f.Message == nil:
			case f.Desc.IsList():
				most, _ = option(f.Desc, "max").(uint64)
			default:
				most = 1 // a second one would be merged into the first
			}
			counter, total := 0, 0
			if most > 0 {
				if counter = oneofs[f.Oneof]; f.Oneof == nil || counter == 0 {
					counters++
					counter = counters
				}
				if f.Oneof != nil {
					oneofs[f.Oneof] = counter
				}
			}
			if inAll > 0 {
				totals++
				total = totals
			}
			name := string(f.Desc.Name())
			if boolOption(m.Desc, "tim") && !boolOption(f.Desc, "internal") && !boolOption(f.Desc, "flatten") {
				name = f.Desc.JSONName()
			}
			line := fmt.Sprintf("%d: {kind: %s, name: %q", f.Desc.Number(), kind, name)
			if f.Message != nil {
				line += fmt.Sprintf(", of: shape%s", f.Message.GoIdent.GoName)
			}
			if counter > 0 {
				line += fmt.Sprintf(", most: %d, counter: %d", most, counter)
			}
			if total > 0 {
				line += fmt.Sprintf(", inAll: %d, total: %d", inAll, total)
			}
			if limit, _ := option(f.Desc, "max").(uint64); limit > 0 && flattened[m] && !f.Desc.IsList() && f.Message == nil {
				line += fmt.Sprintf(", limit: %d", limit)
			}
			if removed := removedFrom(f); removed != "" {
				if kind != "wireText" && kind != "wireVarint" {
					return fmt.Errorf("%s: only texts and numbers are removed", f.Desc.FullName())
				}
				line += ", removed: " + removed
				id, err := formedFrom(m, f)
				if err != nil {
					return err
				}
				if id > 0 {
					line += fmt.Sprintf(", id: %d", id)
				}
			}
			c.p("%s},", line)
		}
		c.p("}},")
		if counters > mostCounters {
			return fmt.Errorf("%s: more than %d fields that are counted", m.Desc.FullName(), mostCounters)
		}
	}
	c.p("}")
	c.p("")
	c.p("const (")
	c.p("shapeCounters = %d", mostCounters)
	c.p("shapeTotals = %d", totals)
	c.p(")")
	for _, m := range all {
		c.p("")
		c.p("func (*%s) wireShape() int { return shape%s }", m.GoIdent.GoName, m.GoIdent.GoName)
	}
	return nil
}

// flattenedOf returns the messages that are flattened into another one: the bodies of elements.
func flattenedOf(all []*protogen.Message) map[*protogen.Message]bool {
	found := make(map[*protogen.Message]bool)
	for _, m := range all {
		for _, f := range m.Fields {
			if boolOption(f.Desc, "flatten") {
				found[f.Message] = true
			}
		}
	}
	return found
}

// removedFrom returns what im/check.go calls the sends from which a field is removed; "" for a field that stays.
func removedFrom(f *protogen.Field) string {
	switch {
	case boolOption(f.Desc, "local"):
		return "fromAll"
	case option(f.Desc, "formed") != nil:
		return "fromUsers"
	}
	return ""
}

// formedFrom returns the number of the field with the id from which a URL is formed; 0 for any other field.
func formedFrom(m *protogen.Message, f *protogen.Field) (protoreflect.FieldNumber, error) {
	name, _ := option(f.Desc, "formed").(string)
	if name == "" || f.Desc.Kind() != protoreflect.StringKind {
		return 0, nil
	}
	id := m.Desc.Fields().ByName(protoreflect.Name(name))
	if id == nil || id.Kind() != protoreflect.StringKind {
		return 0, fmt.Errorf("%s: formed names %q, which is no text of its message", f.Desc.FullName(), name)
	}
	return id.Number(), nil
}

// removingOf returns the messages that have, at any depth, a field that is removed.
func removingOf(all []*protogen.Message) map[*protogen.Message]bool {
	found := make(map[*protogen.Message]bool)
	for more := true; more; {
		more = false
		for _, m := range all {
			for _, f := range m.Fields {
				if !found[m] && (removedFrom(f) != "" || f.Message != nil && found[f.Message]) {
					found[m], more = true, true
				}
			}
		}
	}
	return found
}

// onTheWire returns the messages that calls, pushes and messages consist of, in the order of the contract.
func onTheWire(files []*protogen.File) (list []*protogen.Message) {
	found := make(map[*protogen.Message]bool)
	var find func(m *protogen.Message)
	find = func(m *protogen.Message) {
		if found[m] {
			return
		}
		found[m] = true
		for _, f := range m.Fields {
			if f.Message != nil {
				find(f.Message)
			}
		}
	}
	named := make(map[string]bool)
	for _, f := range files {
		for _, e := range f.Enums {
			for _, v := range e.Values {
				for _, o := range []protoreflect.Name{"request", "reply"} {
					name, _ := option(v.Desc, o).(string)
					named[name] = true
				}
			}
		}
	}
	for _, f := range files {
		for _, m := range f.Messages {
			if named[m.GoIdent.GoName] || boolOption(m.Desc, "tim") {
				find(m)
			}
		}
	}
	for _, f := range files {
		for _, m := range f.Messages {
			if found[m] {
				list = append(list, m)
			}
		}
	}
	return list
}

// mostCounters limits the counters of a message, which are on the stack of the check.
const mostCounters = 4

// wireKind is what a field is on the wire.
func wireKind(f *protogen.Field) (string, error) {
	switch f.Desc.Kind() {
	case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Sint32Kind,
		protoreflect.Sint64Kind, protoreflect.BoolKind, protoreflect.EnumKind:
		if f.Desc.IsList() {
			return "wireVarints", nil
		}
		return "wireVarint", nil
	case protoreflect.DoubleKind:
		if !f.Desc.IsList() {
			return "wireDouble", nil
		}
	case protoreflect.StringKind:
		return "wireText", nil
	case protoreflect.BytesKind:
		return "wireBytes", nil
	case protoreflect.MessageKind:
		if f.Desc.ParentFile().Package() == f.Message.Desc.ParentFile().Package() && !f.Desc.IsMap() {
			return "wireMessage", nil
		}
	}
	return "", fmt.Errorf("%s: no wire check for %s", f.Desc.FullName(), f.Desc.Kind())
}
