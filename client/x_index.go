package client

import "strings"

// indexed is the last message whose words are in the index.
func (l *local) indexed() (int64, error) { return l.metaInt("indexed") }

// notIndexed are up to most messages that the index does not know, in the order in which they are to be indexed.
func (l *local) notIndexed(most int) ([]*message, error) {
	from, err := l.indexed()
	if err != nil {
		return nil, err
	}
	return l.messages("id > ? ORDER BY id LIMIT ?", from, most)
}

// setIndexed says that the index knows the messages up to id.
func (l *local) setIndexed(id int64) error { return l.setMeta("indexed", id) }

// index adds the words of a message.
func (l *local) index(id int64, words []string) error {
	_, err := l.write("INSERT INTO search (docid, words) VALUES (?, ?)", id, strings.Join(words, " "))
	return err
}

// cutIndex follows a deletion: ids of rows at the end may be given to new ones, which must be indexed.
func (l *local) cutIndex() error {
	_, err := l.write("UPDATE meta SET value = min(CAST(value AS INTEGER), (SELECT coalesce(max(id), 0) FROM message)) WHERE key = 'indexed'")
	return err
}

// searched is what messages are looked for by; zero values do not count.
type searched struct {
	conv        int64
	from, until int64  // time in milliseconds, until excluded
	match       string // a query of the index
}

// search are the messages that are neither deleted nor recalled, the newest first.
func (l *local) search(s searched) ([]*message, error) {
	where, args := []string{"status NOT IN (4, 6)"}, []any{}
	add := func(cond string, v any) { where, args = append(where, cond), append(args, v) }
	if s.conv != 0 {
		add("conv = ?", s.conv)
	}
	if s.until != 0 {
		add("time < ?", s.until)
	}
	if s.from != 0 {
		add("time >= ?", s.from)
	}
	if s.match != "" {
		add("id IN (SELECT docid FROM search WHERE words MATCH ?)", s.match)
	}
	return l.messages(strings.Join(where, " AND ")+" ORDER BY time DESC, id DESC", args...)
}
