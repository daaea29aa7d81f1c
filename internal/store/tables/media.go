package tables

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/internal/chat"
)

type mediaRow struct {
	ID    string         `sql:"id"`
	Owner chat.UID       `sql:"uid"`
	Kind  chat.MediaKind `sql:"kind"`
	Size  int64          `sql:"size"`
	Made  int64          `sql:"made"`
	Until int64          `sql:"until"`
	Done  bool           `sql:"done"`
}

var media = newKind(func(r *mediaRow) chat.Media { return chat.Media(*r) })

type partRow struct {
	Media  string `sql:"id"`
	Part   int32  `sql:"part"`
	Hash   string `sql:"hash"`
	File   string `sql:"file"`
	Size   int64  `sql:"size"`
	Type   string `sql:"type"`
	Width  int64  `sql:"width"`
	Height int64  `sql:"height"`
}

var mediaPart = newKind(func(r *partRow) chat.MediaPart { return chat.MediaPart(*r) })

type useRow struct {
	Open  int   `sql:"open"`
	Kept  int64 `sql:"kept"`
	Since int64 `sql:"since"`
}

var mediaUse = newKind(func(r *useRow) chat.MediaUse { return chat.MediaUse(*r) })

// word is one text.
var word = newKind(func(r *struct {
	Text string `sql:"text"`
}) string {
	return r.Text
})

var (
	mediaByID  = NewQuery(media, "SELECT "+media.Cols("m")+" FROM media m WHERE m.id = $1")
	mediaParts = NewQuery(mediaPart, "SELECT p.id AS id, p.part AS part, p.hash AS hash, b.file AS file, b.size AS size, p.type AS type, p.width AS width, p.height AS height"+
		" FROM media_part p JOIN blob b ON b.hash = p.hash WHERE p.id = $1 ORDER BY p.part")
	oldMedia   = NewQuery(word, "SELECT m.id AS text FROM media m WHERE m.until > 0 AND m.until <= $1 ORDER BY m.until LIMIT $2")
	openMedia  = NewQuery(Number, "SELECT count(*) AS n FROM media m WHERE m.done = 0 AND m.until > $1")
	blobFile   = NewQuery(word, "SELECT b.file AS text FROM blob b WHERE b.hash = $1")
	blobFolder = NewQuery(word, "SELECT f.id AS text FROM blob_folder f WHERE f.id <> ''")
	// holdBlobs makes others wait who change which files are used.
	holdBlobs = locking(word, "SELECT f.id AS text FROM blob_folder f")

	openMediaOf = NewQuery(word, "SELECT m.id AS text FROM media m WHERE m.uid = $1 AND m.done = 0 AND m.made < $2 ORDER BY m.made LIMIT $3")
	useOfMedia  = NewQuery(mediaUse, `SELECT (SELECT count(*) FROM media m WHERE m.uid = $1 AND m.done = 0 AND m.until > $2) AS open,
		CAST(coalesce(sum(CASE WHEN u.hour = 0 THEN u.bytes ELSE 0 END), 0) AS BIGINT) AS kept,
		CAST(coalesce(sum(CASE WHEN u.hour > 0 AND u.hour >= $3 THEN u.bytes ELSE 0 END), 0) AS BIGINT) AS since FROM media_use u WHERE u.uid = $1`)
	// useMedia adds to what a user keeps and to that of an hour.
	useMedia  = "INSERT INTO media_use (uid, hour, bytes) VALUES ($1, $2, $3) ON CONFLICT (uid, hour) DO UPDATE SET bytes = media_use.bytes + excluded.bytes"
	forgetUse = "DELETE FROM media_use WHERE hour > 0 AND hour < $1"

	addMedia = NewWrite[mediaRow]("INSERT INTO media (id, uid, kind, size, made, until, done) VALUES (:id, :uid, :kind, :size, :made, :until, :done)")
	endMedia = NewQuery(word, "UPDATE media SET done = 1, until = $1 WHERE id = $2 AND done = 0 RETURNING id AS text")
	useBlob  = NewQuery(word, "INSERT INTO blob (hash, file, size, unused) VALUES ($1, $2, $3, 0) ON CONFLICT (hash) DO UPDATE SET unused = 0 RETURNING file AS text")
	addPart  = NewWrite[partRow]("INSERT INTO media_part (id, part, hash, type, width, height) VALUES (:id, :part, :hash, :type, :width, :height)")
	// holdMedia makes others wait who refer to an upload, or end it.
	holdMedia = locking(word, "SELECT m.id AS text FROM media m WHERE m.id = $1")
	refTo     = NewQuery(word, "SELECT r.media AS text FROM media_ref r WHERE r.media = $1 LIMIT 1")
	dropRefs  = "DELETE FROM media_ref WHERE media = $1"
	dropMedia = "DELETE FROM media WHERE id = $1"
	dropParts = NewQuery(word, "DELETE FROM media_part WHERE id = $1 RETURNING hash AS text")
	leaveBlob = "UPDATE blob SET unused = $1 WHERE hash = $2 AND NOT EXISTS (SELECT 1 FROM media_part p WHERE p.hash = $2)"
	dropBlobs = NewQuery(word, `DELETE FROM blob WHERE hash IN (SELECT b.hash FROM blob b WHERE b.unused > 0 AND b.unused < $1 ORDER BY b.unused LIMIT $2)
		RETURNING file AS text`)
)

