package tables

import (
	"context"

	"github.com/tidings-im/tidings/internal/chat"
)

type outboxRow struct {
	ID       int64    `sql:"id"`
	Lane     chat.UID `sql:"lane"`
	Time     int64    `sql:"time"`
	Platform string   `sql:"platform"`
	Addr     string   `sql:"addr"`
	Command  string   `sql:"command"`
	Body     []byte   `sql:"body"`
}

var outgoing = newKind(func(r *outboxRow) chat.Outgoing { return chat.Outgoing(*r) })

var (
	outboxOf = NewQuery(outgoing, "SELECT "+outgoing.Cols("o")+" FROM outbox o WHERE o.lane = $1 ORDER BY o.id LIMIT $2")
	// outboxOld reads in the order of ids, which is roughly that of times.
	outboxOld = NewQuery(outgoing, "SELECT "+outgoing.Cols("o")+" FROM outbox o WHERE o.time < $1 ORDER BY o.id LIMIT $2")
	// outboxLanes goes from lane to lane by the index, however many rows each has.
	outboxLanes = NewQuery(account, `WITH RECURSIVE l (lane) AS (
			SELECT min(o.lane) FROM outbox o WHERE o.lane > $1
			UNION ALL
			SELECT (SELECT min(o.lane) FROM outbox o WHERE o.lane > l.lane) FROM l WHERE l.lane IS NOT NULL
		) SELECT l.lane AS uid FROM l WHERE l.lane IS NOT NULL LIMIT $2`)

	outboxSize = NewQuery(Number, "SELECT count(*) AS n FROM outbox o WHERE o.lane = $1")

	insertOutbox = NewWrite[outboxRow](`INSERT INTO outbox (lane, time, platform, addr, command, body) VALUES (:lane, :time, :platform, :addr, :command, :body)`)
	dropOutbox   = texts(func(d Dialect) string { return "DELETE FROM outbox WHERE id IN (SELECT x.n FROM " + d.list("$1") + ")" })
)

func (s *Both) Outbox(ctx context.Context, lane chat.UID, limit int) ([]chat.Outgoing, error) {
	return outboxOf.All(ctx, s.On, int64(lane), int64(max(limit, 0)))
}

func (s *Both) OutboxLanes(ctx context.Context, after chat.UID, limit int) ([]chat.UID, error) {
	return outboxLanes.All(ctx, s.On, int64(after), int64(max(limit, 0)))
}

func (s *Both) OutboxOld(ctx context.Context, before int64, limit int) ([]chat.Outgoing, error) {
	return outboxOld.All(ctx, s.On, before, int64(max(limit, 0)))
}

func (s *Both) OutboxSize(ctx context.Context, lane chat.UID) (int, error) {
	n, err := outboxSize.One(ctx, s.On, int64(lane))
	return int(n), err
}

// AddOutbox holds the account or the conversation first: whoever writes to the lane next draws a higher id after this one is committed.
func (t *Tx) AddOutbox(o chat.Outgoing) error {
	var err error
	if conv := chat.ConvOf(o.Lane); conv != 0 {
		_, err = t.On.Head(conv)
	} else {
		_, err = t.user(o.Lane)
	}
	if err != nil {
		return err
	}
	o.Time = t.Time
	o.Addr, _ = t.On.Dialect().Text(o.Addr)
	return insertOutbox.Tell(t.Ctx, t.On, outboxRow(o))
}

func (t *Tx) DropOutbox(ids []int64) error {
	d := t.On.Dialect()
	return t.On.Tell(t.Ctx, dropOutbox[d], d.listOf(ids))
}
