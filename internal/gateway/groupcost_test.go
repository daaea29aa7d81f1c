package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
	"github.com/tidings-im/tidings/internal/store"
	"github.com/tidings-im/tidings/internal/store/pg"
	"github.com/tidings-im/tidings/internal/store/tables"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
	"github.com/tidings-im/tidings/internal/testing/soak"
	"github.com/tidings-im/tidings/internal/testing/storetest"
)

// storeWork is what a store has done.
type storeWork struct{ statements, rows atomic.Int64 }

// counted is the base of a store, or a transaction of it, whose statements are counted, with the rows that they return.
type counted struct {
	tables.Base
	*storeWork
}

type countedTx struct {
	tables.Holder
	*storeWork
}

type countedRows struct {
	tables.Rows
	*storeWork
}

func (r countedRows) Next() bool {
	next := r.Rows.Next()
	if next {
		r.rows.Add(1)
	}
	return next
}

func (c counted) Ask(ctx context.Context, read func(tables.Rows) error, text string, args ...any) error {
	c.statements.Add(1)
	return c.Base.Ask(ctx, func(r tables.Rows) error { return read(countedRows{r, c.storeWork}) }, text, args...)
}

func (c counted) Run(ctx context.Context, keys []chat.Key, fn func(*tables.Tx) error) error {
	return c.Base.Run(ctx, keys, func(t *tables.Tx) error {
		t.On = countedTx{t.On, c.storeWork}
		return fn(t)
	})
}

// countedStore counts what is done in Updates, too.
type countedStore struct {
	chat.Store
	*storeWork
}

func (c countedStore) Update(ctx context.Context, keys []chat.Key, fn func(chat.Tx) error) error {
	return c.Store.Update(ctx, keys, func(tx chat.Tx) error {
		t := tx.(*tables.Tx)
		t.On = countedTx{t.On, c.storeWork}
		return fn(t)
	})
}

func (c countedTx) Ask(ctx context.Context, read func(tables.Rows) error, text string, args ...any) error {
	c.statements.Add(1)
	return c.Holder.Ask(ctx, func(r tables.Rows) error { return read(countedRows{r, c.storeWork}) }, text, args...)
}

func (c countedTx) Tell(ctx context.Context, text string, args ...any) error {
	c.statements.Add(1)
	return c.Holder.Tell(ctx, text, args...)
}

// counting starts a node over a store whose work is counted.
func counting(t *testing.T, o options) (*node, *storeWork) {
	t.Helper()
	w := &storeWork{}
	o.wrap = func(s chat.Store) chat.Store {
		switch s := s.(type) {
		case *store.Store:
			s.On = counted{s.On, w}
		case *pg.Store:
			s.On = counted{s.On, w}
		}
		return countedStore{s, w}
	}
	return start(t, o), w
}

