package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// declared lists what Go files declare for programs: the fields of exported types, exported constants, and getters.
func declared(t *testing.T, paths ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, path := range paths {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil && (strings.HasPrefix(d.Name.Name, "Get") || d.Name.Name == "Enum") {
					out[types.ExprString(d.Recv.List[0].Type)+"."+d.Name.Name] = types.ExprString(d.Type)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						fields, ok := s.Type.(*ast.StructType)
						if !ok || !s.Name.IsExported() {
							continue
						}
						for _, field := range fields.Fields.List {
							for _, name := range field.Names {
								if name.IsExported() {
									out[s.Name.Name+" "+name.Name] = types.ExprString(field.Type)
								}
							}
						}
					case *ast.ValueSpec:
						for i, name := range s.Names {
							if d.Tok == token.CONST && name.IsExported() {
								out[name.Name] = fmt.Sprint(types.ExprString(s.Type), " ", types.ExprString(s.Values[i]))
							}
						}
					}
				}
			}
		}
	}
	return out
}

// TestPlainTypesAreTheSame: for programs, the plain types of im, with which the C library is built, are the same as protobuf's.
func TestPlainTypesAreTheSame(t *testing.T) {
	pb, err := filepath.Glob(filepath.Join(root, "im", "*.pb.go"))
	if err != nil {
		t.Fatal(err)
	}
	pb = slices.DeleteFunc(pb, func(path string) bool {
		return strings.HasSuffix(path, "_vtproto.pb.go") || strings.HasSuffix(path, "options.pb.go")
	})
	want, got := declared(t, pb...), declared(t, filepath.Join(root, "im", "plain_gen.go"))
	if len(want) < 500 {
		t.Fatalf("only %d declarations", len(want))
	}
	for name, w := range want {
		if got[name] != w {
			t.Errorf("%s is %q, and plain %q", name, w, got[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is plain alone", name)
		}
	}
}
