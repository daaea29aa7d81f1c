// Package tsv reads the tables that the generator works from.
package tsv

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// Row is a line of a table, by column.
type Row map[string]string

// Read reads tab-separated values; the first line names the columns.
func Read(path string) ([]Row, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var names []string
	var rows []Row
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		cells := strings.Split(s.Text(), "\t")
		if names == nil {
			names = cells
			continue
		}
		if len(cells) != len(names) {
			return nil, fmt.Errorf("%s: %d columns, want %d: %q", path, len(cells), len(names), s.Text())
		}
		r := Row{}
		for i, n := range names {
			r[n] = cells[i]
		}
		rows = append(rows, r)
	}
	return rows, s.Err()
}
