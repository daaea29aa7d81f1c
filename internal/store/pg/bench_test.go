package pg_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// BenchmarkAppend is the server's main load, as in the benchmark of that name on SQLite: senders in 100 conversations, each waits for its commit,
// here through one or two servers. TIDINGS_PG_FSYNC=1 makes the database of the tests write to the disk.
func BenchmarkAppend(b *testing.B) {
	for _, k := range []struct{ senders, servers int }{{200, 1}, {1000, 1}, {4000, 1}, {1000, 2}} {
		b.Run(fmt.Sprintf("senders=%d/servers=%d", k.senders, k.servers), func(b *testing.B) {
			dsn := pgtest.DSN(b)
			stores := make([]*pg.Store, k.servers)
			for i := range stores {
				stores[i] = open(b, pg.Config{DSN: dsn})
				defer stores[i].Close()
			}
			convs := pairs(b, stores[0], 100)
			body := slices.Repeat([]byte("body "), 30)
			waits := make([][]time.Duration, k.senders)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for g := range k.senders {
				s, c := stores[g%k.servers], convs[g/2%len(convs)]
				sender := c.A
				if g%2 == 1 {
					sender = c.B
				}
				wg.Go(func() {
					answered := make(chan error, 1)
					for {
						n := left.Add(-1)
						if n < 0 {
							return
						}
						began := time.Now()
						s.Append(chat.Entry{Conv: c.ID, Sender: sender, ClientTime: uint64(began.Unix()), Random: uint32(began.UnixMilli()%1000)<<22 | uint32(n)&(1<<22-1),
							Body: body, Hash: 1, Countable: true}, func(_ chat.Stored, _ bool, err error) { answered <- err })
						if err := <-answered; err != nil {
							b.Error(err)
							return
						}
						waits[g] = append(waits[g], time.Since(began))
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			all := slices.Concat(waits...)
			slices.Sort(all)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			b.ReportMetric(all[len(all)/2].Seconds()*1e3, "p50-ms")
			b.ReportMetric(all[len(all)*99/100].Seconds()*1e3, "p99-ms")
		})
	}
}

func pairs(b *testing.B, s *pg.Store, n int) []chat.Conv {
	b.Helper()
	out := make([]chat.Conv, n)
	for i := range out {
		x, err := s.CreateUser(context.Background(), fmt.Sprint("a", i))
		if err != nil {
			b.Fatal(err)
		}
		y, err := s.CreateUser(context.Background(), fmt.Sprint("b", i))
		if err != nil {
			b.Fatal(err)
		}
		if out[i], err = s.C2C(context.Background(), x.UID, y.UID); err != nil {
			b.Fatal(err)
		}
	}
	return out
}

// BenchmarkHeads lists for a user with 5,000 C2C conversations and 1,000 groups: at a login with nothing new, and everything in pages of 200.
func BenchmarkHeads(b *testing.B) {
	dsn := pgtest.DSN(b)
	s := open(b, pg.Config{DSN: dsn})
	defer s.Close()
	ctx := context.Background()
	me, err := s.CreateUser(ctx, "me")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	peers := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range peers {
				u, err := s.CreateUser(ctx, fmt.Sprint("peer", i))
				if err == nil {
					_, err = s.C2C(ctx, me.UID, u.UID)
				}
				if err == nil && i%5 == 0 {
					err = s.Update(ctx, nil, func(tx chat.Tx) error {
						c, err := tx.NewConv(chat.Conv{Kind: chat.KindGroup, Group: fmt.Sprint(i)})
						if err == nil {
							_, err = tx.Join(c.ID, me.UID)
						}
						return err
					})
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range 5000 {
		peers <- i
	}
	close(peers)
	wg.Wait()
	b.Run("nothing new", func(b *testing.B) {
		for b.Loop() {
			rows, more, err := s.Heads(ctx, me.UID, s.Now()+1, 0, 200)
			if err != nil || len(rows) > 0 || more {
				b.Fatal(len(rows), more, err)
			}
		}
	})
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			n := 0
			var after chat.ConvID
			for more := true; more; {
				var rows []chat.HeadRow
				if rows, more, err = s.Heads(ctx, me.UID, 0, after, 200); err != nil {
					b.Fatal(err)
				}
				n += len(rows)
				after = rows[len(rows)-1].Conv.ID
			}
			if n != 6000 {
				b.Fatal(n)
			}
		}
	})
}
