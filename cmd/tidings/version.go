package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/tidings-im/tidings/im"
)

// version is set by the build of a release.
var version string

func init() { commands = append(commands, versionCommand) }

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(c *cobra.Command, _ []string) {
			v := version
			if info, ok := debug.ReadBuildInfo(); ok && v == "" {
				v = info.Main.Version
			}
			fmt.Fprintf(c.OutOrStdout(), "tidings %s, wire %s, %s %s/%s\n", v, im.Subprotocol, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}
