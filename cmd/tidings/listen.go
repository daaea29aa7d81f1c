package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

func init() { commands = append(commands, listenCommand) }

// listenEvents are the words that --until accepts: events, and types of the event conversation.
var listenEvents = append(client.EventNames(), client.EventTypes()...)

func listenCommand() *cobra.Command {
	l := login{folder: "cli-listen", platform: ownPlatform()}
	var until string
	c := &cobra.Command{
		Use:   "listen --user USER",
		Short: "Print a user's events",
		Long: "Log in and print each event as a line of JSON, until it is interrupted:\n\n" +
			`  {"event":"new_message","data":[...]}` + "\n" +
			`  {"event":"conversation","type":"add","data":[...]}` + "\n\n" +
			"The events are " + strings.Join(client.EventNames(), ", ") + "; a conversation event is of the type " + strings.Join(client.EventTypes(), ", ") + "; data is what the callback of that name gets in the TIM C API. " +
			"Messages that arrived while nobody listened are printed first.\n\n" + loginHelp,
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
			cl, err := l.dial(c.Context(), client.Each(p.event))
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

// event prints an event as a line.
func (p *printer) event(e client.Event) {
	enc := json.NewEncoder(p.out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		Event string          `json:"event"`
		Type  string          `json:"type,omitempty"`
		Data  json.RawMessage `json:"data,omitempty"`
	}{e.Name, e.Type, json.RawMessage(e.Data())})
	if err != nil || p.until == e.Name || p.until != "" && p.until == e.Type {
		p.end(err)
	}
	switch e.Name {
	case "kicked_offline":
		p.end(errors.New("another device logged in and ended this session"))
	case "user_sig_expired":
		p.end(&im.Error{Code: im.CodeTicketExpiredSDK, Desc: "the ticket has run out"})
	}
}
