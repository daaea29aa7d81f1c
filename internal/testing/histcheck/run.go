package histcheck

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/faultproxy"
)

// Server is the server that a history runs against.
type Server interface {
	URL() string
	AppID() uint64
	// Sig signs a ticket.
	Sig(user string) string
	// Bounce ends the server, in whatever way, and returns when it is back at the same address.
	Bounce()
}

// Config describes what a history consists of.
type Config struct {
	Seed   uint64
	Ops    int
	Users  int
	Server Server
	// Hook is the program that the server asks; nil: none.
	Hook *Hook
	// Bounces is how many of a thousand operations end the server; 10 if it is not set.
	Bounces int
	// Children is how many devices run in processes of their own, and are killed.
	Children int
	Log      *slog.Logger
	// LogDir, if it is set, gets the logs of the children.
	LogDir string
	// Via, if it is set, is where the devices connect to instead of the server: something that passes on what they say to each other.
	Via string
	// Disk reads what a device that is closed has on its disk of the relations of its user; it is needed for histories of relations.
	Disk func(dir, user string) ([]*im.Relation, error)
	// Groups reads all groups from the server's store; it is needed for histories of groups.
	Groups func() ([]*Group, error)
	// apart: the two devices of a user are of different classes, so that neither ends the session of the other. near: a user deals with the next three, so that
	// much happens to each two.
	apart, near bool
}

// patience limits every wait for something that must happen.
const patience = 40 * time.Second

// runner makes one history.
type runner struct {
	t   testing.TB
	cfg Config
	h   *History
	rng *rand.Rand
	ctx context.Context

	devices  []*device
	operator *operator
	children int
	sigs     map[string]string // tickets, signed while the server ran
	texts    atomic.Int64
	stage    atomic.Pointer[string] // what it is doing
	heals    map[*device]int        // operations until the link of a device works again
}

// Run makes the history of a seed: users with one or two classes of devices write to each other. [Check] judges it.
func Run(t testing.TB, cfg Config) *History {
	return run(t, cfg, 7070, func(r *runner) {
		r.operate(r.messages())
		r.settle()
	})
}

// run makes a history: what is random about it comes from the seed and the stream, and story is what happens once all users are logged in.
func run(t testing.TB, cfg Config, stream uint64, story func(r *runner)) *History {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cfg.Bounces = cmp.Or(cfg.Bounces, 10)
	r := &runner{t: t, cfg: cfg, ctx: ctx, rng: rand.New(rand.NewPCG(cfg.Seed, stream)), heals: map[*device]int{}, sigs: map[string]string{admin: cfg.Server.Sig(admin)},
		h: &History{Seed: cfg.Seed, Hooked: cfg.Hook != nil, Relations: map[string]*Relations{}, Feeds: map[string][]*im.Relation{}}}
	r.operator = r.newOperator()
	return r.within(func() {
		defer r.closeAll()
		r.populate()
		story(r)
	})
}

// populate logs all users in on their first devices, before there is any message.
func (r *runner) populate() {
	for i := range r.cfg.Users {
		user := fmt.Sprintf("user%d", i)
		r.h.Users = append(r.h.Users, user)
		r.sigs[user] = r.cfg.Server.Sig(user)
		second := im.Platform_PLATFORM_ANDROID
		if r.rng.IntN(4) == 0 && !r.cfg.apart {
			second = im.Platform_PLATFORM_WINDOWS // of the same class: each login ends the other's session
		}
		for n, p := range []im.Platform{im.Platform_PLATFORM_LINUX, second} {
			d := r.newDevice(user, p, n == i%2)
			d.First = true
			d.open()
			if code := d.login(); code != 0 {
				r.h.violation("%s: the first login failed: %d", d.Name, code)
				continue
			}
			if !r.until(func() bool { return count(d.records(), Finish) > 0 }, d) {
				r.h.violation("%s: the first sync did not finish", d.Name)
			}
		}
	}
}

