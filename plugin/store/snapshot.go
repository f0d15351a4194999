package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/pressly/goose/v3"

	"slipway/config/secret"
)

// holdsLogs reports whether a table holds logs of builds, which PostgreSQL does. A snapshot leaves it empty, because
// a backup stores logs as files whatever the database is.
func holdsLogs(table string) bool { return table == "logs" || table == "log_chunks" }

// WriteSnapshot writes all rows of a database, except logs, to a new SQLite file at path. They are those of one
// time, while a gateway may write. A snapshot of PostgreSQL has the same form. The file has the schema of the
// database, which may be older than this program.
func WriteSnapshot(ctx context.Context, o Options, path string) error {
	write := writeSQLiteSnapshot
	if !o.Postgres.IsZero() {
		write = writePostgresSnapshot
	}
	if err := write(ctx, o, path); err != nil {
		return fmt.Errorf("copy database %s: %w", o.place(), err)
	}
	return nil
}

// writeSQLiteSnapshot copies the rows of the file and of its log (slipway.db-wal) in one read transaction.
func writeSQLiteSnapshot(ctx context.Context, o Options, path string) error {
	if _, err := os.Stat(o.Path); err != nil {
		return fmt.Errorf("%w: check SLIPWAY_DATA", err)
	}
	db, err := sql.Open("sqlite", dsn(o.Path))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // it was only read
	if err := checkSnapshotSchema(ctx, db, o.Program); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO $1`, path)
	return err
}

// writePostgresSnapshot copies the tables one after another in one transaction, which sees no later commit.
func writePostgresSnapshot(ctx context.Context, o Options, path string) error {
	from, err := openBulk(o.Postgres)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }() // it was only read
	if err := checkSnapshotSchema(ctx, from, o.Program); err != nil {
		return err
	}
	rows, err := from.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = rows.Rollback() }() // it was only read
	schema, err := schemaOf(ctx, rows)
	if err != nil {
		return err
	}
	to, err := sql.Open("sqlite", dsn(path, "synchronous(OFF)")) // the backup is synced as a whole
	if err != nil {
		return err
	}
	to.SetMaxOpenConns(1)
	return errors.Join(fillSnapshot(ctx, rows, to, schema), to.Close())
}

func fillSnapshot(ctx context.Context, from querier, to *sql.DB, schema int64) error {
	p, err := newMigrations(goose.DialectSQLite3, to)
	if err != nil {
		return err
	}
	if _, err := p.UpTo(ctx, schema); err != nil {
		return fmt.Errorf("make schema %d: %w", schema, err)
	}
	all, err := tables(ctx, to)
	if err != nil {
		return err
	}
	tx, err := to.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // has no effect after a commit
	for _, table := range all {
		if holdsLogs(table) {
			continue
		}
		if err := copyTable(ctx, from, tx, table); err != nil {
			return fmt.Errorf("copy table %s: %w", table, err)
		}
	}
	return tx.Commit()
}

// copyTable replaces the rows of a table of SQLite by those of another database.
func copyTable(ctx context.Context, from querier, to *sql.Tx, table string) error {
	clear := `DELETE FROM ` + table                       //nolint:gosec // a name of the schema
	if _, err := to.ExecContext(ctx, clear); err != nil { // the migrations insert counters
		return err
	}
	rows, err := from.QueryContext(ctx, `SELECT * FROM `+table)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	insert, err := to.PrepareContext(ctx, insertRow(table, columns))
	if err != nil {
		return err
	}
	defer func() { _ = insert.Close() }()
	for rows.Next() {
		values, err := scanRow(rows, len(columns))
		if err != nil {
			return err
		}
		if _, err := insert.ExecContext(ctx, values...); err != nil {
			return err
		}
	}
	return rows.Err()
}

// scanRow returns the values of a row of n columns: int64, string, []byte, bool or nil.
func scanRow(r scanner, n int) ([]any, error) {
	values, into := make([]any, n), make([]any, n)
	for i := range values {
		into[i] = &values[i]
	}
	return values, r.Scan(into...)
}

// insertRow returns the statement that inserts one row.
func insertRow(table string, columns []string) string {
	names, places := "", ""
	for i, column := range columns {
		if i > 0 {
			names, places = names+", ", places+", "
		}
		names += column
		places += fmt.Sprintf("$%d", i+1)
	}
	return fmt.Sprintf(`INSERT INTO %s (%s) VALUES (%s)`, table, names, places)
}

// tables lists the tables of a SQLite database in the order of their creation. So a table comes after those that
// it references. The table of the migrations is left out.
func tables(ctx context.Context, db querier) ([]string, error) {
	return queryAll(ctx, db, scanID, `SELECT name FROM sqlite_schema WHERE type = 'table'
		AND name NOT LIKE 'sqlite_%' AND name <> 'goose_db_version' ORDER BY rowid`)
}

// schemaOf returns the version of a database's schema.
func schemaOf(ctx context.Context, db querier) (version int64, err error) {
	err = db.QueryRowContext(ctx, `SELECT MAX(version_id) FROM goose_db_version`).Scan(&version)
	if err != nil {
		return 0, fmt.Errorf("read the version of the schema: %w", err)
	}
	return version, nil
}

// SchemaVersion returns the version of the schema that this program makes.
func SchemaVersion() (int64, error) {
	p, err := newMigrations(goose.DialectSQLite3, &sql.DB{})
	if err != nil {
		return 0, fmt.Errorf("migrations: %w", err)
	}
	all := p.ListSources()
	return all[len(all)-1].Version, nil
}

// checkSnapshotSchema returns an error if the schema is newer than this program.
func checkSnapshotSchema(ctx context.Context, db *sql.DB, program string) error {
	current, err := schemaOf(ctx, db)
	if err != nil {
		return err
	}
	newest, err := SchemaVersion()
	if err == nil && current > newest {
		err = (&database{read: db, program: program}).schemaError(ctx, current, newest)
	}
	return err
}

// openBulk opens one connection to PostgreSQL without the time limits of a gateway's statements.
func openBulk(address secret.Secret) (*sql.DB, error) {
	c, err := bulkConfig(address)
	if err != nil {
		return nil, err
	}
	return postgresPool(*c, 1), nil
}
