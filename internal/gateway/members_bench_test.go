package gateway

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
)

// BenchmarkMemberPage measures pages of a list of 99,000 members whom the server does not know yet: how long the store takes for the rows, and how long it is from the
// request to the reply, alone and while an invitation and a removal are on the way. -benchtime 990x is the whole list once.
func BenchmarkMemberPage(b *testing.B) {
	const members, guests = 99_000, 1000
	for name, opts := range map[string]func() options{
		"sqlite":   func() options { return options{dir: b.TempDir()} },
		"postgres": func() options { return options{dsn: pgtest.DSN(b)} },
	} {
		b.Run(name, func(b *testing.B) {
			o := opts()
			n := start(b, o)
			owner := n.member("owner")
			n.member("reader")
			id := chat.ConvID(owner.create(crowded, community, "reader"))
			n.crowd(id, "m", members-2)
			for i := range guests {
				if _, err := n.store.CreateUser(b.Context(), fmt.Sprint("guest", i)); err != nil {
					b.Fatal(err)
				}
			}
			measure := func(name string, begin func(owner *conn, i int) []uint64, page func(reader *conn, next uint64) uint64) {
				b.Run(name, func(b *testing.B) {
					n.stop()
					n = start(b, o) // it knows nobody
					owner, reader := n.member("owner"), n.member("reader")
					var took []time.Duration
					next := uint64(0)
					for i := 0; b.Loop(); i++ {
						open := begin(owner, i)
						begun := time.Now()
						next = page(reader, next)
						took = append(took, time.Since(begun))
						for _, id := range open {
							owner.await(id)
						}
						owner.pushes, reader.pushes = nil, nil
					}
					slices.Sort(took)
					b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
					b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
				})
			}
			nothing := func(*conn, int) []uint64 { return nil }
			measure("rows", nothing, func(_ *conn, next uint64) uint64 {
				rows, err := n.store.MemberPage(b.Context(), id, next, 0, 100)
				if err != nil {
					b.Fatal(err)
				}
				if len(rows) < 100 {
					return 0
				}
				return rows[99].Joined
			})
			reply := func(reader *conn, next uint64) uint64 {
				var page im.ListMembersReply
				reader.call(im.Method_MEMBERS, &im.ListMembersRequest{Group: named(crowded), Next: next}, 0, &page)
				return page.Next
			}
			measure("alone", nothing, reply)
			measure("churn", func(owner *conn, i int) []uint64 {
				guest := func(i int) *im.GroupMembersRequest {
					return &im.GroupMembersRequest{Group: named(crowded), UserIds: []string{fmt.Sprint("guest", i%guests)}}
				}
				return []uint64{owner.begin(im.Method_INVITE, guest(i)), owner.begin(im.Method_KICK_MEMBERS, guest(i+guests-1))}
			}, reply)
		})
	}
}
