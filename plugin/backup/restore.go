package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"slipway/config/secret"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
)

// RestoreOptions locate a backup and the installation that it becomes.
type RestoreOptions struct {
	File     string
	Data     string        // the data directory, which the caller has locked
	Key      string        // path of the key file
	Postgres secret.Secret // address of a PostgreSQL database; zero = SQLite in Data
	Replace  bool          // replace an installation that exists
	Now      time.Time
}

// A Restored describes a restored installation.
type Restored struct {
	Manifest
	Aside string // directory of the earlier files of the installation; empty = there were none
	// KeyWritten reports whether the key file is that of the backup. Else the existing one was kept.
	KeyWritten bool
	Unreadable []string // places of sealed values that the key does not open
}

// Restore makes an installation from a backup. It checks the whole backup and its database before it changes
// anything. Files that it replaces are moved to a directory of their own. The database comes last, so that a gateway
// cannot start on half of a backup.
func Restore(ctx context.Context, o RestoreOptions) (Restored, error) {
	if err := o.checkTarget(ctx); err != nil {
		return Restored{}, err
	}
	if err := removeStaging(o.Data); err != nil {
		return Restored{}, fmt.Errorf("restore to %s: %w", o.Data, err)
	}
	staging, err := os.MkdirTemp(o.Data, stagingPrefix) // mode 0700
	if err != nil {
		return Restored{}, fmt.Errorf("restore to %s: %w", o.Data, err)
	}
	defer func() { _ = os.RemoveAll(staging) }()
	r := restore{RestoreOptions: o, staging: staging}
	if err := r.read(ctx); err != nil {
		return Restored{}, fmt.Errorf("restore %s: %w", o.File, err)
	}
	if err := r.install(ctx); err != nil {
		return Restored{}, fmt.Errorf("restore to %s: %w%s", o.Data, err, r.asideHint())
	}
	return r.result, nil
}

func (o RestoreOptions) databasePath() string { return filepath.Join(o.Data, databaseName) }

// stagingPrefix begins the name of the directory that a backup is extracted to.
const stagingPrefix = ".restore-"

// checkTarget refuses an installation that exists.
func (o RestoreOptions) checkTarget(ctx context.Context) error {
	if o.Replace {
		return nil
	}
	used, err := store.HasInstallation(ctx, store.Options{Path: o.databasePath(), Postgres: o.Postgres})
	if err != nil {
		return err
	}
	switch {
	case !used:
		return nil
	case o.Postgres.IsZero():
		return fmt.Errorf("%s has a database: set another SLIPWAY_DATA, or replace the installation with --replace, "+
			"which moves its files aside", o.Data)
	}
	return errors.New("the PostgreSQL database is in use by an installation: set another SLIPWAY_DATABASE, " +
		"or replace all of its rows with --replace")
}

// A restore is one call of Restore.
type restore struct {
	RestoreOptions
	staging string
	result  Restored
}

// read extracts the backup, checks it, and makes its database ready.
func (r *restore) read(ctx context.Context) error {
	m, err := extract(ctx, r.File, r.staging, func(string) bool { return true })
	if err != nil {
		return err
	}
	r.result.Manifest = m
	newest, err := store.SchemaVersion()
	if err != nil {
		return err
	}
	if m.Schema > newest {
		return fmt.Errorf("its schema version is %d, this program supports %d: use Slipway %s or a newer version",
			m.Schema, newest, m.Version)
	}
	database := filepath.Join(r.staging, databaseName)
	sealer, err := r.chooseKey(ctx, database)
	if err != nil {
		return err
	}
	check, err := checkDatabase(ctx, database, sealer, m)
	if err != nil {
		return err
	}
	r.result.Unreadable = check.Unreadable
	if err := store.PrepareSnapshot(ctx, database, sealer, r.Now); err != nil {
		return err
	}
	if err := os.Remove(database + ".lock"); err != nil {
		return err
	}
	return errors.Join(syncTree(r.staging), GiveTo(r.staging, r.Data))
}

