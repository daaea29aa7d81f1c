package client_test

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/faultproxy"
	"github.com/tidings-im/tidings/internal/testing/pgtest"
	"github.com/tidings-im/tidings/internal/testing/scenario"
)

// The matrix of relations: every cause, by a device and by the operator, fires on every device of both users what it should and nothing else, wherever
// the devices are meanwhile.
func TestRelationMatrix(t *testing.T) { relationMatrix(t, "") }

// Each row of the matrix of relations is a row of docs/events.md.
func TestRelationRows(t *testing.T) {
	doc, err := os.ReadFile("../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	fires := func(events []string) string {
		if len(events) == 0 {
			return "nothing"
		}
		var names []string
		for _, e := range events {
			name, _, _ := strings.Cut(e, " ")
			names = append(names, map[string]string{"friends_added": "friend added", "friends_deleted": "friend deleted", "friends_updated": "friend updated",
				"friend_requests": "friend request", "friend_requests_deleted": "request deleted", "friend_requests_read": "requests read",
				"blacklist_added": "blacklist added", "blacklist_deleted": "blacklist deleted"}[name])
		}
		return strings.Join(names, ", ")
	}
	_, table, _ := strings.Cut(string(doc), "| cause |")
	for _, c := range scenario.Causes {
		command, _, _ := strings.Cut(c.Operator, " ")
		if command != "" {
			command = "`" + command + "`"
		}
		if row := fmt.Sprintf("| %s | %s | %s | %s |", c.Name, fires(c.Mine), fires(c.Theirs), command); !strings.Contains(table, row) {
			t.Errorf("docs/events.md lacks the row\n%s", row)
		}
	}
	if rows := strings.Count(table, "\n| ") - 1; rows != len(scenario.Causes) {
		t.Errorf("docs/events.md has %d rows, there are %d", rows, len(scenario.Causes))
	}
}

// The same on PostgreSQL: in make soak in all states, else each cause in one of them.
func TestRelationMatrixPostgres(t *testing.T) { relationMatrix(t, pgtest.DSN(t)) }

func relationMatrix(t *testing.T, dsn string) {
	start := func(opts ...imtest.Option) *imtest.Server {
		if dsn != "" {
			opts = append(opts, imtest.Postgres(pgtest.Copy(t, dsn)))
		}
		s := imtest.Start(t, opts...)
		for _, u := range scenario.Others {
			dial(t, config(t, s, u))
		}
		return s
	}
	whole, short := start(), start(imtest.FeedKeep(scenario.Keep))
	n := 0
	for i, c := range scenario.Causes {
		for _, operator := range []bool{false, true} {
			if operator && c.Operator == "" {
				continue
			}
			states := scenario.States
			if dsn != "" {
				states = scenario.InTurn(n)
			}
			n++
			for _, state := range states {
				s := whole
				if state == scenario.Cut {
					s = short
				}
				who := map[bool]string{false: "by a device", true: "by the operator"}[operator]
				t.Run(fmt.Sprintf("%s/%s/%s", c.Name, who, state), func(t *testing.T) {
					t.Parallel()
					c.Run(t, s, fmt.Sprintf("-%s%v%d-", state[:2], operator, i), state, operator, func(user string, n int) scenario.Device {
						return newRelated(t, s, user, n)
					})
				})
			}
		}
	}
}

// related is a device of the matrix of relations.
type related struct {
	t     testing.TB
	cfg   client.Config
	proxy *faultproxy.Proxy
	log   *lockedLog
	c     *client.Client

	mu    sync.Mutex
	heard []string
	syncs int
	link  client.NetworkStatus
	news  chan struct{}
	hear  func(client.Event) // takes what else fires, instead of heard
}

// lockedLog is a log that may be read.
type lockedLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) contains(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), s)
}

func newRelated(t testing.TB, s *imtest.Server, user string, n int) *related {
	t.Helper()
	return openRelated(t, s, user, n, nil)
}

func openRelated(t testing.TB, s *imtest.Server, user string, n int, hear func(client.Event)) *related {
	t.Helper()
	d := &related{t: t, cfg: config(t, s, user), proxy: faultproxy.Start(t, s.URL), log: &lockedLog{}, news: make(chan struct{}, 1), hear: hear}
	d.cfg.Server = d.proxy.URL
	d.cfg.Log = slog.New(slog.NewTextHandler(d.log, nil))
	d.cfg.Limits.Reconnect = 20 * time.Millisecond
	d.cfg.Platform = []im.Platform{im.Platform_PLATFORM_LINUX, im.Platform_PLATFORM_ANDROID, im.Platform_PLATFORM_PAD, im.Platform_PLATFORM_WEB}[n]
	d.login()
	t.Cleanup(func() { d.c.Close() })
	return d
}

// login opens the client and waits for the end of its sync.
func (d *related) login() {
	d.t.Helper()
	c, err := client.Open(d.cfg, client.Each(d.event))
	if err != nil {
		d.t.Fatal(err)
	}
	d.c = c
	d.mu.Lock()
	n := d.syncs
	d.mu.Unlock()
	if err := c.Login(within(d.t)); err != nil {
		d.t.Fatal(err)
	}
	d.wait("the sync", func() bool { return d.syncs > n })
	c.WaitQuiet()
}

