package main

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
)

// methodTable writes the table behind Method.Info: what each call and push carries.
func methodTable(c *code, files []*protogen.File) error {
	var types []string
	for _, f := range files {
		for _, m := range f.Messages {
			types = append(types, m.GoIdent.GoName)
		}
	}
	c.p("")
	c.p("var methods = [...]MethodInfo{")
	for _, f := range files {
		for _, e := range f.Enums {
			if e.GoIdent.GoName != "Method" {
				continue
			}
			for _, v := range e.Values {
				request, _ := option(v.Desc, "request").(string)
				reply, _ := option(v.Desc, "reply").(string)
				if v.Desc.Number() == 0 {
					continue
				}
				if reply == "" {
					return fmt.Errorf("%s: a method needs a reply; a push has its body there", v.Desc.FullName())
				}
				for _, name := range []string{request, reply} {
					if name != "" && !slices.Contains(types, name) {
						return fmt.Errorf("%s: no message %s", v.Desc.FullName(), name)
					}
				}
				c.p("%s: {", v.GoIdent.GoName)
				c.p("Name: %q,", v.Desc.Name())
				if boolOption(v.Desc, "before_login") {
					c.p("BeforeLogin: true,")
				}
				if boolOption(v.Desc, "undecoded") {
					c.p("Undecoded: true,")
				}
				if request != "" {
					body, _ := option(v.Desc, "max_body").(uint32)
					if body == 0 {
						return fmt.Errorf("%s: a call needs max_body", v.Desc.FullName())
					}
					c.p("MaxBody: %d,", body)
					c.p("request: shape%s,", request)
					c.p("NewRequest: func() Request { return new(%s) },", request)
				}
				c.p("NewReply: func() Msg { return new(%s) },", reply)
				c.p("},")
			}
		}
	}
	c.p("}")
	return nil
}

// callTable writes what package chat takes and tells: for each call the method of Chat that handles it, with its request and its reply, and each push.
func callTable(c *code, files []*protogen.File) error {
	var calls, pushes code
	for _, f := range files {
		for _, e := range f.Enums {
			if e.GoIdent.GoName != "Method" {
				continue
			}
			for _, v := range e.Values {
				request, _ := option(v.Desc, "request").(string)
				reply, _ := option(v.Desc, "reply").(string)
				name := wordsOf(string(v.Desc.Name()))
				switch {
				case v.Desc.Number() == 0 || boolOption(v.Desc, "connection"):
				case request == "":
					pushes.p("push%s = push[*im.%s]{im.%s}", name, reply, v.GoIdent.GoName)
				case boolOption(v.Desc, "undecoded"):
					calls.p("im.%s: undecoded[*im.%s]((*Chat).%s),", v.GoIdent.GoName, reply, name)
				default:
					calls.p("im.%s: decoded[*im.%s, *im.%s]((*Chat).%s),", v.GoIdent.GoName, request, reply, name)
				}
			}
		}
	}
	c.p("")
	c.p("import %q", module+"/im")
	c.p("")
	c.p("// handlers take the calls, by the number of the method. A method of Chat with another request or reply than the contract's does not compile.")
	c.p("var handlers = [...]handler{\n%s}", calls.Bytes())
	c.p("")
	c.p("// Pushes, with what they carry.")
	c.p("var (\n%s)", pushes.Bytes())
	return nil
}

// wordsOf makes SeqAt of SEQ_AT.
func wordsOf(name string) string {
	var out strings.Builder
	for word := range strings.SplitSeq(name, "_") {
		out.WriteString(word[:1] + strings.ToLower(word[1:]))
	}
	return out.String()
}
