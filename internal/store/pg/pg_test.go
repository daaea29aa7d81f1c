package pg_test

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/store/pgtest"
	"github.com/tidings-im/tidings/internal/store/storetest"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			os.Stderr.WriteString(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func TestContract(t *testing.T) {
	var mu sync.Mutex
	databases := make(map[string]string)
	storetest.Run(t, func(t *testing.T, place string, clock func() time.Time) chat.Store {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if databases[place] == "" {
			databases[place] = pgtest.DSN(t)
		}
		s, err := pg.Open(context.Background(), pg.Config{DSN: databases[place], Log: quiet, Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
