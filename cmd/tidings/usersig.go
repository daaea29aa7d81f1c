package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/server"
	"github.com/tidings-im/tidings/usersig"
)

func init() { commands = append(commands, usersigCommand) }

func usersigCommand() *cobra.Command {
	var user, data, key string
	var appID uint64
	var expire time.Duration
	c := &cobra.Command{
		Use:   "usersig",
		Short: "Print a ticket with which a user may log in",
		Long: "Print a ticket with which a user may log in. It is signed with the secret key of the server's data folder, so run this " +
			"where the server's data are; the server need not be running.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := settings(c.Flags(), ""); err != nil {
				return err
			}
			if user == "" {
				return errors.New("usersig: --user is missing")
			}
			if !im.ValidUserID(user) {
				return fmt.Errorf("usersig: --user %q is not 1 to 32 printable ASCII characters without blanks", user)
			}
			if key == "" {
				var err error
				if key, err = server.Secret(data); errors.Is(err, os.ErrNotExist) {
					return fmt.Errorf("no secret key in %s: start the server once, or name its data folder with --data", data)
				} else if err != nil {
					return err
				}
			}
			if expire%time.Second != 0 {
				return fmt.Errorf("usersig: --expire %v is not a number of whole seconds", expire)
			}
			sig, err := usersig.Sign(appID, key, user, expire, time.Now())
			if err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), sig)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&user, "user", "", "the user's id")
	f.DurationVar(&expire, "expire", 180*24*time.Hour, "how long the ticket is valid")
	f.StringVar(&data, "data", server.DefaultData, "the server's data folder")
	f.Uint64Var(&appID, "app-id", server.DefaultAppID, "SDKAppID")
	f.StringVar(&key, "secret-key", "", "key to sign with (default: the data folder's)")
	return c
}