// chooseKey returns the key of the database: that of the existing key file, if it fits, or that of the backup.
func (r *restore) chooseKey(ctx context.Context, database string) (*seal.Sealer, error) {
	existing, err := seal.LoadOrCreate(r.Key, false)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return nil, err
	}
	if !missing {
		if _, err = checkDatabase(ctx, database, existing, r.result.Manifest); err == nil {
			return existing, nil
		}
		if !errors.Is(err, store.ErrWrongKey) {
			return nil, err
		}
	}
	switch {
	case !r.result.HasKey() && missing:
		return nil, fmt.Errorf("it has no key, and SLIPWAY_KEY_FILE=%s does not exist: put the key file of its "+
			"installation there: without it, linked accounts and other secrets cannot be read", r.Key)
	case !r.result.HasKey():
		return nil, fmt.Errorf(
			"SLIPWAY_KEY_FILE=%s does not belong to it: put the key file of its installation there",
			r.Key,
		)
	case !missing && !r.Replace:
		return nil, fmt.Errorf(
			"SLIPWAY_KEY_FILE=%s is another key than the backup's: restore to another installation, "+
				"or replace the key with --replace, which moves the file aside",
			r.Key,
		)
	}
	r.result.KeyWritten = true
	return seal.LoadOrCreate(filepath.Join(r.staging, keyName), false)
}

// install moves the earlier files aside and the new ones to their places. A SQLite file is the last of them.
// PostgreSQL comes first, because a gateway that uses it is found only there.
func (r *restore) install(ctx context.Context) error {
	if !r.Postgres.IsZero() {
		logs := extractedLogs(r.staging, r.result.Manifest)
		database := filepath.Join(r.staging, databaseName)
		if err := store.LoadPostgres(ctx, r.Postgres, database, logs); err != nil {
			return err
		}
	}
	if err := r.moveAside(); err != nil {
		return err
	}
	if r.result.KeyWritten {
		if err := r.installKey(); err != nil {
			return err
		}
	}
	if !r.Postgres.IsZero() {
		return nil
	}
	logs := filepath.Join(r.staging, "logs")
	if err := os.Rename(logs, filepath.Join(r.Data, "logs")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := syncPath(r.Data); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(r.staging, databaseName), r.databasePath()); err != nil {
		return err
	}
	return syncPath(r.Data)
}

// moveAside moves the files that the backup replaces. Rows of PostgreSQL have no file.
func (r *restore) moveAside() error {
	var old []string
	if r.Postgres.IsZero() {
		for _, name := range []string{databaseName, databaseName + "-wal", databaseName + "-shm", "logs"} {
			old = append(old, filepath.Join(r.Data, name))
		}
	}
	if r.result.KeyWritten {
		old = append(old, r.Key)
	}
	for _, path := range old {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if r.result.Aside == "" {
			r.result.Aside = filepath.Join(r.Data, "before-restore-"+r.Now.UTC().Format("20060102T150405Z"))
			if err := os.Mkdir(r.result.Aside, 0o700); err != nil {
				return err
			}
			if err := GiveTo(r.result.Aside, r.Data); err != nil {
				return err
			}
		}
		if err := moveFile(path, filepath.Join(r.result.Aside, filepath.Base(path))); err != nil {
			return err
		}
	}
	return syncPath(r.Data)
}

// installKey writes the key file, which may be on another file system than the data directory.
func (r *restore) installKey() error {
	if err := moveFile(filepath.Join(r.staging, keyName), r.Key); err != nil {
		return fmt.Errorf("write SLIPWAY_KEY_FILE: %w", err)
	}
	return syncPath(filepath.Dir(r.Key))
}

// moveFile renames a file, or copies it to another file system.
func moveFile(from, to string) error {
	err := os.Rename(from, to)
	if !errors.Is(err, unix.EXDEV) {
		return err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := GiveTo(to, filepath.Dir(from)); err != nil {
		return err
	}
	return os.Remove(from)
}

// asideHint names the place of the earlier files for an error.
func (r *restore) asideHint() string {
	if r.result.Aside == "" {
		return ""
	}
	return ": the earlier files are in " + r.result.Aside
}
