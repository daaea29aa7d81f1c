package client_test

import (
	"fmt"
	"strconv"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/testing/faultproxy"
	"github.com/tidings-im/tidings/internal/testing/scenario"
)

var platforms = map[string]im.Platform{"linux": im.Platform_PLATFORM_LINUX, "android": im.Platform_PLATFORM_ANDROID, "ios": im.Platform_PLATFORM_IOS,
	"windows": im.Platform_PLATFORM_WINDOWS, "pad": im.Platform_PLATFORM_PAD, "web": im.Platform_PLATFORM_WEB}

// do runs a step and returns its result.
func (s *stage) do(verb string, args []string) string {
	s.t.Helper()
	arg := func(i int) string {
		if i >= len(args) {
			s.t.Fatalf("%s: argument %d is missing", verb, i+1)
		}
		return args[i]
	}
	switch verb {
	case "device": // device NAME USER PLATFORM: made, not logged in
		a := &actor{name: arg(0), probed: make(chan string, 100), news: make(chan struct{}, 1)}
		a.cfg = config(s.t, s.server, arg(1))
		a.cfg.Platform = platforms[arg(2)]
		a.cfg.Limits = client.Limits{Reconnect: 50 * time.Millisecond, Receipts: 1}
		a.proxy = faultproxy.Start(s.t, s.server.URL)
		a.cfg.Server = a.proxy.URL
		s.devices[a.name] = a
		s.order = append(s.order, a.name)
		return ""
	case "restart":
		s.server.Restart()
		s.reconnected(s.order...)
		s.untilConnected(s.probe)
		return ""
	case "replace": // the data folder is replaced by an empty one
		s.server.Restart(imtest.Dir(s.t.TempDir()))
		s.reconnected(s.order...)
		s.untilConnected(s.probe)
		return ""
	case "admin":
		return s.admin.Do(arg(0), args[1:])
	case "hook":
		s.admin.Hook(args)
		return ""
	}
	a := s.devices[arg(0)]
	if a == nil {
		s.t.Fatalf("%s: there is no device %q", verb, arg(0))
	}
	peer := func() client.Conv { return client.C2C(arg(1)) }
	ctx := within(s.t)
	switch verb {
	case "group": // group NAME VERB GROUP ARGUMENTS
		return groupAct(ctx, s.t, a.c, arg(2), arg(1), args[3:])
	case "login":
		if a.c == nil {
			c, err := client.Open(a.cfg, client.Each(a.event))
			if err != nil {
				return outcome(err)
			}
			s.t.Cleanup(c.Close)
			a.c = c
		}
		err := a.c.Login(ctx)
		a.online = err == nil
		return outcome(err)
	case "relogin": // with a new ticket; one from the second of a kick is void, like those before it, so it may take another
		for range time.Tick(50 * time.Millisecond) {
			a.c.SetUserSig(s.server.Sig(a.cfg.UserID))
			if err := a.c.Login(ctx); outcome(err) != "code 70052" {
				a.online = err == nil
				return outcome(err)
			}
		}
	case "logout":
		a.online = false
		return outcome(a.c.Logout(ctx))
	case "ticket": // ticket NAME SECONDS: of the next login
		n, _ := strconv.Atoi(arg(1))
		a.cfg.UserSig = s.server.SigFor(a.cfg.UserID, time.Duration(n)*time.Second)
		return ""
	case "expire": // waits for the ticket to expire
		s.until(a, func() bool { return a.c.Status() == client.LoggedOut })
		return ""
	case "close": // the application ends without logging out
		a.c.Close()
		a.c, a.online = nil, false
		return ""
	case "cut":
		a.proxy.Cut()
		s.reconnected(a.name)
		return ""
	case "offline":
		a.proxy.Refuse(true)
		a.proxy.Cut()
		a.online = false
		s.until(a, func() bool { return a.heardNow(disconnected) })
		return ""
	case "online":
		a.proxy.Refuse(false)
		s.until(a, func() bool { return a.heardNow(connected) || a.c.Status() != client.LoggedIn })
		a.online = a.c.Status() == client.LoggedIn
		return ""
	case "send", "sendonline":
		m := textMessage(arg(2))
		m.IsOnlineMsg = verb == "sendonline"
		sent, err := a.c.SendMessage(ctx, peer(), m)
		if err != nil {
			return outcome(err)
		}
		return fmt.Sprintf("ok seq %d text %q", sent.Seq, text(sent))
	case "sendfile": // of a content; "" is no file
		f := &im.FileElem{FilePath: scenario.File(s.t, arg(2))}
		sent, err := a.c.SendMessage(ctx, peer(), &im.Message{ElemArray: []*im.Elem{{ElemType: im.ElemType_ELEM_TYPE_FILE, Body: &im.Elem_File{File: f}}}})
		if err != nil {
			return outcome(err)
		}
		return fmt.Sprintf("ok seq %d", sent.Seq)
	case "sendquiet": // a message that does not count as unread
		m := textMessage(arg(2))
		m.IsExcludedFromUnreadCount = true
		_, err := a.c.SendMessage(ctx, peer(), m)
		return outcome(err)
	case "read":
		return outcome(a.c.MarkRead(ctx, peer(), nil))
	case "readto":
		return outcome(a.c.MarkRead(ctx, peer(), s.find(a, arg(1), arg(2))))
	case "readall":
		return outcome(a.c.MarkAllRead(ctx))
	case "revoke":
		return outcome(a.c.Revoke(ctx, peer(), s.find(a, arg(1), arg(2)), ""))
	case "modify", "modifylate": // late: with the version before
		m := s.find(a, arg(1), arg(2))
		now := textMessage(arg(3))
		now.MsgId, now.Version = m.MsgId, m.Version
		if verb == "modifylate" {
			now.Version--
		}
		got, err := a.c.ModifyMessage(ctx, peer(), now)
		return fmt.Sprintf("%s text %q", outcome(err), text(got))
	case "pin", "unpin":
		return outcome(a.c.PinConversation(ctx, peer(), verb == "pin"))
	case "mute":
		n, _ := strconv.Atoi(arg(2))
		return outcome(a.c.SetRecvOpt(ctx, []client.Conv{peer()}, int32(n)))
	case "deleteconv":
		return outcome(a.c.DeleteConversation(ctx, peer()))
	case "clear":
		return outcome(a.c.ClearHistory(ctx, peer()))
	case "delete":
		return outcome(a.c.DeleteMessages(ctx, peer(), []*im.Message{s.find(a, arg(1), arg(2))}))
	case "create":
		_, err := a.c.CreateConversation(ctx, peer())
		return outcome(err)
	case "draft":
		return outcome(a.c.SetDraft(peer(), &im.Draft{Msg: textMessage(arg(2))}))
	case "nodraft":
		return outcome(a.c.SetDraft(peer(), nil))
	case "save":
		_, err := a.c.SaveMessage(ctx, peer(), textMessage(arg(2)))
		return outcome(err)
	case "list":
		ms, err := a.c.Messages(ctx, peer(), nil)
		out := outcome(err)
		for _, m := range ms {
			out += fmt.Sprintf(" %d:%q", m.Seq, text(m))
			if m.Status != im.MessageStatus_MESSAGE_STATUS_SENT {
				out += fmt.Sprintf("(status %d)", m.Status)
			}
		}
		return out
	}
	s.t.Fatalf("unknown step %q", verb)
	return ""
}