// crowd makes users who are not connected members of a group, and returns their names.
func (n *node) crowd(id chat.ConvID, prefix string, count int) []string {
	n.t.Helper()
	names, uids := make([]string, count), make([]chat.UID, count)
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 256 { // who are created together share a commit
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(count); i = next.Add(1) - 1 {
				names[i] = fmt.Sprintf("%s%06d", prefix, i)
				u, err := n.store.CreateUser(context.Background(), names[i])
				if err != nil {
					n.t.Error(err)
				}
				uids[i] = u.UID
			}
		})
	}
	wg.Wait()
	for from := 0; from < count; from += 1000 {
		if err := n.store.Update(context.Background(), nil, func(tx chat.Tx) error {
			for _, uid := range uids[from:min(from+1000, count)] {
				if _, err := tx.Join(id, uid); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			n.t.Fatal(err)
		}
	}
	return names
}

// pushedBytes returns the size of what was pushed to c so far, and takes it.
func (n *node) pushedBytes(c *conn) (sum int64) {
	n.settle(c)
	for _, f := range c.pushes {
		sum += int64(len(f.Body))
	}
	c.pushes = nil
	return sum
}

// cost is what one cause takes: statements, rows read, and bytes pushed to a member who is connected.
type cost struct{ statements, rows, bytes int64 }

// crowded is the id of a group that may have 100,000 members.
const crowded = "@TGS#_large"

// costs returns what each cause takes in a group with so many members who are not connected.
func costs(t *testing.T, o options, members int) map[string]cost {
	n, w := counting(t, o)
	owner, watcher, guest := n.member("owner"), n.member("watcher"), n.member("guest")
	epoch := owner.create(crowded, community, "watcher")
	crowd := n.crowd(chat.ConvID(epoch), "m", members)
	// The store has members that the gateway was not notified of: it reads them before it delivers the first message.
	owner.say(crowded, "first", 0)
	for !strings.HasSuffix(wordsOf(t, watcher.take()), "first") {
	}
	out := map[string]cost{}
	measure := func(what string, do func()) {
		do() // what is kept in memory afterwards is read once
		n.pushedBytes(watcher)
		n.pushedBytes(owner)
		var least cost
		for i := range 2 { // what the server does at certain times may come between one of them
			statements, rows := w.statements.Load(), w.rows.Load()
			do()
			bytes := n.pushedBytes(watcher)
			c := cost{w.statements.Load() - statements, w.rows.Load() - rows, bytes}
			if i == 0 || c.statements < least.statements {
				least = c
			}
		}
		out[what] = least
	}
	measure("send", func() { owner.say(crowded, "hello", 0) })
	measure("mention of all", func() {
		req := owner.request("x", "hello")
		req.Conv, req.Message.GroupAtUserArray = groupKey(crowded), []string{"__kImSDK_MesssageAtALL__"}
		owner.call(im.Method_SEND, req, 0, nil)
	})
	measure("recall", func() {
		var sent im.SendReply
		req := owner.request("x", "not that")
		req.Conv = groupKey(crowded)
		owner.call(im.Method_SEND, req, 0, &sent)
		owner.call(im.Method_REVOKE, &im.RevokeRequest{Conv: groupKey(crowded), Epoch: epoch, Seq: sent.Entry.Seq}, 0, nil)
	})
	name := 0
	measure("tip", func() {
		name++
		owner.call(im.Method_MODIFY_GROUP, &im.ModifyGroupRequest{Group: named(crowded), Name: new(fmt.Sprint("name ", name))}, 0, nil)
	})
	measure("join and kick", func() {
		guest.call(im.Method_JOIN_GROUP, &im.JoinGroupRequest{Group: named(crowded)}, 0, nil)
		owner.call(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named(crowded), UserIds: []string{"guest"}}, 0, nil)
		n.pushedBytes(guest)
	})
	measure("login", func() {
		c := n.member(crowd[0])
		c.heads(&im.HeadsRequest{WithLast: true})
		c.call(im.Method_LOGOUT, &im.Empty{}, 0, nil)
	})
	measure("page of members", func() {
		owner.call(im.Method_MEMBERS, &im.ListMembersRequest{Group: named(crowded), Limit: 10}, 0, nil)
	})
	measure("page from the middle", func() {
		owner.call(im.Method_MEMBERS, &im.ListMembersRequest{Group: named(crowded), Next: uint64(members / 2), Limit: 5}, 0, nil)
	})
	statements, rows := w.statements.Load(), w.rows.Load()
	owner.call(im.Method_DISSOLVE_GROUP, named(crowded), 0, nil)
	bytes := n.pushedBytes(watcher)
	out["dissolve"] = cost{w.statements.Load() - statements, w.rows.Load() - rows, bytes}
	return out
}