func (r *runner) newDevice(user string, p im.Platform, mayDie bool) *device {
	name := fmt.Sprintf("%s-%d", user, len(r.devices))
	d := &device{Device: &Device{Name: name, User: user, news: make(chan struct{}, 1)}, r: r, proxy: faultproxy.Start(r.t, cmp.Or(r.cfg.Via, r.cfg.Server.URL())),
		dir: filepath.Join(r.t.TempDir(), name), platform: p, queue: make(chan func(), 8), done: make(chan struct{}), outstanding: map[int]*Send{}}
	if mayDie && r.children < r.cfg.Children {
		r.children++
		d.child = true
	}
	r.h.mu.Lock()
	r.devices = append(r.devices, d)
	r.h.Devices = append(r.h.Devices, d.Device)
	r.h.mu.Unlock()
	go func() {
		defer close(d.done)
		for f := range d.queue {
			f()
		}
	}()
	return d
}

// draw is everything that is random about one operation.
type draw struct {
	d    *device
	to   string
	a, b uint64
}

// operation is one kind of operation, and its frequency.
type operation struct {
	weight int
	do     func(x draw)
}

// operate issues the operations. Everything random about one is drawn here, in a fixed order, or from what is drawn.
func (r *runner) operate(operations []operation) {
	sum := 0
	for _, o := range operations {
		sum += o.weight
	}
	for range r.cfg.Ops {
		i, kind, a, b, bounce := r.rng.IntN(len(r.devices)), r.rng.IntN(sum), r.rng.Uint64(), r.rng.Uint64(), r.rng.IntN(1000)
		x := draw{r.devices[i], r.h.Users[a%uint64(len(r.h.Users))], a / uint64(len(r.h.Users)), b}
		if r.cfg.near {
			user := slices.Index(r.h.Users, x.d.User) + 1 + int(a%3)
			x.to = r.h.Users[user%len(r.h.Users)]
		}
		for d, left := range r.heals {
			if left <= 0 {
				d.proxy.Heal()
				delete(r.heals, d)
			} else {
				r.heals[d] = left - 1
			}
		}
		r.h.Ops++
		r.at("operation %d", r.h.Ops)
		if bounce < r.cfg.Bounces {
			r.h.Bounces++
			r.at("operation %d: the server ends", r.h.Ops)
			r.cfg.Server.Bounce()
			continue
		}
		for _, o := range operations {
			if kind -= o.weight; kind < 0 {
				o.do(x)
				break
			}
		}
	}
}

// onDevice queues what the device does.
func (r *runner) onDevice(f func(x draw)) func(x draw) {
	return func(x draw) { x.d.do(func() { f(x) }) }
}

// kill kills the next device that can be killed.
func (r *runner) kill(x draw) {
	for i := range r.devices {
		if d := r.devices[(x.a+uint64(i))%uint64(len(r.devices))]; d.kill() {
			r.h.Kills++
			break
		}
	}
}

// stall and refuse break a link for some operations.
func (r *runner) stall(x draw) {
	x.d.proxy.Stall()
	r.heals[x.d] = int(x.b % 12)
}

func (r *runner) refuse(x draw) {
	x.d.proxy.Refuse(true)
	x.d.proxy.Cut()
	r.heals[x.d] = int(x.b % 12)
}

