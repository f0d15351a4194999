package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

// A LogFile is the log of one attempt in a backup. Own counts the gateway's bytes of it.
type LogFile struct {
	BuildID string
	Attempt int
	Path    string
	Own     int64
}

// HasInstallation reports whether a restore would replace something: a SQLite file, whatever it contains, or an
// installation in PostgreSQL.
func HasInstallation(ctx context.Context, o Options) (bool, error) {
	if !o.Postgres.IsZero() {
		return Installed(ctx, o)
	}
	_, err := os.Stat(o.Path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// LoadPostgres replaces all rows of a PostgreSQL database by those of a prepared snapshot, and its logs by files. It
// migrates the schema first. It changes all rows in one transaction, or none. It returns an error if a gateway uses
// the database.
func LoadPostgres(ctx context.Context, address secret.Secret, path string, logs iter.Seq[LogFile]) error {
	if err := loadPostgres(ctx, address, path, logs); err != nil {
		return fmt.Errorf("load database PostgreSQL: %w", err)
	}
	return nil
}

func loadPostgres(ctx context.Context, address secret.Secret, path string, logs iter.Seq[LogFile]) error {
	c, err := bulkConfig(address)
	if err != nil {
		return err
	}
	to, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close(context.WithoutCancel(ctx)) }() // its transactions have ended
	if err := migrateUnused(ctx, to, address); err != nil {
		return err
	}
	from, err := openSnapshot(path)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }() // it was only read
	tx, err := to.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // has no effect after a commit
	if err := checkNoGateway(ctx, tx); err != nil {
		return err
	}
	if err := replaceRows(ctx, tx, from); err != nil {
		return err
	}
	for log := range logs {
		if err := loadLog(ctx, tx, log); err != nil {
			return fmt.Errorf("load log %s: %w", log.Path, err)
		}
	}
	// The gateways compare the time of the restore with the server's time, and not with that of this machine.
	_, err = tx.Exec(ctx, `UPDATE instance SET value = convert_to(
		(extract(epoch FROM clock_timestamp()) * 1000)::int8::text, 'UTF8') WHERE name = 'restored_at'`)
	if err != nil {
		return fmt.Errorf("store the time of the restore: %w", err)
	}
	return tx.Commit(ctx)
}

// migrateUnused migrates the schema, unless a gateway uses the database: one of an older version could not start again.
func migrateUnused(ctx context.Context, conn *pgx.Conn, address secret.Secret) error {
	var hasLeases bool
	if err := conn.QueryRow(ctx, `SELECT to_regclass('leases') IS NOT NULL`).Scan(&hasLeases); err != nil {
		return err
	}
	if hasLeases {
		if err := findGateways(ctx, conn); err != nil {
			return err
		}
	}
	d, err := openPostgres(address)
	if err != nil {
		return err
	}
	return errors.Join(d.migrate(ctx), d.close())
}

// checkNoGateway returns an error if a gateway holds its lease. It takes the writers' lock, so that none writes until
// the transaction ends.
func checkNoGateway(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::int4, hashtext(current_schema()))`, writersLock)
	if err != nil {
		return fmt.Errorf("wait for other writers: %w", err)
	}
	return findGateways(ctx, tx)
}

// findGateways returns an error if a gateway holds its lease.
func findGateways(ctx context.Context, q interface {
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}) error {
	var gateways int
	err := q.QueryRow(ctx, `SELECT COUNT(*) FROM leases WHERE name LIKE 'gateway/%'
		AND until > (extract(epoch FROM clock_timestamp()) * 1000)::int8`).Scan(&gateways)
	if err != nil {
		return fmt.Errorf("find running gateways: %w", err)
	}
	if gateways > 0 {
		return fmt.Errorf("%d gateways use this database: stop all of them; after a crash, wait 15 seconds", gateways)
	}
	return nil
}

// replaceRows copies all tables of a snapshot. The order of tables has referenced rows first.
func replaceRows(ctx context.Context, tx pgx.Tx, from *sql.DB) error {
	all, err := tables(ctx, from)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `TRUNCATE `+strings.Join(all, ", ")); err != nil {
		return err
	}
	for _, table := range all {
		if holdsLogs(table) {
			continue
		}
		if err := loadTable(ctx, tx, from, table); err != nil {
			return fmt.Errorf("load table %s: %w", table, err)
		}
	}
	return nil
}

func loadTable(ctx context.Context, tx pgx.Tx, from *sql.DB, table string) error {
	rows, err := from.QueryContext(ctx, `SELECT * FROM `+table) //nolint:gosec // a name of the schema
	if err != nil {
		return err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	columns := make([]string, len(types))
	for i, column := range types {
		columns[i] = column.Name()
	}
	next := pgx.CopyFromFunc(func() ([]any, error) {
		if !rows.Next() {
			return nil, rows.Err()
		}
		values, err := scanRow(rows, len(types))
		for i := range values {
			values[i] = postgresValue(types[i].DatabaseTypeName(), values[i])
		}
		return values, err
	})
	_, err = tx.CopyFrom(ctx, pgx.Identifier{table}, columns, next)
	return err
}

// postgresValue converts a value of SQLite, which has no booleans and accepts any text.
func postgresValue(column string, value any) any {
	switch value := value.(type) {
	case string:
		return postgresText(value)
	case int64:
		if column == "BOOLEAN" {
			return value != 0
		}
	}
	return value
}

// loadLog stores one log in rows of maxChunk bytes.
func loadLog(ctx context.Context, tx pgx.Tx, log LogFile) error {
	f, err := os.Open(log.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = tx.Exec(ctx, `INSERT INTO logs (build_id, attempt, size, own, mid_line) VALUES ($1, $2, 0, 0, FALSE)`,
		log.BuildID, log.Attempt)
	if err != nil {
		return err
	}
	end := autobuild.LogEnd{Own: log.Own}
	for chunk := make([]byte, maxChunk); ; {
		n, err := io.ReadFull(f, chunk)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO log_chunks (build_id, attempt, position, data) VALUES ($1, $2, $3, $4)`,
			log.BuildID, log.Attempt, end.Size, chunk[:n])
		if err != nil {
			return err
		}
		end.Size, end.MidLine = end.Size+int64(n), chunk[n-1] != '\n'
	}
	_, err = tx.Exec(ctx, `UPDATE logs SET size = $3, own = $4, mid_line = $5 WHERE build_id = $1 AND attempt = $2`,
		log.BuildID, log.Attempt, end.Size, end.Own, end.MidLine)
	return err
}

// A LogEnd is the end of the log of one attempt in the database.
type LogEnd struct {
	BuildID   string
	Attempt   int
	Size, Own int64 // in bytes; Own counts those of the gateway
}

// OpenLogs opens a database for LogEnds, LogSize and ReadLog alone. The schema may be older than this program.
func OpenLogs(o Options) (*Store, error) {
	read, err := connectReadOnly(o)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", o.place(), err)
	}
	return &Store{database: &database{read: read}}, nil
}

// LogEnds lists the logs that the database stores.
func (s *Store) LogEnds(ctx context.Context) ([]LogEnd, error) {
	scan := func(r scanner) (e LogEnd, err error) {
		err = r.Scan(&e.BuildID, &e.Attempt, &e.Size, &e.Own)
		return e, err
	}
	all, err := queryAll(ctx, s.read, scan, `SELECT build_id, attempt, size, own FROM logs ORDER BY build_id, attempt`)
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	return all, nil
}
