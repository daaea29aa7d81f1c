package operator

import (
	"bytes"
	"fmt"
	"strings"
)

const generatedPage = "<!-- " + generated + " -->\n\n"

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// text keeps what stands in a table from being taken for its marks.
func text(s string) string { return strings.NewReplacer("|", "\\|", "<", "\\<", "@", "\\@").Replace(s) }

// anchor is where a heading is.
func anchor(heading string) string {
	return strings.NewReplacer(".", "", "/", "").Replace(strings.ToLower(heading))
}

// meaning says in words what a type is.
var meaning = map[string]string{
	"int": "number", "int(s)": "number, seconds", "int(ms)": "number, milliseconds", "string(ms)": "text with a number, milliseconds", "uint32": "number, 32 bits",
	"uint64": "number", "float": "number", "string": "text", "flag": "0 or 1", "any": "text or number", "map": "object", "[map]": "array of objects", "[string]": "array of texts",
	"[int]": "array of numbers", "[element]": "array of elements", "push": "object", "object": "object", "[object]": "array of objects", "bool": "true or false",
}

// fieldTable writes the fields of an object, those of objects in it with their paths.
func fieldTable(b *bytes.Buffer, fields []*field, columns string, more func(f *field) string) {
	fmt.Fprintf(b, "\n| field | type |%s\n|---|---|%s\n", columns, strings.Repeat("---|", strings.Count(columns, "|")))
	var walk func(prefix string, fields []*field)
	walk = func(prefix string, fields []*field) {
		for _, f := range fields {
			name := "`" + prefix + f.name + "`"
			for _, alias := range f.aliases {
				name += ", `" + prefix + alias + "`"
			}
			fmt.Fprintf(b, "| %s | %s |%s\n", name, meaning[f.typ], more(f))
			if f.typ == "[object]" {
				walk(prefix+f.name+"[].", f.fields)
			} else {
				walk(prefix+f.name+".", f.fields)
			}
		}
	}
	walk("", fields)
}

func hookPage(hooks []*webhook) []byte {
	var b bytes.Buffer
	built := 0
	for _, w := range hooks {
		if w.built {
			built++
		}
	}
	fmt.Fprintf(&b, "%s# The webhooks\n\nHow the server asks and tells stands in [webhooks](../webhooks.md). %d of the %d webhooks are built; nothing is posted for the others, and their bodies are "+
		"those that they will have. A test holds every line of this table against the server.\n\n| webhook | asked or told | built |\n|---|---|---|\n", generatedPage, built, len(hooks))
	for _, w := range hooks {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s |\n", w.command, anchor(w.command), map[bool]string{true: "asked before", false: "told after"}[w.before], yes(w.built))
	}
	for _, w := range hooks {
		fmt.Fprintf(&b, "\n## %s\n\n%s", w.command, text(w.when))
		if !w.built {
			b.WriteString(" Not built.")
		}
		if w.note != "" {
			b.WriteString(" " + text(w.note))
		}
		b.WriteString("\n")
		fieldTable(&b, w.body, " there |", func(f *field) string {
			if f.maybe {
				return " if it applies |"
			}
			return " always |"
		})
		if !w.before {
			continue
		}
		b.WriteString("\nThe program answers with `ErrorCode` 0 to let it through")
		if w.refused != "" {
			fmt.Fprintf(&b, ", 1 to refuse it (%s)", w.refused)
		}
		if w.own != "" {
			fmt.Fprintf(&b, ", %s to refuse it with that code and `ErrorInfo`", strings.ReplaceAll(w.own, "-", " to "))
		}
		if w.drop {
			b.WriteString(", 2 to drop it")
		}
		b.WriteString(".\n")
		if w.refused == "" {
			b.WriteString("Another one is no answer.\n")
		}
		if w.answer != nil {
			b.WriteString("With 0 it may answer besides:\n")
			fieldTable(&b, w.answer, "", func(*field) string { return "" })
		}
	}
	return b.Bytes()
}
