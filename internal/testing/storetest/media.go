package storetest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
)

// addMedia stores an upload of a user that ends in two hours.
func (e *env) addMedia(s chat.Store, id string, uid chat.UID, size int64) {
	e.Helper()
	e.ok(s.Update(e.ctx, nil, func(tx chat.Tx) error {
		return tx.AddMedia(chat.Media{ID: id, Owner: uid, Kind: chat.MediaImage, Size: size, Until: tx.Now() + 2*3600_000})
	}))
}

// endMedia ends an upload with files, which are kept for some milliseconds, and returns which of them were there already.
func (e *env) endMedia(s chat.Store, id string, keep int64, parts ...chat.MediaPart) []string {
	e.Helper()
	var twice []string
	e.ok(s.Update(e.ctx, nil, func(tx chat.Tx) (err error) {
		twice, err = tx.EndMedia(id, tx.Now()+keep, parts)
		return err
	}))
	return twice
}

func (e *env) dropMedia(s chat.Store, id string) error {
	return s.Update(e.ctx, nil, func(tx chat.Tx) error { return tx.DropMedia(id, math.MaxInt64, 0) })
}

func (e *env) dropBlobs(s chat.Store, limit int) []string {
	e.Helper()
	var files []string
	e.ok(s.Update(e.ctx, nil, func(tx chat.Tx) (err error) {
		files, err = tx.DropBlobs(tx.Now(), limit)
		return err
	}))
	return files
}

