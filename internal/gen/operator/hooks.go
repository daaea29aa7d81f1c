package operator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/internal/gen/tsv"
)

// webhook is a row of api/webhooks.tsv.
type webhook struct {
	// command is its name on the wire, name the name of its Go type.
	command, name string
	built, before bool
	when, note    string
	body, answer  []*field
	// refused is the code of a refusal without a code of the program's own, own the range of those.
	refused, own string
	drop         bool
}

func loadHooks(path string) ([]*webhook, error) {
	rows, err := tsv.Read(path)
	if err != nil {
		return nil, err
	}
	var out []*webhook
	seen := map[string]bool{}
	for _, r := range rows {
		w := &webhook{command: r["command"], built: r["built"] == "yes", before: r["kind"] == "before", when: r["when"], note: r["note"],
			refused: r["refused"], own: r["own"], drop: r["drop"] == "yes"}
		family, what, ok := strings.Cut(w.command, ".")
		w.name = family + strings.TrimPrefix(what, "Callback")
		if !ok || seen[w.name] {
			return nil, fmt.Errorf("%s: %q is no command of its own", path, w.command)
		}
		seen[w.name] = true
		if w.body, err = parseFields(r["body"], ""); err == nil {
			w.answer, err = parseFields(r["answer"], "")
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %s: %w", path, w.command, err)
		case !w.before && (r["kind"] != "after" || w.refused != "" || w.own != "" || w.drop || w.answer != nil):
			return nil, fmt.Errorf("%s: %s: what is told afterwards has no answer", path, w.command)
		}
		out = append(out, w)
	}
	return out, nil
}

// answerType is the Go type of the other fields of a response.
func (w *webhook) answerType() string {
	if w.answer == nil {
		return "Nothing"
	}
	return w.name + "Answer"
}

func hookFiles(hooks []*webhook) (map[string][]byte, error) {
	types, err := hookTypes(hooks)
	if err != nil {
		return nil, err
	}
	set, err := hookSet(hooks)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"internal/hook/hook_gen.go":   types,
		"internal/webhook/set_gen.go": set,
		"docs/reference/webhooks.md":  hookPage(hooks),
	}, nil
}

// hookTypes writes the bodies of the webhooks that are built, and the set of those that are asked before.
func hookTypes(hooks []*webhook) ([]byte, error) {
	var c code
	c.p("// %s", generated)
	c.p("")
	c.p("package hook")
	c.p("")
	c.p("import (")
	c.p("%q", "context")
	c.p("")
	c.p("%q", "github.com/tidings-im/tidings/internal/restjson")
	c.p(")")
	c.p("")
	c.p("// Set has the webhooks that are asked before something is done. Those that are nil are not asked.")
	c.p("type Set struct {")
	for _, w := range hooks {
		if w.built && w.before {
			c.p("%s func(context.Context, *%s, Source) %sVerdict", w.name, w.name, w.name)
		}
	}
	c.p("}")
	for _, before := range []bool{true, false} {
		c.p("")
		c.p("// %s are the webhooks that are %s.", map[bool]string{true: "Before", false: "After"}[before], map[bool]string{true: "asked before something is done", false: "notified afterwards"}[before])
		c.p("var %s = []string{", map[bool]string{true: "Before", false: "After"}[before])
		for _, w := range hooks {
			if w.built && w.before == before {
				c.p("%q,", w.command)
			}
		}
		c.p("}")
	}
	for _, w := range hooks {
		if !w.built {
			continue
		}
		c.writtenTypes(w.name, "is the body of "+w.command+".", "", w.body)
		c.p("")
		c.p("// Hook returns %s.", w.command)
		c.p("func (b *%s) Hook() string {", w.name)
		named := false
		var about []string
		for _, f := range w.body {
			named = named || f.name == "CallbackCommand"
			if f.typ == "string" && !f.maybe && (strings.HasSuffix(f.name, "_Account") || f.name == "GroupId") {
				about = append(about, fmt.Sprintf("%q, b.%s", f.name, f.name))
			}
		}
		if named {
			c.p("b.CallbackCommand = %q", w.command)
		}
		c.p("return %q", w.command)
		c.p("}")
		c.p("")
		c.p("// About returns its accounts and its group.")
		c.p("func (b *%s) About() []any { return []any{%s} }", w.name, strings.Join(about, ", "))
		if !w.before {
			continue
		}
		if w.answer != nil {
			c.writtenTypes(w.answerType(), "has the other fields of a response.", "", w.answer)
		}
		c.p("")
		c.p("// %sVerdict is the decision on it.", w.name)
		c.p("type %sVerdict = Verdict[%s]", w.name, w.answerType())
	}
	return c.source()
}

// hookSet writes what asks the program.
func hookSet(hooks []*webhook) ([]byte, error) {
	var c code
	c.p("// %s", generated)
	c.p("")
	c.p("package webhook")
	c.p("")
	c.p("import (")
	c.p("%q", "context")
	c.p("")
	c.p("%q", "github.com/tidings-im/tidings/internal/hook")
	c.p(")")
	c.p("")
	c.p("// Set returns the hooks that ask the program.")
	c.p("func (h *Hook) Set() hook.Set {")
	c.p("return hook.Set{")
	for _, w := range hooks {
		if !w.built || !w.before {
			continue
		}
		c.p("%s: func(ctx context.Context, b *hook.%s, from hook.Source) hook.%sVerdict {", w.name, w.name, w.name)
		var gate []string
		if w.refused != "" {
			gate = append(gate, "refused: "+w.refused)
		}
		if first, last, ok := strings.Cut(w.own, "-"); ok {
			gate = append(gate, "ownFirst: "+first, "ownLast: "+last)
		}
		if w.drop {
			gate = append(gate, "drop: true")
		}
		what := "the call"
		if slices.ContainsFunc(w.body, func(f *field) bool { return f.name == "MsgBody" }) {
			what = "the message"
		}
		gate = append(gate, fmt.Sprintf("what: %q", what))
		c.p("return ask[hook.%s](ctx, h, b, from, gate{%s})", w.answerType(), strings.Join(gate, ", "))
		c.p("},")
	}
	c.p("}")
	c.p("}")
	return c.source()
}
