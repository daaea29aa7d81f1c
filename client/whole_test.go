package client_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/im"
)

// friendFeed is a server's feed about friends only. It replies in pages of two.
type friendFeed struct {
	*fake
	mu    sync.Mutex
	rows  map[string]*im.Relation
	log   []*im.Relation // entry n is log[n-1]
	floor uint64
	link  *fakeLink // of the last login
	// page is called before a page of the whole is replied, with its number; it reports whether the page is to be replied.
	page func(l *fakeLink, n int) bool
}

func newFriendFeed(t testing.TB) *friendFeed {
	f := &friendFeed{fake: newFake(t), rows: map[string]*im.Relation{}}
	f.answer(im.Method_LOGIN, func(l *fakeLink, fr *im.Frame) {
		f.mu.Lock()
		f.link = l
		f.fake.mu.Lock()
		f.fake.feed = uint64(len(f.log))
		f.fake.mu.Unlock()
		f.mu.Unlock()
		f.usual(l, fr)
	})
	f.answer(im.Method_FEED, func(l *fakeLink, fr *im.Frame) {
		req := &im.FeedRequest{}
		req.UnmarshalVT(fr.Body)
		f.mu.Lock()
		defer f.mu.Unlock()
		switch {
		case req.From <= f.floor:
			l.reply(fr, &im.FeedReply{Cut: true})
		case req.From > uint64(len(f.log)):
			l.refuse(fr, im.CodeResync)
		default:
			to := min(req.From+1, req.To, uint64(len(f.log)))
			l.reply(fr, &im.FeedReply{From: req.From, To: to, Entries: f.log[req.From-1 : to]})
		}
	})
	f.answer(im.Method_RELATIONS, func(l *fakeLink, fr *im.Frame) {
		req := &im.RelationsRequest{}
		req.UnmarshalVT(fr.Body)
		f.mu.Lock()
		hook := f.page
		f.mu.Unlock()
		if hook != nil && !hook(l, int(req.AfterOther)/2) {
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		reply := &im.RelationsReply{Feed: uint64(len(f.log))}
		for _, name := range slices.Sorted(maps.Keys(f.rows)) {
			var n uint64
			fmt.Sscanf(name, "f%d", &n)
			if n > req.AfterOther && n <= req.AfterOther+2 {
				reply.Items = append(reply.Items, f.rows[name])
			}
		}
		if req.AfterOther < 8 {
			reply.NextKind, reply.NextOther = im.RelationKind_RELATION_FRIEND, req.AfterOther+2
		}
		l.reply(fr, reply)
	})
	return f
}

// change adds an entry and pushes it.
func (f *friendFeed) change(name, remark string, gone bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := &im.Relation{Kind: im.RelationKind_RELATION_FRIEND, Ver: uint64(len(f.log)) + 1, UserId: name, Gone: gone}
	if gone {
		delete(f.rows, name)
	} else {
		e.State = &im.RelationState{Remark: remark, Time: 1}
		f.rows[name] = e
	}
	f.log = append(f.log, e)
	if f.link != nil {
		f.link.push(pushed{im.Method_FED, &im.FeedPush{From: e.Ver, Entries: []*im.Relation{e}}})
	}
}

// cut cuts the feed off, and sets what is called before a page.
func (f *friendFeed) cut(floor uint64, page func(l *fakeLink, n int) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.floor, f.page = floor, page
}

func (f *friendFeed) remark(name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rows[name].GetState().GetRemark()
}

// list returns the friends as List does, in short.
func (f *friendFeed) list() (all []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rows {
		all = append(all, r.UserId+" "+r.State.Remark)
	}
	slices.Sort(all)
	return all
}

func (d *device) friendList() (all []string) {
	d.t.Helper()
	friends, err := d.Friends().List(within(d.t))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, p := range friends {
		all = append(all, p.Identifier+" "+p.Remark)
	}
	slices.Sort(all)
	return all
}

// shortFriends returns what was heard, a line per friend: "added f1", "deleted f1", "remark f1 x".
func shortFriends(heard []string) (all []string) {
	for _, h := range heard {
		kind, data, _ := strings.Cut(h, " ")
		if kind == "friends_updated" {
			for _, u := range decoded[im.FriendProfileUpdate](data) {
				all = append(all, fmt.Sprintf("remark %s %s", u.Identifier, u.Item.GetRemark()))
			}
			continue
		}
		names, _ := im.StringsFromJSON(data)
		for _, name := range names {
			all = append(all, strings.TrimPrefix(kind, "friends_")+" "+name)
		}
	}
	return all
}

// A whole that is loaded while things change and that is interrupted at any step, by a cut connection, the end of the application, or a commit that
// fails, gives the same end, and tells each net difference once: of rows on pages that were read already, and of rows that were not.
func TestWholeInterrupted(t *testing.T) {
	type edit struct{ name, remark string }
	changes := map[string]struct {
		edits []edit
		want  []string
	}{
		"a read row":              {[]edit{{"f1", "x"}}, []string{"remark f1 x"}},
		"a row not read":          {[]edit{{"f6", "y"}}, []string{"remark f6 y"}},
		"a read row goes":         {[]edit{{"f3", "-"}}, []string{"deleted f3"}},
		"a row not read goes":     {[]edit{{"f6", "-"}}, []string{"deleted f6"}},
		"a row comes":             {[]edit{{"f8", ""}}, []string{"added f8"}},
		"a row comes in between":  {[]edit{{"f2", ""}}, nil},
		"a read row twice":        {[]edit{{"f1", "x"}, {"f1", "z"}}, nil},
		"changes and goes":        {[]edit{{"f6", "y"}, {"f6", "-"}}, nil},
		"comes and goes":          {[]edit{{"f8", "y"}, {"f8", "-"}}, nil},
		"goes and comes":          {[]edit{{"f6", "-"}, {"f6", "new"}}, nil},
		"a row not read, similar": {[]edit{{"f5", "-"}, {"f5", ""}, {"f7", "-"}}, nil},
	}
	for name, c := range changes {
		for _, at := range []int{0, 2, 4} { // the page before which it changes
			for _, way := range []string{"", "cut", "end", "undone"} {
				for _, stop := range []int{0, 2, 4} { // the page before which it is interrupted
					if way == "" && stop > 0 {
						continue
					}
					t.Run(fmt.Sprintf("%s at %d, %s at %d", name, at, cmp.Or(way, "nothing"), stop), func(t *testing.T) {
						t.Parallel()
						f := newFriendFeed(t)
						for n := range 6 {
							f.change(fmt.Sprint("f", n+1), "", false)
						}
						d := dial(t, fakeConfig(t, f.fake))
						if got := d.heard(); len(got) > 0 || len(d.friendList()) != 6 {
							t.Fatalf("a fresh device heard %q and has %q", got, d.friendList())
						}
						d.Close()
						f.change("f2", "", true)
						f.change("f7", "", false)
						f.change("f4", "four", false)
						var steps sync.Mutex // of one connection after the other
						var changed, interrupted bool
						ended := make(chan bool, 1)
						d = open(t, d.cfg)
						f.cut(9, func(l *fakeLink, n int) bool {
							steps.Lock()
							defer steps.Unlock()
							if !changed && n == at {
								changed = true
								for _, e := range c.edits {
									f.change(e.name, strings.TrimPrefix(e.remark, "-"), e.remark == "-")
								}
							}
							if interrupted || way == "" || n != stop {
								return true
							}
							interrupted = true
							switch way {
							case "undone":
								d.FailCommits(1)
								return true
							case "end":
								ended <- true
							default:
								l.ws.CloseNow()
							}
							return false
						})
						if err := d.Login(within(t)); err != nil {
							t.Fatal(err)
						}
						var heard []string
						if way == "end" {
							<-ended
							d.Close()
							heard = d.heard()
							d = open(t, d.cfg)
							if err := d.Login(within(t)); err != nil {
								t.Fatal(err)
							}
						}
						want := f.list()
						eventually(t, "the end", func() bool { // which a list may show in a batch that is undone, but then nothing was told yet
							want = f.list()
							return slices.Equal(d.friendList(), want) && len(shortFriends(append(heard, d.heard()...))) > 0
						})
						d.settled()
						got := shortFriends(append(heard, d.heard()...))
						// What was told leads from what was to what is.
						told := map[string]string{"f1": "", "f2": "", "f3": "", "f4": "", "f5": "", "f6": ""}
						for _, line := range got {
							words := strings.Split(line, " ")
							remark, had := told[words[1]]
							switch words[0] {
							case "added":
								told[words[1]] = "?"
							case "deleted":
								delete(told, words[1])
							case "remark":
								told[words[1]] = words[2]
							}
							if had == (words[0] == "added") || words[0] == "remark" && remark == words[2] {
								t.Fatalf("%q among %q does not follow", line, got)
							}
						}
						var end []string
						for name, remark := range told {
							if remark == "?" {
								remark = f.remark(name)
							}
							end = append(end, name+" "+remark)
						}
						slices.Sort(end)
						if !slices.Equal(end, want) {
							t.Fatalf("told were %q, which leads to %q, and there are %q", got, end, want)
						}
						want = c.want
						if name == "goes and comes" && way == "" && at <= 2 { // the page with f6 is read later: nothing else is told of it
							want = []string{"remark f6 new"}
						}
						if name == "changes and goes" && way == "" && at <= 2 {
							want = []string{"deleted f6"}
						}
						if name == "comes and goes" && way == "" {
							want = []string{}
						}
						if want != nil {
							slices.Sort(got)
							all := append([]string{"added f7", "deleted f2", "remark f4 four"}, want...)
							if slices.Sort(all); !slices.Equal(got, all) {
								t.Fatalf("told were %q, want %q", got, all)
							}
						}
					})
				}
			}
		}
	}
}
