package main

import (
	"strings"
	"testing"

	"github.com/tidings-im/tidings/imtest"
)

func TestHello(t *testing.T) {
	s := imtest.Start(t, imtest.SecretKey("key of the test"))
	var out strings.Builder
	if err := hello(&out, s.URL, "key of the test", t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "bob heard from alice: Hello, Bob!\n") {
		t.Errorf("printed\n%s", out.String())
	}
}
