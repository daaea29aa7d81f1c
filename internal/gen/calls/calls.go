// Package calls generates the two forms of each call of package client: X, which waits for the result, and XFunc, which does not.
//
// A call is declared once, as the method that implements it:
//
//	// MarkRead marks a conversation as read up to a message, ...
//	//
//	//tidings:call
//	func (c *Client) markRead(to caller[none], key Conv, upTo *im.Message) {
//
// The forms get its comment and its parameters, except the first one. A parameter named key, which the method may need because conv is a type, is
// named conv in the forms. XFunc returns at once what the method itself returns; a text after "//tidings:call" describes that.
package calls

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

const directive = "//tidings:call"

// Files returns the generated file below root.
func Files(root string) (map[string][]byte, error) {
	const folder, name = "client", "client/calls_gen.go"
	paths, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	if err != nil {
		return nil, err
	}
	var all []declared
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "_gen.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		found, err := find(filepath.Base(path), text)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	out, err := write(all)
	return map[string][]byte{name: out}, err
}

// declared is a call as its method declares it.
type declared struct {
	doc    []string // lines
	remark string   // on what XFunc returns
	// The receiver and its type, the method, the exported name.
	receiver, on, method, name string
	result                     string // the type of the result
	names, types               []string
	returns                    string // of the method itself, in parentheses
}

// find finds the calls in a file.
func find(name string, text []byte) ([]declared, error) {
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var all []declared
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Doc == nil {
			continue
		}
		lines := fn.Doc.List
		last := lines[len(lines)-1].Text
		if last != directive && !strings.HasPrefix(last, directive+" ") {
			continue
		}
		c, err := read(fn)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", files.Position(fn.Pos()), err)
		}
		c.remark = strings.TrimSpace(strings.TrimPrefix(last, directive))
		for _, l := range lines[:len(lines)-1] {
			c.doc = append(c.doc, l.Text)
		}
		for len(c.doc) > 0 && c.doc[len(c.doc)-1] == "//" {
			c.doc = c.doc[:len(c.doc)-1]
		}
		if len(c.doc) == 0 || !strings.HasPrefix(c.doc[0], "// "+c.name+" ") {
			return nil, fmt.Errorf("%s: the comment does not begin with %s", files.Position(fn.Pos()), c.name)
		}
		all = append(all, c)
	}
	return all, nil
}

func read(fn *ast.FuncDecl) (declared, error) {
	c := declared{method: fn.Name.Name}
	first, size := utf8.DecodeRuneInString(c.method)
	c.name = string(unicode.ToUpper(first)) + c.method[size:]
	if fn.Recv == nil || len(fn.Recv.List[0].Names) != 1 || c.name == c.method {
		return c, fmt.Errorf("%s is no method of the package alone", c.method)
	}
	c.receiver, c.on = fn.Recv.List[0].Names[0].Name, source(fn.Recv.List[0].Type)
	params := fn.Type.Params.List
	if len(params) == 0 || len(params[0].Names) != 1 {
		return c, fmt.Errorf("%s has no caller", c.method)
	}
	to, ok := params[0].Type.(*ast.IndexExpr)
	if !ok || source(to.X) != "caller" {
		return c, fmt.Errorf("the first parameter of %s is no caller", c.method)
	}
	c.result = source(to.Index)
	for _, p := range params[1:] {
		for _, n := range p.Names {
			name := n.Name
			if name == "key" {
				name = "conv"
			}
			switch name {
			case "ctx", "done", "to", "err", c.receiver:
				return c, fmt.Errorf("%s has a parameter %s", c.method, name)
			}
			c.names, c.types = append(c.names, name), append(c.types, source(p.Type))
		}
	}
	if r := fn.Type.Results; r != nil {
		var parts []string
		for _, f := range r.List {
			for _, n := range f.Names {
				parts = append(parts, n.Name+" "+source(f.Type))
			}
			if len(f.Names) == 0 {
				parts = append(parts, source(f.Type))
			}
		}
		c.returns = "(" + strings.Join(parts, ", ") + ")"
	}
	return c, nil
}

func source(x ast.Expr) string {
	var b bytes.Buffer
	printer.Fprint(&b, token.NewFileSet(), x)
	return b.String()
}

// logged returns the name of the call in the log: of a subject below the client, with the subject.
func (c *declared) logged() string {
	if on := strings.TrimPrefix(c.on, "*"); on != "Client" {
		return on + "." + c.name
	}
	return c.name
}

func write(all []declared) ([]byte, error) {
	var b bytes.Buffer
	for _, c := range all {
		var params []string
		for i, n := range c.names {
			params = append(params, n+" "+c.types[i])
		}
		list := func(more ...string) string { return strings.Join(more, ", ") }
		doing := fmt.Sprintf("%s.%s(%s)", c.receiver, c.method, list(append([]string{"to"}, c.names...)...))

		fmt.Fprintf(&b, "%s\nfunc (%s %s) %s(%s) ", strings.Join(c.doc, "\n"), c.receiver, c.on, c.name, list(append([]string{"ctx context.Context"}, params...)...))
		waiting := fmt.Sprintf("engine.Wait(ctx, %q, func(to caller[%s]) { %s })", c.logged(), c.result, doing)
		if c.result == "none" {
			fmt.Fprintf(&b, "error {\n_, err := %s\nreturn err\n}\n\n", waiting)
		} else {
			fmt.Fprintf(&b, "(%s, error) {\nreturn %s\n}\n\n", c.result, waiting)
		}

		remark, done, later := "", "done func("+c.result+", error)", "engine.Later"
		if c.remark != "" {
			remark = "; " + c.remark
		}
		if c.result == "none" {
			done, later = "done func(error)", "engine.LaterNone"
		}
		fmt.Fprintf(&b, "// %sFunc is %s without waiting%s.\nfunc (%s %s) %sFunc(%s) %s {\n", c.name, c.name, remark, c.receiver, c.on, c.name, list(append(params, done)...), c.returns)
		if c.returns != "" {
			b.WriteString("return ")
		}
		fmt.Fprintf(&b, "%s.%s(%s)\n}\n\n", c.receiver, c.method, list(append([]string{fmt.Sprintf("%s(%q, done)", later, c.logged())}, c.names...)...))
	}
	top := "// Code generated by internal/gen. DO NOT EDIT.\n\npackage client\n\nimport (\n\"context\"\n\n\"github.com/tidings-im/tidings/client/internal/engine\"\n"
	if bytes.Contains(b.Bytes(), []byte("im.")) {
		top += "\"github.com/tidings-im/tidings/im\"\n"
	}
	return format.Source(append([]byte(top+")\n\n"), b.Bytes()...))
}
