package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

func init() { commands = append(commands, listenCommand) }

// listenEvents are the words that --until accepts: events, and types of the event conversation.
var listenEvents = []string{"new_message", "receipt", "revoked", "updated", "conversation", "total_unread", "network", "kicked_offline", "user_sig_expired",
	"add", "update", "delete", "sync_start", "sync_finish"}

func listenCommand() *cobra.Command {
	l := login{folder: "cli-listen", platform: ownPlatform()}
	var until string
	c := &cobra.Command{
		Use:   "listen --user USER",
		Short: "Print a user's events",
		Long: "Log in and print each event as a line of JSON, until it is interrupted:\n\n" +
			`  {"event":"new_message","data":[...]}` + "\n" +
			`  {"event":"conversation","type":"add","data":[...]}` + "\n\n" +
			"The events are new_message, receipt, revoked, updated, conversation (of type add, update, delete, sync_start or sync_finish), total_unread, " +
			"network, kicked_offline and user_sig_expired; data is what the callback of that name gets in the TIM C API. " +
			"Messages that came while nobody listened are printed first.\n\n" + loginHelp,
		Example: "  tidings listen --user bob\n  tidings listen --user bob --until new_message",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := settings(c.Flags(), ""); err != nil {
				return err
			}
			if until != "" && !slices.Contains(listenEvents, until) {
				return fmt.Errorf("listen: there is no event %q; there are %s", until, strings.Join(listenEvents, ", "))
			}
			p := &printer{out: c.OutOrStdout(), until: until, over: make(chan error, 1)}
			cl, err := l.dial(c.Context(), p.events())
			if err != nil {
				return err
			}
			defer leave(cl)
			select {
			case <-c.Context().Done():
				return nil
			case err := <-p.over:
				return err
			}
		},
	}
	l.flags(c)
	c.Flags().StringVar(&until, "until", "", "end when this has been printed: an event, or a type of conversation such as sync_finish")
	return c
}

// ownPlatform is the platform of this build.
func ownPlatform() string {
	switch runtime.GOOS {
	case "windows", "linux", "android", "ios":
		return runtime.GOOS
	case "darwin":
		return "mac"
	}
	return "other"
}

// printer writes events as lines. All its functions run on the client's callback goroutine.
type printer struct {
	out   io.Writer
	until string
	over  chan error // why listening ends; the first reason counts
}

func (p *printer) end(err error) {
	select {
	case p.over <- err:
	default:
	}
}

// line prints an event; data is JSON, or empty.
func (p *printer) line(event, typ, data string) {
	enc := json.NewEncoder(p.out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		Event string          `json:"event"`
		Type  string          `json:"type,omitempty"`
		Data  json.RawMessage `json:"data,omitempty"`
	}{event, typ, json.RawMessage(data)})
	if err != nil || p.until == event || p.until != "" && p.until == typ {
		p.end(err)
	}
}

// linkState is the data of a network event.
type linkState struct {
	Status string `json:"status"`
	Code   int32  `json:"code"`
	Desc   string `json:"desc"`
}

var (
	networkNames = map[client.NetworkStatus]string{client.NetworkConnected: "connected", client.NetworkDisconnected: "disconnected",
		client.NetworkConnecting: "connecting", client.NetworkConnectFailed: "connect_failed"}
	convNames = map[client.ConvEvent]string{client.ConvAdd: "add", client.ConvUpdate: "update", client.ConvDelete: "delete",
		client.ConvSyncStart: "sync_start", client.ConvSyncFinish: "sync_finish"}
)

func (p *printer) events() client.Events {
	return client.Events{
		NewMessages:   func(ms []*im.Message) { p.line("new_message", "", im.ListToJSON(ms)) },
		Receipts:      func(rs []*im.MessageReceipt) { p.line("receipt", "", im.ListToJSON(rs)) },
		Revoked:       func(ls []*im.MsgLocator) { p.line("revoked", "", im.ListToJSON(ls)) },
		Updated:       func(ms []*im.Message) { p.line("updated", "", im.ListToJSON(ms)) },
		Conversations: func(e client.ConvEvent, cs []*im.ConvInfo) { p.line("conversation", convNames[e], im.ListToJSON(cs)) },
		TotalUnread:   func(n int) { p.line("total_unread", "", strconv.Itoa(n)) },
		Network: func(s client.NetworkStatus, code int32, desc string) {
			data, err := json.Marshal(linkState{networkNames[s], code, desc})
			if err != nil {
				p.end(err)
			}
			p.line("network", "", string(data))
		},
		KickedOffline: func() {
			p.line("kicked_offline", "", "")
			p.end(errors.New("another device logged in and ended this session"))
		},
		UserSigExpired: func() {
			p.line("user_sig_expired", "", "")
			p.end(&im.Error{Code: im.CodeTicketExpiredSDK, Desc: "the ticket has run out"})
		},
	}
}
