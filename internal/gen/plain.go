package main

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/pluginpb"
)

// plainTag is the build tag under which the types of package im are plain structs. They have the same fields, wire code and JSON as the others, but
// not protobuf's reflection, which takes more than a megabyte of a program.
const plainTag = "tidings_plain"

// paramsFile is the file of the contract whose messages never cross the wire: they are plain structs in every build.
const paramsFile = "api/params.proto"

// split divides the contract into what crosses the wire and what does not.
func split(req *pluginpb.CodeGeneratorRequest) (wire, plain *pluginpb.CodeGeneratorRequest) {
	wire, plain = proto.CloneOf(req), proto.CloneOf(req)
	plain.FileToGenerate = []string{paramsFile}
	wire.FileToGenerate = slices.DeleteFunc(wire.FileToGenerate, func(name string) bool { return name == paramsFile })
	return wire, plain
}

// vtprotoVersions is the part of the files of protoc-gen-go-vtproto that needs protobuf's runtime: a check of versions, which go.mod ensures anyway.
var vtprotoVersions = regexp.MustCompile(`(?s)\tprotoimpl "google.golang.org/protobuf/runtime/protoimpl"\n|const \(\n\t// Verify that this generated code.*?\n\)\n\n`)

// apart removes protobuf's types from builds with the tag, and its runtime from the wire code, which both kinds of types share.
func apart(files map[string][]byte) error {
	for name, text := range files {
		if !strings.HasSuffix(name, "_vtproto.pb.go") {
			first, rest, _ := bytes.Cut(text, []byte("\n"))
			files[name] = fmt.Appendf(nil, "%s\n\n//go:build !%s\n\n%s", first, plainTag, rest)
			continue
		}
		if files[name] = vtprotoVersions.ReplaceAll(text, nil); bytes.Contains(files[name], []byte("google.golang.org/protobuf")) {
			return fmt.Errorf("%s still needs protobuf's runtime", name)
		}
	}
	return nil
}

// plainTypes writes enums and messages as plain Go types that fit the wire code of protoc-gen-go-vtproto.
func plainTypes(c *code, files []*protogen.File) error { return writePlain(c, files, true) }

// plainParams does so for what never crosses the wire.
func plainParams(c *code, files []*protogen.File) error { return writePlain(c, files, false) }

func writePlain(c *code, files []*protogen.File, wire bool) error {
	for _, f := range files {
		for _, e := range f.Enums {
			plainEnum(c, e)
		}
		for _, m := range f.Messages {
			if err := plainMessage(c, m, wire); err != nil {
				return err
			}
		}
	}
	return nil
}

func plainEnum(c *code, e *protogen.Enum) {
	name := e.GoIdent.GoName
	c.p("\n%stype %s int32", e.Comments.Leading, name)
	c.p("\nconst (")
	for _, v := range e.Values {
		c.p("%s%s %s = %d%s", v.Comments.Leading, v.GoIdent.GoName, name, v.Desc.Number(), trailing(v.Comments))
	}
	c.p(")")
	c.p("\nvar (\n%s_name = map[int32]string{", name)
	for _, v := range e.Values {
		c.p("%d: %q,", v.Desc.Number(), v.Desc.Name())
	}
	c.p("}\n%s_value = map[string]int32{", name)
	for _, v := range e.Values {
		c.p("%q: %d,", v.Desc.Name(), v.Desc.Number())
	}
	c.p("}\n)")
	c.p("\nfunc (x %s) Enum() *%s { return &x }", name, name)
	c.p("\nfunc (x %s) String() string { return enumString(%s_name, int32(x)) }", name, name)
}

// trailing is a comment behind a line.
func trailing(s protogen.CommentSet) string {
	return " " + strings.TrimSuffix(s.Trailing.String(), "\n")
}

