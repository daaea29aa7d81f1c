package client_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/imtest"
	"github.com/tidings-im/tidings/internal/server"
)

// hasty are limits for logins that fail.
var hasty = client.Limits{Login: 300 * time.Millisecond, Reconnect: 50 * time.Millisecond}

// readsNothing checks that every call that reads or changes local data returns 6014.
func (d *device) readsNothing(when string) {
	d.t.Helper()
	ctx := within(d.t)
	conv := client.C2C("bob")
	_, convs := d.Conversations(ctx)
	_, keys := d.ConversationsByKey(ctx, []client.Conv{conv})
	_, messages := d.Messages(ctx, conv, nil)
	_, named := d.Messages(ctx, conv, &im.GetMsgListParam{SeqArray: []uint64{1}})
	_, found := d.FindMessages(ctx, []string{"1-2-3"})
	_, located := d.FindByLocators(ctx, conv, []*im.MsgLocator{{Seq: 1}})
	_, search := d.Search(ctx, &im.SearchParam{KeywordArray: []string{"secret"}})
	_, unread := d.TotalUnread(ctx)
	_, options := d.RecvOpts(ctx, []string{"bob"})
	for name, err := range map[string]error{"Conversations": convs, "ConversationsByKey": keys, "Messages": messages, "Messages by seq": named, "FindMessages": found,
		"FindByLocators": located, "Search": search, "TotalUnread": unread, "RecvOpts": options, "SetLocalCustomData": d.SetLocalCustomData(ctx, &im.Message{MsgId: "1-2-3"}),
		"SetDraft": d.SetDraft(conv, &im.Draft{Msg: textMessage("x")})} {
		if im.CodeOf(err) != im.CodeNotLoggedIn {
			d.t.Errorf("%s: %s answers %v", when, name, err)
		}
	}
}

// readsSecret checks that the message of bob can be read.
func (d *device) readsSecret(when string) {
	d.t.Helper()
	ms, err := d.Messages(within(d.t), client.C2C("bob"), nil)
	if err != nil || len(ms) != 1 || text(ms[0]) != "secret" {
		d.t.Errorf("%s: Messages answers %v %v", when, ms, err)
	}
	if convs, err := d.Conversations(within(d.t)); err != nil || len(convs) != 1 || convs[0].Id != "bob" {
		d.t.Errorf("%s: Conversations answers %v %v", when, convs, err)
	}
	if r, err := d.Search(within(d.t), &im.SearchParam{KeywordArray: []string{"ecre"}}); err != nil || r.TotalCount != 1 {
		d.t.Errorf("%s: Search answers %v %v", when, r, err)
	}
}

// failsToLogIn makes a client with a ticket whose login fails.
func failsToLogIn(t *testing.T, cfg client.Config, sig string) *device {
	t.Helper()
	cfg.UserSig, cfg.Limits = sig, hasty
	d := open(t, cfg)
	if err := d.Login(within(t)); err == nil {
		t.Fatal("logged in")
	}
	return d
}

