package operator

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/tidings-im/tidings/internal/gen/tsv"
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

func groupPage(group string) string { return "rest-" + group + ".md" }

// callPages writes the page of each group of calls, one with what is built, and one with the codes.
func callPages(calls []*call, codes []tsv.Row) (map[string][]byte, error) {
	meanings := map[string]string{}
	var page bytes.Buffer
	page.WriteString(generatedPage + "# The codes of the admin API\n\nThose of the tickets and of the call itself stand in [the admin API](../rest.md).\n\n| code | family | meaning |\n|---|---|---|\n")
	for _, r := range codes {
		meanings[r["code"]] = r["meaning"]
		fmt.Fprintf(&page, "| %s | %s | %s |\n", r["code"], r["family"], text(r["meaning"]))
	}
	files := map[string][]byte{"docs/reference/rest-codes.md": page.Bytes()}
	groups := map[string]*bytes.Buffer{}
	var b bytes.Buffer
	built := 0
	for _, k := range calls {
		if k.built {
			built++
		}
	}
	fmt.Fprintf(&b, "%s# The calls of the admin API\n\nHow a call is made stands in [the admin API](../rest.md). %d of the %d calls are built; the others answer 60009, and what is said of them is what they "+
		"will take and answer. A test holds every line of this table against the server. [The codes](rest-codes.md).\n\n| call | what it does | built |\n|---|---|---|\n", generatedPage, built, len(calls))
	for _, k := range calls {
		fmt.Fprintf(&b, "| [%s](%s#%s) | %s | %s |\n", k.command, groupPage(k.group), anchor(k.command), text(k.summary), yes(k.built))
		page := groups[k.group]
		if page == nil {
			page = &bytes.Buffer{}
			groups[k.group] = page
			fmt.Fprintf(page, "%s# Admin API: %s\n", generatedPage, strings.ReplaceAll(k.group, "-", " "))
		}
		if err := k.section(page, meanings); err != nil {
			return nil, err
		}
	}
	files["docs/reference/rest.md"] = b.Bytes()
	for group, page := range groups {
		files["docs/reference/"+groupPage(group)] = page.Bytes()
	}
	return files, nil
}

// section describes a call.
func (k *call) section(b *bytes.Buffer, meanings map[string]string) error {
	fmt.Fprintf(b, "\n## %s\n\n%s", k.command, text(k.summary))
	if k.note != "" {
		b.WriteString(" " + text(k.note))
	}
	if !k.built {
		b.WriteString(" Not built.")
	}
	b.WriteString("\n")
	if k.request == nil {
		b.WriteString("\nIt takes `{}`.\n")
	} else {
		fieldTable(b, k.request, " needed | code |", func(f *field) string {
			need, code := "", f.missing
			switch {
			case f.need:
				need = "yes"
			case f.without != "":
				need = "without it " + f.without
			}
			if f.wrong != f.missing {
				code += ", or " + f.wrong + " for another type"
			}
			if f.most != "" {
				code += fmt.Sprintf("; %s with more than %s %s", f.tooMany, f.most, f.counted())
			}
			return " " + need + " | " + code + " |"
		})
	}
	if k.reply == nil {
		b.WriteString("\nIts answer has nothing but the envelope.\n")
	} else {
		b.WriteString("\nIts answer:\n")
		fieldTable(b, k.reply, " there |", func(f *field) string {
			if f.maybe {
				return " if it applies |"
			}
			return " always |"
		})
	}
	var codes []string
	for _, code := range k.codes {
		meaning, ok := meanings[code]
		if !ok {
			return fmt.Errorf("%s: code %s has no meaning", k.command, code)
		}
		codes = append(codes, code+" "+text(meaning))
	}
	if len(codes) > 0 {
		fmt.Fprintf(b, "\nCodes: %s.\n", strings.Join(codes, "; "))
	}
	return nil
}
