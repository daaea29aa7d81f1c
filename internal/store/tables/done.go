package tables

import "github.com/tidings-im/tidings/internal/chat"

type doneRow struct {
	UID   chat.UID `sql:"uid"`
	Run   uint64   `sql:"run"`
	Call  uint64   `sql:"call"`
	Part  uint64   `sql:"part"`
	Hash  uint64   `sql:"hash"`
	At    int64    `sql:"at"`
	Reply []byte   `sql:"reply"`
}

var done = newKind(func(r *doneRow) chat.Done { return chat.Done(*r) })

var (
	doneCall   = NewQuery(done, "SELECT "+done.Cols("d")+" FROM done d WHERE d.uid = $1 AND d.run = $2 AND d.call = $3 AND d.part = $4")
	renewDone  = NewWrite[doneRow]("UPDATE done SET at = :at WHERE uid = :uid AND run = :run AND call = :call AND part = :part")
	putDone    = NewWrite[doneRow]("INSERT INTO done (uid, run, call, part, hash, at, reply) VALUES (:uid, :run, :call, :part, :hash, :at, :reply)")
	forgetDone = forgetting("at < $1 ORDER BY at LIMIT 4")
	// The rows before an offset would be locked as well, so they are counted in a query of its own.
	excessDone = forgetting("(uid, run, call, part) IN (" + keyOfDone + "uid = $1 ORDER BY at DESC LIMIT 4 OFFSET $2)")
)

const keyOfDone = "SELECT uid, run, call, part FROM done WHERE "

// forgetting deletes some rows of done, and on PostgreSQL locks no others. Servers that share a store do not wait for each other's.
func forgetting(which string) [2]string {
	return [...]string{
		SQLite: "DELETE FROM done WHERE (uid, run, call, part) IN (" + keyOfDone + which + ")",
		Postgres: "DELETE FROM done d USING (" + keyOfDone + which + ` FOR UPDATE SKIP LOCKED) o
			WHERE d.uid = o.uid AND d.run = o.run AND d.call = o.call AND d.part = o.part`,
	}
}

func (t *Tx) Done(uid chat.UID, run, call, part uint64) (chat.Done, error) {
	d, err := doneCall.One(t.Ctx, t.On, int64(uid), int64(run), int64(call), int64(part))
	if err != nil {
		return d, err
	}
	d.At = t.Time
	return d, renewDone.Tell(t.Ctx, t.On, doneRow(d))
}

func (t *Tx) PutDone(d chat.Done, before int64, most int) error {
	dialect := t.On.Dialect()
	d.At = t.Time
	if err := putDone.Tell(t.Ctx, t.On, doneRow(d)); err != nil {
		return err
	}
	if err := t.On.Tell(t.Ctx, forgetDone[dialect], before); err != nil {
		return err
	}
	return t.On.Tell(t.Ctx, excessDone[dialect], int64(d.UID), int64(most))
}
