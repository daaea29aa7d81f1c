package client_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
)

// A call whose context has already ended has no effect at all.
func TestEndedContext(t *testing.T) {
	s := imtest.Start(t)
	d := dial(t, config(t, s, "ann"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	self := client.C2C("ann")
	if _, err := d.SendMessage(ctx, self, textMessage("never")); !errors.Is(err, context.Canceled) {
		t.Errorf("a send: %v", err)
	}
	if _, err := d.SaveMessage(ctx, self, textMessage("never")); !errors.Is(err, context.Canceled) {
		t.Errorf("saving: %v", err)
	}
	if err := d.Logout(ctx); !errors.Is(err, context.Canceled) || d.Status() != client.LoggedIn {
		t.Errorf("a logout: %v, %v", err, d.Status())
	}
	d.say("ann", "after all")
	ms, err := d.Messages(within(t), self, &im.GetMsgListParam{})
	if err != nil || len(ms) != 1 || text(ms[0]) != "after all" {
		t.Errorf("messages %v, %v", ms, err)
	}
}

// A client that was never logged in can be closed; the enums have names; sentinels match by their codes.
func TestSurface(t *testing.T) {
	new(client.Client).Close()
	got := fmt.Sprint(client.ConvAdd, client.ConvDelete, client.ConvUpdate, client.ConvSyncStart, client.ConvSyncFinish, client.ConvEvent(9), ";",
		client.NetworkConnected, client.NetworkDisconnected, client.NetworkConnecting, client.NetworkConnectFailed, client.NetworkStatus(9), ";",
		client.LoggedIn, client.LoggingIn, client.LoggedOut, client.LoggingOut, client.LoginStatus(9))
	if want := "add delete update sync start sync finish 9;connected disconnected connecting connect failed 9;logged in logging in logged out logging out 9"; got != want {
		t.Errorf("the names are\n%s, want\n%s", got, want)
	}
	s := imtest.Start(t)
	d := open(t, config(t, s, "ann"))
	if _, err := d.SendMessage(within(t), client.C2C("bob"), textMessage("x")); !errors.Is(err, im.ErrNotLoggedIn) || errors.Is(err, im.ErrDisconnected) {
		t.Errorf("before the login: %v", err)
	}
	d.login()
	if _, err := d.SendMessage(within(t), client.C2C("bob"), textMessage("x")); !errors.Is(err, im.ErrUnknownReceiver) {
		t.Errorf("to nobody: %v", err)
	}
}
