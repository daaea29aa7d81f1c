package tables

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/internal/chat"
)

// What backup, restore and check read of a database without being its store.

// KnownFile is a file that a database names. Unused is when the last that referred to it went, 0 if something refers to it.
type KnownFile struct {
	Hash   string `sql:"hash"`
	File   string `sql:"file"`
	Size   int64  `sql:"size"`
	Unused int64  `sql:"unused"`
}

var (
	knownFile  = NewKind[KnownFile]()
	knownFiles = NewQuery(knownFile, "SELECT "+knownFile.Cols("b")+" FROM blob b WHERE b.hash >= $1 AND b.hash < $2 ORDER BY b.hash")
	storeName  = NewQuery(word, "SELECT m.store_id AS text FROM meta m")
	hasTable   = either(Number, "SELECT count(*) AS n FROM sqlite_schema WHERE type = 'table' AND name = $1",
		"SELECT count(*) AS n FROM pg_class WHERE oid = to_regclass($1)")
)

// KnownFiles returns the files whose hash begins with two digits.
func KnownFiles(ctx context.Context, on Asker, prefix string) ([]KnownFile, error) {
	return knownFiles.All(ctx, on, prefix, prefix+"g")
}

// StoreName returns the name of a store, which copies of it have too.
func StoreName(ctx context.Context, on Asker) (string, error) { return storeName.One(ctx, on) }

// FolderID returns the id of the folder with the files, "" if there is none. So it does for a database of a version that knew no files.
func FolderID(ctx context.Context, on Asker) (string, error) {
	if n, err := hasTable.One(ctx, on, "blob_folder"); err != nil || n == 0 {
		return "", err
	}
	id, err := blobFolder.One(ctx, on)
	if errors.Is(err, chat.ErrNotFound) {
		return "", nil
	}
	return id, err
}
