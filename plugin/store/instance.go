package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"slipway/config/secret"
)

// Errors of the functions that open a database.
var (
	// ErrNotInstalled means that no gateway has completed its first start with the database.
	ErrNotInstalled = errors.New("it holds no installation yet: check the setting, or start the gateway once")
	// ErrWrongKey means that the key file lacks a key that sealed the secrets of the database.
	ErrWrongKey = errors.New("the key file does not belong to this database: use its original key file")
)

// Installed reports whether the database holds an installation. It writes nothing, and it needs no
// key. The database may be in use.
func Installed(ctx context.Context, o Options) (installed bool, err error) {
	if o.Postgres.IsZero() {
		if exists, err := isFilled(o.Path); err != nil || !exists {
			return false, err
		}
	}
	d := &database{dialect: o.dialect()}
	defer func() { err = errors.Join(err, d.close()) }()
	if d.read, err = connectReadOnly(o); err == nil {
		installed, err = d.isInstalled(ctx)
	}
	if err != nil {
		return false, fmt.Errorf("open database %s: %w", o.place(), err)
	}
	return installed, nil
}

// isFilled reports whether a SQLite file has content. A log without its file is an error: SQLite
// would delete it.
func isFilled(path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err == nil && info.Size() > 0 {
		return true, nil
	}
	log, err := os.Stat(path + "-wal")
	if err != nil || log.Size() == 0 {
		return false, nil //nolint:nilerr // it does not exist
	}
	return false, fmt.Errorf("%s has no content, but its log %s has: put the file back, or restore a backup: %w",
		path, path+"-wal", ErrDamaged)
}

// isInstalled reports whether the first start of a gateway completed.
func (d *database) isInstalled(ctx context.Context) (installed bool, err error) {
	columns, err := d.columnsOf(ctx, d.read)
	if err != nil || len(columns["instance"]) == 0 {
		return false, err
	}
	err = d.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM instance WHERE name = 'key_check')`).
		Scan(&installed)
	if err != nil {
		return false, fmt.Errorf("read instance: %w", mapError(err))
	}
	return installed, nil
}

// checkContent checks an existing database before a gateway writes to it.
func (s *Store) checkContent(ctx context.Context) error {
	if err := s.quickCheck(ctx); err != nil {
		return err
	}
	if err := s.checkKey(ctx); !errors.Is(err, ErrNotInstalled) {
		return err
	}
	return nil
}

// nameInstance stores the id of a new installation, and a value that is sealed with its key.
func (s *Store) nameInstance(ctx context.Context) error {
	return s.tx(ctx, "name the installation", func(tx *sql.Tx) error {
		err := s.openKeyCheck(ctx, tx)
		if !errors.Is(err, ErrNotInstalled) {
			return err
		}
		sealed, err := s.sealer.Seal(s.sealer.Newest().ID, keyCheckPlace, secret.New(newID()))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO instance (name, value) VALUES ('id', $1), ('key_check', $2)`,
			[]byte(newID()), sealed)
		return err
	})
}

// recordRestoredStart stores the time of the first start of a gateway after a restore. The builds of the backup wait
// from then on, however often gateways are restarted.
func (s *Store) recordRestoredStart(ctx context.Context) error {
	restoredAt, err := s.restoredAt(ctx)
	if err != nil || restoredAt.IsZero() {
		return err
	}
	startedAt, err := s.instanceTime(ctx, restoredStart)
	if err != nil || !startedAt.Before(restoredAt) {
		return err
	}
	return s.tx(ctx, "record the first start after a restore", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO instance (name, value) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
			restoredStart, strconv.AppendInt(nil, max(ms(s.Now()), ms(restoredAt)), 10))
		return err
	})
}
