package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// patience is how long anything that must happen may take.
const patience = 20 * time.Second

// demo is the stage: a server, devices, and the screen.
type demo struct {
	ctx     context.Context
	dir     string
	log     *os.File // what the server and the clients log
	server  *exec.Cmd
	address string
	devices []*device
	screen  sync.Mutex
}

func newDemo() *demo {
	d := &demo{}
	d.ctx, _ = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	d.dir, err = os.MkdirTemp("", "tidings-demo-")
	d.must(err)
	d.log, err = os.Create(filepath.Join(d.dir, "log"))
	d.must(err)
	return d
}

func (d *demo) must(err error) {
	if err != nil {
		d.fail("%v", err)
	}
}

// fail ends the demo, with the end of the log.
func (d *demo) fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "\ndemo: "+format+"\n", args...)
	if d.log != nil {
		text, _ := os.ReadFile(d.log.Name())
		lines := strings.Split(string(text), "\n")
		fmt.Fprintln(os.Stderr, strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
	d.end()
	os.Exit(1)
}

func (d *demo) end() {
	for _, v := range d.devices {
		v.Close()
	}
	if d.server != nil {
		d.server.Process.Kill()
		d.server.Wait()
	}
	os.RemoveAll(d.dir)
}

// tidings is a run of the program that `make build` makes, without the settings of whoever runs the demo.
func (d *demo) tidings(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(d.ctx, filepath.Join("bin", "tidings"), append(args, "--data", filepath.Join(d.dir, "server"))...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "TIDINGS_") })
	cmd.Stderr = d.log
	return cmd
}

// start starts the server: the first time on a free port, then on the same one.
func (d *demo) start() {
	d.action("server", "starts")
	if d.address != "" {
		d.server = d.tidings("serve", "--listen", strings.TrimPrefix(d.address, "ws://"))
		d.must(d.server.Start())
		return
	}
	d.server = d.tidings("serve", "--listen", "127.0.0.1:0")
	out, err := d.server.StdoutPipe()
	d.must(err)
	d.must(d.server.Start())
	// The first start says where it listens, when it does.
	for lines := bufio.NewScanner(out); d.address == ""; {
		if !lines.Scan() {
			d.fail("the server does not start")
		}
		if words := strings.Fields(lines.Text()); len(words) == 2 && words[0] == "server" {
			d.address = words[1]
		}
	}
}

func (d *demo) stop() {
	d.action("server", "stops")
	d.must(d.server.Process.Signal(syscall.SIGTERM))
	d.must(d.server.Wait())
	d.server = nil
}

// device is a client, and what it was told: expect goes through that and never back.
type device struct {
	*client.Client
	d          *demo
	user, name string

	mu     sync.Mutex
	events []event
	seen   int
	wake   chan struct{}
}

type event struct{ kind, text string }

func (d *demo) device(user, name string) *device {
	v := &device{d: d, user: user, name: user + "/" + name, wake: make(chan struct{}, 1)}
	v.open()
	d.devices = append(d.devices, v)
	return v
}

// open opens the device's folder, which is what makes it this device.
func (v *device) open() {
	ticket, err := v.d.tidings("usersig", "--user", v.user).Output()
	v.d.must(err)
	v.Client, err = client.Open(client.Config{
		Server: v.d.address, UserID: v.user, UserSig: string(bytes.TrimSpace(ticket)), Platform: im.Platform_PLATFORM_LINUX,
		Dir: filepath.Join(v.d.dir, v.name), Log: slog.New(slog.NewTextHandler(v.d.log, nil)),
	}, v.listeners())
	v.d.must(err)
}

// away is what a program does that ends: it closes the client, and the device stays logged in.
func (v *device) away() {
	v.does("ends its program")
	v.Close()
}

func (v *device) login() *device {
	v.does("logs in")
	v.d.must(v.Login(v.d.ctx))
	v.expect("network", "link connected")
	v.expect("sync start", "")
	return v
}

func (v *device) synced() { v.expect("sync finish", "") }

func (v *device) send(to, text string) *im.Message {
	v.does(fmt.Sprintf("sends %q to %s", text, to))
	m, err := v.SendMessage(v.d.ctx, client.C2C(to), im.Text(text))
	v.d.must(err)
	return m
}

