package capi

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/internal/gen/tsv"
)

// tables is everything that the generator knows.
type tables struct {
	funcs     []*function
	callbacks []*callback
	keys      []row
	enums     []row
	codes     []row
	// operations are the operations of callExperimentalAPI.
	operations []row
	// lacks are the keys of built objects that are not, or only partly, built, with the reason.
	lacks   []row
	version string
}

type row = tsv.Row

// function is a function, or a callback type as far as it has the same fields.
type function struct {
	row
	name, group, ret string
	params           []param
	// class is the state that a function needs: "any", "local" a login that was tried, "online" a login; "sync" and "setter" have no result callback.
	class string
	built bool
	// since is the first generation of the API that has it.
	since string
}

// param is one parameter. kind is one letter: s text, o buffer to fill, n number or enum, c callback, p user data.
type param struct {
	typ, name string
	kind      byte
}

func (f *function) of(kind byte) []param {
	var out []param
	for _, p := range f.params {
		if p.kind == kind {
			out = append(out, p)
		}
	}
	return out
}

func (f *function) prototype() string {
	if len(f.params) == 0 {
		return "void"
	}
	parts := make([]string, len(f.params))
	for i, p := range f.params {
		parts[i] = p.typ + " " + p.name
	}
	return strings.Join(parts, ", ")
}

// paged reports whether a function returns a page of a list through a callback type of its own, which has no code.
func (f *function) paged() bool {
	return f.class != "setter" && slices.ContainsFunc(f.params, func(p param) bool { return p.kind == 'c' && p.typ != "TIMCommCallback" })
}

// shape returns the form of a function for the code that calls it.
func (f *function) shape() string {
	s := ""
	for _, p := range f.params {
		s += string(p.kind)
	}
	return s
}

func load(root string) (*tables, error) {
	t := &tables{}
	rows, err := tsv.Read(filepath.Join(root, "api", "capi.tsv"))
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		f := &function{row: r, name: r["name"], group: r["group"], ret: r["return"], class: r["class"], built: r["built"] == "yes", since: r["since"]}
		if f.params, err = parseParams(r["params"]); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		if !slices.Contains([]string{"any", "local", "online", "sync", "setter"}, f.class) {
			return nil, fmt.Errorf("%s: unknown class %q", f.name, f.class)
		}
		t.funcs = append(t.funcs, f)
	}
	if err := t.loadCallbacks(root); err != nil {
		return nil, err
	}
	for name, to := range map[string]*[]row{"keys": &t.keys, "enums": &t.enums, "codes": &t.codes, "operations": &t.operations, "lacks": &t.lacks} {
		if *to, err = tsv.Read(filepath.Join(root, "capi", "facts", name+".tsv")); err != nil {
			return nil, err
		}
	}
	// The version is the SDK's; the library returns it without entering Go.
	source, err := os.ReadFile(filepath.Join(root, "client", "version.go"))
	if err != nil {
		return nil, err
	}
	m := regexp.MustCompile(`const Version = "([^"]+)"`).FindSubmatch(source)
	if m == nil {
		return nil, fmt.Errorf("client/version.go has no Version")
	}
	t.version = string(m[1])
	return t, nil
}

func parseParams(s string) ([]param, error) {
	if s == "void" {
		return nil, nil
	}
	var out []param
	for part := range strings.SplitSeq(s, ", ") {
		i := strings.LastIndexByte(part, ' ')
		if i < 0 {
			return nil, fmt.Errorf("parameter %q has no name", part)
		}
		p := param{typ: part[:i], name: part[i+1:]}
		switch {
		case p.typ == "const char*":
			p.kind = 's'
		case p.typ == "char*":
			p.kind = 'o'
		case p.typ == "const void*":
			p.kind = 'p'
		case strings.HasSuffix(p.typ, "Callback"):
			p.kind = 'c'
		case strings.HasPrefix(p.typ, "enum "), slices.Contains([]string{"uint64_t", "int64_t", "uint32_t", "int32_t", "int", "bool"}, p.typ):
			p.kind = 'n'
		default:
			return nil, fmt.Errorf("unknown type %q", p.typ)
		}
		out = append(out, p)
	}
	return out, nil
}

// missing describes the effect of NULL and "" for a text parameter.
type missing struct {
	null, empty bool   // they are accepted
	code        string // the result where they are not
}

// missing reads the column null: parameters separated by blanks, with nothing after the name if both are accepted, @"" if only "" is, @-3 for the
// result if neither is, and @"",-5 if "" is accepted and NULL has that result. For the parameters that it does not name the result is -4.
func (f *function) missing(text string) (missing, error) {
	for item := range strings.FieldsSeq(f.row["null"]) {
		name, what, _ := strings.Cut(item, "@")
		if !slices.ContainsFunc(f.params, func(p param) bool { return p.kind == 's' && p.name == name }) {
			return missing{}, fmt.Errorf("%s: no text parameter %q", f.name, name)
		}
		if name != text {
			continue
		}
		switch what {
		case "":
			return missing{null: true, empty: true}, nil
		case `""`:
			return missing{empty: true, code: "-4"}, nil
		case `"",-5`:
			return missing{empty: true, code: "-5"}, nil
		case "-3":
			return missing{code: what}, nil
		}
		return missing{}, fmt.Errorf("%s: cannot read %q", f.name, item)
	}
	return missing{code: "-4"}, nil
}

// check is how a JSON parameter is checked before anything else.
type check struct {
	param    string
	kind     string // object, array or strings; conv for the id of a conversation, which is not JSON
	nonEmpty bool
	keys     []string // an object must have them
	code     string   // the result when it fails; "0": not checked at once
}

func (f *function) check() (check, error) {
	spec := f.row["json"]
	if spec == "" {
		return check{}, nil
	}
	m := regexp.MustCompile(`^(\w+)=(object|array|strings|conv)(\+nonempty)?(?:!([\w,]+))?@(0|-3|-4|-5)$`).FindStringSubmatch(spec)
	if m == nil {
		return check{}, fmt.Errorf("%s: cannot read the check %q", f.name, spec)
	}
	c := check{param: m[1], kind: m[2], nonEmpty: m[3] != "", code: m[5]}
	if m[4] != "" {
		c.keys = strings.Split(m[4], ",")
	}
	return c, nil
}
