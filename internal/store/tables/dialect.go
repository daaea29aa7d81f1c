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

// each makes list, with the row of another table for each of its numbers, which is x.n in where. Only these rows are read. Otherwise either database might read the
// other table as a whole: SQLite in the other order, and PostgreSQL for a hash join, which it prefers up to some ten thousand rows, and more if it has no statistics.
func (d Dialect) each(param, table, alias, where string) string {
	if d == SQLite {
		return d.list(param) + " CROSS JOIN " + table + " " + alias + " ON " + where // CROSS keeps this order
	}
	return d.list(param) + " CROSS JOIN LATERAL (SELECT * FROM " + table + " " + alias + " WHERE " + where + " OFFSET 0) " + alias // OFFSET keeps it a subquery
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
