package chat_test

import (
	"context"
	"fmt"
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
		for i := range 250 { // two steps
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
