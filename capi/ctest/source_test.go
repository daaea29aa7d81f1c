package ctest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// unwritten is what the driver's buffers contain before a call.
const unwritten = "(unwritten)"

// driverSource writes a C program that does what lines of its standard input say and prints the results; testdata/driver.h has its other half. So a
// scenario is written in Go and runs through C.
func driverSource(t testing.TB) string {
	t.Helper()
	top, err := os.ReadFile("testdata/driver.h")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.Write(top)
	funcs, callbacks := prototypes(t)
	for _, c := range callbacks {
		if !slices.ContainsFunc(funcs, func(f prototype) bool { return f.takes(c.name) }) {
			continue
		}
		fmt.Fprintf(&b, "static void on_%s(", c.name)
		body := ""
		for i, p := range c.params {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%s a%d", p.typ, i)
			switch {
			case p.text():
				body += fmt.Sprintf(" put_text(a%d);", i)
			case p.typ == "const void*":
				body += fmt.Sprintf(" put_number((long long)(intptr_t)a%d);", i)
			default:
				body += fmt.Sprintf(" put_number((long long)a%d);", i)
			}
		}
		fmt.Fprintf(&b, ") { struct hook* h = take_hook(\"%s\"); begin(\"%s\");%s end(); run_hook(h); }\n", c.name, c.name, body)
	}
	b.WriteString("\nint call(const char* name, int n, char** a) {\n  (void)n;\n")
	for _, f := range funcs {
		var args []string
		at := 0
		buffer := ""
		for _, p := range f.params {
			switch {
			case p.typ == "const void*":
				args = append(args, "(const void*)(intptr_t)id")
				continue
			case p.typ == "char*":
				args = append(args, fmt.Sprintf("a[%d] && *a[%d] == '1' ? buffer : NULL", at, at))
				buffer = "buffer"
			case p.callback():
				args = append(args, fmt.Sprintf("a[%d] && *a[%d] == '1' ? on_%s : NULL", at, at, p.typ))
			case p.text():
				args = append(args, fmt.Sprintf("a[%d]", at))
			default:
				args = append(args, fmt.Sprintf("(%s)number(a[%d])", p.typ, at))
			}
			at++
		}
		if buffer == "" {
			buffer = "\"\""
		}
		fmt.Fprintf(&b, "  if (!strcmp(name, \"%s\")) {\n    long long id = number(a[%d]);\n    if (n != %d) die(name);\n", f.name, at, at+1)
		expr := fmt.Sprintf("%s(%s)", f.name, strings.Join(args, ", "))
		b.WriteString("    char buffer[256] = \"" + unwritten + "\";\n    (void)id; (void)buffer;\n")
		switch f.ret {
		case "void":
			fmt.Fprintf(&b, "    %s;\n    returned(id, 0, %s);\n", expr, buffer)
		case "const char*":
			fmt.Fprintf(&b, "    returned(id, 0, %s);\n", expr)
		default:
			fmt.Fprintf(&b, "    long long r = (long long)%s;\n    returned(id, r, %s);\n", expr, buffer)
		}
		b.WriteString("    return 1;\n  }\n")
	}
	b.WriteString("  return 0;\n}\n\n")

	// What a forked child does: it calls every function, and prints what is wrong.
	b.WriteString("int in_child(void) {\n  int bad = 0;\n")
	for _, f := range funcs {
		var args []string
		for _, p := range f.params {
			if p.text() || p.typ == "char*" || p.callback() || p.typ == "const void*" {
				args = append(args, "NULL")
			} else {
				args = append(args, fmt.Sprintf("(%s)1", p.typ))
			}
		}
		expr := fmt.Sprintf("%s(%s)", f.name, strings.Join(args, ", "))
		switch f.ret {
		case "int":
			fmt.Fprintf(&b, "  bad += %s != -1;\n", expr)
		case "const char*":
			fmt.Fprintf(&b, "  bad += *%s == 0;\n", expr)
		case "uint64_t":
			fmt.Fprintf(&b, "  bad += %s != 0;\n", expr)
		case "void":
			fmt.Fprintf(&b, "  %s;\n", expr)
		default:
			fmt.Fprintf(&b, "  bad += %s != kTIMLoginStatus_UnLogined;\n", expr)
		}
	}
	b.WriteString("  return bad;\n}\n")
	return b.String()
}

// factsSource writes a C program that compares the header with the facts: the values of enums and codes, the type of every function and callback, the
// text of every key.
func factsSource(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("#include <TIMCloud.h>\n#include <stdio.h>\n#include <string.h>\n\n#ifdef __cplusplus\n#define _Static_assert static_assert\n#endif\n\n")
	for _, r := range table(t, "capi/facts/enums.tsv") {
		fmt.Fprintf(&b, "_Static_assert((unsigned)%s == (unsigned)%sLL, \"%s\");\n", r["constant"], r["value"], r["constant"])
	}
	for _, r := range table(t, "capi/facts/codes.tsv") {
		fmt.Fprintf(&b, "_Static_assert((int)%s == %s, \"%s\");\n", r["constant"], r["code"], r["constant"])
	}
	funcs, callbacks := prototypes(t)
	signature := func(p prototype) string {
		if len(p.params) == 0 {
			return "void"
		}
		var types []string
		for _, a := range p.params {
			types = append(types, a.typ)
		}
		return strings.Join(types, ", ")
	}
	for _, f := range funcs {
		fmt.Fprintf(&b, "static %s (*volatile p_%s)(%s) = %s;\n", f.ret, f.name, signature(f), f.name)
	}
	b.WriteString("\nint main(void) {\n  int bad = 0;\n")
	for _, c := range callbacks {
		fmt.Fprintf(&b, "  { void (*f)(%s) = NULL; %s g = f; bad += g != NULL; }\n", signature(c), c.name)
	}
	for _, f := range funcs {
		fmt.Fprintf(&b, "  bad += p_%s == NULL;\n", f.name)
	}
	for _, r := range table(t, "capi/facts/keys.tsv") {
		fmt.Fprintf(&b, "  if (strcmp(%s, \"%s\") != 0) { puts(\"%s\"); bad++; }\n", r["constant"], r["key"], r["constant"])
	}
	b.WriteString("  if (strcmp(TIMGetSDKVersion(), \"\") == 0) bad++;\n  return bad != 0;\n}\n")
	return b.String()
}
