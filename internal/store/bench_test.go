package store_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store"
)

func open(tb testing.TB, dir string) *store.Store {
	tb.Helper()
	s, err := store.Open(context.Background(), store.Config{Dir: dir, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// pairs creates n C2C conversations.
func pairs(tb testing.TB, s *store.Store, n int) []chat.Conv {
	tb.Helper()
	ctx := context.Background()
	out := make([]chat.Conv, n)
	for i := range out {
		a, err := s.CreateUser(ctx, fmt.Sprintf("a%d", i))
		if err != nil {
			tb.Fatal(err)
		}
		b, err := s.CreateUser(ctx, fmt.Sprintf("b%d", i))
		if err != nil {
			tb.Fatal(err)
		}
		if out[i], err = s.C2C(ctx, a.UID, b.UID); err != nil {
			tb.Fatal(err)
		}
	}
	return out
}

// BenchmarkAppend is the server's main load: 200 senders in 100 conversations, each waits for its commit. The keys of one second are ordered by time
// (milliseconds in the upper bits of random), or random: then a commit touches a page of the dedupe index for nearly every entry.
func BenchmarkAppend(b *testing.B) {
	for _, k := range []struct {
		senders int
		ordered bool
	}{{200, true}, {200, false}, {1000, true}, {4000, true}} {
		b.Run(fmt.Sprintf("senders=%d/ordered=%v", k.senders, k.ordered), func(b *testing.B) {
			senders := k.senders
			s := open(b, b.TempDir())
			convs := pairs(b, s, 100)
			body := slices.Repeat([]byte("body "), 30)
			waits := make([][]time.Duration, senders)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for g := range senders {
				wg.Add(1)
				go func() {
					defer wg.Done()
					c := convs[g/2%len(convs)]
					sender := c.A
					if g%2 == 1 {
						sender = c.B
					}
					answered := make(chan error, 1)
					for {
						n := left.Add(-1)
						if n < 0 {
							return
						}
						began := time.Now()
						random := uint32(n) * 2654435761
						if k.ordered {
							random = uint32(began.UnixMilli()%1000)<<22 | uint32(n)&(1<<22-1)
						}
						s.Append(chat.Entry{Conv: c.ID, Sender: sender, ClientTime: uint64(began.Unix()), Random: random,
							Body: body, Hash: 1, Countable: true}, func(_ chat.Stored, _ bool, err error) { answered <- err })
						if err := <-answered; err != nil {
							b.Error(err)
							return
						}
						waits[g] = append(waits[g], time.Since(began))
					}
				}()
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

// BenchmarkHeads lists for a user with 5,000 C2C conversations and 1,000 groups: at a login with nothing new, and everything in pages of 200.
func BenchmarkHeads(b *testing.B) {
	s := open(b, b.TempDir())
	ctx := context.Background()
	me, err := s.CreateUser(ctx, "me")
	if err != nil {
		b.Fatal(err)
	}
	peers := make([]chat.User, 5000)
	for i := range peers {
		if peers[i], err = s.CreateUser(ctx, fmt.Sprint("peer", i)); err != nil {
			b.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	send := func(id chat.ConvID) {
		wg.Add(1)
		s.Append(chat.Entry{Conv: id, Sender: me.UID, Countable: true}, func(_ chat.Stored, _ bool, err error) {
			if err != nil {
				b.Error(err)
			}
			wg.Done()
		})
	}
	for i, p := range peers {
		c, err := s.C2C(ctx, me.UID, p.UID)
		if err != nil {
			b.Fatal(err)
		}
		send(c.ID)
		if i%5 > 0 {
			continue
		}
		if err := s.Update(ctx, nil, func(tx chat.Tx) error {
			if c, err = tx.NewConv(chat.Conv{Kind: chat.KindGroup, Group: fmt.Sprint(i)}); err == nil {
				_, err = tx.Join(c.ID, me.UID)
			}
			return err
		}); err != nil {
			b.Fatal(err)
		}
		send(c.ID)
	}
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
				var err error
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
	id, err := s.FindC2C(ctx, me.UID, peers[7].UID)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Head(ctx, me.UID, id.ID); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkUpdate is one small change at a time, and 100 that arrive together.
func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 100} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := open(b, b.TempDir())
			c := pairs(b, s, 1)[0]
			b.SetParallelism((writers + 1) / 2)
			if writers == 1 {
				for b.Loop() {
					touch(b, s, c)
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					touch(b, s, c)
				}
			})
		})
	}
}

func touch(b *testing.B, s *store.Store, c chat.Conv) {
	if err := s.Update(context.Background(), nil, func(tx chat.Tx) error {
		m, err := tx.Member(c.ID, c.A)
		if err == nil {
			_, err = tx.PutMember(m)
		}
		return err
	}); err != nil {
		b.Error(err)
	}
}
