package store_test

import (
	"context"
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store"
)

// FuzzRestore restores files that began as a good backup. Whatever has been changed in one, it is refused, or makes a data folder that the store
// opens or refuses; and the file itself stays unchanged.
func FuzzRestore(f *testing.F) {
	log := slog.New(slog.DiscardHandler)
	dir := f.TempDir()
	st, err := store.Open(f.Context(), store.Config{Dir: dir, Log: log})
	if err != nil {
		f.Fatal(err)
	}
	a, err := st.CreateUser(f.Context(), "a")
	if err != nil {
		f.Fatal(err)
	}
	c, err := st.C2C(f.Context(), a.UID, a.UID)
	if err != nil {
		f.Fatal(err)
	}
	stored := make(chan error, 1)
	st.Append(chat.Entry{Conv: c.ID, Sender: a.UID, ClientTime: 1, Random: 1, Body: []byte("x")}, func(_ chat.Stored, _ bool, err error) { stored <- err })
	if err := <-stored; err != nil {
		f.Fatal(err)
	}
	if err := st.Close(); err != nil {
		f.Fatal(err)
	}
	copied := filepath.Join(f.TempDir(), "copy.db")
	if err := store.Backup(f.Context(), dir, copied); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(copied)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	for at := 16; at < len(good); at += 9973 {
		b := binary.BigEndian.AppendUint32(nil, uint32(at))
		f.Add(append(b, good[at]^0xff))
	}
	// Each five bytes are a position and a value.
	f.Fuzz(func(t *testing.T, changes []byte) {
		bad := slices.Clone(good)
		for c := range slices.Chunk(changes, 5) {
			if len(c) == 5 {
				bad[int(binary.BigEndian.Uint32(c))%len(bad)] = c[4]
			}
		}
		from, to := filepath.Join(t.TempDir(), "from.db"), filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(from, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		err := store.Restore(context.Background(), from, to, nil)
		if b, e := os.ReadFile(from); e != nil || !slices.Equal(b, bad) {
			t.Fatal("the backup was changed", e)
		}
		if err != nil {
			return
		}
		st, err := store.Open(context.Background(), store.Config{Dir: to, Log: log, Fatal: func(error) {}})
		if err != nil {
			return
		}
		st.Heads(context.Background(), a.UID, 0, 0, 10)
		st.Close()
	})
}
