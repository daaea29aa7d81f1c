package chat_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// nicks changes a user's nick name and returns the version of the profile.
func (f *friend) nicks(name string) uint64 {
	f.r.Helper()
	v, err := call[*im.VersionedProfile](f, false, im.Method_SET_PROFILE, &im.SetProfileRequest{Item: &im.UserProfileItem{NickName: &name}})
	if err != nil {
		f.r.Fatal(err)
	}
	return v.Ver
}

// toldAll waits until no change of a profile is left to be told.
func (r *relations) toldAll() {
	r.Helper()
	for end := time.Now().Add(time.Minute); ; {
		r.settle()
		jobs, err := r.st.Fanouts(r.Context(), 1)
		if err != nil || time.Now().After(end) {
			r.Fatal("left to be told:", jobs, err)
		}
		if len(jobs) == 0 {
			r.settle()
			return
		}
	}
}

// versions returns the versions of a friend's profile that a device was pushed.
func (f *friend) versions(of string) (vers []uint64) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	for _, x := range f.told {
		if x.Kind == im.RelationKind_RELATION_FRIEND_SELF && x.UserId == of {
			vers = append(vers, x.ProfileVer)
		}
	}
	return vers
}

// TestFanout: a change of a profile is told to each who has the user as a friend, once, over several transactions, whichever of them the server stops
// after. A change on the way is told to all. Who is no friend any more gets nothing, who has become one has the profile with the friend.
func TestFanout(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		star := r.user("star")
		var fans []*friend
		for i := range 250 {
			f := r.user(fmt.Sprint("fan", i))
			if code := f.adds("star", onlyMe); code != 0 {
				r.Fatal(code)
			}
			fans = append(fans, f)
		}
		// until runs the worker of a server until some of the fans have been told, or to the end.
		until := func(n int64) {
			stopped := make(chan struct{})
			var once sync.Once
			var told atomic.Int64
			c := chat.New(r.st, chat.Config{Log: quiet})
			c.Subscribe(chat.Carrier{Tell: func(to chat.Audience, event func() chat.Event) {
				r.tell(to, event)
				if told.Add(1) == n {
					once.Do(func() { close(stopped) })
				}
			}})
			stop := c.StartFanout()
			if n == 0 {
				r.toldAll()
			} else {
				<-stopped
			}
			stop()
		}
		ver := star.nicks("Star")
		until(1)
		until(1)
		until(0)
		for _, f := range fans {
			r.is("told of one change: "+f.Name, f.versions("star"), []uint64{ver})
		}

		// Two changes; the second when the first has been told to some.
		first := star.nicks("Nova")
		until(1)
		gone, late := fans[249], r.user("late")
		r.is("deletion", gone.deletes(onlyMe, "star"), []int32{0})
		fresh := star.nicks("Super Nova")
		r.is("add", late.adds("star", onlyMe), 0)
		until(0)
		for _, f := range append(fans[:249:249], late) {
			vers := slices.Compact(f.versions("star"))
			if n := len(vers); n == 0 || vers[n-1] != fresh || !slices.IsSorted(vers) {
				r.Fatalf("%s was told of %d after %d and %d", f.Name, vers, first, fresh)
			}
		}
		r.is("told of no friend", gone.versions("star"), []uint64{ver})
		if x := late.told[0]; x.Kind != im.RelationKind_RELATION_FRIEND || x.Profile.NickName != "Super Nova" {
			r.Errorf("the new friend: %v", x)
		}
		everybody := append([]*friend{star, late}, fans...)
		r.agrees(everybody...)

		// A change of nothing.
		if v := star.nicks("Super Nova"); v != fresh {
			r.Errorf("version %d after a change of nothing; it was %d", v, fresh)
		}
		jobs, err := r.st.Fanouts(r.Context(), 1)
		if err != nil || len(jobs) > 0 {
			r.Error("jobs of a change of nothing:", jobs, err)
		}
	})
}

// TestFanoutTakesTurns: a user who changes their profile again and again keeps nobody else's change from being told.
func TestFanoutTakesTurns(t *testing.T) {
	onBoth(t, chat.Config{}, func(r *relations) {
		restless, quietly := r.user("restless"), r.user("quietly")
		for i := range 150 {
			f := r.user(fmt.Sprint("fan", i))
			if code := f.adds("restless", onlyMe); code != 0 {
				r.Fatal(code)
			}
		}
		fan := r.user("fan of both")
		for _, name := range []string{"restless", "quietly"} {
			if code := fan.adds(name, onlyMe); code != 0 {
				r.Fatal(code)
			}
		}
		restless.nicks("0")
		ver := quietly.nicks("Q")
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		defer cancel()
		var n atomic.Int64
		done := make(chan struct{})
		var once sync.Once
		c := chat.New(r.st, chat.Config{Log: quiet})
		// Each step of restless's job begins another one: the job never gets to its end.
		again := make(chan struct{}, 1)
		c.Subscribe(chat.Carrier{Tell: func(to chat.Audience, event func() chat.Event) {
			r.tell(to, event)
			if slices.Contains(to.Users, fan.UID) && len(fan.versions("quietly")) > 0 {
				once.Do(func() { close(done) })
			}
			select {
			case again <- struct{}{}:
			default:
			}
		}})
		var changes sync.WaitGroup
		changes.Go(func() {
			for {
				select {
				case <-again:
					restless.nicks(strconv.FormatInt(n.Add(1), 10))
				case <-done:
					return
				case <-ctx.Done():
					return
				}
			}
		})
		stop := c.StartFanout()
		select {
		case <-done:
		case <-ctx.Done():
			t.Error("not told within a minute")
		}
		changes.Wait()
		r.toldAll()
		stop()
		r.is("told", fan.versions("quietly"), []uint64{ver})
	})
}

