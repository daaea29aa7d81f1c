package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/usersig"
)

func init() { commands = append(commands, sendCommand) }

func sendCommand() *cobra.Command {
	l := login{folder: "cli-send", platform: "web"}
	var to, group, file string
	c := &cobra.Command{
		Use:   "send --user USER --to USER {TEXT... | --file PATH}",
		Short: "Send a message",
		Long: "Send a message and print it as it was stored, in the JSON of the TIM API. The arguments after the flags are its text, joined by spaces. With --file the message is " +
			"a file instead, or an image if it is one; on a terminal, how much of it has been uploaded is shown. tidings download fetches it.\n\n" +
			loginHelp,
		Example: "  tidings send --user alice --to bob Hello, Bob!\n  tidings send --user alice --to bob --file report.pdf",
		RunE: func(c *cobra.Command, words []string) error {
			if err := settings(c.Flags(), ""); err != nil {
				return err
			}
			conv := client.C2C(to)
			switch {
			case (to == "") == (group == ""):
				return errors.New("send: give --to or --group")
			case group != "":
				conv = client.Group(group)
			}
			if (file == "") == (len(words) == 0) {
				return errors.New("send: give a text or --file")
			}
			ctx, cancel := context.WithTimeout(c.Context(), 2*l.timeout)
			defer cancel()
			m, ev := im.Text(strings.Join(words, " ")), client.Events{}
			if file != "" {
				var err error
				if m, err = fileMessage(file); err != nil {
					return err
				}
				b := newBar(c.ErrOrStderr())
				ev.UploadProgress = func(_ *im.Message, _, sent, size uint32) { b.show(int64(sent), int64(size)) }
			}
			cl, err := l.dial(ctx, ev)
			if err != nil {
				return err
			}
			defer leave(cl)
			if file != "" {
				ctx = c.Context() // an upload takes as long as it takes
			}
			m, err = cl.SendMessage(ctx, conv, m)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), im.ToJSON(m))
			return err
		},
	}
	l.flags(c)
	c.Flags().StringVar(&to, "to", "", "the receiver's user id")
	c.Flags().StringVar(&group, "group", "", "the receiving group's id")
	c.Flags().StringVar(&file, "file", "", "a file to send")
	return c
}

const loginHelp = "The ticket is signed with the secret key of the server's data folder (--data), or with --secret-key, unless --usersig gives one. " +
	"A user exists from his first login on.\n\n" +
	"Every flag may also be set in the environment: --server as TIDINGS_SERVER."

// login is what a subcommand needs to log a user in.
type login struct {
	user, server, sig, data, key string
	appID                        uint64
	dir, platform, level         string
	timeout                      time.Duration
	folder                       string // of the device, in the user's data home, unless dir is set
}

func (l *login) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&l.user, "user", "", "the user who logs in")
	f.StringVar(&l.server, "server", client.DefaultServer, "the server's address")
	f.StringVar(&l.sig, "usersig", "", "the user's ticket (default: one is made)")
	f.StringVar(&l.data, "data", server.DefaultData, "the server's data folder, whose key signs the ticket")
	f.Uint64Var(&l.appID, "app-id", server.DefaultAppID, "SDKAppID")
	f.StringVar(&l.key, "secret-key", "", "key that signs the ticket")
	f.StringVar(&l.dir, "dir", "", "the device's folder (default: "+l.folder+" in tidings in your data home)")
	f.StringVar(&l.platform, "platform", l.platform, "windows, mac, linux, android, ios, pad, web or other; a login ends the user's other session of the same class")
	f.DurationVar(&l.timeout, "timeout", 10*time.Second, "how long to try to log in, and to send")
	f.StringVar(&l.level, "log-level", "warn", "debug, info, warn or error; the log goes to stderr")
}

// dial logs in. If the device was kicked while the command was not running, that is reported, and the login tried again.
func (l *login) dial(ctx context.Context, ev client.Events) (*client.Client, error) {
	if l.user == "" {
		return nil, errors.New("--user is missing")
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		return nil, err
	}
	platform, ok := im.Platform_value["PLATFORM_"+strings.ToUpper(l.platform)]
	if !ok {
		return nil, fmt.Errorf("there is no platform %q", l.platform)
	}
	sig, err := l.ticket()
	if err != nil {
		return nil, err
	}
	c, err := client.Open(client.Config{
		Server: l.server, AppID: l.appID, UserID: l.user, UserSig: sig, Dir: l.device(), Platform: im.Platform(platform),
		Log:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
		Limits: client.Limits{Login: l.timeout, Send: l.timeout, Call: l.timeout},
	}, ev)
	if err != nil {
		return nil, err
	}
	err = c.Login(ctx)
	if errors.Is(err, &im.Error{Code: im.CodeKickedWhileAway}) {
		fmt.Fprintln(os.Stderr, "tidings: since the last time, another device has ended this device's session (6208); logging in again")
		err = c.Login(ctx)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (l *login) ticket() (string, error) {
	if l.sig != "" {
		return l.sig, nil
	}
	key := l.key
	if key == "" {
		var err error
		if key, err = server.Secret(l.data); errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("no secret key in %s: name the server's data folder with --data, or give a ticket with --usersig", l.data)
		} else if err != nil {
			return "", err
		}
	}
	return usersig.Sign(l.appID, key, l.user, 24*time.Hour, time.Now())
}

// device returns the folder that makes the command the same device each time it runs.
func (l *login) device() string {
	if l.dir != "" {
		return l.dir
	}
	home := os.Getenv("XDG_DATA_HOME")
	if home == "" {
		user, err := os.UserHomeDir()
		if err != nil {
			return filepath.Join(os.TempDir(), "tidings", l.folder)
		}
		home = filepath.Join(user, ".local", "share")
	}
	return filepath.Join(home, "tidings", l.folder)
}

// leave logs out, so that nothing is owed to this device, and closes.
func leave(c *client.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c.Logout(ctx)
	c.Close()
}