var (
	convNames = map[client.ConvEvent]string{client.ConvAdd: "conversation added", client.ConvUpdate: "conversation updated",
		client.ConvDelete: "conversation deleted", client.ConvSyncStart: "sync start", client.ConvSyncFinish: "sync finish"}
	linkNames = map[client.NetworkStatus]string{client.NetworkConnected: "link connected", client.NetworkDisconnected: "link disconnected",
		client.NetworkConnecting: "connecting", client.NetworkConnectFailed: "cannot connect"}
	statusNames = map[im.MessageStatus]string{im.MessageStatus_MESSAGE_STATUS_SENDING: " (sending)", im.MessageStatus_MESSAGE_STATUS_SENT: " (sent)"}
)

// listeners are called one at a time, in the order in which things happened.
func (v *device) listeners() client.Events {
	return client.Events{
		NewMessages: func(ms []*im.Message) {
			for _, m := range ms {
				v.heard("new message", "from %s: %s", m.Sender, im.TextOf(m))
			}
		},
		Receipts: func(rs []*im.MessageReceipt) { v.heard("receipt", "%s has read", rs[0].ConvId) },
		Revoked: func(ls []*im.MsgLocator) {
			v.heard("recalled", "message %d, reason: %s", ls[0].Seq, ls[0].RevokeReason)
		},
		Conversations: func(e client.ConvEvent, cs []*im.ConvInfo) {
			if len(cs) == 0 {
				v.heard(convNames[e], "")
			}
			for _, c := range cs {
				v.heard(convNames[e], "with %s, %d unread, last: %s", c.Id, c.UnreadNum, last(c.LastMsg))
			}
		},
		TotalUnread:   func(n int) { v.heard("total unread", "%d", n) },
		Network:       func(s client.NetworkStatus, _ int32, _ string) { v.heard("network", "%s", linkNames[s]) },
		KickedOffline: func() { v.heard("kicked offline", "") },
	}
}

// last is a conversation's last message, with what has become of it.
func last(m *im.Message) string {
	switch {
	case m.GetStatus() == im.MessageStatus_MESSAGE_STATUS_REVOKED:
		return "(recalled)"
	case m.GetIsPeerRead():
		return im.TextOf(m) + " (read)"
	case m.GetIsFromSelf():
		return im.TextOf(m) + statusNames[m.Status]
	}
	return im.TextOf(m)
}

// heard shows an event and keeps it.
func (v *device) heard(kind, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	v.d.print("  %-14s   ◂ %s %s", v.name, paint(blue, fmt.Sprintf("%-20s", kind)), text)
	v.mu.Lock()
	v.events = append(v.events, event{kind, text})
	v.mu.Unlock()
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// expect waits for an event of the kind whose text ends in text, after those that were expected before.
func (v *device) expect(kind, text string) {
	late := time.After(patience)
	for !v.next(kind, text) {
		select {
		case <-v.wake:
		case <-late:
			v.d.fail("%s did not hear in time: %s %s", v.name, kind, text)
		case <-v.d.ctx.Done():
			v.d.fail("interrupted")
		}
	}
}

func (v *device) next(kind, text string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.seen < len(v.events) {
		e := v.events[v.seen]
		v.seen++
		if strings.HasPrefix(e.kind, kind) && strings.HasSuffix(e.text, text) {
			return true
		}
	}
	return false
}

// announced compares all new messages that there have been.
func (v *device) announced(want ...string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var got []string
	for _, e := range v.events {
		if _, text, ok := strings.Cut(e.text, ": "); ok && e.kind == "new message" {
			got = append(got, text)
		}
	}
	if !slices.Equal(got, want) {
		v.d.fail("%s was told of %q, not of %q", v.name, got, want)
	}
	v.does(fmt.Sprintf("was told of %d", len(got)))
}

func (d *demo) scene(title string) { d.print("\n%s", paint(bold, title)) }

func (d *demo) action(who, what string) { d.print("  %-14s ▸ %s", who, what) }

func (v *device) does(what string) { v.d.action(v.name, what) }

func (d *demo) print(format string, args ...any) {
	d.screen.Lock()
	defer d.screen.Unlock()
	fmt.Printf(format+"\n", args...)
}

const bold, green, blue = "1", "32", "36"

// paint colours text on a terminal.
func paint(colour, s string) string {
	info, err := os.Stdout.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 || os.Getenv("NO_COLOR") != "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}
