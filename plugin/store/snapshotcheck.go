package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/pressly/goose/v3"

	"slipway/plugin/store/seal"
)

// A SnapshotCheck is the result of CheckSnapshot.
type SnapshotCheck struct {
	Schema   int64            // version of the schema
	Instance string           // id of the installation
	Rows     map[string]int64 // number of rows by table
	Sealed   int              // sealed values that the key opens
	// Unreadable are the places of the values that the key does not open, e.g. "accounts/access_token/a".
	Unreadable []string
}

// CheckSnapshot checks the file of a snapshot: its structure, the references between its rows, and its sealed values.
// Without a sealer it does not open them.
func CheckSnapshot(ctx context.Context, path string, sealer *seal.Sealer) (SnapshotCheck, error) {
	db, err := openSnapshot(path)
	if err != nil {
		return SnapshotCheck{}, err
	}
	defer func() { _ = db.Close() }() // it was only read
	d := &database{dialect: goose.DialectSQLite3, read: db}
	var c SnapshotCheck
	if err := pragmaCheck(ctx, db, "integrity_check"); err != nil {
		return c, err
	}
	if _, err := d.checkForeignKeys(ctx, db); err != nil {
		return c, err
	}
	if c.Schema, err = schemaOf(ctx, db); err != nil {
		return c, err
	}
	var id []byte
	if err := db.QueryRowContext(ctx, `SELECT value FROM instance WHERE name = 'id'`).Scan(&id); err != nil {
		return c, fmt.Errorf("read the id of the installation: %w", mapError(err))
	}
	c.Instance = string(id)
	if c.Rows, err = countRows(ctx, db); err != nil {
		return c, err
	}
	if sealer != nil {
		err = c.openSealed(ctx, &Store{database: d, sealer: sealer})
	}
	return c, err
}

// openSealed opens all sealed values of a database, which may have an older schema.
func (c *SnapshotCheck) openSealed(ctx context.Context, s *Store) error {
	if err := s.openKeyCheck(ctx, s.read); err != nil {
		return err
	}
	columns, err := s.columnsOf(ctx, s.read)
	if err != nil {
		return err
	}
	check, err := s.openColumns(ctx, existingSealedColumns(columns))
	if err != nil {
		return err
	}
	for _, broken := range check.Broken {
		c.Unreadable = append(c.Unreadable, broken.Place)
	}
	c.Sealed = check.total() - len(check.Broken)
	return nil
}

func openSnapshot(path string) (*sql.DB, error) {
	return sql.Open("sqlite", dsn(path, "query_only(1)"))
}

func countRows(ctx context.Context, db *sql.DB) (map[string]int64, error) {
	all, err := tables(ctx, db)
	if err != nil {
		return nil, err
	}
	rows := make(map[string]int64, len(all))
	for _, table := range all {
		var n int64
		if err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM `+table).Scan(&n); err != nil {
			return nil, fmt.Errorf("count rows of %s: %w", table, err)
		}
		rows[table] = n
	}
	return rows, nil
}

// buildNumberGap separates the numbers of builds before and after a restore. Builds that ran after the backup had
// numbers that the database does not know, and statuses at Bitbucket link to them.
const buildNumberGap = 1000

// PrepareSnapshot makes the file of a snapshot ready to be used by a gateway. It migrates the schema, and removes what
// holds only for the time of the backup: sessions, started sign-ins and leases. It stores now as the time of the
// restore (AfterRestore), which LoadPostgres replaces by the server's time. The file is complete without its log
// (slipway.db-wal).
func PrepareSnapshot(ctx context.Context, path string, sealer *seal.Sealer, now time.Time) (err error) {
	s, err := Open(ctx, Options{Path: path, Sealer: sealer})
	if err != nil {
		return err
	}
	defer func() {
		if closed := s.Close(); err == nil {
			err = closed
		}
	}()
	if err := s.clearBackupTime(ctx, now); err != nil {
		return err
	}
	return s.checkpoint(ctx)
}

// clearBackupTime is the change of PrepareSnapshot.
func (s *Store) clearBackupTime(ctx context.Context, now time.Time) error {
	return s.tx(ctx, "prepare the restored database", func(tx *sql.Tx) error {
		for _, statement := range []string{
			`DELETE FROM sessions`, // a session that was ended since the backup must not live again
			`DELETE FROM oauth_flows`,
			`DELETE FROM first_tokens`,
			`DELETE FROM permissions`, // they are read again at the next sign-in
			`UPDATE users SET permissions_at = 0`,
			`DELETE FROM leases`,
			`UPDATE tasks SET due_at = 0 WHERE state = 'running'`, // their workers are gone
			fmt.Sprintf(`UPDATE counters SET value = (value / %d + 1) * %[1]d WHERE name = 'builds'`, buildNumberGap),
		} {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO instance (name, value) VALUES ('restored_at', $1)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, fmt.Appendf(nil, "%d", ms(now)))
		return err
	})
}
