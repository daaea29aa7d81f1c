package capi

import (
	"bytes"
	"fmt"
	"go/format"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/internal/gen/events"
)

// callback is a callback type, with its event in Go if there is one.
type callback struct {
	function
	events.Event
	// shape numbers the types of its parameters: types with the same shape are called in the same way.
	shape int
}

// As many texts and numbers as tidings_event has.
const (
	mostTexts   = 5
	mostNumbers = 3
)

// loadCallbacks reads the callback types. A setter is built if its callback is: its line leaves that open.
func (t *tables) loadCallbacks(root string) error {
	all, err := events.Load(root)
	if err != nil {
		return err
	}
	var shapes []string
	for _, e := range all {
		f := &callback{Event: e, function: function{row: e.Row, name: e.Callback, group: "callback", ret: "void", built: e.Kind != events.Unbuilt, since: e.Row["since"]}}
		if f.params, err = parseParams(e.Row["params"]); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		last := len(f.params) - 1
		if last < 0 || f.params[last].kind != 'p' || len(f.of('s')) > mostTexts || len(f.of('n')) > mostNumbers || len(f.of('s'))+len(f.of('n')) != last {
			return fmt.Errorf("%s: no callback has the parameters %s", f.name, f.prototype())
		}
		if err := f.checkArgs(); err != nil {
			return err
		}
		var types []string
		for _, p := range f.params {
			types = append(types, p.typ)
		}
		key := strings.Join(types, ", ")
		if f.shape = slices.Index(shapes, key); f.shape < 0 {
			f.shape = len(shapes)
			shapes = append(shapes, key)
		}
		t.callbacks = append(t.callbacks, f)
	}
	for _, f := range t.funcs {
		if f.class != "setter" {
			continue
		}
		c := t.set(f)
		if c == nil || f.row["built"] != "" {
			return fmt.Errorf("%s sets no callback, or has a word on whether it is built", f.name)
		}
		f.built = c.built
	}
	return nil
}

// set returns the callback type that a setter sets.
func (t *tables) set(f *function) *callback {
	for _, p := range f.of('c') {
		for _, c := range t.callbacks {
			if c.name == p.typ {
				return c
			}
		}
	}
	return nil
}

// checkArgs compares the arguments in Go with the parameters in C.
func (f *callback) checkArgs() error {
	if !f.Fires() {
		return nil
	}
	if len(f.Args) != len(f.params)-1 {
		return fmt.Errorf("%s: %d arguments in Go for %s", f.name, len(f.Args), f.prototype())
	}
	for i, a := range f.Args {
		if _, kind, err := inC(a); err != nil || kind != f.params[i].kind {
			return fmt.Errorf("%s: %s in Go cannot be %s in C (%v)", f.name, a.Type, f.params[i].typ, err)
		}
	}
	return nil
}

// inC returns the Go expression that converts an argument to what C gets, a text or a number.
func inC(a events.Arg) (expr string, kind byte, err error) {
	switch {
	case strings.HasPrefix(a.Type, "[]*im.") && a.Optional:
		return "listOrNone(" + a.Name + ")", 's', nil
	case strings.HasPrefix(a.Type, "[]*im."):
		return "im.ListToJSON(" + a.Name + ")", 's', nil
	case strings.HasPrefix(a.Type, "*im."):
		return "im.ToJSON(" + a.Name + ")", 's', nil
	case a.Type == "[]string":
		return "im.StringsToJSON(" + a.Name + ")", 's', nil
	case a.Type == "string":
		return a.Name, 's', nil
	case a.Type == "bool":
		return "number(" + a.Name + ")", 'n', nil
	case slices.Contains([]string{"int", "int32", "int64", "uint32", "uint64", "ConvEvent", "NetworkStatus"}, a.Type):
		return "int64(" + a.Name + ")", 'n', nil
	}
	return "", 0, fmt.Errorf("no type of an argument")
}

// callShapes writes the C function that calls a callback by the shape of its type.
func callShapes(b *bytes.Buffer, t *tables) {
	b.WriteString("\nvoid tidings_call_back(int shape, uintptr_t cb, const tidings_event* e) {\n  const void* ud = (const void*)e->ud;\n  switch (shape) {\n")
	next := 0
	for _, f := range t.callbacks {
		if f.shape != next {
			continue
		}
		next++
		texts, numbers := 0, 0
		var args []string
		for _, p := range f.params {
			switch p.kind {
			case 's':
				args = append(args, fmt.Sprintf("e->s[%d]", texts))
				texts++
			case 'n':
				args = append(args, fmt.Sprintf("(%s)e->n[%d]", p.typ, numbers))
				numbers++
			default:
				args = append(args, "ud")
			}
		}
		fmt.Fprintf(b, "    case %d: ((%s)cb)(%s); break;\n", f.shape, f.name, strings.Join(args, ", "))
	}
	b.WriteString("  }\n}\n")
}

// callbackTable writes the callback types for the Go side.
func callbackTable(b *bytes.Buffer, t *tables) {
	b.WriteString("\n// The callback types, by number.\nconst (\n")
	for i, f := range t.callbacks {
		fmt.Fprintf(b, "cb%s", f.name)
		if i == 0 {
			b.WriteString(" = iota")
		}
		b.WriteString("\n")
	}
	b.WriteString("cbCount\n)\n\nvar callbackTypes = [cbCount]callbackType{\n")
	for _, f := range t.callbacks {
		fmt.Fprintf(b, "{%q, %d},\n", f.name, f.shape)
	}
	b.WriteString("}\n")
}

// goEvents writes the events of the client as callbacks of the application.
func goEvents(t *tables) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "// %s\n\npackage main\n\nimport (\n\"github.com/tidings-im/tidings/client\"\n\"github.com/tidings-im/tidings/im\"\n)\n\n", generated)
	b.WriteString("// events are the client's events as callbacks of the application, on the thread t.\nfunc (l *library) events(t *thread) client.Events {\nreturn client.Events{\n")
	for _, f := range t.callbacks {
		if !f.Fires() {
			continue
		}
		var params, texts, numbers []string
		for _, a := range f.Args {
			typ := a.Type
			if typ == "ConvEvent" || typ == "NetworkStatus" {
				typ = "client." + typ
			}
			params = append(params, a.Name+" "+typ)
			expr, kind, err := inC(a)
			if err != nil {
				return nil, err
			}
			if kind == 's' {
				texts = append(texts, expr)
			} else {
				numbers = append(numbers, expr)
			}
		}
		brought := "brought{"
		if len(texts) > 0 {
			brought += "texts: []string{" + strings.Join(texts, ", ") + "},"
		}
		if len(numbers) > 0 {
			brought += "numbers: []int64{" + strings.Join(numbers, ", ") + "},"
		}
		brought = strings.TrimSuffix(brought, ",") + "}"
		fmt.Fprintf(&b, "%s: func(%s) {\nl.tell(t, cb%s, func() brought { return %s })\n},\n", f.Name, strings.Join(params, ", "), f.name, brought)
	}
	b.WriteString("}\n}\n")
	if bytes.Contains(b.Bytes(), []byte("number(")) {
		b.WriteString("\nfunc number(b bool) int64 {\nif b {\nreturn 1\n}\nreturn 0\n}\n")
	}
	return format.Source(b.Bytes())
}
