package client

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/transfer"
	"github.com/tidings-im/tidings/im"
)

// ConvEvent is what happened to conversations. The numbers are TIM's TIMConvEvent.
type ConvEvent int32

const (
	ConvAdd    ConvEvent = 0
	ConvDelete ConvEvent = 1
	ConvUpdate ConvEvent = 2
	// ConvSyncStart and ConvSyncFinish frame the sync of a login; they pass no conversations.
	ConvSyncStart  ConvEvent = 3
	ConvSyncFinish ConvEvent = 4
)

// NetworkStatus is the state of the link to the server. The numbers are TIM's TIMNetworkStatus.
type NetworkStatus int32

const (
	NetworkConnected     NetworkStatus = 0
	NetworkDisconnected  NetworkStatus = 1
	NetworkConnecting    NetworkStatus = 2
	NetworkConnectFailed NetworkStatus = 3
)

// LoginStatus is the state of the login. The numbers are TIM's TIMLoginStatus.
type LoginStatus int32

const (
	LoggedIn   LoginStatus = 1
	LoggingIn  LoginStatus = 2
	LoggedOut  LoginStatus = 3
	LoggingOut LoginStatus = 4
)

// Config describes the user, the device and the server. Only UserID and UserSig are required.
type Config struct {
	// Server is ws://host:port or wss://host[:port]; default ws://127.0.0.1:7070.
	Server  string
	UserID  string
	UserSig string
	// AppID is the app's number (SDKAppID). A server of another app refuses the login with 70014, and in Dir each app has a folder of its own: apps
	// share nothing there, not even the device's id. Files directly in Dir, from a client without a number, go to the app that is opened there first.
	// 0: the server's app is not checked, and the client's files are directly in Dir.
	AppID uint64
	// Dir is the device's folder: its id and a database per user. Two folders are two devices. Default: "tidings" under the user's data home. If it
	// cannot be written, the client keeps everything in memory, and logs a warning.
	Dir      string
	Platform im.Platform
	// TLS is for wss:// servers whose certificate the system does not know; nil is the system's roots.
	TLS *tls.Config
	// Proxy relays the connection: socks5://[user:password@]host:port or http://[user:password@]host:port. Empty means none; the environment is
	// ignored.
	Proxy string
	// Log gets the client's log lines; nil is slog.Default(). At level info they report connections, logins, syncs and kicks, at debug each call with
	// its result. They never contain a ticket or anything of a message.
	Log *slog.Logger
	// Dispatcher runs the callbacks; nil: the client makes one with a goroutine of its own. A program that provides one also logs the calls and slow
	// callbacks itself.
	Dispatcher *Dispatcher
	// Limits are time limits of calls; zero values are the defaults.
	Limits Limits
}

// Limits are the client's time limits.
type Limits struct {
	// Call is how long a call waits for its result: 30 s.
	Call time.Duration
	// Login and Send: 60 s.
	Login, Send time.Duration
	// Heartbeat is how long a heartbeat may stay unanswered before the link counts as lost: 10 s.
	Heartbeat time.Duration
	// Receipts is the minimum time between two receipt events of a conversation: 1 s. The later one has the latest position.
	Receipts time.Duration
	// HeartbeatEvery overrides the server's interval.
	HeartbeatEvery time.Duration
	// List is how long the client relies on what it was sent, if the server's heartbeats do not confirm that this was everything: then it asks again
	// what has changed. It is drawn each time, between three quarters of this and this: 5 minutes.
	List time.Duration
	// Reconnect is the longest pause between two attempts to connect: 30 s.
	Reconnect time.Duration
}

func (l *Limits) fill() {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&l.Call, 30*time.Second)
	set(&l.Login, 60*time.Second)
	set(&l.Send, 60*time.Second)
	set(&l.Heartbeat, 10*time.Second)
	set(&l.Reconnect, 30*time.Second)
	set(&l.Receipts, time.Second)
	set(&l.List, 5*time.Minute)
}

// connect is how long one attempt to connect and log in may take.
func (l *Limits) connect() time.Duration { return min(10*time.Second, l.Login) }

// Conv names a conversation: C2C("bob") or Group("@TGS#1").
type Conv struct {
	Type im.ConvType
	ID   string
}

func (k Conv) wire() *im.ConvKey { return &im.ConvKey{Type: k.Type, Id: k.ID} }

// C2C returns the conversation with a user.
func C2C(userID string) Conv { return Conv{im.ConvType_CONV_TYPE_C2C, userID} }

// Group returns the conversation of a group.
func Group(groupID string) Conv { return Conv{im.ConvType_CONV_TYPE_GROUP, groupID} }

// Client is one device's login of one user. All methods may be called from any goroutine, including inside callbacks.
//
// One goroutine, the engine, owns the local database and what the books have in memory. It never waits for a callback or for the network.
type Client struct {
	cfg Config
	ev  Events
	log *slog.Logger
	e   *engine.Engine
	// files moves files to and from the server. uploading are the goroutines that upload.
	files     *transfer.Transfers
	downloads downloads
	uploading sync.WaitGroup
	// The books, in the order in which they report.
	session *session
	convs   *conversations
	feed    *feed
	sync    *catchUp

	relations *relations
	people    *people
	groups    *groupStates
	rooms     *rooms
	// What belongs to the engine, too: the versions of attributes, and the groups that calls have changed whose heads may not have arrived.
	attributes    *attributes
	changedGroups map[string]bool
	members       *members
}

// Dial opens the device's folder and logs in: it is Open and Login.
func Dial(ctx context.Context, cfg Config, ev Events) (*Client, error) {
	c, err := Open(cfg, ev)
	if err != nil {
		return nil, err
	}
	if err := c.Login(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close ends the client: open calls are answered with 7009, the connection is closed, completed callbacks are recorded as such, and all goroutines
// end, downloads included. On the zero Client it has no effect. It does not wait for a running callback; no event starts after it. A session that is logged in stays so:
// the device counts as away. Close may be called more than once.
func (c *Client) Close() {
	if c.e == nil { // never opened
		return
	}
	c.downloads.close()
	c.e.Close()
	c.session.links.Wait()
	c.uploading.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), lastDelete)
	defer cancel()
	c.files.Close(ctx)
}
