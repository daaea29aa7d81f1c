package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const module = "github.com/tidings-im/tidings"

// pluginParams: files are placed at their import path below the root of this module. No message is pooled: databases, caches and callers keep what is
// decoded, so nobody could say when to give it back.
var pluginParams = map[string]string{
	"protoc-gen-go":         "module=" + module,
	"protoc-gen-go-vtproto": "module=" + module + ",features=marshal+unmarshal+size",
}

// contractFiles returns the files of the contract, in order, named as they import each other.
func contractFiles(root string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(root, "api", "*.proto"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no api/*.proto in %s", root)
	}
	names := make([]string, len(paths))
	for i, path := range paths {
		names[i] = "api/" + filepath.Base(path)
	}
	slices.Sort(names)
	return names, nil
}

// compile compiles the named files and everything they import into the input of a protoc plugin. Our own options are in it as extensions with known
// types, so that option can read them.
func compile(importPaths, names []string) (*pluginpb.CodeGeneratorRequest, error) {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: importPaths}),
		SourceInfoMode: protocompile.SourceInfoStandard, // comments are copied to the generated types
	}
	files, err := compiler.Compile(context.Background(), names...)
	if err != nil {
		return nil, err
	}
	var set descriptorpb.FileDescriptorSet
	seen := make(map[string]bool)
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	for _, f := range files {
		add(f)
	}
	registry, err := protodesc.NewFiles(&set)
	if err != nil {
		return nil, err
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(&set)
	if err != nil {
		return nil, err
	}
	var resolved descriptorpb.FileDescriptorSet
	if err := (proto.UnmarshalOptions{Resolver: dynamicpb.NewTypes(registry)}).Unmarshal(raw, &resolved); err != nil {
		return nil, err
	}
	return &pluginpb.CodeGeneratorRequest{FileToGenerate: names, ProtoFile: resolved.File}, nil
}

// option reads one of our own options, by its name in options.proto; nil if it is not set.
func option(d protoreflect.Descriptor, name protoreflect.Name) (value any) {
	d.Options().ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.FullName() == protoreflect.FullName("tidings").Append(name) {
			value = v.Interface()
		}
		return value == nil
	})
	return value
}

func boolOption(d protoreflect.Descriptor, name protoreflect.Name) bool {
	set, _ := option(d, name).(bool)
	return set
}

// runPlugin adds to files what a protoc plugin, a tool of this module, generates from the request.
func runPlugin(root, tool string, req *pluginpb.CodeGeneratorRequest, files map[string][]byte) error {
	req = proto.CloneOf(req)
	req.Parameter = proto.String(pluginParams[tool])
	in, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "tool", tool)
	cmd.Dir = root
	cmd.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", tool, err, stderr.Bytes())
	}
	var resp pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &resp); err != nil {
		return fmt.Errorf("%s: %w", tool, err)
	}
	if resp.Error != nil {
		return fmt.Errorf("%s: %s", tool, resp.GetError())
	}
	for _, f := range resp.File {
		files[f.GetName()] = []byte(f.GetContent())
	}
	return nil
}
