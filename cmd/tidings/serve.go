package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tidings-im/tidings/internal/private"
	"github.com/tidings-im/tidings/internal/server"
)

func init() { commands = append(commands, serveCommand, referenceCommand) }

func serveCommand() *cobra.Command {
	set := server.DefaultSettings()
	var file string
	var newKey, newFolder bool
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run a server",
		Long: "Run a server. No flag is needed: the first start creates a data folder and a secret key, and prints how to log in.\n\n" +
			"Every flag may also be set in the environment (--app-id as TIDINGS_APP_ID) or in the YAML file that --config names (app-id: 1400000001); " +
			"a flag overrides the environment, and the environment the file. SIGHUP makes the server read the log level, the certificate and its key again.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := settings(c.Flags(), file); err != nil {
				return err
			}
			return serve(c.Context(), set, file, newKey, newFolder, func() (*server.Settings, error) { return again(c.Flags(), file) })
		},
	}
	settingFlags(c.Flags(), set)
	c.Flags().BoolVar(&newKey, "new-key", false, "create another secret key, because the one of the data was lost: all tickets are void then")
	c.Flags().BoolVar(&newFolder, "new-blob-folder", false, "begin with another folder of files, because the one of the data was lost: all files are given up then")
	c.Flags().StringVar(&file, "config", os.Getenv("TIDINGS_CONFIG"), "YAML file with settings")
	return c
}

// settingFlags makes a flag of every setting.
func settingFlags(f *pflag.FlagSet, set *server.Settings) {
	for _, k := range set.Keys() {
		flag := f.VarPF(k, k.Name, "", k.Help)
		flag.Hidden = k.Hidden
	}
}

// warnOpen warns about a settings file that everybody may read and that contains a secret.
func warnOpen(file string, log *slog.Logger) error {
	if file == "" {
		return nil
	}
	fi, err := os.Stat(file)
	if err != nil || private.Others(fi) != "everybody" {
		return err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	values, err := server.ReadSettings(b)
	if err != nil {
		return err
	}
	for _, name := range []string{"secret-key", "webhook-token", "webhook-url", "postgres"} {
		if values[name] != "" {
			log.Warn("everybody may read the file with a setting that may be secret", "file", file, "setting", name)
		}
	}
	return nil
}

// serve runs a server; reread returns the present settings when the server is asked to read them again.
func serve(ctx context.Context, set *server.Settings, file string, newKey, newFolder bool, reread func() (*server.Settings, error)) error {
	// The reader of the log may go away, and the server continues: a write to a pipe without a reader fails then, and its line is lost.
	signal.Ignore(syscall.SIGPIPE)
	var level slog.LevelVar
	l, err := set.Level()
	if err != nil {
		return err
	}
	level.Set(l)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: &level}))
	cfg, err := set.Config(log)
	if err != nil {
		return err
	}
	if err := warnOpen(file, log); err != nil {
		return err
	}
	cfg.NewKey, cfg.NewBlobFolder = newKey, newFolder
	if set.Profile != "" {
		f, err := os.OpenFile(set.Profile, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, private.Mode)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	var beside sync.WaitGroup
	defer beside.Wait()
	running, stopped := context.WithCancel(ctx)
	defer stopped()
	beside.Go(func() { stayLean(running) })
	return server.Run(ctx, cfg, func(ctx context.Context, s *server.Server) {
		if s.Fresh() {
			welcome(os.Stdout, s, &cfg)
		}
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-hup:
					reload(s, set, reread, &level, log)
				}
			}
		}()
	})
}

// reload applies the settings that may change while the server runs.
func reload(s *server.Server, set *server.Settings, reread func() (*server.Settings, error), level *slog.LevelVar, log *slog.Logger) {
	fresh, err := reread()
	if err == nil {
		_, err = fresh.Config(log)
	}
	var l slog.Level
	if err == nil {
		l, err = fresh.Level()
	}
	if err == nil {
		err = s.Reload(fresh.TLSCert, fresh.TLSKey)
	}
	if err != nil {
		log.Error("the settings were not read again", "err", err)
		return
	}
	level.Set(l)
	old := set.Keys()
	for i, k := range fresh.Keys() {
		if k.Reload {
			continue
		}
		if k.String() != old[i].String() {
			log.Warn("a changed setting needs a restart", "setting", k.Name)
		}
	}
	log.Info("settings read again", "log-level", l)
}

// again reads the settings again: the flags of the command line, the environment and the file as it is at that time.
func again(flags *pflag.FlagSet, file string) (*server.Settings, error) {
	set := server.DefaultSettings()
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	settingFlags(f, set)
	var err error
	flags.Visit(func(old *pflag.Flag) {
		if fromCommandLine(old) && f.Lookup(old.Name) != nil {
			err = errors.Join(err, f.Set(old.Name, old.Value.String()))
		}
	})
	if err != nil {
		return nil, err
	}
	return set, settings(f, file)
}

// notGiven marks flags that were set by settings, and not on the command line.
const notGiven = "tidings-not-given"

func fromCommandLine(f *pflag.Flag) bool { return f.Changed && f.Annotations[notGiven] == nil }

// settings sets the flags that were not given from the environment, or else from the file.
func settings(flags *pflag.FlagSet, file string) error {
	var values map[string]string
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if values, err = server.ReadSettings(b); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "config" || f.Name == "new-key" || f.Name == "new-blob-folder" || f.Name == "help" {
			return
		}
		env := "TIDINGS_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, from := values[f.Name], file+": "+f.Name
		if v, ok := os.LookupEnv(env); ok {
			value, from = v, env
		} else if _, ok := values[f.Name]; !ok {
			return
		}
		if e := flags.Set(f.Name, value); e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", from, e))
			return
		}
		flags.SetAnnotation(f.Name, notGiven, []string{})
	})
	return err
}

// referenceCommand prints a page of docs/reference, by default configuration.md; `make gen` writes them.
func referenceCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reference [configuration|group-types]", Short: "Print a reference page", Hidden: true, ValidArgs: []string{"configuration", "group-types"},
		Args: cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		RunE: func(c *cobra.Command, args []string) error {
			page := server.Reference
			if slices.Contains(args, "group-types") {
				page = server.GroupTypes
			}
			_, err := io.WriteString(c.OutOrStdout(), page())
			return err
		},
	}
}

// welcome prints how to log in to a new server.
func welcome(w io.Writer, s *server.Server, cfg *server.Config) {
	where := ""
	if cfg.Data != server.DefaultData {
		where += fmt.Sprintf(" --data %q", cfg.Data)
	}
	if cfg.AppID != server.DefaultAppID {
		where += fmt.Sprintf(" --app-id %d", cfg.AppID)
	}
	fmt.Fprintf(w, `A new secret key was created.

  server   %s
  app id   %d

To make a ticket (UserSig) for a user, who exists from the first login on:

  tidings usersig --user alice%s

`, s.URL(), cfg.AppID, where)
}
