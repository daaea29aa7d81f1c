// Tidings is a self-hosted instant messaging server, with the tools that belong to it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "tidings:", err)
		os.Exit(1)
	}
}

// root is the command line. Each subcommand has a file and adds itself to commands.
func root() *cobra.Command {
	c := &cobra.Command{
		Use:           "tidings",
		Short:         "A self-hosted instant-messaging server",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	for _, sub := range commands {
		c.AddCommand(sub())
	}
	return c
}

var commands []func() *cobra.Command
