package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/im"
)

// The connected members of a group or of a room are in a process of their own, so that receiving what is said there holds up nobody who is measured beside them. It does
// what it reads line by line, and writes a line when that is done.

// memberLoad is what such a process does.
type memberLoad struct {
	Addr         string
	Server       int // the server's process
	Room         bool
	Online       int
	Rate         float64
	Window, Size int
	Seconds      float64
	// Idle: it runs only while a processor has nothing else to do.
	Idle bool
}

// membersProcess is such a process, as its parent sees it.
type membersProcess struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	how string // it stands back for others
}

// startMembers starts the process, and returns when all members are connected. It stands back for others, as far as the system can do that.
func startMembers(ctx context.Context, load *memberLoad) (*membersProcess, error) {
	if files := load.Online + spareFiles; manyFiles(files) < files {
		return nil, errors.New("bench group: the limit of open files is too low")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(load)
	if err != nil {
		return nil, err
	}
	m := &membersProcess{cmd: exec.CommandContext(ctx, self, "bench", "members", string(b))}
	m.cmd.Stderr = os.Stderr
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.out = bufio.NewReader(out)
	if m.how, err = startLow(m.cmd, load.Idle); err != nil {
		return nil, err
	}
	if err := m.tell("connect", nil); err != nil {
		m.stop()
		return nil, err
	}
	return m, nil
}

// tell has something done, and returns when it is done, with the result.
func (m *membersProcess) tell(what string, result any) error {
	if _, err := fmt.Fprintln(m.in, what); err != nil {
		return err
	}
	line, err := m.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("bench group: the members did not %s: %w", what, err)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(line, result)
}

func (m *membersProcess) stop() {
	m.in.Close()
	m.cmd.Wait()
}

func membersCommand() *cobra.Command {
	return &cobra.Command{
		Use: "members LOAD", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var load memberLoad
			if err := json.Unmarshal([]byte(args[0]), &load); err != nil {
				return err
			}
			manyFiles(load.Online + spareFiles)
			does := (&groupMembers{load: &load}).does
			if load.Room {
				does = (&roomMembers{load: &load}).does
			}
			lines := bufio.NewScanner(c.InOrStdin())
			for lines.Scan() {
				result, err := does(strings.TrimSpace(lines.Text()))
				if err != nil {
					return err
				}
				if err := json.NewEncoder(c.OutOrStdout()).Encode(result); err != nil {
					return err
				}
			}
			return lines.Err()
		},
	}
}

// heartbeats sends those of many connections, each every so often, until the process ends.
func heartbeats(every time.Duration, n int, link func(i int) *rawLink) {
	beat := im.AppendMessage(nil, &im.Frame{Id: 1, Method: im.Method_HEARTBEAT}, &im.Empty{})
	for i := 0; ; i = (i + 1) % n {
		time.Sleep(every / time.Duration(n))
		link(i).write(beat) // who is not connected at the moment will have one later
	}
}

// groupLink is the connection of a member.
type groupLink struct{ *rawLink }

func (l groupLink) appendSend(b []byte, n uint64, text []byte) []byte {
	return appendToGroup(b, benchedID, l.epoch, n, text, nil)
}

// appendToGroup appends a message to a group.
func appendToGroup(b []byte, id string, clientTime, n uint64, text []byte, priority *int32) []byte {
	req := im.SendRequest{
		Conv:       &im.ConvKey{Type: im.ConvType_CONV_TYPE_GROUP, Id: id},
		ClientTime: clientTime, Random: uint32(n),
		Message: &im.Message{Priority: priority, ElemArray: []*im.Elem{{Body: &im.Elem_Text{Text: &im.TextElem{Content: string(text)}}}}},
	}
	return im.AppendMessage(b, &im.Frame{Id: n + 2, Method: im.Method_SEND}, &req)
}

// groupMembers are the connected members of a group. The first one writes.
type groupMembers struct {
	load          *memberLoad
	all           []*user
	running       errgroup.Group
	stop, measure atomic.Bool
	result        chan *groupResult
}

func (g *groupMembers) does(what string) (any, error) {
	switch what {
	case "connect":
		return nil, g.connect()
	case "write":
		g.write()
		return nil, nil
	case "stop":
		return g.end()
	}
	return nil, fmt.Errorf("bench members: %q", what)
}

func (g *groupMembers) connect() error {
	g.all = make([]*user, g.load.Online)
	var dials errgroup.Group
	dials.SetLimit(64)
	for i := range g.all {
		dials.Go(func() error {
			l, err := dialNamed(g.load.Addr, memberName(i), true)
			g.all[i] = newUser(groupLink{l}, g.load.Size)
			return err
		})
	}
	if err := dials.Wait(); err != nil {
		return err
	}
	o := &benchOptions{rate: max(g.load.Rate, 1), window: g.load.Window} // whoever has a rate sends only what is offered
	for _, u := range g.all[1:] {
		g.running.Go(func() error { return u.run(o, &g.stop, &g.measure) })
	}
	go heartbeats(30*time.Second, len(g.all)-1, func(i int) *rawLink { return g.all[i+1].link.(groupLink).rawLink })
	return nil
}

func (g *groupMembers) received() (n int64) {
	for _, u := range g.all[1:] {
		n += u.received.Load()
	}
	return n
}

// write lets the first member write. It is measured after a second.
func (g *groupMembers) write() {
	sender := g.all[0]
	g.running.Go(func() error {
		return sender.run(&benchOptions{rate: g.load.Rate, window: g.load.Window}, &g.stop, &g.measure)
	})
	if g.load.Rate > 0 {
		g.running.Go(func() error { return offer([]*user{sender}, g.load.Rate, &g.stop) })
	}
	g.result = make(chan *groupResult, 1)
	go func() {
		time.Sleep(time.Second)
		g.measure.Store(true)
		sent, n, cpu, begun := sender.acked.Load(), g.received(), cpuOf(g.load.Server), time.Now()
		time.Sleep(time.Duration(g.load.Seconds * float64(time.Second)))
		took := time.Since(begun)
		sent, n, cpu = sender.acked.Load()-sent, g.received()-n, cpuOf(g.load.Server)-cpu
		g.measure.Store(false)
		r := &groupResult{RSS: round(mb(rssOf(g.load.Server)), 1)}
		r.MsgsPerS, r.Deliveries = round(float64(sent)/took.Seconds(), 0), round(float64(n)/took.Seconds(), 0)
		if sent > 0 {
			r.CPUPer1000 = round(cpu.Seconds()/float64(sent)*1000, 4)
		}
		g.result <- r
	}()
}

// end ends the writing, waits until all is received, and returns the result.
func (g *groupMembers) end() (*groupResult, error) {
	r := <-g.result
	g.stop.Store(true)
	sender, readers := g.all[0], g.all[1:]
	for range 1000 { // 10 s
		all := sender.sent.Load()
		if sender.acked.Load() == all && g.received() == all*int64(len(readers)) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, u := range g.all {
		u.link.Close()
	}
	if err := g.running.Wait(); err != nil && !errors.Is(err, net.ErrClosed) {
		return nil, err
	}
	var micros []uint32
	for _, u := range readers {
		r.Lost += int(sender.sent.Load() - u.received.Load())
		r.Doubled += u.doubled
		r.OutOfOrder += u.disordered
		micros = append(micros, u.micros...)
	}
	r.P50, r.P99 = percentile(micros, 0.50), percentile(micros, 0.99)
	return r, nil
}
