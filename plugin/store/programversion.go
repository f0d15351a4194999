package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// recordProgram stores the version of this program, whose schema the database has now. An older
// program names it when it refuses the schema.
func (s *Store) recordProgram(ctx context.Context, program string) error {
	if program == "" || s.programOf(ctx, s.read) == program {
		return nil
	}
	return s.tx(ctx, "record program", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO instance (name, value) VALUES ('program', $1)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, []byte(program))
		return err
	})
}

// programOf returns the version of the program that last opened the database as a gateway; empty =
// unknown.
func (d *database) programOf(ctx context.Context, q querier) string {
	var program []byte
	if err := q.QueryRowContext(ctx, `SELECT value FROM instance WHERE name = 'program'`).Scan(&program); err != nil {
		return "" // it is only a detail of messages
	}
	return string(program)
}

// ErrOldSchema means that the database has the schema of an earlier version, which only the start of a gateway
// migrates.
var ErrOldSchema = errors.New("run the same version as the gateway, and start an upgraded gateway once")

// schemaError explains that the database has the schema of another version of the program. If that is an earlier
// one, the error wraps ErrOldSchema.
func (d *database) schemaError(ctx context.Context, current, target int64) error {
	program := "this program"
	if d.program != "" {
		program = "this program (" + d.program + ")"
	}
	if current < target {
		return fmt.Errorf("schema version is %d, %s supports %d: %w", current, program, target, ErrOldSchema)
	}
	newer := "a newer version"
	if by := d.programOf(ctx, d.read); by != "" {
		newer = "version " + by
	}
	return fmt.Errorf("schema version is %d, %s supports %d: %s of Slipway upgraded the database: "+
		"run that version or a newer one, or restore the backup from before the upgrade",
		current, program, target, newer)
}

// checkReadable is checkSchema for a database that is only read. It returns nil if no gateway has
// created the database.
func (d *database) checkReadable(ctx context.Context) error {
	target, err := SchemaVersion()
	if err != nil {
		return err
	}
	var current sql.NullInt64
	err = d.read.QueryRowContext(ctx, `SELECT MAX(version_id) FROM goose_db_version`).Scan(&current)
	if err != nil || current.Int64 == target {
		return nil //nolint:nilerr // the checks after this one explain it
	}
	return d.schemaError(ctx, current.Int64, target)
}
