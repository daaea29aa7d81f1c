package tables

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/internal/chat"
)

// Uploads that entries refer to. Whoever changes that holds the row of the upload, so that an upload of which the last reference goes is not one that somebody
// is about to refer to.

// HeldMedia is an upload that is done.
type HeldMedia struct {
	ID    string `sql:"id"`
	Until int64  `sql:"until"`
}

// There reports whether it has not ended.
func (h *HeldMedia) There(now int64) bool { return h.Until == 0 || h.Until > now }

// EndOf returns when an upload ends that an entry refers to from now on.
func (h *HeldMedia) EndOf(keep, now int64) int64 {
	if keep == 0 || h.Until == 0 {
		return 0
	}
	return max(h.Until, now+keep)
}

// Held are uploads. Several are locked in the order of their ids.
var Held = NewKind[HeldMedia]()

// HoldAll is the text of the query that locks uploads by a list of their ids, in PostgreSQL.
var HoldAll = "SELECT " + Held.Cols("m") + " FROM media m WHERE m.done = 1 AND m.id = ANY ($1::text[]) ORDER BY m.id" + ForUpdate

type refRow struct {
	Conv  chat.ConvID `sql:"conv"`
	Seq   uint64      `sql:"seq"`
	Media string      `sql:"media"`
}

var (
	doneMedia = NewQuery(Held, "SELECT "+Held.Cols("m")+" FROM media m WHERE m.done = 1 AND m.id = $1")
	putRef    = NewWrite[refRow]("INSERT INTO media_ref (conv, seq, media) VALUES (:conv, :seq, :media) ON CONFLICT (conv, seq, media) DO NOTHING")
	keepMedia = NewWrite[HeldMedia]("UPDATE media SET until = :until WHERE id = :id")
	refsOf    = NewQuery(word, "SELECT r.media AS text FROM media_ref r WHERE r.conv = $1 AND r.seq = $2 ORDER BY r.media")
	endUnused = "UPDATE media SET until = $1 WHERE id = $2 AND NOT EXISTS (SELECT 1 FROM media_ref r WHERE r.media = $2)"
	detach    = "DELETE FROM media_ref WHERE conv = $1 AND seq = $2"
)

// Attachable returns those of the uploads of an entry that are there; ErrNoMedia if one is not that must be. It is for a store with one writer, and others lock
// them with HoldAll.
func Attachable(ctx context.Context, db DB, a *chat.Attached, now int64) ([]HeldMedia, error) {
	var out []HeldMedia
	for i, id := range append(append([]string{}, a.IDs...), a.May...) {
		h, err := doneMedia.One(ctx, db, id)
		if err != nil && !errors.Is(err, chat.ErrNotFound) {
			return nil, err
		}
		switch {
		case err == nil && h.There(now):
			out = append(out, h)
		case i < len(a.IDs):
			return nil, chat.ErrNoMedia
		}
	}
	return out, nil
}

// Attach stores that an entry refers to uploads.
func Attach(ctx context.Context, db DB, st *chat.Stored, list []HeldMedia, now int64) error {
	for _, h := range list {
		if err := putRef.Tell(ctx, db, refRow{st.Conv, st.Seq, h.ID}); err != nil {
			return err
		}
		h.Until = h.EndOf(st.Attached.Keep, now)
		if err := keepMedia.Tell(ctx, db, h); err != nil {
			return err
		}
	}
	return nil
}

// detach forgets what an entry refers to. Uploads that no other entry refers to end.
func (t *Tx) detach(id chat.ConvID, seq uint64) error {
	list, err := refsOf.All(t.Ctx, t.On, int64(id), clamp(seq))
	if err != nil || len(list) == 0 {
		return err
	}
	for _, m := range list {
		if _, err := holdMedia.One(t.Ctx, t.On, m); err != nil && !errors.Is(err, chat.ErrNotFound) {
			return err
		}
	}
	if err := t.On.Tell(t.Ctx, detach, int64(id), clamp(seq)); err != nil {
		return err
	}
	for _, m := range list {
		if err := t.On.Tell(t.Ctx, endUnused, t.Time, m); err != nil {
			return err
		}
	}
	return nil
}
