package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/usersig"
)

// relationsResult is the line that a run prints.
type relationsResult struct {
	Bench string `json:"bench"`
	Users int    `json:"users"`
	// OneWay and TwoWay are adds, from the call to its answer; with two-way ones, both users have the other as a friend afterwards.
	OneWay timings `json:"one_way"`
	TwoWay timings `json:"two_way"`
	// Requests are from the request of one user, which the other accepts as soon as they are notified, to the notification that there is a new friend.
	Requests timings `json:"requests"`
	// Nick is from a change of a nick name to the notification of each friend, NickAll to that of the last friend, in the change that took longest.
	Nick    timings `json:"nick"`
	NickAll float64 `json:"nick_all_ms"`
	Friends int     `json:"friends"`
	Changes int     `json:"changes"`
	// Entries of feeds that were not pushed, and that were pushed again.
	Lost        int     `json:"lost"`
	Doubled     int     `json:"doubled"`
	RSS         float64 `json:"rss_mb"`
	ServerCPU   float64 `json:"server_cpu_s"`
	StartMillis float64 `json:"start_ms"`
}

// timings are how many there were of something, how many per second, and within what time half of them and 99 of 100 were done.
type timings struct {
	N    int     `json:"n"`
	PerS float64 `json:"per_s"`
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
}

func (t timings) String() string {
	return fmt.Sprintf("%.0f/s, p50 %.1f ms, p99 %.1f ms", t.PerS, t.P50, t.P99)
}

// relationsLoad is the load of a run.
type relationsLoad struct {
	users, each, friends, changes int
}

func benchRelations() *cobra.Command {
	var o benchOptions
	var load relationsLoad
	c := &cobra.Command{
		Use: "relations", Short: "Friends: adds, requests, and how a new nick name reaches all friends", Args: cobra.NoArgs,
		Long: "Let bare clients add each other as friends, one-way and then two-way, and others ask and accept; each client waits for the end of one " +
			"before it begins the next. Then a user whom many have as a friend changes their nick name a few times. It is an error if a client is not " +
			"notified of a change, or is notified twice.",
		RunE: func(c *cobra.Command, _ []string) error {
			if load.each < 1 || load.users <= 4*load.each || load.friends < 1 || load.changes < 1 {
				return errors.New("bench relations: all numbers are positive, and users more than four times each, so that no two add each other")
			}
			r, err := runRelations(c.Context(), &o, &load)
			if err != nil {
				return err
			}
			printRelations(c.OutOrStdout(), r, o.json)
			if r.Lost+r.Doubled > 0 {
				return errors.New("bench relations: entries of feeds were lost or doubled")
			}
			return nil
		},
	}
	f := c.Flags()
	f.IntVar(&load.users, "users", 200, "users who add each other, and as many who ask each other")
	f.IntVar(&load.each, "each", 20, "how many each of them adds one-way, adds two-way, or asks")
	f.IntVar(&load.friends, "friends", 1000, "how many have the user who changes their nick name as a friend")
	f.IntVar(&load.changes, "changes", 5, "how often that user does")
	jsonFlag(c, &o.json)
	dirFlag(c, &o.dir)
	o.serverFlags(c)
	return c
}

func printRelations(w io.Writer, r *relationsResult, asJSON bool) {
	if asJSON {
		printJSON(w, r)
		return
	}
	fmt.Fprintf(w, "%s   one-way %v   two-way %v   requests %v   a nick name to %d friends in %.0f ms, p50 %.1f ms, p99 %.1f ms   %.0f MB   lost %d  doubled %d\n",
		r.Bench, r.OneWay, r.TwoWay, r.Requests, r.Friends, r.NickAll, r.Nick.P50, r.Nick.P99, r.RSS, r.Lost, r.Doubled)
}