func (d *related) event(e client.Event) {
	d.mu.Lock()
	switch {
	case e.Name == "network":
		d.link = e.Args[0].(client.NetworkStatus)
	case e.Type == "sync_finish":
		d.syncs++
	case e.Type == "sync_start":
	case d.hear != nil:
		d.hear(e)
	default:
		d.heard = append(d.heard, strings.TrimSpace(e.Name+" "+e.Data()))
	}
	d.mu.Unlock()
	select {
	case d.news <- struct{}{}:
	default:
	}
}

// wait waits for a fact.
func (d *related) wait(what string, cond func() bool) {
	d.t.Helper()
	if !d.waits(cond) {
		d.t.Fatalf("waited in vain for %s; heard\n%s", what, strings.Join(d.events(), "\n"))
	}
}

// waits waits for a fact, and reports whether it has come true.
func (d *related) waits(cond func() bool) bool {
	limit := time.After(scenario.Patience)
	for {
		d.mu.Lock()
		ok := cond()
		d.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-d.news:
		case <-limit:
			return false
		}
	}
}

func (d *related) events() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.heard...)
}

func (d *related) Until(what string, cond func([]string) bool) []string {
	d.t.Helper()
	limit := time.After(scenario.Patience)
	for {
		if all := d.events(); cond(all) {
			return all
		}
		select {
		case <-d.news:
		case <-limit:
			d.t.Fatalf("waited in vain for %s; heard\n%s", what, strings.Join(d.events(), "\n"))
		}
	}
}

func (d *related) Leave(state string) {
	if state == scenario.Reconnecting {
		d.proxy.Refuse(true)
		d.proxy.Cut()
		d.wait("the loss", func() bool { return d.link != client.NetworkConnected })
		return
	}
	d.c.Close()
}

func (d *related) Back(state string) {
	if state == scenario.Reconnecting {
		d.proxy.Refuse(false)
		d.wait("the connection", func() bool { return d.link == client.NetworkConnected })
		d.c.WaitQuiet()
		return
	}
	d.login()
	if state == scenario.Cut && !d.log.contains("the feed was cut off") {
		d.t.Error("the feed was not cut off")
	}
}

func (d *related) Act(verb string, args []string) string {
	d.t.Helper()
	ctx, f := within(d.t), d.c.Friends()
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	one := func(r *im.FriendResult, err error) string {
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(r.Code)
	}
	each := func(rs []*im.FriendResult, err error) string {
		if err != nil {
			return err.Error()
		}
		codes := make([]string, len(rs))
		for i, r := range rs {
			codes[i] = fmt.Sprint(r.Code)
		}
		return strings.Join(codes, " ")
	}
	none := func(err error) string {
		if err != nil {
			return err.Error()
		}
		return ""
	}
	number := func(i int) int32 {
		n, err := strconv.Atoi(arg(i))
		if err != nil {
			d.t.Fatal(err)
		}
		return int32(n)
	}
	switch verb {
	case "add", "add2":
		return one(f.Add(ctx, &im.AddFriendRequest{UserId: arg(0), Both: verb == "add2", Wording: arg(1), Source: "AddSource_Type_test"}))
	case "delete", "delete2":
		return each(f.Delete(ctx, args, verb == "delete2"))
	case "accept":
		return one(f.AnswerRequest(ctx, &im.AnswerRequestRequest{UserId: arg(0), Action: client.AcceptRequest}))
	case "acceptadd":
		return one(f.AnswerRequest(ctx, &im.AnswerRequestRequest{UserId: arg(0), Action: client.AcceptAndAdd}))
	case "reject":
		return one(f.AnswerRequest(ctx, &im.AnswerRequestRequest{UserId: arg(0), Action: client.RejectRequest}))
	case "forget":
		return each(f.DeleteRequests(ctx, args[:1], number(1)))
	case "readrequests":
		return none(f.ReadRequests(ctx, 0))
	case "remark":
		return none(f.Update(ctx, arg(0), &im.FriendProfileItem{Remark: &args[1]}))
	case "custom":
		return none(f.Update(ctx, arg(0), &im.FriendProfileItem{CustomStringArray: []*im.FriendProfileCustomStringInfo{{Key: arg(1), Value: arg(2)}}}))
	case "newgroup":
		return each(f.CreateGroups(ctx, args[:1], args[1:]))
	case "renamegroup":
		return none(f.RenameGroup(ctx, arg(0), arg(1)))
	case "fillgroup":
		return each(f.AddToGroup(ctx, arg(0), args[1:]))
	case "emptygroup":
		return each(f.RemoveFromGroup(ctx, arg(0), args[1:]))
	case "deletegroup":
		return none(f.DeleteGroups(ctx, args))
	case "block":
		return each(f.Block(ctx, args))
	case "unblock":
		return each(f.Unblock(ctx, args))
	case "permit":
		p := im.ProfileAddPermission(number(0))
		return none(d.c.Profiles().SetSelf(ctx, &im.UserProfileItem{AddPermission: &p}))
	case "nick":
		return none(d.c.Profiles().SetSelf(ctx, &im.UserProfileItem{NickName: &args[0]}))
	}
	d.t.Fatalf("unknown verb %q", verb)
	return ""
}
