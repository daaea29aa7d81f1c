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

// text escapes what Markdown would interpret in a table.
func text(s string) string { return strings.NewReplacer("|", "\\|", "<", "\\<", "@", "\\@").Replace(s) }

// anchor is the anchor of a heading.
func anchor(heading string) string {
	return strings.NewReplacer(".", "", "/", "").Replace(strings.ToLower(heading))
}

// meaning describes a type in words.
var meaning = map[string]string{
	"int": "number", "int(s)": "seconds, a number", "int(ms)": "milliseconds, a number", "string(ms)": "milliseconds, a number in a string", "uint32": "number, 32 bits",
	"uint64": "number", "float": "number", "string": "string", "flag": "0 or 1", "any": "string or number", "map": "object", "[map]": "array of objects", "[string]": "array of strings",
	"[int]": "array of numbers", "[element]": "array of elements", "push": "object", "object": "object", "[object]": "array of objects", "bool": "true or false",
}

// fieldTable writes the fields of an object; those of inner objects have their paths.
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
	fmt.Fprintf(&b, "%s# The webhooks\n\n[Webhooks](../webhooks.md) describes how the server posts them. %d of the %d webhooks are built; the server posts nothing for the others, whose bodies are shown as "+
		"they will be. A test compares every line of this table with the server.\n\n| webhook | when | built |\n|---|---|---|\n", generatedPage, built, len(hooks))
	for _, w := range hooks {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s |\n", w.command, anchor(w.command), map[bool]string{true: "before", false: "after"}[w.before], yes(w.built))
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
		fieldTable(&b, w.body, " present |", func(f *field) string {
			if f.maybe {
				return " if it applies |"
			}
			return " always |"
		})
		if !w.before {
			continue
		}
		b.WriteString("\nThe program responds with `ErrorCode` 0 to allow it")
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
			b.WriteString("Any other code counts as no response.\n")
		}
		if w.answer != nil {
			b.WriteString("With 0 the response may also contain:\n")
			fieldTable(&b, w.answer, "", func(*field) string { return "" })
		}
	}
	return b.Bytes()
}

func groupPage(group string) string { return "rest-" + group + ".md" }

// callPages writes a page per group of calls, the coverage table, and a page of all codes.
func callPages(calls []*call, codes []tsv.Row) (map[string][]byte, error) {
	meanings := map[string]string{}
	var page bytes.Buffer
	page.WriteString(generatedPage + "# The codes of the admin API\n\n[The admin API](../rest.md) describes those that are checked before a command.\n\n| code | family | meaning |\n|---|---|---|\n")
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
	fmt.Fprintf(&b, "%s# The calls of the admin API\n\n[The admin API](../rest.md) describes how to make a call. %d of the %d calls are built; the others answer 60009, and their fields are shown as they will be. "+
		"A test compares every line of this table with the server. The meanings of all codes: [codes](rest-codes.md).\n\n| call | what it does | built |\n|---|---|---|\n", generatedPage, built, len(calls))
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
		b.WriteString("\nThe body is `{}`.\n")
	} else {
		fieldTable(b, k.request, " required | code |", func(f *field) string {
			need, code := "", f.missing
			switch {
			case f.need:
				need = "yes"
			case f.without != "":
				need = "default " + f.without
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
		b.WriteString("\nThe answer has no other fields than the envelope.\n")
	} else {
		b.WriteString("\nThe answer:\n")
		fieldTable(b, k.reply, " present |", func(f *field) string {
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
