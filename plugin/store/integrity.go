package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pressly/goose/v3"
)

const (
	// startCheckTime bounds the check of the content when a gateway starts. The check reads about 400 MB
	// a second, so it completes for most databases. `slipway doctor --database` has no limit.
	startCheckTime = 250 * time.Millisecond
	// damageTime bounds the search for damage after an error, when the gateway does not start anyway.
	damageTime = 5 * time.Second
	// maxProblems is the maximum number of problems in one error.
	maxProblems = 5
)

// quickCheck looks for damage in a SQLite file, for startCheckTime at most. It returns nil if it found
// none in this time.
func (s *Store) quickCheck(ctx context.Context) error {
	if s.dialect != goose.DialectSQLite3 {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, startCheckTime)
	defer cancel()
	err := pragmaCheck(limited, s.read, "quick_check")
	if err != nil && !errors.Is(err, ErrDamaged) && limited.Err() != nil {
		return ctx.Err()
	}
	return err
}

// findDamage returns the damage that may be the cause of an error of Open: a changed byte can look like a
// newer schema or another key, and a changed definition of a table like a database without that table.
// Without damage it returns err.
func (s *Store) findDamage(ctx context.Context, err error) error {
	if s.files == nil || s.read == nil || errors.Is(err, ErrDamaged) {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, damageTime)
	defer cancel()
	damage := pragmaCheck(limited, s.read, "integrity_check")
	if !errors.Is(damage, ErrDamaged) {
		version, versionErr := schemaOf(limited, s.read)
		newest, newestErr := SchemaVersion()
		if versionErr != nil || newestErr != nil || version > newest {
			return err // a new database has no schema yet, and only a newer program knows the definitions of its own
		}
		damage = checkSchemaText(limited, s.read, version)
	}
	if errors.Is(damage, ErrDamaged) {
		return fmt.Errorf("%w: %w", damage, err)
	}
	return err
}

// pragmaCheck runs one of SQLite's checks, which returns a row "ok" or the problems.
// Source: https://www.sqlite.org/pragma.html#pragma_integrity_check
func pragmaCheck(ctx context.Context, q querier, pragma string) error {
	problems, err := queryAll(ctx, q, scanString, fmt.Sprintf(`PRAGMA %s(%d)`, pragma, maxProblems))
	if err != nil {
		return markDamage(err)
	}
	if text := strings.Join(problems, "; "); text != "ok" {
		return fmt.Errorf("%s: %w", text, ErrDamaged)
	}
	return nil
}

func scanString(r scanner) (s string, err error) {
	err = r.Scan(&s)
	return s, err
}

// CheckIntegrity reads the whole database. It compares each index with its table, the structure of
// all pages, and the schema, as far as the database can: PostgreSQL needs the extension amcheck. The
// note describes what was checked. Damage is ErrDamaged. A large database takes long, as it does for
// the other Check methods, which only read too.
func (s *Store) CheckIntegrity(ctx context.Context) (note string, err error) {
	return s.reading(ctx, s.checkIntegrity)
}

// CheckForeignKeys looks for rows that refer to a missing row. Such a row is ErrDamaged.
func (s *Store) CheckForeignKeys(ctx context.Context) (note string, err error) {
	return s.reading(ctx, s.checkForeignKeys)
}

// CheckRows reads each value of each table, and unpacks the bodies of deliveries, which have a
// checksum. It compares the counters with the numbers in use. A value that cannot be read and a counter that is behind
// are ErrDamaged.
func (s *Store) CheckRows(ctx context.Context) (note string, err error) {
	return s.reading(ctx, s.checkRows)
}

// reading calls check with a transaction that only reads, without the time limits of other queries.
func (s *Store) reading(
	ctx context.Context, check func(context.Context, querier) (string, error),
) (string, error) {
	if s.dialect == goose.DialectSQLite3 { // a transaction would be a writer (dsn)
		return check(ctx, s.read)
	}
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return "", err
	}
	defer func() { _ = tx.Rollback() }() // it only reads
	for _, limit := range []string{"statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout"} {
		if _, err := tx.ExecContext(ctx, `SET LOCAL `+limit+` = 0`); err != nil {
			return "", err
		}
	}
	return check(ctx, tx)
}

func (s *Store) checkIntegrity(ctx context.Context, q querier) (string, error) {
	if s.dialect == goose.DialectPostgres {
		return checkPostgres(ctx, q)
	}
	version, err := schemaOf(ctx, q)
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, ErrDamaged)
	}
	// First the definitions: with a changed one, the other check can end in an error of its SQL.
	if err := checkSchemaText(ctx, q, version); err != nil {
		return "", err
	}
	if err := pragmaCheck(ctx, q, "integrity_check"); err != nil {
		return "", err
	}
	return "all pages and indexes of the file fit together", nil
}

func (s *Store) checkRows(ctx context.Context, q querier) (string, error) {
	tables, err := s.columnsOf(ctx, q)
	if err != nil {
		return "", err
	}
	total := 0
	var problems []error
	for _, table := range sortedKeys(tables) {
		n, err := s.checkTable(ctx, q, table)
		total += n
		if err != nil && len(problems) < maxProblems {
			problems = append(problems, fmt.Errorf("table %s: row %d: %w", table, n+1, markDamage(err)))
		}
	}
	problems = append(problems, s.checkCounters(ctx, q))
	return fmt.Sprintf("%d rows of %d tables can be read", total, len(tables)), errors.Join(problems...)
}

// checkCounters looks for counters that would give a number a second time.
func (s *Store) checkCounters(ctx context.Context, q querier) error {
	behind, err := queryAll(ctx, q, scanString, `SELECT name FROM counters
		WHERE name = 'tasks' AND value < (SELECT COALESCE(MAX(id), 0) FROM tasks)
		OR name = 'builds' AND value < (SELECT COALESCE(MAX(number), 0) FROM builds)`)
	if err != nil {
		return markDamage(err)
	}
	if len(behind) > 0 {
		return fmt.Errorf("counters that are behind their rows: %s: %w", strings.Join(behind, ", "), ErrDamaged)
	}
	return nil
}

// checkTable reads the rows of a table until a value has not the type of its column. It returns the
// number of good rows.
func (s *Store) checkTable(ctx context.Context, q querier, table string) (n int, err error) {
	rows, err := q.QueryContext(ctx, `SELECT * FROM `+table)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.ColumnTypes()
	if err != nil {
		return 0, err
	}
	values := make([]any, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for ; rows.Next(); n++ {
		if err := rows.Scan(into...); err != nil {
			return n, err
		}
		for i, value := range values {
			if err := s.checkValue(table, columns[i], value); err != nil {
				return n, fmt.Errorf("column %s: %w: %w", columns[i].Name(), err, ErrDamaged)
			}
		}
	}
	return n, rows.Err()
}

// checkValue checks a value as the database returned it.
func (s *Store) checkValue(table string, column *sql.ColumnType, value any) error {
	switch v := value.(type) {
	case string:
		if !utf8.ValidString(v) {
			return errors.New("invalid text")
		}
		if declared := column.DatabaseTypeName(); declared != "TEXT" {
			return fmt.Errorf("text in a column of type %s", declared)
		}
	case []byte:
		if table == "deliveries" && column.Name() == "body" {
			_, err := s.decoder.DecodeAll(v, nil)
			return err
		}
	}
	return nil
}
