package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/im"
)

// priorities of messages, the highest first.
const priorities = 4

// roomResult is the line that a run with a live room prints. Figures by priority begin with the highest.
type roomResult struct {
	Bench   string  `json:"bench"`
	Members int     `json:"members"`
	Rate    float64 `json:"rate"`
	Seconds float64 `json:"seconds"`
	// Said are messages that were answered with success, Deliveries what all members received of them.
	Said       float64 `json:"msgs_per_s"`
	Deliveries float64 `json:"deliveries_per_s"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	// Of the messages of the whole run: how many were sent, how many were refused with 10023, and how many that were said some members did not receive, for all members.
	Sent    [priorities]int64 `json:"sent"`
	Refused [priorities]int64 `json:"refused"`
	Lost    [priorities]int64 `json:"lost"`
	// Disordered came twice, or after a later one.
	Disordered int `json:"out_of_order"`
	// CPU of the server per second; its memory when measuring begins, after a tenth of the time, and at its end.
	CPU      float64 `json:"cpu_s_per_s"`
	RSSBegin float64 `json:"rss_mb_begin"`
	RSSTenth float64 `json:"rss_mb_tenth"`
	RSS      float64 `json:"rss_mb"`
	// BackIn is how long after the server was started again all were in the room.
	BackIn float64 `json:"back_in_s,omitempty"`
}

func benchRoom(c *cobra.Command, o *benchOptions, load *groupLoad) error {
	if !c.Flags().Changed("online") {
		load.online = 2000
	}
	if !c.Flags().Changed("rate") {
		load.rate = 100
	}
	if load.online <= priorities || load.rate <= 0 || o.size < minText || o.seconds <= 0 {
		return fmt.Errorf("bench group --room: more than %d are online, all numbers are positive, size is at least %d", priorities, minText)
	}
	r, err := runRoom(c.Context(), o, load)
	if err != nil {
		return err
	}
	printRoom(c.OutOrStdout(), r, o.json)
	if r.Disordered > 0 {
		return errors.New("bench group --room: messages came twice or out of order")
	}
	return nil
}

func printRoom(w io.Writer, r *roomResult, asJSON bool) {
	if asJSON {
		printJSON(w, r)
		return
	}
	fmt.Fprintf(w, "%s rate %.0f   %.0f msg/s to %d members, %.0f deliveries/s   p50 %.1f ms   p99 %.1f ms   by priority: sent %d, refused %d, lost %d   out of order %d   "+
		"server CPU %.2f   %.0f MB, at first %.0f MB", r.Bench, r.Rate, r.Said, r.Members, r.Deliveries, r.P50, r.P99, r.Sent, r.Refused, r.Lost, r.Disordered, r.CPU, r.RSS, r.RSSBegin)
	if r.BackIn > 0 {
		fmt.Fprintf(w, "   all back %.1f s after a restart", r.BackIn)
	}
	fmt.Fprintln(w)
}

func runRoom(ctx context.Context, o *benchOptions, load *groupLoad) (*roomResult, error) {
	ch, err := startChild(ctx, o, serveArgs(o))
	if err != nil {
		return nil, err
	}
	defer func() { ch.stop() }()
	if err := operate(ctx, ch.addr, "group_open_http_svc/create_group", map[string]any{"GroupId": benchedRoom, "Type": "AVChatRoom", "Name": "bench"}); err != nil {
		return nil, err
	}
	m, err := startMembers(ctx, &memberLoad{Addr: ch.addr, Server: ch.cmd.Process.Pid, Room: true, Online: load.online, Rate: load.rate, Size: o.size, Seconds: o.seconds})
	if err != nil {
		return nil, err
	}
	defer m.stop()
	r := &roomResult{}
	if err := m.tell("write", r); err != nil {
		return nil, err
	}
	r.Bench, r.Members, r.Rate, r.Seconds = "room", load.online, load.rate, o.seconds
	if o.postgres != "" {
		r.Bench += "-pg"
	}
	if !load.restart {
		return r, nil
	}
	ch.cmd.Process.Kill()
	ch.cmd.Wait()
	next, err := startAt(ctx, ch.addr, ch.dir, serveArgs(o)(ch.addr, ch.dir), nil)
	if err != nil {
		return nil, err
	}
	ch = next
	begun := time.Now()
	if err := m.tell("return", nil); err != nil {
		return nil, err
	}
	r.BackIn = round(time.Since(begun).Seconds(), 2)
	return r, nil
}

// roomMembers are those who are in a live room. The first four write, each with another priority.
type roomMembers struct {
	load    *memberLoad
	all     []*roomMember
	measure atomic.Bool
	// away are those who are not back in the room.
	away sync.WaitGroup
}

// roomMember is a member; fields that are not atomic belong to the goroutine that reads. A message has a number of its priority.
type roomMember struct {
	name     string
	login    *im.LoginReply
	link     atomic.Pointer[rawLink]
	received [priorities]atomic.Int64
	next     [priorities]uint64
	wrong    atomic.Int64
	back     sync.Once
	micros   []uint32
	// Of one who writes.
	sent, said, refused atomic.Int64
}

func (g *roomMembers) does(what string) (any, error) {
	switch what {
	case "connect":
		return nil, g.connect()
	case "write":
		return g.write()
	case "return":
		g.away.Wait()
		return nil, nil
	}
	return nil, fmt.Errorf("bench members: %q", what)
}

func (g *roomMembers) connect() error {
	g.all = make([]*roomMember, g.load.Online)
	g.away.Add(len(g.all))
	var dials errgroup.Group
	dials.SetLimit(64)
	for i := range g.all {
		dials.Go(func() error {
			m := &roomMember{name: memberName(i)}
			g.all[i] = m
			return m.enter(g.load.Addr)
		})
	}
	if err := dials.Wait(); err != nil {
		return err
	}
	for _, m := range g.all {
		go m.stay(g)
	}
	silent := g.all[priorities:] // those who write need none
	go heartbeats(10*time.Second, len(silent), func(i int) *rawLink { return silent[i].link.Load() })
	return nil
}

// enter connects, and joins the room.
func (m *roomMember) enter(addr string) error {
	l, reply, err := dialAgain(addr, m.name, true, m.login)
	if err != nil {
		return err
	}
	const id = 2
	req := &im.JoinGroupRequest{Group: &im.GroupRequest{GroupId: benchedRoom}, Again: m.login != nil}
	err = l.write(im.AppendMessage(nil, &im.Frame{Id: id, Method: im.Method_JOIN_GROUP}, req))
	for joined := false; err == nil && !joined; {
		var msg []byte
		if msg, err = l.message(); err == nil {
			err = im.ReadFrames(msg, func(f *im.Frame) error {
				if f.Id != id {
					return nil
				}
				joined = true
				if f.Code != 0 {
					return im.Errorf(f.Code, "%s", f.Desc)
				}
				return nil
			})
		}
	}
	if err != nil {
		l.Close()
		return err
	}
	m.login = reply
	m.link.Store(l)
	return nil
}

// stay receives until the connection ends, whyever, and then comes back, as the SDK does.
func (m *roomMember) stay(g *roomMembers) {
	for {
		m.listen(&g.measure)
		m.link.Load().Close()
		for try := 0; ; try++ {
			limit := min(500*time.Millisecond<<min(try, 16), 30*time.Second)
			time.Sleep(time.Duration(rand.Int64N(int64(limit)) + 1))
			if m.enter(g.load.Addr) == nil {
				break
			}
		}
		m.back.Do(g.away.Done)
	}
}

func (m *roomMember) listen(measure *atomic.Bool) error {
	l := m.link.Load()
	for {
		msg, err := l.message()
		if err != nil {
			return err
		}
		if err := im.ReadFrames(msg, func(f *im.Frame) error {
			switch {
			case f.Method == im.Method_SEND && f.Code == 0:
				m.said.Add(1)
			case f.Method == im.Method_SEND && f.Code == im.CodeGroupTooFast:
				m.refused.Add(1)
			case f.Code != 0:
				return im.Errorf(f.Code, "%s", f.Desc)
			case f.Method == im.Method_LIVE:
				if at := bytes.Index(f.Body, []byte(textMark)); at >= 0 { // otherwise it is a tip
					return m.take(f.Body[at:], measure.Load())
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
}

// take records a message. Its number is that among those of its priority, times the priorities, plus the priority.
func (m *roomMember) take(b []byte, measure bool) error {
	n, at, err := readText(b)
	if err != nil {
		return err
	}
	p := n % priorities
	if n < m.next[p] {
		m.wrong.Add(1)
		return nil
	}
	m.next[p] = n + 1
	if measure {
		m.micros = append(m.micros, uint32((time.Now().UnixNano()-at)/1000))
	}
	m.received[p].Add(1) // who reads this may read micros
	return nil
}

// speak sends a message every so often until stop, the priorities in turn.
func (g *roomMembers) speak(stop *atomic.Bool) error {
	text := bytes.Repeat([]byte("x"), g.load.Size)
	begin := time.Now()
	var out []byte
	for n := uint64(0); ; n++ {
		due := begin.Add(time.Duration(float64(n) / g.load.Rate * float64(time.Second)))
		if time.Sleep(time.Until(due)); stop.Load() {
			return nil
		}
		m, priority := g.all[n%priorities], int32(n%priorities)
		putText(text, n, due.UnixNano())
		l := m.link.Load()
		out = appendToGroup(out[:0], benchedRoom, l.epoch, n, text, &priority)
		m.sent.Add(1)
		if err := l.write(out); err != nil {
			return err
		}
	}
}

func (g *roomMembers) received() (n int64) {
	for _, m := range g.all[priorities:] {
		for p := range m.received {
			n += m.received[p].Load()
		}
	}
	return n
}

func (g *roomMembers) said() (n int64) {
	for _, m := range g.all[:priorities] {
		n += m.said.Load()
	}
	return n
}

// write lets the four write, and measures after a second. It returns when all that was sent is answered, and nothing arrives any more.
func (g *roomMembers) write() (*roomResult, error) {
	var stop atomic.Bool
	var speaking errgroup.Group
	speaking.Go(func() error { return g.speak(&stop) })
	time.Sleep(time.Second)
	measured := time.Duration(g.load.Seconds * float64(time.Second))
	rss := func() float64 { return round(mb(rssOf(g.load.Server)), 1) }
	r := &roomResult{RSSBegin: rss()}
	g.measure.Store(true)
	said, n, cpu, begun := g.said(), g.received(), cpuOf(g.load.Server), time.Now()
	time.Sleep(measured / 10)
	r.RSSTenth = rss()
	time.Sleep(time.Until(begun.Add(measured)))
	took := time.Since(begun).Seconds()
	said, n, cpu = g.said()-said, g.received()-n, cpuOf(g.load.Server)-cpu
	g.measure.Store(false)
	r.RSS = rss()
	r.Said, r.Deliveries, r.CPU = round(float64(said)/took, 1), round(float64(n)/took, 0), round(cpu.Seconds()/took, 2)
	stop.Store(true)
	if err := speaking.Wait(); err != nil {
		return nil, err
	}
	answered := func() bool {
		for _, m := range g.all[:priorities] {
			if m.sent.Load() != m.said.Load()+m.refused.Load() {
				return false
			}
		}
		return true
	}
	// What a slow member is not sent never arrives, so this ends when nothing has arrived for a while.
	for last, still := int64(-1), 0; !answered() || still < 20; time.Sleep(50 * time.Millisecond) {
		if n := g.received(); n == last {
			still++
		} else {
			last, still = n, 0
		}
		if still > 200 {
			return nil, errors.New("bench group --room: not everything that was said to the room is answered")
		}
	}
	var micros []uint32
	for _, m := range g.all[priorities:] {
		r.Disordered += int(m.wrong.Load())
		micros = append(micros, m.micros...)
	}
	r.P50, r.P99 = percentile(micros, 0.50), percentile(micros, 0.99)
	for p, m := range g.all[:priorities] {
		r.Sent[p], r.Refused[p] = m.sent.Load(), m.refused.Load()
		for _, o := range g.all[priorities:] {
			r.Lost[p] += m.said.Load() - o.received[p].Load()
		}
	}
	return r, nil
}
