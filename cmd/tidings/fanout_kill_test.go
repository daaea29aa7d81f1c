package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/internal/store"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
	"github.com/tidings-im/tidings/internal/testing/soak"
	"github.com/tidings-im/tidings/usersig"
)

// fame is a server with a user, star, whom many have as a friend.
type fame struct {
	*served
	// fans are those who have star, in the order in which they are notified. Some have a device, with the SDK, the first and the last among them.
	fans    []chat.User
	devices []*fanDevice
	star    *client.Client
	// others send to each other meanwhile.
	others  []*talker
	quiet   chan struct{} // closed when they are to stop
	talking sync.WaitGroup
	at      string
}

// inParallel calls do with 0 to n-1, so many calls at a time.
func (f *fame) inParallel(at, n int, do func(i int) error) {
	f.t.Helper()
	var calls errgroup.Group
	calls.SetLimit(at)
	for i := range n {
		calls.Go(func() error { return do(i) })
	}
	if err := calls.Wait(); err != nil {
		f.t.Fatal(err)
	}
}

// open opens the store of the server, which does not run.
func (f *fame) open() chat.Store {
	f.t.Helper()
	var st chat.Store
	var err error
	if f.postgres != "" {
		st, err = pg.Open(f.t.Context(), pg.Config{DSN: f.postgres, Log: slog.New(slog.DiscardHandler)})
	} else {
		st, err = store.Open(f.t.Context(), store.Config{Dir: f.dir, Log: slog.New(slog.DiscardHandler)})
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return st
}

// gather makes star, n fans whose only friend is star, and others.
func (f *fame) gather(n, others int) {
	f.t.Helper()
	st, ctx := f.open(), f.t.Context()
	for i := range others {
		u := &talker{sender: sender{name: fmt.Sprint("other", i), peer: fmt.Sprint("other", i^1), open: map[uint64]bool{}, acked: map[uint64]uint64{}}}
		f.others = append(f.others, u)
	}
	users := make([]chat.User, n+others+1)
	f.inParallel(64, len(users), func(i int) (err error) {
		name := fmt.Sprint("fan", i)
		switch {
		case i == n+others:
			name = "star"
		case i >= n:
			name = f.others[i-n].name
		}
		users[i], err = st.CreateUser(ctx, name)
		return err
	})
	f.fans = users[:n]
	star := users[n+others]
	slices.SortFunc(f.fans, func(a, b chat.User) int { return cmp.Compare(a.UID, b.UID) })
	entry, _ := (&im.Relation{Kind: im.RelationKind_RELATION_FRIEND, UserId: "star", State: &im.RelationState{Time: 1}}).MarshalVT()
	row, _ := (&im.RelationState{Time: 1}).MarshalVT()
	for some := range slices.Chunk(f.fans, 500) {
		var keys []chat.Key
		for _, u := range some {
			keys = append(keys, chat.Key{UID: u.UID})
		}
		if err := st.Update(ctx, keys, func(tx chat.Tx) error {
			for _, u := range some {
				e, err := tx.AddFeed(u.UID, int32(im.RelationKind_RELATION_FRIEND), entry)
				if err != nil {
					return err
				}
				if err := tx.PutRelation(chat.Relation{UID: u.UID, Kind: im.RelationKind_RELATION_FRIEND, Other: int64(star.UID), Ver: e.Seq, Body: row}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		f.t.Fatal(err)
	}
}

// again starts the server after a kill. What shares a PostgreSQL database waits until the lease of a killed server is over; only the long form waits.
func (f *fame) again() {
	f.t.Helper()
	if f.postgres != "" && !soak.On() {
		conn, err := pgx.Connect(f.t.Context(), f.postgres)
		if err == nil {
			_, err = conn.Exec(f.t.Context(), "UPDATE lease SET until = 0")
			conn.Close(f.t.Context())
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
	f.start()
}

// dialSDK logs a device of a user in.
func (f *fame) dialSDK(user string, ev client.Events) *client.Client {
	f.t.Helper()
	sig, err := usersig.Sign(server.DefaultAppID, killKey, user, time.Hour, time.Now())
	if err != nil {
		f.t.Fatal(err)
	}
	c, err := client.Dial(f.t.Context(), client.Config{Server: "ws://" + f.at, UserID: user, UserSig: sig, Dir: filepath.Join(f.dir, "devices", user), Log: slog.New(slog.DiscardHandler)}, ev)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	return c
}

// change changes the nick name and the picture of star.
func (f *fame) change(name string) {
	f.t.Helper()
	face := face(name)
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		err := f.star.Profiles().SetSelf(f.t.Context(), &im.UserProfileItem{NickName: &name, FaceUrl: &face})
		if err == nil {
			return
		}
		// Without a connection, as after a kill of the server, nothing is sent.
		if im.CodeOf(err) != im.CodeDisconnected || time.Now().After(end) {
			f.t.Fatal(err)
		}
	}
}

func face(name string) string { return "https://pictures.example/" + name }

// reached waits until a part of the fans has been notified of as many changes, and some time more, so that the server is at any place of its work.
func (f *fame) reached(part, parts, changes int) {
	f.t.Helper()
	i := len(f.fans) * part / parts
	for slices.ContainsFunc(f.devices, func(d *fanDevice) bool { return d.name == f.fans[i].Name }) { // their session would end
		i++
	}
	l, err := f.dial(f.fans[i].Name)
	if err != nil {
		f.t.Fatal(err)
	}
	defer l.Close()
	l.SetDeadline(time.Now().Add(2 * time.Minute))
	// Entries that are made after the read are pushed.
	if err := l.write(im.AppendMessage(nil, &im.Frame{Id: 2, Method: im.Method_FEED}, &im.FeedRequest{From: 1, To: 1 << 40})); err != nil {
		f.t.Fatal(err)
	}
	seen := map[uint64]bool{}
	for len(seen) < changes {
		msg, err := l.message()
		if err != nil {
			f.t.Fatal(err)
		}
		if err := im.ReadFrames(msg, func(x *im.Frame) (err error) {
			var reply im.FeedReply
			var push im.FeedPush
			switch x.Method {
			case im.Method_FEED:
				err = reply.UnmarshalVT(x.Body)
			case im.Method_FED:
				err = push.UnmarshalVT(x.Body)
			}
			for _, r := range append(reply.Entries, push.Entries...) {
				if r.Kind == im.RelationKind_RELATION_FRIEND_SELF {
					seen[r.Ver] = true
				}
			}
			return err
		}); err != nil {
			f.t.Fatal(err)
		}
	}
	time.Sleep(time.Duration(rand.IntN(25)) * time.Millisecond)
}

// told returns how many changes of star's profile each fan was notified of. The server does not run.
func (f *fame) told() []int {
	f.t.Helper()
	st := f.open()
	defer st.Close()
	out := make([]int, len(f.fans))
	f.inParallel(8, len(out), func(i int) error {
		entries, err := st.Feed(f.t.Context(), f.fans[i].UID, 1, 1<<40, 500)
		for _, x := range entries {
			if x.Kind == int32(im.RelationKind_RELATION_FRIEND_SELF) {
				out[i]++
			}
		}
		return err
	})
	// What the others were told was sent is stored, once.
	for i := 0; i < len(f.others); i += 2 {
		a, b := f.others[i], f.others[i+1]
		one, err := st.UserByName(f.t.Context(), a.name)
		if err != nil {
			f.t.Fatal(err)
		}
		two, err := st.UserByName(f.t.Context(), b.name)
		if err != nil {
			f.t.Fatal(err)
		}
		conv, err := st.FindC2C(f.t.Context(), one.UID, two.UID)
		if sent := uint64(len(a.acked) + len(b.acked)); err != nil || conv.Seq != sent {
			f.t.Errorf("%s and %s have sent %d messages, of which %d are stored, %v", a.name, b.name, sent, conv.Seq, err)
		}
	}
	return out
}

// fanDevice is a device of a fan.
type fanDevice struct {
	*client.Client
	name  string
	news  chan string
	heard []string
}

func (f *fame) device(user string) *fanDevice {
	d := &fanDevice{name: user, news: make(chan string, 100)}
	d.Client = f.dialSDK(user, client.Events{FriendsUpdated: func(updates []*im.FriendProfileUpdate) {
		for _, u := range updates {
			p := u.GetItem().GetProfile()
			if p.GetFaceUrl() != face(p.GetNickName()) {
				d.news <- fmt.Sprint("half a change: ", u)
				continue
			}
			d.news <- p.GetNickName()
		}
	}})
	if friends, err := d.Friends().List(f.t.Context()); err != nil || len(friends) != 1 {
		f.t.Fatalf("%s has the friends %v, %v", user, friends, err)
	}
	return d
}

// all waits until all devices have heard of a change.
func (f *fame) all(name string) {
	f.t.Helper()
	end := time.NewTimer(5 * time.Minute)
	defer end.Stop()
	for _, d := range f.devices {
		for len(d.heard) == 0 || d.heard[len(d.heard)-1] != name {
			select {
			case x := <-d.news:
				d.heard = append(d.heard, x)
			case <-end.C:
				f.t.Fatalf("%s has heard %q, and nothing of %s", d.name, d.heard, name)
			}
		}
	}
}

// talker sends a message 20 times a second, and again what was not answered when the connection ended.
type talker struct {
	sender
	mu   sync.Mutex
	took []time.Duration
}

func (u *talker) talk(f *fame) error {
	var l *rawLink
	var err error
	dial := func() {
		for end := time.Now().Add(time.Minute); ; {
			if l, err = dialAs(f.at, u.name); err == nil || time.Now().After(end) {
				return
			}
			select {
			case <-f.quiet:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	dial()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for err == nil {
		begun := time.Now()
		if err = u.run(l, len(u.acked)+1, func() {}); err != nil && im.CodeOf(err) == 0 {
			l.Close()
			dial()
			continue
		}
		u.mu.Lock()
		u.took = append(u.took, time.Since(begun))
		u.mu.Unlock()
		select {
		case <-f.quiet:
			return l.Close()
		case <-tick.C:
		}
	}
	return err
}

// p99 returns within what time 99 of 100 messages were acknowledged since the last call.
func (f *fame) p99() time.Duration {
	var all []time.Duration
	for _, u := range f.others {
		u.mu.Lock()
		all, u.took = append(all, u.took...), nil
		u.mu.Unlock()
	}
	slices.Sort(all)
	if len(all) == 0 {
		return 0
	}
	return all[len(all)*99/100]
}

// TestKill9Fanout is about a popular user, who changes nick name and picture while others send. Each who has the user as a friend is notified once,
// and the server's memory stays as it is; so it is when the server is killed on the way, again and again. A second change that comes on the way of the
// first is seen by all in the end. The long form, for `make soak`, has 50,000 friends, and logs how long they took and how long others waited.
func TestKill9Fanout(t *testing.T) {
	many, talkers, kills, devices, calm := 2_000, 20, killRounds(2), 6, 300*time.Millisecond
	if soak.On() {
		many, talkers, kills, devices, calm = 50_000, 200, killRounds(5), 50, 10*time.Second
	}
	for _, db := range []string{"sqlite", "postgres"} {
		t.Run(db, func(t *testing.T) {
			f := &fame{served: &served{t: t, dir: t.TempDir()}, quiet: make(chan struct{})}
			if db == "postgres" {
				f.postgres = pgtest.DSN(t)
			}
			f.gather(many, talkers)
			f.start()
			f.at, f.listen = f.addr, f.addr
			for i := range devices {
				f.devices = append(f.devices, f.device(f.fans[i*(many-1)/(devices-1)].Name))
			}
			f.star = f.dialSDK("star", client.Events{})
			for _, u := range f.others {
				f.talking.Go(func() {
					if err := u.talk(f); err != nil {
						t.Errorf("%s: %v", u.name, err)
					}
				})
			}
			hush := sync.OnceFunc(func() {
				close(f.quiet)
				f.talking.Wait()
			})
			t.Cleanup(hush)
			time.Sleep(calm) // the first messages make conversations
			f.p99()
			time.Sleep(calm)
			idle, before := f.p99(), f.memory()

			// A change while nothing is in its way.
			begun, over := time.Now(), make(chan struct{})
			most := before
			var looking sync.WaitGroup
			looking.Go(func() {
				for look := time.NewTicker(100 * time.Millisecond); ; {
					now := f.memory()
					most = memory{max(most.rss, now.rss), max(most.heap, now.heap)}
					select {
					case <-over:
						look.Stop()
						return
					case <-look.C:
					}
				}
			})
			f.change("one")
			f.all("one")
			took, busy := time.Since(begun), f.p99()
			close(over)
			looking.Wait()
			t.Logf("%d friends in %v; 99 of 100 messages of %d others within %v, before %v; memory at most %v, before %v", many, took.Round(time.Millisecond),
				talkers, busy, idle, most, before)
			// The store's cache of pages fills with messages meanwhile, up to 64 MB.
			if most.heap-before.heap > 32<<20 || most.rss-before.rss > 96<<20 {
				t.Errorf("the server's memory has grown from %v to %v", before, most)
			}

			// One that the server is killed in.
			begun = time.Now()
			f.change("two")
			for i := range kills {
				f.reached(i+1, kills+1, 2)
				f.kill()
				f.again()
			}
			f.all("two")
			t.Logf("with %d kills in %v", kills, time.Since(begun).Round(time.Millisecond))

			// Two, the second when a third has been notified of the first; and a kill.
			f.change("three")
			f.reached(1, 3, 3)
			f.change("four")
			f.reached(1, 2, 3)
			f.kill()
			f.again()
			f.all("four")
			hush()
			f.kill()

			told := f.told()
			for i, n := range told {
				// Those at the beginning were notified of the third, too.
				if n < 3 || n > 4 || i > 0 && n > told[i-1] {
					t.Errorf("%s, number %d of %d, was notified of %d changes", f.fans[i].Name, i, many, n)
				}
			}
			for _, d := range f.devices {
				d.Close()
				for len(d.news) > 0 {
					d.heard = append(d.heard, <-d.news)
				}
				heard := slices.DeleteFunc(slices.Clone(d.heard), func(x string) bool { return x == "three" })
				if !slices.Equal(heard, []string{"one", "two", "four"}) || len(d.heard)-len(heard) > 1 {
					t.Errorf("%s has heard %q", d.name, d.heard)
				}
			}
		})
	}
}

// memory is the resident set of a server, and up to where its Go heap grows before garbage is collected: about twice what is alive.
type memory struct{ rss, heap int64 }

func (m memory) String() string { return fmt.Sprintf("%.1f MB (heap %.1f)", mb(m.rss), mb(m.heap)) }

func (f *fame) memory() memory {
	ch := &child{cmd: f.cmd, addr: f.at}
	heap, err := ch.metric("go_memstats_next_gc_bytes")
	if err != nil {
		f.t.Error(err)
	}
	return memory{ch.rssBytes(), int64(heap)}
}