func plainMessage(c *code, m *protogen.Message, wire bool) error {
	name := m.GoIdent.GoName
	if len(m.Enums) > 0 || slices.ContainsFunc(m.Messages, func(in *protogen.Message) bool { return !in.Desc.IsMapEntry() }) {
		return fmt.Errorf("%s: messages do not hold declarations", m.Desc.FullName())
	}
	c.p("\n%stype %s struct {", m.Comments.Leading, name)
	for _, f := range m.Fields {
		if o := realOneof(f); o != nil {
			if o.Fields[0] == f {
				c.p("%s%s is%s", o.Comments.Leading, o.GoName, o.GoIdent.GoName)
			}
			continue
		}
		typ, err := goType(f)
		if err != nil {
			return err
		}
		if f.Desc.HasOptionalKeyword() && f.Message == nil && f.Desc.Kind() != protoreflect.BytesKind {
			typ = "*" + typ
		}
		c.p("%s%s %s%s", f.Comments.Leading, f.GoName, typ, trailing(f.Comments))
	}
	if wire {
		c.p("\nunknownFields []byte")
	}
	c.p("}")
	c.p("\nfunc (x *%s) Reset() { *x = %s{} }", name, name)
	for _, f := range m.Fields {
		o := realOneof(f)
		if o != nil && o.Fields[0] == f {
			c.p("\nfunc (x *%s) Get%s() is%s {\nif x != nil {\nreturn x.%s\n}\nreturn nil\n}", name, o.GoName, o.GoIdent.GoName, o.GoName)
		}
		if err := plainGetter(c, name, f, o); err != nil {
			return err
		}
	}
	for _, o := range m.Oneofs {
		if o.Desc.IsSynthetic() {
			continue
		}
		c.p("\ntype is%s interface{ is%s() }", o.GoIdent.GoName, o.GoIdent.GoName)
		for _, f := range o.Fields {
			typ, err := goType(f)
			if err != nil {
				return err
			}
			c.p("\ntype %s struct{ %s %s }", f.GoIdent.GoName, f.GoName, typ)
			c.p("\nfunc (*%s) is%s() {}", f.GoIdent.GoName, o.GoIdent.GoName)
		}
	}
	return nil
}

// realOneof returns the oneof that a field belongs to; nil for an optional field, which protobuf keeps as a oneof of its own.
func realOneof(f *protogen.Field) *protogen.Oneof {
	if f.Oneof == nil || f.Oneof.Desc.IsSynthetic() {
		return nil
	}
	return f.Oneof
}

func plainGetter(c *code, name string, f *protogen.Field, o *protogen.Oneof) error {
	typ, err := goType(f)
	if err != nil {
		return err
	}
	zero := map[protoreflect.Kind]string{protoreflect.BoolKind: "false", protoreflect.StringKind: `""`, protoreflect.BytesKind: "nil", protoreflect.MessageKind: "nil"}[f.Desc.Kind()]
	switch {
	case f.Desc.IsList() || f.Desc.IsMap():
		zero = "nil"
	case f.Enum != nil:
		zero = f.Enum.Values[0].GoIdent.GoName
	case zero == "":
		zero = "0"
	}
	c.p("\nfunc (x *%s) Get%s() %s {", name, f.GoName, typ)
	switch {
	case o != nil:
		c.p("if x != nil {\nif x, ok := x.%s.(*%s); ok {\nreturn x.%s\n}\n}", o.GoName, f.GoIdent.GoName, f.GoName)
	case f.Desc.HasOptionalKeyword() && f.Message == nil && f.Desc.Kind() != protoreflect.BytesKind:
		c.p("if x != nil && x.%s != nil {\nreturn *x.%s\n}", f.GoName, f.GoName)
	default:
		c.p("if x != nil {\nreturn x.%s\n}", f.GoName)
	}
	c.p("return %s\n}", zero)
	return nil
}

// goType returns the type of a field's value.
func goType(f *protogen.Field) (string, error) {
	if f.Desc.IsMap() {
		key, err := goType(f.Message.Fields[0])
		if err != nil {
			return "", err
		}
		value, err := goType(f.Message.Fields[1])
		return "map[" + key + "]" + value, err
	}
	typ := ""
	switch f.Desc.Kind() {
	case protoreflect.MessageKind:
		typ = "*" + f.Message.GoIdent.GoName
	case protoreflect.EnumKind:
		typ = f.Enum.GoIdent.GoName
	case protoreflect.BytesKind:
		typ = "[]byte"
	case protoreflect.DoubleKind:
		typ = "float64"
	case protoreflect.BoolKind, protoreflect.StringKind, protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		typ = f.Desc.Kind().String() // the names of Go and protobuf are the same
	default:
		return "", fmt.Errorf("%s: no plain type for %s", f.Desc.FullName(), f.Desc.Kind())
	}
	if f.Desc.IsList() {
		typ = "[]" + typ
	}
	return typ, nil
}