func runRelations(ctx context.Context, o *benchOptions, load *relationsLoad) (*relationsResult, error) {
	const key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	clients := 2*load.users + load.friends + 1
	if manyFiles(clients+spareFiles) < clients+spareFiles {
		return nil, errors.New("bench relations: the limit of open files is too low")
	}
	ch, err := startChild(ctx, o, func(addr, dir string) []string {
		return []string{"serve", "--listen", addr, "--data", dir, "--secret-key", key, "--log-level", "warn", "--max-connections-per-address", "0", "--postgres", o.postgres}
	})
	if err != nil {
		return nil, err
	}
	defer ch.stop()
	r := &relationsResult{Bench: "relations", Users: load.users, Friends: load.friends, Changes: load.changes, StartMillis: round(float64(ch.took.Microseconds())/1000, 1)}
	if o.postgres != "" {
		r.Bench += "-pg"
	}
	all := make([]*relater, clients)
	defer func() {
		for _, u := range all {
			if u != nil {
				u.Close()
			}
		}
	}()
	names := func(kind string, n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("%s%04d", kind, i))
		}
		return out
	}
	adders, askers, fans := names("adder", load.users), names("asker", load.users), names("fan", load.friends)
	var dials errgroup.Group
	dials.SetLimit(64)
	for i, name := range append(slices.Concat(adders, askers, fans), "star") {
		dials.Go(func() (err error) {
			all[i], err = dialRelater(ctx, ch.addr, key, name)
			return err
		})
	}
	if err := dials.Wait(); err != nil {
		return nil, err
	}
	star := all[clients-1]

	// next are the users after i, from some distance on, in a circle.
	next := func(names []string, i, from int) (out []string) {
		for k := range load.each {
			out = append(out, names[(i+from+k)%len(names)])
		}
		return out
	}
	users := all[:load.users]
	if r.OneWay, err = together(users, func(i int, u *relater) error { return u.add(next(adders, i, 1), false, load.each) }); err != nil {
		return nil, err
	}
	if r.TwoWay, err = together(users, func(i int, u *relater) error { return u.add(next(adders, i, 1+load.each), true, 2*load.each) }); err != nil {
		return nil, err
	}
	users = all[load.users : 2*load.users]
	confirm := im.ProfileAddPermission_PROFILE_ADD_PERMISSION_NEED_CONFIRM
	if _, err = together(users, func(_ int, u *relater) error { return u.set(&im.UserProfileItem{AddPermission: &confirm}) }); err != nil {
		return nil, err
	}
	if r.Requests, err = together(users, func(i int, u *relater) error { return u.ask(next(askers, i, 1), 2*load.each) }); err != nil {
		return nil, err
	}
	users = all[2*load.users : clients-1]
	if _, err = together(users, func(_ int, u *relater) error { return u.add([]string{star.name}, false, 1) }); err != nil {
		return nil, err
	}
	for _, u := range users {
		u.took = nil
	}
	var took time.Duration
	for i := range load.changes {
		nick := fmt.Sprint("star ", i)
		begun := time.Now()
		heard, err := together(append(users[:len(users):len(users)], star), func(_ int, u *relater) error {
			if u == star {
				return u.set(&im.UserProfileItem{NickName: &nick})
			}
			return u.hear(nick, begun)
		})
		if err != nil {
			return nil, err
		}
		r.Nick = heard // of all changes up to here
		this := time.Since(begun)
		took += this
		r.NickAll = max(r.NickAll, round(float64(this.Microseconds())/1000, 2))
	}
	r.Nick.PerS = round(float64(r.Nick.N)/took.Seconds(), 0)
	for _, u := range all {
		r.Lost += len(u.feed.missing)
		r.Doubled += u.feed.doubled
	}
	r.RSS, r.ServerCPU = round(ch.rss(), 1), round(ch.cpu().Seconds(), 2)
	return r, nil
}

// together lets all do something at a time, and returns how long each of the things that they have timed took.
func together(users []*relater, do func(i int, u *relater) error) (timings, error) {
	var all errgroup.Group
	begun := time.Now()
	for i, u := range users {
		all.Go(func() error {
			u.SetDeadline(time.Now().Add(5 * time.Minute))
			if err := do(i, u); err != nil {
				return fmt.Errorf("bench relations: %s: %w", u.name, err)
			}
			return nil
		})
	}
	err := all.Wait()
	over := time.Since(begun)
	var took []time.Duration
	for _, u := range users {
		took = append(took, u.took...)
	}
	if err != nil || len(took) == 0 {
		return timings{}, err
	}
	slices.Sort(took)
	millis := func(d time.Duration) float64 { return round(float64(d.Microseconds())/1000, 2) }
	return timings{
		N: len(took), PerS: round(float64(len(took))/over.Seconds(), 0),
		P50: millis(took[len(took)/2]), P99: millis(took[len(took)*99/100]),
	}, nil
}

