package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

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
	var c SnapshotCheck
	if err := checkPages(ctx, db); err != nil {
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
		err = c.openSealed(ctx, db, sealer)
	}
	return c, err
}

// openSealed opens all sealed values of a database, which may have an older schema.
func (c *SnapshotCheck) openSealed(ctx context.Context, db *sql.DB, sealer *seal.Sealer) error {
	var keyCheck []byte
	err := db.QueryRowContext(ctx, `SELECT value FROM instance WHERE name = 'key_check'`).Scan(&keyCheck)
	if err != nil {
		return fmt.Errorf("read the key check: %w", mapError(err))
	}
	if _, err := sealer.Open(keyCheckPlace, keyCheck); err != nil {
		return errWrongKey(err)
	}
	s := &Store{database: &database{read: db}, sealer: sealer}
	check := SealCheck{Values: map[byte]int{}}
	for _, column := range sealedColumns() {
		var exists bool
		err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM pragma_table_info($1) WHERE name = $2)`,
			column.table, column.column).Scan(&exists)
		if err == nil && exists {
			err = s.checkColumn(ctx, &check, column)
		}
		if err != nil {
			return fmt.Errorf("check %s.%s: %w", column.table, column.column, err)
		}
	}
	for _, n := range check.Values {
		c.Sealed += n
	}
	for _, broken := range check.Broken {
		c.Unreadable = append(c.Unreadable, broken.Place)
	}
	c.Sealed -= len(c.Unreadable)
	return nil
}

func errWrongKey(cause error) error { return fmt.Errorf("%w: %w", ErrWrongKey, cause) }

func openSnapshot(path string) (*sql.DB, error) {
	return sql.Open("sqlite", dsn(path, "query_only(1)"))
}

// checkPages runs SQLite's own checks of a file.
func checkPages(ctx context.Context, db *sql.DB) error {
	faults, err := queryAll(ctx, db, scanID, `PRAGMA integrity_check(5)`)
	if err != nil {
		return fmt.Errorf("check the database: %w", err)
	}
	if len(faults) != 1 || faults[0] != "ok" {
		return fmt.Errorf("the database is damaged: %v", faults)
	}
	orphans, err := queryAll(ctx, db, scanID, `SELECT "table" FROM pragma_foreign_key_check LIMIT 5`)
	if err != nil {
		return fmt.Errorf("check the database: %w", err)
	}
	if len(orphans) > 0 {
		return fmt.Errorf("the database is damaged: rows of %v refer to rows that do not exist", orphans)
	}
	return nil
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
// restore (RestoredBuild).
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
