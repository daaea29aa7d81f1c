package client

import (
	"testing"
	"unicode"
)

// What is folded stays as it is when it is folded again, whatever the letter: a word and the text that it was taken from are alike.
func TestFoldOnce(t *testing.T) {
	for r := range rune(unicode.MaxRune) {
		once := fold(string(r))
		if twice := fold(once); twice != once {
			t.Fatalf("%U becomes %q, and that %q", r, once, twice)
		}
		if up, low := unicode.ToUpper(r), unicode.ToLower(r); 0x13a0 <= up && up <= 0x13f5 && fold(string(up)) != fold(string(low)) {
			t.Fatalf("%U and %U are not alike", up, low)
		}
	}
}
