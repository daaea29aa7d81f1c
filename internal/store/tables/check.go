package tables

import (
	"context"
	"errors"
	"fmt"
)

// fault is a row of a check. What its columns are depends on the check.
type fault struct {
	Text string `sql:"text"`
	A    int64  `sql:"a"`
	B    int64  `sql:"b"`
}

var faults = NewKind[fault]()

// mediaChecks find rows about media that contradict each other. They name no id of an upload, which is the right to read it.
var mediaChecks = []struct {
	query *Query[fault]
	say   func(f fault) string
}{
	{NewQuery(faults, "SELECT b.file AS text, b.size AS a, b.unused AS b FROM blob b WHERE b.unused = 0 AND NOT EXISTS (SELECT 1 FROM media_part p WHERE p.hash = b.hash)"),
		func(f fault) string {
			return fmt.Sprintf("nothing refers to the file %s, and it is not to be deleted", f.Text)
		}},
	{NewQuery(faults, "SELECT b.file AS text, b.size AS a, b.unused AS b FROM blob b WHERE b.unused > 0 AND EXISTS (SELECT 1 FROM media_part p WHERE p.hash = b.hash)"),
		func(f fault) string {
			return fmt.Sprintf("the file %s is to be deleted, although an upload refers to it", f.Text)
		}},
	{NewQuery(faults, "SELECT p.hash AS text, p.part AS a, 0 AS b FROM media_part p WHERE NOT EXISTS (SELECT 1 FROM blob b WHERE b.hash = p.hash)"),
		func(f fault) string {
			return fmt.Sprintf("an upload refers to a file with the hash %s, of which the database has no name", f.Text)
		}},
	{NewQuery(faults, "SELECT p.hash AS text, p.part AS a, 0 AS b FROM media_part p WHERE NOT EXISTS (SELECT 1 FROM media m WHERE m.id = p.id AND m.done = 1)"),
		func(f fault) string {
			return fmt.Sprintf("an upload that is not there, or not complete, refers to the file with the hash %s", f.Text)
		}},
	{NewQuery(faults, "SELECT u.name AS text, m.made AS a, 0 AS b FROM media m JOIN users u ON u.uid = m.uid WHERE m.done = 1 AND NOT EXISTS (SELECT 1 FROM media_part p WHERE p.id = m.id AND p.part = 0)"),
		func(f fault) string {
			return fmt.Sprintf("an upload of %s, begun at %d, is complete and has no file", f.Text, f.A)
		}},
	{NewQuery(faults, "SELECT b.file AS text, m.size AS a, b.size AS b FROM media m JOIN media_part p ON p.id = m.id AND p.part = 0 JOIN blob b ON b.hash = p.hash WHERE m.size <> b.size"),
		func(f fault) string {
			return fmt.Sprintf("the file %s has %d bytes, and an upload of it %d", f.Text, f.B, f.A)
		}},
	{NewQuery(faults, "SELECT '' AS text, r.conv AS a, r.seq AS b FROM media_ref r WHERE NOT EXISTS (SELECT 1 FROM media m WHERE m.id = r.media AND m.done = 1)"),
		func(f fault) string {
			return fmt.Sprintf("message %d of conversation %d refers to an upload that is not there, or not complete", f.B, f.A)
		}},
	{NewQuery(faults, "SELECT '' AS text, r.conv AS a, r.seq AS b FROM media_ref r WHERE NOT EXISTS (SELECT 1 FROM entry e WHERE e.conv = r.conv AND e.seq = r.seq)"),
		func(f fault) string {
			return fmt.Sprintf("message %d of conversation %d, which is not there, refers to an upload", f.B, f.A)
		}},
	{NewQuery(faults, "SELECT u.name AS text, m.made AS a, 0 AS b FROM media m JOIN users u ON u.uid = m.uid WHERE m.until = 0 AND NOT EXISTS (SELECT 1 FROM media_ref r WHERE r.media = m.id)"),
		func(f fault) string {
			return fmt.Sprintf("an upload of %s, begun at %d, is kept for ever, and no message refers to it", f.Text, f.A)
		}},
	{NewQuery(faults, `SELECT u.name AS text, CAST(coalesce((SELECT sum(m.size) FROM media m WHERE m.uid = u.uid), 0) AS BIGINT) AS a,
		CAST(coalesce((SELECT k.bytes FROM media_use k WHERE k.uid = u.uid AND k.hour = 0), 0) AS BIGINT) AS b FROM users u
		WHERE coalesce((SELECT sum(m.size) FROM media m WHERE m.uid = u.uid), 0) <> coalesce((SELECT k.bytes FROM media_use k WHERE k.uid = u.uid AND k.hour = 0), 0)`),
		func(f fault) string {
			return fmt.Sprintf("the uploads of %s have %d bytes, and are counted as %d", f.Text, f.A, f.B)
		}},
}

var (
	openIDs    = NewQuery(word, "SELECT m.id AS text FROM media m WHERE m.done = 0")
	countMedia = NewQuery(faults, "SELECT '' AS text, (SELECT count(*) FROM media) AS a, (SELECT count(*) FROM media_ref) AS b")
)

// CheckMedia reports rows about media that contradict each other.
func CheckMedia(ctx context.Context, on Asker, report func(what string)) error {
	if n, err := hasTable.One(ctx, on, "media_ref"); err != nil || n == 0 {
		return errors.Join(err, errors.New("the database is of an older version: start its server once"))
	}
	for _, c := range mediaChecks {
		all, err := c.query.All(ctx, on)
		if err != nil {
			return err
		}
		for _, f := range all {
			report(c.say(f))
		}
	}
	return nil
}

// CountMedia returns how many uploads and references of messages there are.
func CountMedia(ctx context.Context, on Asker) (uploads, references int64, err error) {
	f, err := countMedia.One(ctx, on)
	return f.A, f.B, err
}

// OpenUploads returns the ids of all uploads that are not complete.
func OpenUploads(ctx context.Context, on Asker) ([]string, error) { return openIDs.All(ctx, on) }