// messages are the operations of a history of messages.
func (r *runner) messages() []operation {
	fresh := 0
	return []operation{
		{130, r.onDevice(func(x draw) { x.d.send(x.to, r.newMark(x.b), x.b) })},
		{120, r.onDevice(func(x draw) { x.d.burst(x.to, 2+int(x.b%20), x.b) })},
		{20, r.onDevice(func(x draw) { x.d.sendOnline(x.to) })},
		{25, r.onDevice(func(x draw) { x.d.batch(x.b) })},
		{75, r.onDevice(func(x draw) { x.d.read(x.to, nil) })},
		{50, r.onDevice(func(x draw) { x.d.readUpTo(x.b) })},
		{25, r.onDevice(func(x draw) { x.d.readAll() })},
		{65, r.onDevice(func(x draw) { x.d.revoke(x.b) })},
		{90, r.onDevice(func(x draw) { x.d.modify(x.b) })},
		{40, r.onDevice(func(x draw) { x.d.page(x.to, x.b) })},
		{30, r.onDevice(func(x draw) { x.d.delete("delete", x.b) })},
		{20, r.onDevice(func(x draw) { x.d.delete("deletelocal", x.b) })},
		{14, r.onDevice(func(x draw) { x.d.simple("clear", x.to) })},
		{14, r.onDevice(func(x draw) { x.d.simple("deleteconv", x.to) })},
		{25, r.onDevice(func(x draw) { x.d.set("pin", x.to, int(x.b%2)) })},
		{25, r.onDevice(func(x draw) { x.d.set("recvopt", x.to, recvOpt(x.b)) })},
		{15, r.onDevice(func(x draw) { x.d.draft(x.to, x.b%4 == 0) })},
		{25, r.onDevice(func(x draw) { x.d.keep(x.to, x.b%2 == 0, x.b>>8) })},
		{15, func(x draw) {
			from := r.h.Users[x.b%uint64(len(r.h.Users))]
			r.operator.do(func() { r.operator.send(from, x.to, r.newMark(x.a)) })
		}},
		{25, func(x draw) {
			op := "withdraw"
			if x.a%3 > 0 {
				op = "modify"
			}
			r.operator.do(func() {
				x.d.seen.Lock()
				m := pickLate(x.d.got, 20, x.b)
				x.d.seen.Unlock()
				if m != nil {
					r.operator.change(op, x.d.User, m)
				}
			})
		}},
		{40, func(x draw) {
			x.d.must(func() { x.d.close() })
			for range x.b % 6 { // away for some operations of others
				o := r.devices[r.rng.IntN(len(r.devices))]
				to := r.h.Users[r.rng.IntN(len(r.h.Users))]
				o.do(func() { o.burst(to, 3, 0) })
			}
			x.d.must(func() { x.d.open(); x.d.login() })
		}},
		{25, r.onDevice(func(x draw) { x.d.logout() })},
		{12, r.onDevice(func(x draw) { x.d.login() })},
		{5, func(x draw) {
			if fresh < 3 {
				fresh++
				n := r.newDevice(x.d.User, x.d.platform, x.b%2 == 0)
				n.must(func() { n.open(); n.login() })
			}
		}},
		{30, r.onDevice(func(x draw) { x.d.tell(&command{Op: "slow", Num: int32(x.b % 40)}) })},
		{30, r.kill},
		{40, func(x draw) { x.d.proxy.Cut() }},
		{15, func(x draw) { x.d.proxy.Reset() }},
		{20, r.stall},
		{10, func(x draw) { x.d.proxy.Freeze(); r.heals[x.d] = int(x.b % 12) }},
		{15, r.refuse},
	}
}

// newMark draws the webhook's response about a message.
func (r *runner) newMark(b uint64) Verdict {
	if r.cfg.Hook == nil {
		return Pass
	}
	switch n := b >> 40 % 200; {
	case n < 20:
		return Rewrite
	case n < 30:
		return Refuse
	case n < 40:
		return Drop
	case n < 41:
		return Late
	}
	return Pass
}

// newText returns a new content for a message.
func (r *runner) newText(m *im.Message) string {
	return fmt.Sprintf("%s modified %d", m.CloudCustomStr, r.texts.Add(1))
}

func (r *runner) closeAll() {
	select {
	case <-r.operator.done:
	default:
		close(r.operator.queue)
		<-r.operator.done
	}
	for _, d := range r.devices {
		select {
		case <-d.done:
		default:
			close(d.queue)
			<-d.done
		}
		d.close()
	}
	r.operator.http.CloseIdleConnections()
}

// until waits for a fact about devices; every one of their records makes it check again.
func (r *runner) until(cond func() bool, ds ...*device) bool {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	look := time.NewTicker(20 * time.Millisecond) // for facts that no record reports
	defer look.Stop()
	for !cond() {
		var heard chan struct{}
		if len(ds) == 1 {
			heard = ds[0].news
		}
		select {
		case <-heard:
		case <-look.C:
		case <-limit.C:
			return false
		}
	}
	return true
}

// limits are short, so that much goes wrong in little time.
var limits = client.Limits{Call: 3 * time.Second, Send: 2 * time.Second, Login: 4 * time.Second, Heartbeat: time.Second, HeartbeatEvery: 400 * time.Millisecond,
	Reconnect: 200 * time.Millisecond}

// recvOpt draws a receive option, often that under which nothing of others fires.
func recvOpt(x uint64) int { return [...]int{0, optNothing, 2, 3, 4, optNothing}[x%6] }