// media: uploads with their files, what a user has of them, and files that go when nothing refers to them.
func media(e *env) {
	a, b := e.user("a"), e.user("b")
	use := func(uid chat.UID, since int64) (use chat.MediaUse) {
		e.Helper()
		e.ok(e.s.Update(e.ctx, nil, func(tx chat.Tx) (err error) {
			use, err = tx.MediaUse(uid, since)
			return err
		}))
		return use
	}
	e.equal("nothing", use(a, 0), chat.MediaUse{})
	if err := e.s.Update(e.ctx, nil, func(tx chat.Tx) error { _, err := tx.MediaUse(1, 0); return err }); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("what nobody has uploaded:", err)
	}
	e.addMedia(e.s, "one", a, 10)
	e.clock.move(time.Hour)
	e.addMedia(e.s, "two", a, 1<<40)
	e.addMedia(e.s, "three", b, 5)
	one, parts, err := e.s.Media(e.ctx, "one")
	e.ok(err)
	e.equal("an upload", one, chat.Media{ID: "one", Owner: a, Kind: chat.MediaImage, Size: 10, Made: one.Made, Until: one.Made + 2*3600_000})
	e.equal("its files", parts, []chat.MediaPart(nil))
	for _, id := range []string{"", "One", "\x00", "four"} {
		if _, _, err := e.s.Media(e.ctx, id); !errors.Is(err, chat.ErrNotFound) {
			e.Fatalf("%q: %v", id, err)
		}
	}
	e.equal("both of a", use(a, 0), chat.MediaUse{Open: 2, Kept: 10 + 1<<40, Since: 10 + 1<<40})
	e.equal("since an hour after the first", use(a, one.Made+3600_000), chat.MediaUse{Open: 2, Kept: 10 + 1<<40, Since: 1 << 40})
	e.equal("of b", use(b, 0), chat.MediaUse{Open: 1, Kept: 5, Since: 5})

	original := chat.MediaPart{Media: "one", Hash: "h1", File: "h1-a", Size: 10, Type: "image/png", Width: 3, Height: 4}
	thumb := chat.MediaPart{Media: "one", Part: chat.PartThumb, Hash: "h0", File: "h0-a", Size: 2, Type: "image/jpeg", Width: 1, Height: 2}
	large := original
	large.Part = chat.PartLarge
	e.equal("twice", e.endMedia(e.s, "one", 60_000, original, large, thumb), []string(nil))
	again, parts, err := e.s.Media(e.ctx, "one")
	e.ok(err)
	one.Done, one.Until = true, e.s.Now()+60_000
	e.equal("done", again, one)
	e.equal("in order", parts, []chat.MediaPart{original, large, thumb})
	e.equal("of a", use(a, 0), chat.MediaUse{Open: 1, Kept: 10 + 1<<40, Since: 10 + 1<<40})
	for _, id := range []string{"one", "nobody's"} { // done already, not there
		if err := e.s.Update(e.ctx, nil, func(tx chat.Tx) error { _, err := tx.EndMedia(id, 0, parts); return err }); !errors.Is(err, chat.ErrNotFound) {
			e.Fatal(id, err)
		}
	}
	// The same bytes of somebody else: one file, two uploads.
	same := chat.MediaPart{Media: "three", Hash: "h1", File: "h1-b", Size: 10, Type: "image/png"}
	e.equal("twice", e.endMedia(e.s, "three", 60_000, same), []string{"h1-b"})
	_, parts, err = e.s.Media(e.ctx, "three")
	e.ok(err)
	e.equal("the first file", parts[0].File, "h1-a")
	file, err := e.s.BlobFile(e.ctx, "h1")
	e.equal("by hash", must(e, file, err), "h1-a")
	if _, err := e.s.BlobFile(e.ctx, "h2"); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal(err)
	}

	if err := e.s.Update(e.ctx, nil, func(tx chat.Tx) error { return tx.DropMedia("one", one.Until-1, 0) }); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("one that goes on:", err)
	}
	e.ok(e.dropMedia(e.s, "one"))
	if err := e.dropMedia(e.s, "one"); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("dropped twice:", err)
	}
	e.equal("too early", e.dropBlobs(e.s, 10), []string(nil))
	e.clock.move(time.Second)
	e.equal("what nothing refers to", e.dropBlobs(e.s, 10), []string{"h0-a"})
	_, parts, err = e.s.Media(e.ctx, "three")
	e.ok(err)
	e.equal("of the other", len(parts), 1)
	e.ok(e.dropMedia(e.s, "three"))
	e.clock.move(time.Second)
	// Unused for some time, and used again.
	e.addMedia(e.s, "four", b, 10)
	same.File = "h1-c"
	e.equal("twice", e.endMedia(e.s, "four", 60_000, same), []string{"h1-c"})
	e.clock.move(time.Second)
	e.equal("used again", e.dropBlobs(e.s, 10), []string(nil))
	e.ok(e.dropMedia(e.s, "four"))
	e.clock.move(time.Second)
	e.equal("the last", e.dropBlobs(e.s, 10), []string{"h1-a"})

	now := e.s.Now()
	old, err := e.s.OldMedia(e.ctx, now, 10)
	e.equal("none is old", must(e, old, err), []string(nil))
	n, err := e.s.OpenMedia(e.ctx, now)
	e.equal("open", must(e, n, err), 1)
	old, err = e.s.OldMedia(e.ctx, now+4*3600_000, 10)
	e.equal("old", must(e, old, err), []string{"two"})
	n, err = e.s.OpenMedia(e.ctx, now+4*3600_000)
	e.equal("none goes on", must(e, n, err), 0)
	openOf := func(uid chat.UID, before int64, limit int) []string {
		e.Helper()
		ids, err := e.s.OpenMediaOf(e.ctx, uid, before, limit)
		return must(e, ids, err)
	}
	e.addMedia(e.s, "five", a, 1)
	e.clock.move(time.Second)
	e.addMedia(e.s, "six", a, 1)
	six := e.s.Now()
	e.clock.move(time.Second)
	e.addMedia(e.s, "seven", a, 1)
	e.equal("open", openOf(a, six+1000, 10), []string{"two", "five", "six"})
	e.equal("open, the oldest", openOf(a, six+1000, 2), []string{"two", "five"})
	e.equal("open of b", openOf(b, six+1000, 10), []string(nil))
	for _, id := range []string{"five", "six", "seven"} {
		e.ok(e.dropMedia(e.s, id))
	}
	e.clock.move(2 * time.Hour)
	// What is deleted counts for the day with what arrived of it, or whole if it was done, as one is here; what is old is not open any more.
	e.equal("of a", use(a, 0), chat.MediaUse{Kept: 1 << 40, Since: 10 + 1<<40})
	e.ok(e.s.Update(e.ctx, nil, func(tx chat.Tx) error { return tx.DropMedia("two", tx.Now(), 7) }))
	e.equal("of a, dropped", use(a, 0), chat.MediaUse{Since: 17})
	e.ok(e.s.Update(e.ctx, nil, func(tx chat.Tx) error { return tx.SpendMedia(a, 3) }))
	e.equal("of a, thrown away", use(a, 0), chat.MediaUse{Since: 20})
	e.addMedia(e.s, "eight", a, 5)
	e.ok(e.s.Update(e.ctx, nil, func(tx chat.Tx) error { return tx.ForgetMediaUse(tx.Now()) }))
	e.equal("of a, forgotten", use(a, 0), chat.MediaUse{Open: 1, Kept: 5, Since: 8})
	e.equal("of b, forgotten", use(b, 0), chat.MediaUse{})
}

