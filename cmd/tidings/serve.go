package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/pprof"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/tidings-im/tidings/internal/server"
)

func init() { commands = append(commands, serveCommand) }

func serveCommand() *cobra.Command {
	var cfg server.Config
	var config, level, profile string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run a server",
		Long: "Run a server. No flag is needed: the first start makes a data folder and a secret key, and says how to log in.\n\n" +
			"Every flag may also be set in the environment (--app-id as TIDINGS_APP_ID) or in the file that --config names (app-id: 1400000001); " +
			"a flag wins over the environment, and that over the file. The file may also have classes, a map of platforms to " +
			"desktop, mobile, pad, web or any: a login ends the other sessions of its class, but for those of class any.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			classes, err := settings(c.Flags(), config)
			if err != nil {
				return err
			}
			if cfg.Chat.Classes, err = server.Classes(classes); err != nil {
				return err
			}
			var l slog.Level
			if err := l.UnmarshalText([]byte(level)); err != nil {
				return err
			}
			cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l}))
			if profile != "" {
				f, err := os.Create(profile)
				if err != nil {
					return err
				}
				defer f.Close()
				if err := pprof.StartCPUProfile(f); err != nil {
					return err
				}
				defer pprof.StopCPUProfile()
			}
			return server.Run(c.Context(), cfg, func(s *server.Server) {
				if s.Fresh() {
					welcome(os.Stdout, s, &cfg)
				}
			})
		},
	}
	f := c.Flags()
	f.StringVar(&config, "config", os.Getenv("TIDINGS_CONFIG"), "YAML file with settings")
	f.StringVar(&cfg.Listen, "listen", server.DefaultListen, "address to listen on")
	f.StringVar(&cfg.Data, "data", server.DefaultData, "data folder")
	f.Uint64Var(&cfg.AppID, "app-id", server.DefaultAppID, "SDKAppID that clients and tickets name")
	f.StringVar(&cfg.SecretKey, "secret-key", "", "key that signs tickets (default: made by the first start, kept in the data folder)")
	f.DurationVar(&cfg.Drain, "drain", 0, "how long to wait for clients when stopping (default 5s)")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&profile, "cpu-profile", "", "write a CPU profile to this file")
	f.MarkHidden("cpu-profile")
	f.StringVar(&cfg.WebhookURL, "webhook-url", "", "not built yet")
	f.StringVar(&cfg.Postgres, "postgres", "", "not built yet")
	f.StringVar(&cfg.NATS, "nats", "", "not built yet")
	f.StringVar(&cfg.Blob, "blob", "", "not built yet")
	return c
}

// settings sets the flags that were not given from the environment, or else from the file, and answers the file's classes.
func settings(flags *pflag.FlagSet, file string) (classes map[string]string, err error) {
	values := map[string]yaml.Node{}
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if err := yaml.Unmarshal(b, &values); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	if n, ok := values["classes"]; ok {
		if err := n.Decode(&classes); err != nil {
			return nil, fmt.Errorf("%s: classes: %w", file, err)
		}
		delete(values, "classes")
	}
	flags.VisitAll(func(f *pflag.Flag) {
		node, inFile := values[f.Name]
		delete(values, f.Name)
		env := "TIDINGS_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, inEnv := os.LookupEnv(env)
		switch {
		case f.Changed || f.Name == "config" || f.Name == "help":
		case inEnv:
			if e := flags.Set(f.Name, value); e != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", env, e))
			}
		case inFile:
			if e := flags.Set(f.Name, node.Value); e != nil {
				err = errors.Join(err, fmt.Errorf("%s: %s: %w", file, f.Name, e))
			}
		}
	})
	for name := range values {
		err = errors.Join(err, fmt.Errorf("%s: there is no setting %q", file, name))
	}
	return classes, err
}

// welcome says how to log in to a server that was just made.
func welcome(w io.Writer, s *server.Server, cfg *server.Config) {
	where := ""
	if cfg.Data != server.DefaultData {
		where += fmt.Sprintf(" --data %q", cfg.Data)
	}
	if cfg.AppID != server.DefaultAppID {
		where += fmt.Sprintf(" --app-id %d", cfg.AppID)
	}
	fmt.Fprintf(w, `A new data folder and a new secret key were made.

  server   %s
  app id   %d

A ticket (UserSig) for a user, who exists from his first login on:

  tidings usersig --user alice%s

`, s.URL(), cfg.AppID, where)
}