// TestPopularUser measures a change of the profile of a user whom many have as a friend, while 200 others send: how long it takes, and how long others
// wait. TIDINGS_POPULAR says how many have them.
func TestPopularUser(t *testing.T) {
	many, senders := 2_000, 200
	if v, err := strconv.Atoi(os.Getenv("TIDINGS_POPULAR")); err == nil {
		many = v
	}
	onBoth(t, chat.Config{}, func(r *relations) {
		fans := make([]chat.UID, many)
		inParallel(64, many, func(i int) {
			u, err := r.c.Account(r.Context(), fmt.Sprint("fan", i))
			if err != nil {
				r.Error(err)
			}
			fans[i] = u.UID
		})
		star := r.user("star")
		for some := range slices.Chunk(fans, 500) {
			var keys []chat.Key
			for _, uid := range some {
				keys = append(keys, chat.Key{UID: uid})
			}
			if err := r.st.Update(r.Context(), keys, func(tx chat.Tx) error {
				for _, uid := range some {
					if err := tx.PutRelation(chat.Relation{UID: uid, Kind: im.RelationKind_RELATION_FRIEND, Other: int64(star.UID), Ver: 1, Body: wireOf(&im.RelationState{Time: 1})}); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				r.Fatal(err)
			}
		}
		var told atomic.Int64
		r.c.Subscribe(chat.Carrier{Tell: func(to chat.Audience, event func() chat.Event) {
			if event().Method == im.Method_FED {
				told.Add(int64(len(to.Users)))
			}
		}})
		others := make([]*sending, senders)
		for i := range others {
			others[i] = &sending{friend: r.user(fmt.Sprint("other", i)), peer: fmt.Sprint("other", i^1)}
		}
		// load sends from all others until it is stopped, each 20 times a second at most, and returns the time that 99 of 100 sends took at most.
		load := func(stop <-chan struct{}) time.Duration {
			var took []time.Duration
			var mu sync.Mutex
			var wg sync.WaitGroup
			for i, s := range others {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * 50 * time.Millisecond / time.Duration(senders))
					tick := time.NewTicker(50 * time.Millisecond)
					defer tick.Stop()
					for {
						d := s.send()
						mu.Lock()
						took = append(took, d)
						mu.Unlock()
						select {
						case <-stop:
							return
						case <-tick.C:
						}
					}
				})
			}
			wg.Wait()
			slices.Sort(took)
			return took[len(took)*99/100]
		}
		calm := make(chan struct{})
		time.AfterFunc(5*time.Second, func() { close(calm) })
		load(closed) // conversations exist from here on
		idle := load(calm)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		begun := time.Now()
		told.Store(0)
		star.nicks("Star")
		stop := r.c.StartFanout()
		busy := make(chan struct{})
		var p99 time.Duration
		var wg sync.WaitGroup
		wg.Go(func() { p99 = load(busy) })
		for told.Load() < int64(many)+1 && time.Since(begun) < 2*time.Minute {
			time.Sleep(20 * time.Millisecond)
		}
		took := time.Since(begun)
		close(busy)
		wg.Wait()
		runtime.GC()
		runtime.ReadMemStats(&after)
		r.toldAll()
		stop()
		r.Logf("%d friends in %v; p99 of others' sends %v, without it %v; heap %+d KB", many, took.Round(time.Millisecond), p99, idle,
			(int64(after.HeapAlloc)-int64(before.HeapAlloc))>>10)
		if n := told.Load(); n != int64(many)+1 { // and star's own
			r.Errorf("%d were told, not %d", n, many)
		}
		if took > time.Minute {
			r.Errorf("it took %v", took)
		}
	})
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// sending is a user who sends one message at a time.
type sending struct {
	*friend
	peer string
	n    uint64
}

func (s *sending) send() time.Duration {
	s.n++
	req := &im.SendRequest{Conv: &im.ConvKey{Type: im.ConvType_CONV_TYPE_C2C, Id: s.peer}, ClientTime: 1_800_000_000, Random: uint32(s.n), Message: im.Text("hello")}
	b, err := req.MarshalVT()
	if err != nil {
		s.r.Error(err)
	}
	got := make(chan answered, 1)
	s.r.mu.Lock()
	s.last++
	id := s.last
	s.calls[id] = got
	s.r.mu.Unlock()
	begun := time.Now()
	if err := s.r.c.Call(context.Background(), s.Caller, &im.Frame{Id: id, Method: im.Method_SEND, Body: b}, nil); err != nil {
		s.r.Error(err)
		return 0
	}
	if a := <-got; a.err != nil {
		s.r.Error(a.err)
	}
	return time.Since(begun)
}

// inParallel calls f with 0 to n-1, so many calls at a time.
func inParallel(at, n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range at {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}
