package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tidings-im/tidings/internal/server"
)

func init() { commands = append(commands, backupCommand, restoreCommand) }

func backupCommand() *cobra.Command {
	var data, to string
	c := &cobra.Command{
		Use:   "backup --to FOLDER",
		Short: "Copy the data of a server, which may be running",
		Long: "Copy the data of a server, which may be running. The copy is a snapshot of one moment with everything that was acknowledged before. It goes to a folder that " +
			"does not exist or is empty, with the secret key; or, if the name ends in .db, to one file with only the database. It has been read back completely when the command ends.\n\n" +
			"The data of a server on PostgreSQL are not in its folder: use pg_dump for them.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := settings(c.Flags(), ""); err != nil {
				return err
			}
			if to == "" {
				return errors.New("backup: --to is missing")
			}
			if os.Getenv("TIDINGS_POSTGRES") != "" {
				return errors.New("backup: TIDINGS_POSTGRES is set: the data are in PostgreSQL. Use pg_dump, and keep a copy of the secret key")
			}
			if err := server.Backup(c.Context(), data, to); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "The data of %s was copied to %s.\n", data, to)
			if server.IsFile(to) {
				fmt.Fprintln(c.OutOrStdout(), "The secret key is not in it: keep a copy of secret.key, or give --secret-key to the server that is restored.")
			}
			return nil
		},
	}
	c.Flags().StringVar(&data, "data", server.DefaultData, "data folder of the server")
	c.Flags().StringVar(&to, "to", "", "folder, or file that ends in .db, to make")
	return c
}

func restoreCommand() *cobra.Command {
	var data, from string
	c := &cobra.Command{
		Use:   "restore --from BACKUP",
		Short: "Make a data folder from a backup",
		Long: "Make a data folder from a backup. The folder must be empty or not exist: nothing is overwritten. Its files belong to the user who runs this command, and nobody " +
			"else may read them: run it as the user of the server. Then start the server on the folder. What was stored after the backup is lost on the server. Clients " +
			"notice the restore: what they have on the device can still be read, and each conversation starts over with what the server has.\n\n" +
			"A backup of a server on PostgreSQL is made with pg_dump, and restored with pg_restore.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := settings(c.Flags(), ""); err != nil {
				return err
			}
			if from == "" {
				return errors.New("restore: --from is missing")
			}
			if os.Getenv("TIDINGS_POSTGRES") != "" {
				return errors.New("restore: TIDINGS_POSTGRES is set: the data are in PostgreSQL. Use pg_restore")
			}
			if err := server.Restore(c.Context(), from, data); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s was restored to %s.\n", from, data)
			if _, err := server.Secret(data); errors.Is(err, os.ErrNotExist) {
				fmt.Fprintln(c.OutOrStdout(), "There was no secret key in the backup: name it with --secret-key, or start the server once with --new-key, which makes another one; then tickets of the old one are void.")
			}
			return nil
		},
	}
	c.Flags().StringVar(&data, "data", server.DefaultData, "data folder to make")
	c.Flags().StringVar(&from, "from", "", "folder or file that tidings backup made")
	return c
}