// TestJoinedElsewhere: a server that learns from an event that many have joined at another one asks of those who are connected to it whether they are members.
func TestJoinedElsewhere(t *testing.T) {
	const many = 300
	n, w := counting(t, options{dsn: pgtest.DSN(t)})
	owner, watcher := n.member("owner"), n.member("watcher")
	epoch := owner.create(crowded, community)
	n.crowd(chat.ConvID(epoch), "m", many)
	user, err := n.store.UserByName(t.Context(), "watcher")
	if err == nil {
		err = n.store.Update(t.Context(), nil, func(tx chat.Tx) error {
			_, err := tx.Join(chat.ConvID(epoch), user.UID)
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	rows := w.rows.Load()
	owner.say(crowded, "first", 0)
	for !strings.HasSuffix(wordsOf(t, watcher.take()), "first") {
	}
	if took := w.rows.Load() - rows; took < many || took > many*3/2 {
		t.Errorf("the members were found with %d rows, and %d have joined", took, many)
	}
}

// TestCostOfMembers: what happens often costs as much in a large group as in a small one.
func TestCostOfMembers(t *testing.T) {
	most := soak.Pick(500, 99_990)
	for name, opts := range map[string]func(*testing.T) options{
		"sqlite":   func(*testing.T) options { return options{} },
		"postgres": func(t *testing.T) options { return options{dsn: pgtest.DSN(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			few, many := costs(t, opts(t), 10), costs(t, opts(t), most)
			for what, a := range few {
				b := many[what]
				t.Logf("%s: %+v with 10 members, %+v with %d", what, a, b, most)
				for _, x := range [][2]int64{{a.statements, b.statements}, {a.rows, b.rows}, {a.bytes, b.bytes}} {
					if 2*x[1] > 3*x[0] {
						t.Errorf("%s takes %+v with 10 members, and %+v with %d", what, a, b, most)
						break
					}
				}
			}
		})
	}
}

// TestMemberListUnderChurn: a list of members that is read while others join and leave has everybody who was a member during all of it once.
func TestMemberListUnderChurn(t *testing.T) {
	count, churn := soak.Pick(800, 98_998), soak.Pick(60, 1_000) // with those who leave and two more, as many as a group has at most
	onBoth(t, options{}, func(t *testing.T, n *node) {
		owner, reader := n.member("owner"), n.member("reader")
		epoch := owner.create(crowded, community, "reader")
		stay := n.crowd(chat.ConvID(epoch), "stay", count/2)
		leave := n.crowd(chat.ConvID(epoch), "leave", churn)
		stay = append(stay, n.crowd(chat.ConvID(epoch), "stays", count/2)...)
		stay = append(stay, "owner", "reader")
		var join []string
		for i := range churn {
			join = append(join, fmt.Sprintf("join%06d", i))
			if _, err := n.store.CreateUser(t.Context(), join[i]); err != nil {
				t.Fatal(err)
			}
		}
		seen := make(map[string]int, count)
		var took []time.Duration
		pages, next := 0, uint64(0)
		each := max(1, churn/(count/100)) // so many join and leave during a page
		joined, left := 0, 0
		for {
			var open []uint64
			if from := left; from < churn {
				left = min(from+each, churn)
				open = append(open, owner.begin(im.Method_KICK_MEMBERS, &im.GroupMembersRequest{Group: named(crowded), UserIds: leave[from:left]}))
			}
			if from := joined; from < churn {
				joined = min(from+each, churn)
				open = append(open, owner.begin(im.Method_INVITE, &im.GroupMembersRequest{Group: named(crowded), UserIds: join[from:joined]}))
			}
			begun := time.Now()
			var page im.ListMembersReply
			reader.call(im.Method_MEMBERS, &im.ListMembersRequest{Group: named(crowded), Next: next}, 0, &page)
			took = append(took, time.Since(begun))
			for _, m := range page.Members {
				seen[m.Identifier]++
			}
			for _, id := range open {
				if f := owner.await(id); f.Code != 0 {
					t.Fatalf("%s: %d %s", f.Method, f.Code, f.Desc)
				}
			}
			owner.pushes, reader.pushes = nil, nil
			pages++
			if next = page.Next; next == 0 {
				break
			}
		}
		slices.Sort(took)
		t.Logf("%d pages: half of them took up to %v, 99 of 100 up to %v, the slowest %v", pages, took[pages/2], took[pages*99/100], took[pages-1])
		for _, name := range stay {
			if seen[name] != 1 {
				t.Errorf("%s is listed %d times", name, seen[name])
			}
		}
		for name, times := range seen {
			if times > 1 {
				t.Errorf("%s is listed %d times", name, times)
			}
		}
		cv, err := n.store.Conv(t.Context(), chat.ConvID(epoch))
		if want := len(stay) + churn - left + joined; err != nil || int(cv.Members) != want {
			t.Errorf("the group has %d members, want %d; %v", cv.Members, want, err)
		}
	})
}

// explained is the base of a store that notes how it reads some tables.
type explained struct {
	tables.Base
	of []string
	*plans
}

type plans struct {
	sync.Mutex
	all []string
}

// take returns the plans so far, and forgets them.
func (p *plans) take() []string {
	p.Lock()
	defer p.Unlock()
	all := p.all
	p.all = nil
	return all
}

func (e explained) Ask(ctx context.Context, read func(tables.Rows) error, text string, args ...any) error {
	if slices.ContainsFunc(e.of, func(table string) bool { return strings.Contains(text, " "+table+" ") }) {
		steps, err := storetest.Plan(ctx, e.Base, text, args...)
		if err != nil {
			return err
		}
		e.Lock()
		e.all = append(e.all, strings.Join(steps, "; "))
		e.Unlock()
	}
	return e.Base.Ask(ctx, read, text, args...)
}

// TestPagesOfMembersByIndex: a page of members is read by an index that has them in their order, and whoever asks for it is found by their own row, so that it takes as
// long in a large group as in a small one.
func TestPagesOfMembersByIndex(t *testing.T) {
	noted := &plans{}
	n := start(t, options{wrap: func(s chat.Store) chat.Store {
		on := s.(*store.Store)
		on.On = explained{on.On, []string{"member m"}, noted}
		return on
	}})
	ann := n.member("ann")
	ann.create(crowded, community)
	n.settle(ann)
	noted.take()
	ann.call(im.Method_MEMBERS, &im.ListMembersRequest{Group: named(crowded)}, 0, nil)
	ann.call(im.Method_MEMBERS, &im.ListMembersRequest{Group: named(crowded), Roles: 2}, 0, nil)
	plans := noted.take()
	// Before each page it is looked whether the caller is a member.
	const caller, page, role = "PRIMARY KEY (uid=? AND conv=?)", "INDEX member_joined (conv=? AND joined>?)", "INDEX member_role (conv=?"
	var want []string
	for _, index := range []string{caller, page, caller, role} {
		if i := len(want); i < len(plans) && strings.Contains(plans[i], index) {
			want = append(want, plans[i])
		}
	}
	if !slices.Equal(plans, want) || len(want) != 4 || strings.Contains(want[1], ";") {
		t.Errorf("members are read by %q", plans)
	}
}

// TestPagesOfMembersByIndexInPostgres: so it is on PostgreSQL, with what belongs to the members, also in a database about which PostgreSQL knows nothing yet.
func TestPagesOfMembersByIndexInPostgres(t *testing.T) {
	noted := &plans{}
	n := start(t, options{dsn: pgtest.DSN(t), wrap: func(s chat.Store) chat.Store {
		on := s.(*pg.Store)
		on.On = explained{on.On, []string{"member m", "member_custom c", "users u", "profile p"}, noted}
		return on
	}})
	ann := n.member("ann")
	id := chat.ConvID(ann.create(crowded, community))
	n.crowd(id, "m", 300)
	rows, err := n.store.Members(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.store.Update(t.Context(), nil, func(tx chat.Tx) error {
		for _, m := range rows {
			if err := errors.Join(tx.PutCustom(id, m.UID, nil), tx.PutProfile(chat.Profile{UID: m.UID, Ver: 1})); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	n.settle(ann)
	noted.take()
	ann.call(im.Method_MEMBERS, &im.ListMembersRequest{Group: named(crowded), Next: 100}, 0, nil)
	plans := noted.take()
	for i, index := range []string{"member_", "member_joined", "member_custom_pkey", "users_pkey", "profile_pkey"} {
		if len(plans) != 5 || !strings.Contains(plans[i], "Index Scan using "+index) || strings.Contains(plans[i], "Seq Scan") || strings.Contains(plans[i], "Sort") {
			t.Errorf("%s is not used: %q", index, plans)
			break
		}
	}
}

// TestPageOfStrangers: a page of members whom the server does not know takes as many statements as one of a single member, however many they are.
func TestPageOfStrangers(t *testing.T) {
	for name, opts := range map[string]func(*testing.T) options{
		"sqlite":   func(*testing.T) options { return options{} },
		"postgres": func(t *testing.T) options { return options{dsn: pgtest.DSN(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			n, w := counting(t, opts(t))
			ann := n.member("ann")
			epoch := ann.create(crowded, community)
			known := n.crowd(chat.ConvID(epoch), "m", 150)
			page := func(next uint64, limit uint32) (int64, *im.ListMembersReply) {
				begun := w.statements.Load()
				reply := &im.ListMembersReply{}
				ann.call(im.Method_MEMBERS, &im.ListMembersRequest{Group: named(crowded), Next: next, Limit: limit}, 0, reply)
				return w.statements.Load() - begun, reply
			}
			_, first := page(0, 1) // ann
			one, second := page(first.Next, 1)
			many, rest := page(second.Next, 100)
			if one != many || len(rest.Members) != 100 {
				t.Errorf("a stranger takes %d statements, %d take %d", one, len(rest.Members), many)
			}
			for i, m := range rest.Members {
				if m.Identifier != known[i+1] {
					t.Errorf("member %d is %q, want %q", i, m.Identifier, known[i+1])
				}
			}
		})
	}
}

// explainedStore is a store on PostgreSQL that notes how it counts the groups of a user.
type explainedStore struct {
	chat.Store
	plans *[]string
}

type explainedTx struct {
	tables.Holder
	plans *[]string
}

func (e explainedStore) Update(ctx context.Context, keys []chat.Key, fn func(chat.Tx) error) error {
	return e.Store.Update(ctx, keys, func(tx chat.Tx) error {
		t := tx.(*tables.Tx)
		t.On = explainedTx{t.On, e.plans}
		return fn(t)
	})
}

func (e explainedTx) Ask(ctx context.Context, read func(tables.Rows) error, text string, args ...any) error {
	if strings.HasPrefix(text, "SELECT count(*) AS n FROM member m") {
		if err := e.Holder.Ask(ctx, func(r tables.Rows) error {
			for r.Next() {
				var step string
				if err := r.Scan(&step); err != nil {
					return err
				}
				*e.plans = append(*e.plans, step)
			}
			return r.Err()
		}, "EXPLAIN "+text, args...); err != nil {
			return err
		}
	}
	return e.Holder.Ask(ctx, read, text, args...)
}

// TestGroupsAreCountedByUser: what counts the groups of a user, in each creation and joining, does not read those of others, also in a database about which PostgreSQL
// knows nothing yet.
func TestGroupsAreCountedByUser(t *testing.T) {
	var plans []string
	n := start(t, options{dsn: pgtest.DSN(t), wrap: func(s chat.Store) chat.Store { return explainedStore{s, &plans} }})
	if err := n.store.Update(t.Context(), nil, func(tx chat.Tx) error {
		for i := range 300 {
			if _, err := tx.NewConv(chat.Conv{Kind: chat.KindGroup, Group: fmt.Sprint("g", i), Type: community}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	ann := n.member("ann")
	ann.create("mine", public)
	plan := strings.Join(plans, "\n")
	if !strings.Contains(plan, "using conv_pkey on conv") || strings.Contains(plan, "conv_live") || strings.Contains(plan, "Seq Scan on conv") {
		t.Errorf("groups are counted by\n%s", plan)
	}
}

// TestLoginOfManyGroups: a device whose user is in 1,000 groups in which nothing is new logs in and syncs with few statements and bytes.
func TestLoginOfManyGroups(t *testing.T) {
	const groups = 1000
	for name, opts := range map[string]func(*testing.T) options{
		"sqlite":   func(*testing.T) options { return options{} },
		"postgres": func(t *testing.T) options { return options{dsn: pgtest.DSN(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			n, w := counting(t, opts(t))
			u, err := n.store.CreateUser(t.Context(), "ann")
			if err != nil {
				t.Fatal(err)
			}
			for from := 0; from < groups; from += 100 {
				if err := n.store.Update(t.Context(), nil, func(tx chat.Tx) error {
					for i := from; i < from+100; i++ {
						cv, err := tx.NewConv(chat.Conv{Kind: chat.KindGroup, Group: fmt.Sprint("g", i), Type: community})
						if err != nil {
							return err
						}
						if _, err := tx.Join(cv.ID, u.UID); err != nil {
							return err
						}
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
			c := n.member("ann")
			listed := 0
			var reply *im.HeadsReply
			for after := uint64(0); ; after = reply.Next {
				reply = c.heads(&im.HeadsRequest{After: after, WithLast: true})
				if listed += len(reply.Heads); reply.Next == 0 {
					break
				}
			}
			if listed != groups {
				t.Fatalf("%d heads, want %d", listed, groups)
			}
			c.call(im.Method_LOGOUT, &im.Empty{}, 0, nil)

			statements := w.statements.Load()
			c = n.dial()
			size := len(c.call(im.Method_LOGIN, device{user: "ann", groups: true}.request(), 0, nil).Body)
			f := c.call(im.Method_HEADS, &im.HeadsRequest{Cursor: reply.Cursor + 10*overlapAndMore, WithLast: true}, 0, nil)
			size += len(f.Body) + int(n.pushedBytes(c))
			if statements = w.statements.Load() - statements; statements > 20 || size > 2<<10 {
				t.Errorf("the login takes %d statements and %d bytes", statements, size)
			}
			t.Logf("%d statements, %d bytes", statements, size)
		})
	}
}
