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
	Mentions  string    `sql:"mentions"`
	Back      bool      `sql:"back"`
}

var head = newKind(func(r *headRow) chat.HeadRow {
	h := chat.HeadRow{Conv: chat.Conv(r.Conv), Mine: chat.Member(r.Mine), Own: r.Own, Withdrawn: r.Withdrawn, Periods: periodsOf(r.Periods), Mentions: mentionsOf(r.Mentions), Back: r.Back}
	if r.Peer.Conv != 0 {
		p := chat.Member(r.Peer)
		h.Peer = &p
	}
	return h
})

// backText is Back of HeadRow: whether above a number there is an entry that a user has. It looks at entries until there is one. What came after a membership is
// above its end; two people are in no membership.
func backText(conv, uid, above string) string {
	return `EXISTS (SELECT 1 FROM entry e WHERE e.conv = ` + conv + ` AND e.seq > ` + above + `
		AND e.seq <= coalesce((SELECT max(q.to_seq) FROM period q WHERE q.uid = ` + uid + ` AND q.conv = ` + conv + `), e.seq)
		AND (e.flags & 4 = 0 OR e.sender <> ` + uid + `)
		AND (e.flags & 2 = 0 OR e.sender = ` + uid + ` OR EXISTS (SELECT 1 FROM addressee a WHERE a.conv = e.conv AND a.seq = e.seq AND a.uid = ` + uid + `)))`
}

// headText makes HeadRows from the user's own rows. The peer's uid is a + b minus the user's, so their row is found by its key. Each row costs one lookup in conv
// and one in member, or in sender and period; withdrawn is read only for the rows that are returned. It is one statement, so that everything is from the same moment.
var headText = "SELECT " + Conv.part("c", false) + ", " + member.part("m", false) + ", " + member.part("p", true) + `,
	CASE WHEN c.kind = 2 THEN coalesce((SELECT o.own FROM sender o WHERE o.conv = m.conv AND o.uid = m.uid), 0)
		WHEN c.a = m.uid THEN c.own_a ELSE c.own_b END AS own,
	(SELECT count(*) FROM withdrawn w WHERE w.conv = m.conv AND w.seq > m.read_seq AND w.sender <> m.uid) AS withdrawn,
	CASE WHEN c.kind = 2 THEN coalesce((SELECT string_agg(q.from_seq || ' ' || q.to_seq || ' ' || q.from_rev || ' ' || q.to_rev, ' ' ORDER BY q.from_seq)
		FROM period q WHERE q.uid = m.uid AND q.conv = m.conv), '') ELSE '' END AS periods,
	CASE WHEN c.kind = 2 AND m.gone = 0 THEN coalesce((SELECT string_agg(q.seq || ' ' || q.uid, ' ' ORDER BY q.seq, q.uid)
		FROM (SELECT n.seq, n.uid FROM mention n WHERE n.conv = m.conv AND n.seq > m.read_seq AND n.uid IN (0, m.uid) AND n.sender <> m.uid
			ORDER BY n.seq, n.uid LIMIT 100) q), '') ELSE '' END AS mentions,
	CASE WHEN m.hidden = 1 AND ` + backText("m.conv", "m.uid", "m.cleared_seq") + ` THEN 1 ELSE 0 END AS back
FROM member m
JOIN conv c ON c.id = m.conv
LEFT JOIN member p ON c.kind = 1 AND p.uid = c.a + c.b - m.uid AND p.conv = m.conv
`

var (
	// A membership that has ended changes only by the user's own row, whatever goes on in the group. Live rooms (type 4) are no conversations: a row there is
	// only about what the user may do.
	headsSince = NewQuery(head, headText+"WHERE m.uid = $1 AND m.conv > $2 AND c.type <> 4 AND (m.changed >= $3 OR m.gone = 0 AND c.changed >= $3 OR p.changed >= $3) ORDER BY m.conv LIMIT $4")
	headOf     = NewQuery(head, headText+"WHERE m.uid = $1 AND m.conv = $2")
)

// periodsOf parses the ends of all periods. If one of them is no number that a period may have, which only somebody else can have written, the user sees
// nothing of the conversation: read as 0 it would show what was before they joined.
func periodsOf(text string) []chat.Period {
	ends, ok := numbersOf(text, 4)
	if !ok {
		return nil
	}
	out := make([]chat.Period, len(ends)/4)
	for i := range out {
		at := ends[4*i:]
		out[i] = chat.Period{From: at[0], To: at[1], FromRev: at[2], ToRev: at[3]}
	}
	return out
}

func mentionsOf(text string) []chat.Mention {
	ends, ok := numbersOf(text, 2)
	if !ok {
		return nil
	}
	out := make([]chat.Mention, len(ends)/2)
	for i := range out {
		out[i] = chat.Mention{Seq: ends[2*i], UID: chat.UID(ends[2*i+1])}
	}
	return out
}

// numbersOf parses groups of numbers, none of which is negative; false if there are none.
func numbersOf(text string, each int) ([]uint64, bool) {
	if text == "" {
		return nil, false
	}
	words := strings.Split(text, " ")
	out := make([]uint64, len(words))
	for i, word := range words {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil || n < 0 || len(words)%each > 0 {
			return nil, false
		}
		out[i] = uint64(n)
	}
	return out, true
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
