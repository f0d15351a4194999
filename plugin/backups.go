package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v3"

	"slipway/config"
	"slipway/config/size"
	"slipway/plugin/assembly"
	"slipway/plugin/backup"
	"slipway/plugin/store/seal"
)

func backupCommand() *cli.Command {
	return &cli.Command{
		Name:      "backup",
		Usage:     "write the database and the logs of this installation to one file, while the gateway runs",
		ArgsUsage: "FILE",
		Description: "Writes everything that cannot be made anew, with its state of one time, and reads it again.\n" +
			"FILE has mode 0600. It restores to SQLite and to PostgreSQL. Meanwhile its directory needs\n" +
			"free space for the database twice. The command takes the settings and the key of the gateway,\n" +
			"which may run or be stopped.\n\n" +
			"The key (SLIPWAY_KEY_FILE) is not in FILE, unless --with-key is given. Without the key, linked\n" +
			"accounts, credentials of registries, webhook secrets and environment values cannot be read.\n" +
			"So keep a copy of the key in another place than the backups.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "with-key", Usage: "add the key; FILE is then as secret as the installation"},
			&cli.BoolFlag{Name: "force", Usage: "overwrite FILE"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			file, err := fileArgument(cmd)
			if err != nil {
				return err
			}
			out := output{cmd.Root().Writer, cmd.Root().ErrWriter}
			return createBackup(ctx, out, os.Environ(), file, cmd.Bool("with-key"), cmd.Bool("force"))
		},
	}
}

func restoreCommand() *cli.Command {
	return &cli.Command{
		Name:      "restore",
		Usage:     "make this installation from a file of `slipway backup`; the gateway must be stopped",
		ArgsUsage: "FILE",
		Description: "Checks all of FILE before it changes anything, and then writes the database, the logs and, if\n" +
			"the backup has one, the key to where the gateway's settings say. An older schema is upgraded,\n" +
			"and a newer one is refused. People sign in again. At its start the gateway looks for pushes\n" +
			"since the backup.\n\n" +
			"An installation that exists is refused. --replace moves its database, its logs and, if needed,\n" +
			"its key to the directory before-restore-… in SLIPWAY_DATA. The rows of a PostgreSQL database\n" +
			"are deleted.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "replace", Usage: "replace the installation that exists"}},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			file, err := fileArgument(cmd)
			if err != nil {
				return err
			}
			out := output{cmd.Root().Writer, cmd.Root().ErrWriter}
			return restoreBackup(ctx, out, os.Environ(), file, cmd.Bool("replace"))
		},
	}
}

// output holds the writers of a command: results, and notes that need attention.
type output struct{ results, notes io.Writer }

// fileArgument returns the only argument of a command.
func fileArgument(cmd *cli.Command) (string, error) {
	switch file := cmd.Args().First(); {
	case cmd.Args().Len() != 1 || file == "":
		return "", cli.Exit(fmt.Sprintf("give one file: slipway %s FILE", cmd.Name), 2)
	case file == "-":
		return "", cli.Exit("give the name of a file: a backup is read again as a whole, which a stream cannot be", 2)
	default:
		return file, nil
	}
}

// createBackup writes a backup and prints its content.
func createBackup(ctx context.Context, out output, environ []string, file string, withKey, force bool) error {
	c, err := config.LoadGateway(environ)
	if err != nil {
		return err
	}
	in := backup.Installation{
		Store: assembly.Database(c), Logs: logsDir(c), Key: c.Key, URL: c.URL, Version: config.Version,
	}
	if in.Store.Sealer, err = seal.LoadOrCreate(c.Key, false); err != nil {
		return err
	}
	result, err := backup.Create(ctx, in, file, withKey, force)
	for _, note := range result.Notes {
		fmt.Fprintln(out.notes, note)
	}
	if err != nil {
		return err
	}
	if withKey {
		fmt.Fprintf(
			out.notes,
			"%s contains the key: everyone who reads it can use the credentials of this installation\n",
			file,
		)
	} else {
		fmt.Fprintf(out.notes, "the key is not in the backup: keep a copy of %s in another place: "+
			"without it, linked accounts and other secrets are lost\n", c.Key)
	}
	noteUnreadable(out.notes, result.Unreadable)
	_, err = fmt.Fprintf(out.results, "%s: %s, verified: %s, and %d secrets that the key opens\n",
		file, size.Format(result.Size), describe(result.Manifest), result.Sealed)
	return err
}

// describe returns the content of a backup in a few words.
func describe(m backup.Manifest) string {
	return fmt.Sprintf("%s at %s with %d builds, %d deliveries and %d logs", m.URL,
		m.Created.UTC().Format("2006-01-02 15:04:05 MST"), m.Rows["builds"], m.Rows["deliveries"], m.Logs())
}

// noteUnreadable names sealed values that are lost.
func noteUnreadable(w io.Writer, places []string) {
	for _, place := range places {
		fmt.Fprintf(w, "the key does not open %s, so the value is lost: link the account again, "+
			"or enter the secret again\n", place)
	}
}

// restoreBackup makes the installation of the settings from a backup, and prints what it did.
func restoreBackup(ctx context.Context, out output, environ []string, file string, replace bool) (err error) {
	c, err := config.LoadGateway(environ)
	if err != nil {
		return err
	}
	if _, err := os.Stat(file); err != nil { //nolint:gosec // the person's own file
		return err
	}
	unlock, err := lockForRestore(c.Data)
	if err != nil {
		return err
	}
	defer func() { unlock(err == nil) }()
	data, err := filepath.Abs(c.Data)
	if err != nil {
		return err
	}
	restored, err := backup.Restore(ctx, backup.RestoreOptions{
		File: file, Data: data, Key: c.Key, Postgres: c.Database, Replace: replace, Now: time.Now(),
	})
	if err != nil {
		return err
	}
	if restored.Aside != "" {
		fmt.Fprintf(out.notes, "the earlier files are in %s: remove it when you no longer need them\n", restored.Aside)
	}
	if restored.URL != c.URL {
		fmt.Fprintf(
			out.notes,
			"the backup is of %s, and SLIPWAY_URL is %s: the gateway adds webhooks for the new address "+
				"when it checks them\n",
			restored.URL,
			c.URL,
		)
	}
	noteUnreadable(out.notes, restored.Unreadable)
	_, err = fmt.Fprintf(out.results, "restored %s: start the gateway\n", describe(restored.Manifest))
	return err
}

// lockForRestore creates the data directory and locks it, so that no gateway runs in it. If the restore failed, unlock
// removes what it created, because a gateway takes a directory with a name for one whose database was lost.
func lockForRestore(data string) (unlock func(restored bool), err error) {
	_, err = os.Stat(data)
	newDir := errors.Is(err, fs.ErrNotExist)
	if _, err := makeDataDir(data); err != nil {
		return nil, err
	}
	name := filepath.Join(data, "gateway")
	_, err = os.Stat(name)
	newName := errors.Is(err, fs.ErrNotExist)
	dir, err := lockDataDir(data)
	if err != nil {
		return nil, fmt.Errorf("restore needs the gateway stopped: %w", err)
	}
	if newName {
		err = backup.GiveTo(name, data)
	}
	unlock = func(restored bool) {
		if !restored && newName {
			_ = os.Remove(name)
		}
		if !restored && newDir {
			_ = os.Remove(data)
		}
		dir.close()
	}
	if err != nil {
		unlock(false)
		return nil, err
	}
	return unlock, nil
}
