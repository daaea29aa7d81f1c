package tables

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// Dialect is the SQL of a store.
type Dialect int

const (
	SQLite Dialect = iota
	Postgres
)

// Text returns a text as it can be stored, and reports whether that is the whole of it. PostgreSQL accepts neither NUL nor invalid UTF-8.
func (d Dialect) Text(s string) (string, bool) {
	if d == SQLite || utf8.ValidString(s) && !strings.Contains(s, "\x00") {
		return s, true
	}
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD"), false
}

// list makes a table x with the column n of a parameter that is a list of numbers. listOf makes the argument.
func (d Dialect) list(param string) string {
	if d == SQLite {
		return "(SELECT value AS n FROM json_each(" + param + ")) x"
	}
	return "(SELECT unnest(" + param + "::bigint[]) AS n) x"
}

// each joins what list has made with another table, of which only the rows of the list are read. SQLite might read the other table first, as a whole.
func (d Dialect) each() string {
	if d == SQLite {
		return " CROSS JOIN " // which keeps this order
	}
	return " JOIN "
}

func (d Dialect) listOf(numbers []int64) any {
	if d == Postgres {
		return numbers
	}
	text, _ := json.Marshal(numbers) // it cannot fail for numbers
	return string(text)
}

// texts returns both texts of a statement.
func texts(of func(d Dialect) string) [2]string {
	return [...]string{SQLite: of(SQLite), Postgres: of(Postgres)}
}