func (s *Both) Media(ctx context.Context, id string) (chat.Media, []chat.MediaPart, error) {
	if _, whole := s.On.Dialect().Text(id); !whole {
		return chat.Media{}, nil, chat.ErrNotFound
	}
	m, err := mediaByID.One(ctx, s.On, id)
	if err != nil || !m.Done {
		return m, nil, err
	}
	parts, err := mediaParts.All(ctx, s.On, id)
	if err == nil && len(parts) == 0 {
		err = chat.ErrNotFound // it was deleted between the two
	}
	return m, parts, err
}

func (s *Both) OldMedia(ctx context.Context, now int64, limit int) ([]string, error) {
	return oldMedia.All(ctx, s.On, now, int64(max(limit, 0)))
}

func (s *Both) OpenMedia(ctx context.Context, now int64) (int, error) {
	n, err := openMedia.One(ctx, s.On, now)
	return int(n), err
}

func (s *Both) OpenMediaOf(ctx context.Context, uid chat.UID, before int64, limit int) ([]string, error) {
	return openMediaOf.All(ctx, s.On, int64(uid), before, int64(max(limit, 0)))
}

func (s *Both) BlobFile(ctx context.Context, hash string) (string, error) {
	return blobFile.One(ctx, s.On, hash)
}

func (s *Both) BlobFolder(ctx context.Context, id string) (string, error) {
	if have, err := blobFolder.One(ctx, s.On); err == nil || id == "" {
		return have, err
	}
	if err := s.On.Run(ctx, nil, func(t *Tx) error {
		return t.On.Tell(t.Ctx, "UPDATE blob_folder SET id = $1 WHERE id = ''", id)
	}); err != nil {
		return "", err
	}
	return blobFolder.One(ctx, s.On) // another server may have been faster
}

// ForgetMedia are statements that forget all uploads and files.
var ForgetMedia = []string{"DELETE FROM media_ref", "DELETE FROM media_part", "DELETE FROM media", "DELETE FROM media_use", "DELETE FROM blob"}

func (s *Both) NewBlobFolder(ctx context.Context, id string) error {
	return s.On.Run(ctx, nil, func(t *Tx) error {
		if _, err := holdBlobs.One(t.Ctx, t.On); err != nil {
			return err
		}
		for _, statement := range ForgetMedia {
			if err := t.On.Tell(t.Ctx, statement); err != nil {
				return err
			}
		}
		return t.On.Tell(t.Ctx, "UPDATE blob_folder SET id = $1", id)
	})
}

