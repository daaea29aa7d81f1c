package tables

import (
	"strings"
	"unicode/utf8"
)

// Dialect is which SQL a store speaks.
type Dialect int

const (
	SQLite Dialect = iota
	Postgres
)

// Text answers what of a text can be stored, and whether that is all of it. PostgreSQL takes neither NUL nor what is not UTF-8.
func (d Dialect) Text(s string) (string, bool) {
	if d == SQLite || utf8.ValidString(s) && !strings.Contains(s, "\x00") {
		return s, true
	}
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD"), false
}