// A logout closes all local data; a login opens it again, and so does, without a server, a ticket that a server has accepted before: not one with the
// right name, and not for another user.
func TestLocalDataNeedsATicket(t *testing.T) {
	for _, memory := range []bool{false, true} {
		t.Run(fmt.Sprintf("memory=%v", memory), func(t *testing.T) {
			s := imtest.Start(t)
			bob := dial(t, config(t, s, "bob"))
			cfg := config(t, s, "alice")
			if memory {
				file := filepath.Join(t.TempDir(), "file")
				if err := os.WriteFile(file, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				cfg.Dir = filepath.Join(file, "below")
			}
			cfg.Limits = hasty
			cfg.Limits.Login = patience
			alice := dial(t, cfg)
			bob.say("alice", "secret")
			alice.count(t, "new", 1)
			alice.readsSecret("logged in")

			inCallback := make(chan error, 1)
			alice.LogoutFunc(func(error) {
				_, err := alice.Conversations(within(t))
				inCallback <- err
			})
			wantCode(t, <-inCallback, im.CodeNotLoggedIn)
			alice.readsNothing("logged out")
			late := s.SigFor("alice", 2*time.Hour) // as good as the other, but not known on this device
			bobs := s.Sig("bob")
			s.Stop()
			alice.Close()
			if memory {
				return
			}

			alice = failsToLogIn(t, cfg, cfg.UserSig)
			alice.readsSecret("without a server, with the ticket")
			if err := alice.Logout(within(t)); im.CodeOf(err) != im.CodeNotLoggedIn {
				t.Fatal(err)
			}
			alice.SetUserSig(late)
			if err := alice.Login(within(t)); err == nil {
				t.Fatal("logged in")
			}
			alice.readsNothing("the same client with another ticket")
			alice.Close()
			for name, sig := range map[string]string{"unknown": late, "bob's": bobs, "nonsense": "nonsense", "none": ""} {
				d := failsToLogIn(t, cfg, sig)
				d.readsNothing("ticket " + name)
				d.Close()
			}
			other := cfg
			other.UserID = "bob"
			d := failsToLogIn(t, other, bobs)
			d.readsNothing("another user")
			d.Close()
			d = failsToLogIn(t, other, cfg.UserSig)
			d.readsNothing("another user with the ticket of the first")
			d.Close()
			fresh := cfg
			fresh.UserSig = cfg.UserSig
			open(t, fresh).readsSecret("before any login")
		})
	}
}

// The ticket in memory counts as the one on disk does.
func TestTicketInMemory(t *testing.T) {
	f := newFake(t)
	cfg := fakeConfig(t, f)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Dir = filepath.Join(file, "below")
	d := dial(t, cfg)
	if err := d.Logout(within(t)); err != nil {
		t.Fatal(err)
	}
	d.readsNothing("logged out")
	f.answer(im.Method_LOGIN, func(l *fakeLink, fr *im.Frame) { l.refuse(fr, im.CodeKickedWhileAway) })
	wantCode(t, d.Login(within(t)), im.CodeKickedWhileAway)
	if _, err := d.Conversations(within(t)); err != nil {
		t.Fatalf("with the ticket: %v", err)
	}
	d.SetUserSig("another")
	wantCode(t, d.Login(within(t)), im.CodeKickedWhileAway)
	d.readsNothing("with another ticket")
}

// An expired ticket opens nothing, whatever its name.
func TestLocalDataTicketRunsOut(t *testing.T) {
	s := imtest.Start(t)
	cfg := config(t, s, "alice")
	cfg.UserSig = s.SigFor("alice", 2*time.Second)
	d := dial(t, cfg)
	d.count(t, "expired", 1)
	d.readsNothing("run out")
	d.Close()
	s.Stop()
	failsToLogIn(t, cfg, cfg.UserSig).readsNothing("run out, without a server")
}

// A ticket that a server has refused opens nothing any more, even in another process; a login that is refused for another reason leaves it valid.
func TestRefusedTicketOpensNothing(t *testing.T) {
	for code, opens := range map[int32]bool{im.CodeTicketExpired: false, im.CodeTicketMalformed: false, im.CodeTicketMismatch: false, im.CodeTicketOtherUser: false,
		im.CodeTicketOtherApp: false, im.CodeTicketVoid: false, im.CodeKickedWhileAway: true, im.CodeFailedLogins: true, im.CodeServerInternal: true} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			cfg := fakeConfig(t, f)
			dial(t, cfg).Close()
			f.answer(im.Method_LOGIN, func(l *fakeLink, fr *im.Frame) { l.refuse(fr, code) })
			d := failsToLogIn(t, cfg, cfg.UserSig)
			for range 2 {
				if _, err := d.Conversations(within(t)); opens && err != nil {
					t.Fatalf("the ticket was not refused: %v", err)
				} else if !opens {
					d.readsNothing("refused")
				}
				d.Close()
				d = open(t, cfg)
			}
		})
	}
}

