package main

import (
	"fmt"
	"slices"

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
