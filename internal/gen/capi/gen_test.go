package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// What stands in the repository is what the tables say.
func TestGeneratedIsCurrent(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	files, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the tables say: run `make gen`", name)
		}
	}
}

func TestParams(t *testing.T) {
	p, err := parseParams("const char* conv_id, enum TIMConvType conv_type, char* buffer, TIMCommCallback cb, const void* user_data")
	if err != nil {
		t.Fatal(err)
	}
	f := &function{params: p}
	if f.shape() != "snocp" {
		t.Errorf("shape %q", f.shape())
	}
	if _, err := parseParams("long double x"); err == nil {
		t.Error("an unknown type was taken")
	}
}
