package capi

import (
	"bytes"
	"fmt"
	"go/format"
	"regexp"
	"slices"
	"strings"
)

// clientCall matches the column call of a function that does nothing but make a call of the client: the call, with the subject that it hangs below if
// there is one, its arguments, and what it gives. "DeleteMessages(conv, json []Message)", "Groups().Quit(group_id)", "Search(json SearchParam) SearchResult". An
// argument that begins with a dot is part of the JSON object, which then is no argument itself: "Friends().Delete(json FriendshipDeleteFriendParam,
// .IdentifierArray, .FriendType == 1) []FriendResult".
var clientCall = regexp.MustCompile(`^((?:[A-Z]\w*\(\)\.)*)([A-Z]\w*)\(([^)]*)\)(?: (\[\])?([A-Z]\w*))?$`)

// goNumbers are the Go types of numbers. An enum is an int32.
var goNumbers = map[string]string{"uint64_t": "uint64", "int64_t": "int64", "uint32_t": "uint32", "int32_t": "int32", "int": "int"}

// handler writes the handler of a function from its column call.
func (f *function) handler() (string, error) {
	m := clientCall.FindStringSubmatch(f.row["call"])
	if m == nil {
		return "", fmt.Errorf("%s: cannot read the call %q", f.name, f.row["call"])
	}
	if f.class != "online" && f.class != "local" {
		return "", fmt.Errorf("%s: class %s makes no call of the client", f.name, f.class)
	}
	reads, param := "ready(", ""
	var args []string
	for arg := range strings.SplitSeq(m[3], ", ") {
		typ, isJSON := strings.CutPrefix(arg, "json ")
		switch {
		case arg == "":
		case arg == "conv":
			if len(f.of('s')) == 0 || f.of('s')[0].name != "conv_id" || len(f.of('n')) == 0 || f.of('n')[0].name != "conv_type" {
				return "", fmt.Errorf("%s: it names no conversation", f.name)
			}
			args = append(args, "c.conv()")
		case isJSON && param != "":
			return "", fmt.Errorf("%s: two JSON parameters", f.name)
		case isJSON:
			if f.row["json"] == "" {
				return "", fmt.Errorf("%s: it has no JSON", f.name)
			}
			element, isList := strings.CutPrefix(typ, "[]")
			switch {
			case typ == "ids":
				reads, param = "names(", ", v []string"
			case typ == "[]string":
				reads, param = "reading((*call).strings, ", ", v []string"
			case isList:
				reads, param = "list(", ", v []*im."+element
			default:
				reads, param = "object(", ", v *im."+typ
			}
			if !strings.Contains(m[3], ", .") {
				args = append(args, "v")
			}
		case strings.HasPrefix(arg, "."):
			args = append(args, "v"+arg)
		default:
			value, err := f.value(arg)
			if err != nil {
				return "", err
			}
			args = append(args, value)
		}
	}
	done := "c.done()"
	switch {
	case m[4] != "":
		done = "doneList[*im." + m[5] + "](c)"
	case m[5] != "":
		done = "doneOne[*im." + m[5] + "](c)"
	}
	return fmt.Sprintf("%sfunc(c *call, cl *client.Client%s) { cl.%s%sFunc(%s) })", reads, param, m[1], m[2], strings.Join(append(args, done), ", ")), nil
}

// value is the Go expression for a parameter that is a text or a number.
func (f *function) value(name string) (string, error) {
	named := func(p param) bool { return p.name == name }
	if i := slices.IndexFunc(f.of('s'), named); i >= 0 {
		return fmt.Sprintf("c.text[%d]", i), nil
	}
	i := slices.IndexFunc(f.of('n'), named)
	if i < 0 {
		return "", fmt.Errorf("%s: no parameter %q", f.name, name)
	}
	typ := f.of('n')[i].typ
	switch {
	case typ == "bool":
		return fmt.Sprintf("c.num(%d) != 0", i), nil
	case strings.HasPrefix(typ, "enum "):
		return fmt.Sprintf("int32(c.num(%d))", i), nil
	}
	return fmt.Sprintf("%s(c.num(%d))", goNumbers[typ], i), nil
}

// handlerTable writes the handlers of the functions that say which call they make.
func handlerTable(t *tables) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "// %s\n\npackage main\n\nimport (\n\"github.com/tidings-im/tidings/client\"\n\"github.com/tidings-im/tidings/im\"\n)\n\nfunc init() {\n", generated)
	for _, f := range t.funcs {
		if f.row["call"] == "" {
			continue
		}
		h, err := f.handler()
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "handlers[fn%s] = %s\n", f.name, h)
	}
	b.WriteString("}\n")
	return format.Source(b.Bytes())
}
