package rest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

// TestKickRace: devices that log in with an old ticket while the account is kicked get in and are kicked, or do not get in; and those that log in
// with a new ticket after the reply stay.
func TestKickRace(t *testing.T) {
	classes := map[im.Platform]int32{}
	for p := range chat.DefaultClasses {
		classes[p] = chat.ClassAny
	}
	n := start(t, chat.Config{Classes: classes})
	n.ok("im_open_login_svc/account_import", `{"UserID":"alice"}`)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			cfg := n.config("alice")
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			for { // again and again, until it is kicked or refused
				kicked := make(chan bool, 1)
				c, err := client.Dial(ctx, cfg, client.Events{KickedOffline: func() { kicked <- true }})
				switch {
				case im.CodeOf(err) == im.CodeTicketVoid, im.CodeOf(err) == im.CodeKickedWhileAway:
					return
				case err != nil:
					t.Errorf("device %d: %v", i, err)
					return
				}
				select {
				case <-kicked:
					c.Close()
					return
				case <-time.After(50 * time.Millisecond):
				}
				c.Close()
			}
		})
	}
	n.ok("im_open_login_svc/kick", `{"UserID":"alice"}`)
	fresh := n.dial("alice")
	wg.Wait()
	select {
	case <-fresh.kicked:
		t.Error("a device with a new ticket was kicked")
	default:
	}
	fresh.barrier(n.dial("bob"))
}

// TestAdmins: who may call is a setting; an admin sends under their own name without ever having logged in.
func TestAdmins(t *testing.T) {
	n := start(t, chat.Config{})
	n.api.cfg.Admins = []string{"root", DefaultAdmin}
	bob := n.dial("bob")
	n.ok(sendmsg, `{"From_Account":"root","To_Account":"bob","MsgRandom":1,"MsgBody":%s}`, hello)
	if m := next(t, "message", bob.messages); m.Sender != "root" {
		t.Errorf("bob got %v", m)
	}
}
