package local

import "strings"

// Indexed is the last message whose words are in the index.
func (l *DB) Indexed() (int64, error) { return l.MetaInt("indexed") }

// NotIndexed returns up to most messages that are not in the index, in the order in which they are to be indexed.
func (l *DB) NotIndexed(most int) ([]*Message, error) {
	from, err := l.Indexed()
	if err != nil {
		return nil, err
	}
	return l.messages("id > ? ORDER BY id LIMIT ?", from, most)
}

// SetIndexed records that the index contains the messages up to id.
func (l *DB) SetIndexed(id int64) error { return l.SetMeta("indexed", id) }

// Index adds the words of a message.
func (l *DB) Index(id int64, words []string) error {
	_, err := l.write("INSERT INTO search (docid, words) VALUES (?, ?)", id, strings.Join(words, " "))
	return err
}

// cutIndex follows a deletion: ids of rows at the end may be given to new ones, which must be indexed.
func (l *DB) cutIndex() error {
	_, err := l.write("UPDATE meta SET value = min(CAST(value AS INTEGER), (SELECT coalesce(max(id), 0) FROM message)) WHERE key = 'indexed'")
	return err
}

// Query describes which messages to find; zero values are ignored.
type Query struct {
	Conv        int64
	From, Until int64  // time in milliseconds, until excluded
	Match       string // a query of the index
}

// Search returns the messages that are neither deleted nor recalled, the newest first.
func (l *DB) Search(s Query) ([]*Message, error) {
	where, args := []string{"status NOT IN (4, 6)"}, []any{}
	add := func(cond string, v any) { where, args = append(where, cond), append(args, v) }
	if s.Conv != 0 {
		add("conv = ?", s.Conv)
	}
	if s.Until != 0 {
		add("time < ?", s.Until)
	}
	if s.From != 0 {
		add("time >= ?", s.From)
	}
	if s.Match != "" {
		add("id IN (SELECT docid FROM search WHERE words MATCH ?)", s.Match)
	}
	return l.messages(strings.Join(where, " AND ")+" ORDER BY time DESC, id DESC", args...)
}
