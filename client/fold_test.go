package client

import (
	"testing"
	"unicode"

	"github.com/tidings-im/tidings/internal/testing/soak"
)

// folded is the end of the characters that are folded here: of the two planes with letters that have cases, or in the long form of all.
var folded = soak.Pick[rune](0x1ffff, unicode.MaxRune)

// Folding a folded text changes nothing, whatever the letter: so a word equals the text from which it was taken.
func TestFoldOnce(t *testing.T) {
	for r := range folded {
		once := fold(string(r))
		if twice := fold(once); twice != once {
			t.Fatalf("%U becomes %q, and that %q", r, once, twice)
		}
		if up, low := unicode.ToUpper(r), unicode.ToLower(r); 0x13a0 <= up && up <= 0x13f5 && fold(string(up)) != fold(string(low)) {
			t.Fatalf("%U and %U are not alike", up, low)
		}
	}
}