// relater is a bare client that makes one call about friends at a time, and accepts every request.
type relater struct {
	*rawLink
	name string
	id   uint64
	feed user // of which only what it takes is used
	took []time.Duration
}

func dialRelater(ctx context.Context, addr, key, name string) (*relater, error) {
	sig, err := usersig.Sign(server.DefaultAppID, key, name, time.Hour, time.Now())
	if err != nil {
		return nil, err
	}
	l, err := dialRaw(addr)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	u := &relater{rawLink: l, name: name, id: 1, feed: user{next: 1, missing: map[uint64]bool{}}}
	return u, l.login(name, sig)
}

func (u *relater) call(m im.Method, req im.Body) error {
	u.id++
	return u.write(im.AppendMessage(nil, &im.Frame{Id: u.id, Method: m}, req))
}

// read reads until more returns false, and passes what arrives: answers, and entries of the feed.
func (u *relater) read(more func() bool, answer func(f *im.Frame) error, entry func(r *im.Relation) error) error {
	for more() {
		msg, err := u.message()
		if err != nil {
			return err
		}
		if err := im.ReadFrames(msg, func(f *im.Frame) error {
			switch {
			case f.Code != 0:
				return im.Errorf(f.Code, "%s", f.Desc)
			case f.Method != im.Method_FED:
				return answer(f)
			}
			var push im.FeedPush
			if err := push.UnmarshalVT(f.Body); err != nil {
				return err
			}
			for _, r := range push.Entries {
				u.feed.take(r.Ver)
				if err := entry(r); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// add adds others one after the other, and returns when as many friends are on the user's own list as there will be, added by whoever.
func (u *relater) add(others []string, both bool, friends int) error {
	return u.befriend(others, both, false, friends)
}

// ask is add if the others' consent is needed.
func (u *relater) ask(others []string, friends int) error {
	return u.befriend(others, true, true, friends)
}

func (u *relater) befriend(others []string, both, asked bool, friends int) error {
	var begun time.Time
	open := ""
	start := func() error {
		if open = ""; len(others) == 0 {
			return nil
		}
		open, others = others[0], others[1:]
		begun = time.Now()
		return u.call(im.Method_ADD_FRIEND, &im.AddFriendRequest{UserId: open, Both: both})
	}
	ended := func() error {
		u.took = append(u.took, time.Since(begun))
		return start()
	}
	u.took = nil
	if err := start(); err != nil {
		return err
	}
	return u.read(func() bool { return open != "" || friends > 0 }, func(f *im.Frame) error {
		var r im.FriendResult
		if err := r.UnmarshalVT(f.Body); err != nil {
			return err
		}
		want := int32(0)
		if asked && f.Method == im.Method_ADD_FRIEND {
			want = im.CodeWaitsForApproval
		}
		switch {
		case r.Code != want:
			return im.Errorf(r.Code, "%s", r.Desc)
		case f.Method == im.Method_ADD_FRIEND && !asked:
			return ended()
		}
		return nil
	}, func(r *im.Relation) error {
		switch {
		case r.Gone:
		case r.Kind == im.RelationKind_RELATION_REQUEST_IN:
			return u.call(im.Method_ANSWER_REQUEST, &im.AnswerRequestRequest{UserId: r.UserId, Action: acceptAndAdd})
		case r.Kind == im.RelationKind_RELATION_FRIEND:
			friends--
			if asked && r.UserId == open {
				return ended()
			}
		}
		return nil
	})
}

// acceptAndAdd is an action of im.AnswerRequestRequest.
const acceptAndAdd = 1

// set changes the user's own profile.
func (u *relater) set(item *im.UserProfileItem) error {
	if err := u.call(im.Method_SET_PROFILE, &im.SetProfileRequest{Item: item}); err != nil {
		return err
	}
	done := false
	return u.read(func() bool { return !done }, func(f *im.Frame) error {
		done = done || f.Method == im.Method_SET_PROFILE
		return nil
	}, func(*im.Relation) error { return nil })
}

// hear waits until the user is notified of a friend's nick name.
func (u *relater) hear(nick string, since time.Time) error {
	heard := false
	return u.read(func() bool { return !heard }, func(*im.Frame) error { return nil }, func(r *im.Relation) error {
		if r.Kind == im.RelationKind_RELATION_FRIEND_SELF && r.Profile.GetNickName() == nick {
			heard = true
			u.took = append(u.took, time.Since(since))
		}
		return nil
	})
}
