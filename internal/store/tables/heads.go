package tables

import (
	"context"
	"strconv"
	"strings"

	"github.com/tidings-im/tidings/internal/chat"
)

type headRow struct {
	Conv      ConvRow   `sql:"c"`
	Mine      memberRow `sql:"m"`
	Peer      memberRow `sql:"p"`
	Own       uint64    `sql:"own"`
	Withdrawn uint64    `sql:"withdrawn"`
	Periods   string    `sql:"periods"`
}

var head = newKind(func(r *headRow) chat.HeadRow {
	h := chat.HeadRow{Conv: chat.Conv(r.Conv), Mine: chat.Member(r.Mine), Own: r.Own, Withdrawn: r.Withdrawn, Periods: periodsOf(r.Periods)}
	if r.Peer.Conv != 0 {
		p := chat.Member(r.Peer)
		h.Peer = &p
	}
	return h
})

// headText makes HeadRows from the user's own rows. The peer's uid is a + b minus the user's, so their row is found by its key. Each row costs one lookup in conv
// and one in member, or in sender and period; withdrawn is read only for the rows that are returned. It is one statement, so that everything is from the same moment.
var headText = "SELECT " + Conv.part("c", false) + ", " + member.part("m", false) + ", " + member.part("p", true) + `,
	CASE WHEN c.kind = 2 THEN coalesce((SELECT o.own FROM sender o WHERE o.conv = m.conv AND o.uid = m.uid), 0)
		WHEN c.a = m.uid THEN c.own_a ELSE c.own_b END AS own,
	(SELECT count(*) FROM withdrawn w WHERE w.conv = m.conv AND w.seq > m.read_seq AND w.sender <> m.uid) AS withdrawn,
	CASE WHEN c.kind = 2 THEN coalesce((SELECT string_agg(q.from_seq || ' ' || q.to_seq, ' ' ORDER BY q.from_seq)
		FROM period q WHERE q.uid = m.uid AND q.conv = m.conv), '') ELSE '' END AS periods
FROM member m
JOIN conv c ON c.id = m.conv
LEFT JOIN member p ON c.kind = 1 AND p.uid = c.a + c.b - m.uid AND p.conv = m.conv
`

var (
	headsSince = NewQuery(head, headText+"WHERE m.uid = $1 AND m.conv > $2 AND (m.changed >= $3 OR c.changed >= $3 OR p.changed >= $3) ORDER BY m.conv LIMIT $4")
	headOf     = NewQuery(head, headText+"WHERE m.uid = $1 AND m.conv = $2")
)

// periodsOf parses the ends of all periods. If one of them is no number that a period may have, which only somebody else can have written, the user sees
// nothing of the conversation: read as 0 it would show what was before they joined.
func periodsOf(text string) []chat.Period {
	if text == "" {
		return nil
	}
	ends := strings.Split(text, " ")
	out := make([]chat.Period, len(ends)/2)
	for i, end := range ends {
		n, err := strconv.ParseInt(end, 10, 64)
		if err != nil || n < 0 || len(ends)%2 > 0 {
			return nil
		}
		if p := &out[i/2]; i%2 == 0 {
			p.From = uint64(n)
		} else {
			p.To = uint64(n)
		}
	}
	return out
}

// Heads returns what the rows contain: a store with newer ends in memory writes them first.
func (s *Both) Heads(ctx context.Context, uid chat.UID, since int64, after chat.ConvID, limit int) ([]chat.HeadRow, bool, error) {
	if limit <= 0 {
		return nil, false, nil
	}
	rows, err := headsSince.All(ctx, s.On, int64(uid), int64(after), since, int64(limit)+1)
	more := len(rows) > limit
	if more {
		rows = rows[:limit]
	}
	return rows, more, err
}

// Head returns the row of one conversation.
func (s *Both) Head(ctx context.Context, uid chat.UID, id chat.ConvID) (chat.HeadRow, error) {
	return headOf.One(ctx, s.On, int64(uid), int64(id))
}