// find returns the message with a number, as the device has it.
func (s *stage) find(a *actor, peer, seq string) *im.Message {
	s.t.Helper()
	n, err := strconv.ParseUint(seq, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	ms, err := a.c.Messages(within(s.t), client.C2C(peer), &im.GetMsgListParam{LastMsgSeq: n, Count: 1})
	if err != nil || len(ms) == 0 || ms[0].Seq != n {
		return &im.Message{ConvId: peer, ConvType: im.ConvType_CONV_TYPE_C2C, Seq: n}
	}
	return ms[0]
}

// States of the link, in the form of a transcript.
const (
	connected    = `network {"status":"connected"}`
	disconnected = `network {"code":"*","status":"disconnected"}`
)

func (a *actor) heardNow(what string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.ear.Heard {
		if h == what {
			return true
		}
	}
	return false
}

// reconnected waits until devices that were logged in have lost their connection and reconnected.
func (s *stage) reconnected(names ...string) {
	for _, n := range names {
		if a := s.devices[n]; a.c != nil && a.online {
			s.until(a, func() bool { return a.heardNow(disconnected) && a.lastNetwork() == connected })
		}
	}
}

func (a *actor) lastNetwork() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := len(a.ear.Heard) - 1; i >= 0; i-- {
		if len(a.ear.Heard[i]) > 8 && a.ear.Heard[i][:8] == "network " {
			return a.ear.Heard[i]
		}
	}
	return ""
}

// until waits for a fact about a device.
func (s *stage) until(a *actor, cond func() bool) {
	s.t.Helper()
	ctx := within(s.t)
	for !cond() {
		select {
		case <-a.news:
		case <-ctx.Done():
			s.t.Fatalf("%s waited in vain; heard %q", a.name, a.ear.Heard)
		}
	}
}

// untilConnected waits for the probe's own connection.
func (s *stage) untilConnected(d *device) {
	d.until(s.t, "probe's connection", func(es []event) bool { e, _ := last(es, "net"); return e.n == 0 })
}
