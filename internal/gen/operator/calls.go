package operator

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/internal/gen/tsv"
)

// call is a row of api/rest.tsv.
type call struct {
	// command is its path on the wire, name the name of its handler.
	command, name, group string
	built                bool
	summary, note        string
	request, reply       []*field
	// failed is the code for a failure of the server.
	failed string
	codes  []string
}

// displays are the services whose answers have an ErrorDisplay.
var displays = []string{"profile", "sns", "recentcontact"}

func (c *call) display() bool {
	service, _, _ := strings.Cut(c.command, "/")
	return slices.Contains(displays, service)
}

func loadCalls(path string) ([]*call, error) {
	rows, err := tsv.Read(path)
	if err != nil {
		return nil, err
	}
	var out []*call
	seen := map[string]bool{}
	for _, r := range rows {
		c := &call{command: r["command"], name: r["name"], group: r["group"], built: r["built"] == "yes", summary: r["summary"], note: r["note"],
			failed: r["failed"], codes: strings.Fields(r["codes"])}
		if c.failed == "" || r["bad"] == "" || seen[c.name] || seen[c.command] {
			return nil, fmt.Errorf("%s: %s lacks a code, or stands twice", path, c.command)
		}
		seen[c.name], seen[c.command] = true, true
		if c.request, err = parseFields(r["request"], r["bad"]); err == nil {
			c.reply, err = parseFields(r["reply"], "")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, c.command, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// loadCodes reads the meanings of codes.
func loadCodes(path string) ([]tsv.Row, error) { return tsv.Read(path) }

func callFiles(calls []*call, codes []tsv.Row) (map[string][]byte, error) {
	files, err := callPages(calls, codes)
	if err != nil {
		return nil, err
	}
	files["internal/rest/calls_gen.go"], err = callTypes(calls)
	return files, err
}

// callTypes writes the routes, and the types of the calls that are built.
func callTypes(calls []*call) ([]byte, error) {
	var c code
	c.p("// routes are the commands. A command without a handler is not built.")
	c.p("var routes = map[string]route{")
	for _, k := range calls {
		switch {
		case !k.built:
			c.p("%q: {},", k.command)
			continue
		case k.reply == nil:
			c.p("%q: {do: without((*API).%s), failed: %s%s},", k.command, k.name, k.failed, k.displayed())
		default:
			c.p("%q: {do: with((*API).%s), failed: %s%s},", k.command, k.name, k.failed, k.displayed())
		}
	}
	c.p("}")
	for _, k := range calls {
		if !k.built {
			continue
		}
		c.readTypes(k.name+"Request", "is the body of "+k.command+".", k.request)
		if k.reply != nil {
			c.writtenTypes(k.name+"Reply", "is the answer to it.", "envelope", k.reply)
		}
	}
	var file code
	file.p("// %s", generated)
	file.p("")
	file.p("package rest")
	file.p("")
	file.p("import (")
	if bytes.Contains(c.Bytes(), []byte("json.RawMessage")) {
		file.p("%q", "encoding/json")
		file.p("")
	}
	file.p("%q", "github.com/tidings-im/tidings/internal/restjson")
	file.p(")")
	file.p("")
	file.Write(c.Bytes())
	return file.source()
}

func (k *call) displayed() string {
	if k.display() {
		return ", display: true"
	}
	return ""
}

// counted is the unit of the field's limit.
func (f *field) counted() string {
	if f.typ == "string" {
		return "bytes"
	}
	return "items"
}

// readTypes writes the Go types of an object that the server reads, and their readers.
func (c *code) readTypes(name, doc string, fields []*field) {
	c.p("")
	c.p("// %s %s", name, doc)
	c.p("type %s struct {", name)
	for _, f := range fields {
		c.p("%s %s", f.goName(), f.goType(name, false))
	}
	c.p("}")
	c.p("")
	c.p("func (r *%s) read(o *object) {", name)
	for _, f := range fields {
		names := []string{fmt.Sprintf("%q", f.name)}
		for _, alias := range f.aliases {
			names = append(names, fmt.Sprintf("%q", alias))
		}
		if f.without != "" {
			c.p("r.%s = %s", f.goName(), f.without)
		}
		how := "value"
		switch typ := f.goType(name, false); {
		case f.typ == "object" && f.maybe:
			how = "innerMaybe"
		case f.typ == "object":
			how = "inner"
		case f.typ == "[object]":
			how = "objects"
		case f.typ == "[element]":
			how = "elements"
		case strings.HasPrefix(typ, "*"):
			how = "maybe"
		case f.typ == "string":
			how = "text"
		case strings.HasPrefix(typ, "[]"):
			how = "list"
		}
		rule := "may"
		if f.need {
			rule = "needs"
		}
		rule += "(" + f.missing
		if f.wrong != f.missing {
			rule += ", " + f.wrong
		}
		rule += ")"
		if f.most != "" {
			rule += fmt.Sprintf(".limit(%s, %s)", f.most, f.tooMany)
		}
		c.p("%s(o, &r.%s, %s, %s)", how, f.goName(), rule, strings.Join(names, ", "))
	}
	c.p("}")
	for _, f := range fields {
		if len(f.fields) > 0 {
			c.readTypes(name+f.goName(), "is in "+f.name+".", f.fields)
		}
	}
}