func (t *Tx) MediaUse(uid chat.UID, since int64) (chat.MediaUse, error) {
	if _, err := t.user(uid); err != nil {
		return chat.MediaUse{}, err
	}
	return useOfMedia.One(t.Ctx, t.On, int64(uid), t.Time, hourOf(since))
}

// hourOf returns the hour of a time, as media_use has it.
func hourOf(time int64) int64 { return time / 3600_000 }

func (t *Tx) SpendMedia(uid chat.UID, bytes int64) error {
	return t.On.Tell(t.Ctx, useMedia, int64(uid), hourOf(t.Time), bytes)
}

func (t *Tx) ForgetMediaUse(before int64) error { return t.On.Tell(t.Ctx, forgetUse, hourOf(before)) }

func (t *Tx) AddMedia(m chat.Media) error {
	m.Made = t.Time
	if err := t.On.Tell(t.Ctx, useMedia, int64(m.Owner), int64(0), m.Size); err != nil {
		return err
	}
	if err := t.SpendMedia(m.Owner, m.Size); err != nil {
		return err
	}
	return addMedia.Tell(t.Ctx, t.On, mediaRow(m))
}

func (t *Tx) EndMedia(id string, until int64, parts []chat.MediaPart) (twice []string, err error) {
	if _, err := holdBlobs.One(t.Ctx, t.On); err != nil {
		return nil, err
	}
	t.On.Wrote()
	if _, err := endMedia.One(t.Ctx, t.On, until, id); err != nil {
		return nil, err
	}
	for _, p := range parts {
		file, err := useBlob.One(t.Ctx, t.On, p.Hash, p.File, p.Size)
		if err != nil {
			return nil, err
		}
		if file != p.File {
			twice = append(twice, p.File)
		}
		p.Media = id
		if err := addPart.Tell(t.Ctx, t.On, partRow(p)); err != nil {
			return nil, err
		}
	}
	return twice, nil
}

func (t *Tx) DropMedia(id string, by, spent int64) error {
	if _, err := holdBlobs.One(t.Ctx, t.On); err != nil {
		return err
	}
	// Who refers to it is read by later statements, which see what others have committed.
	if _, err := holdMedia.One(t.Ctx, t.On, id); err != nil {
		return err
	}
	m, err := mediaByID.One(t.Ctx, t.On, id)
	if err == nil && (m.Until == 0 || m.Until > by) {
		err = chat.ErrNotFound
	}
	if err == nil && m.Done && m.Until > t.Time {
		if _, err = refTo.One(t.Ctx, t.On, id); err == nil {
			return chat.ErrNotFound
		} else if errors.Is(err, chat.ErrNotFound) {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	if err := t.On.Tell(t.Ctx, dropRefs, id); err != nil {
		return err
	}
	if m.Done {
		spent = m.Size
	}
	if err := t.On.Tell(t.Ctx, useMedia, int64(m.Owner), int64(0), -m.Size); err != nil {
		return err
	}
	if err := t.On.Tell(t.Ctx, useMedia, int64(m.Owner), hourOf(m.Made), min(spent, m.Size)-m.Size); err != nil {
		return err
	}
	if err := t.On.Tell(t.Ctx, dropMedia, id); err != nil {
		return err
	}
	hashes, err := dropParts.All(t.Ctx, t.On, id)
	if err != nil {
		return err
	}
	for _, hash := range hashes {
		if err := t.On.Tell(t.Ctx, leaveBlob, t.Time, hash); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tx) DropBlobs(before int64, limit int) ([]string, error) {
	if _, err := holdBlobs.One(t.Ctx, t.On); err != nil {
		return nil, err
	}
	t.On.Wrote()
	return dropBlobs.All(t.Ctx, t.On, before, int64(max(limit, 0)))
}
