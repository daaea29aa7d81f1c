package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tidings-im/tidings/internal/server"
)

func init() { commands = append(commands, checkCommand) }

func checkCommand() *cobra.Command {
	var cfg server.CheckConfig
	var blob string
	c := &cobra.Command{
		Use:   "check",
		Short: "Check that the files of users and the database agree",
		Long: "Check that the files that users have uploaded and the database agree: each file that an upload refers to is there and has its size, each upload that a message refers to " +
			"is there, and what is counted is right. It changes nothing. The server may be running; a backup can be checked as well (--data BACKUP).\n\n" +
			"Everything that is wrong is a line, and the exit code is 1. Files that no upload refers to are named as well, but are no error: a crash may leave them, and the server deletes them " +
			"within hours.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := settings(c.Flags(), ""); err != nil {
				return err
			}
			dir, err := server.BlobDir(blob, cfg.Data)
			if err != nil {
				return fmt.Errorf("check: blob: %w", err)
			}
			if cfg.Blob = dir; cfg.Postgres != "" && blob == "" {
				cfg.Blob = "" // there is no default
			}
			r, err := server.Check(c.Context(), cfg)
			for _, what := range r.Waste {
				fmt.Fprintf(c.OutOrStdout(), "left over: %s\n", what)
			}
			for _, what := range r.Damage {
				fmt.Fprintf(c.OutOrStdout(), "wrong: %s\n", what)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%d files with %d bytes, %d uploads, %d references of messages: %d are wrong, %d left over.\n",
				r.Files, r.Bytes, r.Uploads, r.References, len(r.Damage), len(r.Waste))
			if len(r.Damage) > 0 {
				return errors.New("check: not everything is as it should be")
			}
			return nil
		},
	}
	c.Flags().StringVar(&cfg.Data, "data", server.DefaultData, "data folder of a server, or a backup")
	c.Flags().StringVar(&blob, "blob", "", "folder of the files that users upload, as the server's setting")
	c.Flags().StringVar(&cfg.Postgres, "postgres", "", "database of the server, as the server's setting")
	c.Flags().BoolVar(&cfg.Hash, "hash", false, "read all files, and compare them with their hashes")
	return c
}
