package ctest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every callback type gets each of its parameters, according to its shape in the table: a C program is called as a callback of each type.
func TestShapes(t *testing.T) {
	table, err := os.ReadFile(filepath.Join(root, "capi/table_gen.go"))
	if err != nil {
		t.Fatal(err)
	}
	shape := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\t\{"(TIM\w+Callback)", (\d+)\},$`).FindAllStringSubmatch(string(table), -1) {
		shape[m[1]] = m[2]
	}
	var b, calls strings.Builder
	fmt.Fprintf(&b, "#include %q\n#include <stdio.h>\n#include <string.h>\n\n", filepath.Join(root, "capi/shims_gen.c"))
	b.WriteString("int64_t tidings_call(int f, tidings_args* a, int64_t c) { (void)f; (void)a; return c; }\n\nstatic int calls, bad;\n")
	b.WriteString("static void check(const char* type, int ok) { if (!ok) { bad++; puts(type); } }\n\n")
	b.WriteString("static char* const texts[5] = {\"a\", \"b\", \"c\", \"d\", \"e\"};\nstatic const int64_t numbers[3] = {-3, 1, 2};\n\n")
	_, callbacks := prototypes(t)
	for _, c := range callbacks {
		if shape[c.name] == "" {
			t.Fatalf("%s has no shape", c.name)
		}
		fmt.Fprintf(&b, "static void on_%s(%s) {\n  calls++;\n", c.name, c.params0())
		texts, numbers := 0, 0
		for _, p := range c.params {
			switch {
			case p.text():
				fmt.Fprintf(&b, "  check(\"%s\", %s == texts[%d]);\n", c.name, p.name, texts)
				texts++
			case p.typ == "const void*":
				fmt.Fprintf(&b, "  check(\"%s\", %s == &calls);\n", c.name, p.name)
			default:
				fmt.Fprintf(&b, "  check(\"%s\", %s == (%s)numbers[%d]);\n", c.name, p.name, p.typ, numbers)
				numbers++
			}
		}
		b.WriteString("}\n")
		fmt.Fprintf(&calls, "  tidings_call_back(%s, (uintptr_t)on_%s, &e);\n", shape[c.name], c.name)
	}
	b.WriteString("\nint main(void) {\n  tidings_event e = {.ud = (uintptr_t)&calls};\n  memcpy(e.s, texts, sizeof e.s);\n  memcpy(e.n, numbers, sizeof e.n);\n" + calls.String())
	fmt.Fprintf(&b, "  check(\"calls\", calls == %d);\n  return bad != 0;\n}\n", len(callbacks))
	if out := run(t, compile(t, "shapes", write(t, "shapes.c", b.String()), "-I"+filepath.Join(root, "capi")), nil); out != "" {
		t.Errorf("wrong parameters:\n%s", out)
	}
}