// A program with a new ticket that reads while its login is under way gets what the login decides; with one that is known here it need not wait.
func TestReadDuringLogin(t *testing.T) {
	f := newFake(t)
	cfg := fakeConfig(t, f)
	d := dial(t, cfg)
	if err := d.SetDraft(client.C2C("ben"), &im.Draft{Msg: textMessage("x")}); err != nil {
		t.Fatal(err)
	}
	d.Close()
	asked := make(chan func(), 2)
	answer := int32(0)
	f.answer(im.Method_LOGIN, func(l *fakeLink, fr *im.Frame) {
		login := &im.Frame{Id: fr.Id, Method: fr.Method}
		asked <- func() {
			if answer == 0 {
				f.usual(l, login)
			} else {
				l.refuse(login, answer)
			}
		}
	})
	for _, answer = range []int32{im.CodeTicketMismatch, 0} {
		cfg.UserSig = fmt.Sprint("ticket ", answer)
		d = open(t, cfg)
		order := make(chan string, 2)
		d.LoginFunc(func(err error) { order <- fmt.Sprint("login ", im.CodeOf(err)) })
		goOn := <-asked
		d.ConversationsFunc(func(convs []*im.ConvInfo, err error) { order <- fmt.Sprint("list ", len(convs), " ", im.CodeOf(err)) })
		if d.Status() != client.LoggingIn || len(order) != 0 {
			t.Fatal("answered before the login")
		}
		goOn()
		want := []string{"login 0", "list 1 0"}
		if answer != 0 {
			want = []string{fmt.Sprint("login ", answer), fmt.Sprint("list 0 ", im.CodeNotLoggedIn)}
		}
		for _, w := range want {
			if got := <-order; got != w {
				t.Fatalf("%q, want %q", got, w)
			}
		}
		d.Close()
	}
	d = open(t, cfg)
	d.LoginFunc(func(error) {})
	goOn := <-asked
	if convs, err := d.Conversations(within(t)); err != nil || len(convs) != 1 || d.Status() != client.LoggingIn {
		t.Fatalf("%v %v", convs, err)
	}
	goOn()
}

// Two apps in one folder share nothing, not even the device's id; files there without an app go to the first app that is opened, once.
func TestAppsShareNothing(t *testing.T) {
	s := imtest.Start(t)
	bob := dial(t, config(t, s, "bob"))
	cfg := config(t, s, "alice")
	cfg.Limits = hasty
	cfg.Limits.Login = patience
	old := dial(t, cfg) // without an app
	bob.say("alice", "secret")
	old.count(t, "new", 1)
	old.Close()
	device, err := os.ReadFile(filepath.Join(cfg.Dir, "device"))
	if err != nil {
		t.Fatal(err)
	}

	cfg.AppID = s.AppID
	first := open(t, cfg)
	first.readsSecret("taken over")
	first.login()
	if n := len(first.of("new")); n != 0 {
		t.Errorf("%d messages were told again", n)
	}
	first.Close()
	if left, err := filepath.Glob(filepath.Join(cfg.Dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("in the folder: %v %v", left, err)
	}

	other := imtest.Start(t, func(c *server.Config) { c.AppID = 77 })
	next := cfg
	next.AppID, next.Server, next.UserSig = 77, other.URL, other.Sig("alice")
	second := dial(t, next)
	if convs, err := second.Conversations(within(t)); err != nil || len(convs) != 0 {
		t.Errorf("the second app has %v %v", convs, err)
	}
	second.Close()
	mine, err := os.ReadFile(filepath.Join(cfg.Dir, fmt.Sprintf("app-%d", s.AppID), "device"))
	if err != nil || string(mine) != string(device) {
		t.Errorf("the first app's device is %q %v, was %q", mine, err, device)
	}
	if theirs, err := os.ReadFile(filepath.Join(cfg.Dir, "app-77", "device")); err != nil || string(theirs) == string(mine) {
		t.Errorf("the second app's device is %q %v", theirs, err)
	}
	open(t, cfg).readsSecret("after the second app")
}

// A login is refused unless the client's app, the ticket's and the server's are the same.
func TestAppIsTheServers(t *testing.T) {
	s := imtest.Start(t)
	for _, c := range []struct {
		app  uint64
		code int32
	}{{0, 0}, {s.AppID, 0}, {s.AppID + 1, im.CodeTicketOtherApp}, {1 << 63, im.CodeInvalidParameters}} {
		cfg := config(t, s, "ann")
		cfg.AppID = c.app
		if err := open(t, cfg).Login(within(t)); im.CodeOf(err) != c.code {
			t.Errorf("app %d: %v", c.app, err)
		}
	}
	foreign := imtest.Start(t, imtest.SecretKey("another"), func(c *server.Config) { c.AppID = 77 })
	cfg := config(t, s, "ann")
	cfg.AppID, cfg.UserSig = s.AppID, foreign.Sig("ann")
	wantCode(t, open(t, cfg).Login(within(t)), im.CodeTicketOtherApp)
}
