package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tidings-im/tidings/internal/server"
)

func init() { commands = append(commands, backupCommand, restoreCommand) }

func backupCommand() *cobra.Command {
	var data, blob, postgres, to string
	var keep bool
	c := &cobra.Command{
		Use:   "backup --to FOLDER [--postgres ADDRESS --blob file:///DIR -- COMMAND]",
		Short: "Copy the data of a server, which may be running",
		Long: "Copy the data of a server, which may be running. The copy is a snapshot of one moment with everything that was acknowledged before, and with the files of all " +
			"messages. It goes, with the secret key, to a folder that does not exist or is empty; or to one with an earlier backup of the same server, which is replaced when the new one is " +
			"whole, and whose files are not copied again; or, if the name ends in .db, to one file with only the database. The database has been read back completely when the command ends.\n\n" +
			"With --postgres, PostgreSQL's own tools copy the database, and this command the files of users, into the folder blob below FOLDER. COMMAND behind -- is to copy the database, for example " +
			"pg_dump. It is run first, and no file is deleted that its copy refers to before that is copied. To restore both, copy the folder blob to where the server's setting names it.",
		RunE: func(c *cobra.Command, args []string) error {
			if err := settings(c.Flags(), ""); err != nil {
				return err
			}
			if to == "" {
				return errors.New("backup: --to is missing")
			}
			if postgres == "" && (len(args) > 0 || keep) {
				return errors.New("backup: a command and --keep-deleted are for --postgres")
			}
			if postgres != "" && blob == "" {
				return errors.New("backup: the data are in PostgreSQL. For their copy, use pg_dump, and keep a copy of the secret key. For that of the files that users have uploaded, name their folder with --blob")
			}
			dir, err := server.BlobDir(blob, data)
			if err != nil {
				return fmt.Errorf("backup: blob: %w", err)
			}
			if postgres != "" {
				copied, err := server.BackupFiles(c.Context(), postgres, dir, to, keep, func(ctx context.Context) error { return run(ctx, c, args) })
				if err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "The files of %s were copied to %s.\n", dir, filepath.Join(to, "blob"))
				printCopied(c, &copied)
				return nil
			}
			copied, err := server.Backup(c.Context(), data, dir, to)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "The data of %s was copied to %s.\n", data, to)
			if server.IsFile(to) {
				fmt.Fprintln(c.OutOrStdout(), "The secret key is not in it: keep a copy of secret.key, or give --secret-key to the server that is restored. Neither are files that users have uploaded.")
			}
			printCopied(c, &copied)
			return nil
		},
	}
	c.Flags().StringVar(&data, "data", server.DefaultData, "data folder of the server")
	c.Flags().StringVar(&blob, "blob", "", "folder of the files that users upload, as the server's setting")
	c.Flags().StringVar(&to, "to", "", "folder, or file that ends in .db, to make")
	c.Flags().StringVar(&postgres, "postgres", "", "database of the server, as the server's setting; then only files are copied")
	c.Flags().BoolVar(&keep, "keep-deleted", false, "with --postgres: keep files in the folder that no message refers to any more, for older copies of the database")
	return c
}

// run runs a command if there is one.
func run(ctx context.Context, c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = c.OutOrStdout(), c.ErrOrStderr()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}

// printCopied prints what was copied of the files of users.
func printCopied(c *cobra.Command, copied *server.Copied) {
	if copied.Files > 0 {
		fmt.Fprintf(c.OutOrStdout(), "It has %d files that users have uploaded; %d were copied now, %d bytes.\n", copied.Files, copied.New, copied.Bytes)
	}
	for _, name := range copied.Bad {
		fmt.Fprintf(c.ErrOrStderr(), "tidings: warning: the file %s is missing, or is not what it was when it was uploaded\n", name)
	}
	if copied.AllBad > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "tidings: warning: %d files were not copied; tidings check finds what is wrong\n", copied.AllBad)
	}
}

func restoreCommand() *cobra.Command {
	var data, blob, from string
	c := &cobra.Command{
		Use:   "restore --from BACKUP",
		Short: "Make a data folder from a backup",
		Long: "Make a data folder from a backup. The folder must be empty or not exist: nothing is overwritten. Its files belong to the user who runs this command, and nobody " +
			"else may read them: run it as the user of the server. Then start the server on the folder. What was stored after the backup is lost on the server. Clients " +
			"notice the restore: what they have on the device can still be read, and each conversation starts over with what the server has.\n\n" +
			"With PostgreSQL, the database is restored with its own tools, and the files by copying the folder blob of the backup.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := settings(c.Flags(), ""); err != nil {
				return err
			}
			if from == "" {
				return errors.New("restore: --from is missing")
			}
			if os.Getenv("TIDINGS_POSTGRES") != "" {
				return errors.New("restore: TIDINGS_POSTGRES is set: the data are in PostgreSQL. Use pg_restore, and copy the folder blob of the backup to where the server's setting blob names it")
			}
			dir, err := server.BlobDir(blob, data)
			if err != nil {
				return fmt.Errorf("restore: blob: %w", err)
			}
			copied, err := server.Restore(c.Context(), from, data, dir)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s was restored to %s.\n", from, data)
			printCopied(c, &copied)
			if _, err := server.Secret(data); errors.Is(err, os.ErrNotExist) {
				fmt.Fprintln(c.OutOrStdout(), "There was no secret key in the backup: name it with --secret-key, or start the server once with --new-key, which makes another one; then tickets of the old one are void.")
			}
			return nil
		},
	}
	c.Flags().StringVar(&data, "data", server.DefaultData, "data folder to make")
	c.Flags().StringVar(&blob, "blob", "", "folder to make for the files that users upload, as file:///DIR; default: blob in the data folder. The server needs the same setting")
	c.Flags().StringVar(&from, "from", "", "folder or file that tidings backup made")
	return c
}
