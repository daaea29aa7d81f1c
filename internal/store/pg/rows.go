package pg

import (
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/internal/store/tables"
)

func bit(b bool) int16 {
	if b {
		return 1
	}
	return 0
}

// isText says whether PostgreSQL takes s as text; what it does not take is not stored, so it need not be looked for.
func isText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// asText makes it so, for words that are only shown.
func asText(s string) string {
	if isText(s) {
		return s
	}
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
}

const sessionSQL = "SELECT " + tables.SessionCols + " FROM session WHERE uid = $1 ORDER BY device"

func scanNumber(row tables.Scanner) (uint64, error) {
	var n int64
	err := row.Scan(&n)
	return uint64(n), err
}

// all reads the rows of a query.
func all[T any](rows pgx.Rows, err error, scan func(tables.Scanner) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}
