package storetest

import (
	"errors"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/tables"
)

type noteRow struct {
	UID    chat.UID `sql:"uid"`
	Name   string   `sql:"name"`
	Bits   uint64   `sql:"bits"`
	Random uint32   `sql:"random"`
	Kind   int32    `sql:"kind"`
	Open   bool     `sql:"open"`
	Body   []byte   `sql:"body"`
}

// newTable: a table, its rows and its statements are written once and work on every store, for every type that a column may have.
func newTable(e *env) {
	notes := tables.NewKind[noteRow]()
	put := tables.NewWrite[noteRow](`INSERT INTO note (uid, name, bits, random, kind, open, body) VALUES (:uid, :name, :bits, :random, :kind, :open, :body)
		ON CONFLICT (uid, name) DO UPDATE SET bits = excluded.bits, random = excluded.random, kind = excluded.kind, open = excluded.open, body = excluded.body`)
	of := tables.NewQuery(notes, "SELECT "+notes.Cols("n")+" FROM note n WHERE n.uid = $1 AND n.name > $2 ORDER BY n.name LIMIT $3")
	rows := []noteRow{
		{UID: 1, Name: "a", Bits: 1<<64 - 1, Random: 1<<32 - 1, Kind: -1 << 31, Open: true, Body: []byte{0, 1, 255}},
		{UID: 1, Name: "b", Body: []byte{}},
		{UID: 1, Name: "ß", Bits: 1 << 63, Kind: 1<<31 - 1, Body: []byte("x")},
	}
	list := func(t *tables.Tx, after string, limit int) []noteRow {
		got, err := of.All(t.Ctx, t.On, int64(1), after, int64(limit))
		e.ok(err)
		return got
	}
	undone := errors.New("undone")
	for _, outcome := range []error{undone, nil} {
		err := e.s.Update(e.ctx, nil, func(tx chat.Tx) error {
			t := tx.(*tables.Tx)
			create, err := tables.Render(t.On.Dialect(), `CREATE TABLE note (
				uid BIGINT NOT NULL, name {{key}} NOT NULL, bits BIGINT NOT NULL, random BIGINT NOT NULL, kind {{int}} NOT NULL, open {{small}} NOT NULL, body {{bytes}},
				PRIMARY KEY (uid, name)) {{keyed "fillfactor = 80"}}`)
			e.ok(err)
			if err := t.On.Tell(t.Ctx, create); err != nil {
				return err
			}
			// What is told may be sent with the next query, and statements are prepared before any of them runs.
			if _, err := tables.NewQuery(tables.Number, "SELECT 1 AS n").One(t.Ctx, t.On); err != nil {
				return err
			}
			for _, name := range []string{"", "changed"} {
				for _, r := range rows {
					if name != "" {
						r.Body = []byte(name)
					}
					if err := put.Tell(t.Ctx, t.On, r); err != nil {
						return err
					}
				}
			}
			for _, r := range rows {
				if err := put.Tell(t.Ctx, t.On, r); err != nil {
					return err
				}
			}
			e.equal("all", list(t, "", 10), rows)
			e.equal("a page", list(t, "a", 1), rows[1:2])
			e.equal("none", list(t, "ß", 1), []noteRow{})
			return outcome
		})
		if !errors.Is(err, outcome) {
			e.Fatal(err)
		}
	}
	e.restart()
	e.ok(e.s.Update(e.ctx, nil, func(tx chat.Tx) error {
		t := tx.(*tables.Tx)
		first, err := of.One(t.Ctx, t.On, int64(1), "", int64(1))
		e.ok(err)
		e.equal("after a restart", first, rows[0])
		if _, err := of.One(t.Ctx, t.On, int64(2), "", int64(1)); !errors.Is(err, chat.ErrNotFound) {
			e.Fatal("a row that is not there:", err)
		}
		return nil
	}))
}