// blobFolder: a store has one folder, which the first caller names.
func blobFolder(e *env) {
	if _, err := e.s.BlobFolder(e.ctx, ""); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("the folder of a new store:", err)
	}
	for _, id := range []string{"first", "second", ""} {
		got, err := e.s.BlobFolder(e.ctx, id)
		e.equal("folder", must(e, got, err), "first")
	}
	e.addMedia(e.s, "one", e.user("a"), 1)
	e.endMedia(e.s, "one", 60_000, chat.MediaPart{Hash: "h", File: "f", Size: 1})
	e.ok(e.s.NewBlobFolder(e.ctx, "third"))
	e.restart()
	got, err := e.s.BlobFolder(e.ctx, "fourth")
	e.equal("folder", must(e, got, err), "third")
	if _, _, err := e.s.Media(e.ctx, "one"); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("media of another folder:", err)
	}
	if _, err := e.s.BlobFile(e.ctx, "h"); !errors.Is(err, chat.ErrNotFound) {
		e.Fatal("a file of another folder:", err)
	}
}

// sharedMedia: while uploads of the same bytes end and go through several stores, and what is unused is dropped, no upload is without its file, and in the
// end there is none.
func sharedMedia(e *env, stores []chat.Store) {
	uid := e.user("a")
	const workers, rounds = 4, 25
	var mu sync.Mutex
	deleted := make(map[string]bool)
	var wg sync.WaitGroup
	drop := func(s chat.Store, limit int) {
		e.clock.move(time.Millisecond)
		for _, f := range e.dropBlobs(s, limit) {
			mu.Lock()
			if deleted[f] {
				e.Errorf("%s was dropped twice", f)
			}
			deleted[f] = true
			mu.Unlock()
		}
	}
	for n, s := range stores {
		for w := range workers {
			wg.Go(func() {
				for i := range rounds {
					id := fmt.Sprint("m", n, ".", w, ".", i)
					e.addMedia(s, id, uid, 1)
					twice := e.endMedia(s, id, 60_000,
						chat.MediaPart{Hash: "x", File: "x" + id, Size: 1}, chat.MediaPart{Part: 1, Hash: fmt.Sprint("y", i%2), File: "y" + id, Size: 1})
					_, parts, err := s.Media(e.ctx, id)
					if err != nil || len(parts) != 2 {
						e.Errorf("%s has %v: %v", id, parts, err)
						return
					}
					mu.Lock()
					for _, p := range parts {
						if deleted[p.File] || slices.Contains(twice, p.File) {
							e.Errorf("%s is left with the deleted file %s", id, p.File)
						}
					}
					mu.Unlock()
					if err := e.dropMedia(s, id); err != nil {
						e.Error(err)
					}
					drop(s, 1+i%3)
				}
			})
		}
	}
	wg.Wait()
	drop(stores[0], 1000)
	for _, hash := range []string{"x", "y0", "y1"} {
		if f, err := e.s.BlobFile(e.ctx, hash); !errors.Is(err, chat.ErrNotFound) {
			e.Errorf("%s is left: %v", f, err)
		}
	}
}
