package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// resealBatch is the maximum number of values that one transaction seals again, because
	// deliveries wait for its end.
	resealBatch = 20
	// resealPause is the minimum time between two of these transactions, so that other processes
	// get SQLite's lock.
	resealPause = 5 * time.Millisecond
)

// Reseal seals all values of old keys again with the key that seals new values, in small
// transactions beside the work of the gateways. It returns the number of values that it sealed. If it
// is interrupted, the next call seals the rest. It leaves values that do not open as they are:
// CheckSealed returns them.
func (s *Store) Reseal(ctx context.Context) (values int, err error) {
	for _, c := range sealedColumns() {
		n, err := s.resealColumn(ctx, c)
		values += n
		if err != nil {
			return values, fmt.Errorf("seal the values of %s.%s again: %w", c.table, c.column, err)
		}
	}
	return values, nil
}

func (s *Store) resealColumn(ctx context.Context, c sealedColumn) (values int, err error) {
	after := make([]string, len(c.ids)) // no row has empty ids
	for {
		key, err := s.SealingKey(ctx)
		if err != nil {
			return values, err
		}
		rows, err := s.rowsOfOldKeys(ctx, c, key, after)
		if err != nil || len(rows) == 0 {
			return values, err
		}
		began := time.Now()
		n, err := s.resealRows(ctx, c, rows)
		values += n
		if err != nil {
			return values, err
		}
		after = rows[len(rows)-1]
		select {
		case <-time.After(max(resealPause, 2*time.Since(began))):
		case <-ctx.Done():
			return values, ctx.Err()
		}
	}
}

// rowsOfOldKeys returns the ids of the next rows whose value has another key.
func (s *Store) rowsOfOldKeys(ctx context.Context, c sealedColumn, key byte, after []string) ([][]string, error) {
	var args conditions
	old := fmt.Sprintf(" AND substr(%s, 1, 1) <> %s", c.column, args.arg([]byte{key}))
	var bounds []string
	for _, id := range after {
		bounds = append(bounds, args.arg(id))
	}
	ids := strings.Join(c.ids, ", ")
	next := fmt.Sprintf(" AND (%s) > (%s) ORDER BY %[1]s LIMIT %[3]d", ids, strings.Join(bounds, ", "), resealBatch)
	scan := func(r scanner) ([]string, error) {
		row := make([]string, len(c.ids))
		return row, r.Scan(pointers(row)...)
	}
	return queryAll(ctx, s.read, scan, c.query(ids)+old+next, args.args...)
}

func pointers(row []string) []any {
	all := make([]any, len(row))
	for i := range row {
		all[i] = &row[i]
	}
	return all
}

func (s *Store) resealRows(ctx context.Context, c sealedColumn, rows [][]string) (values int, err error) {
	err = s.tx(ctx, "reseal", func(tx *sql.Tx) error {
		key, err := sealingKey(ctx, tx)
		if err != nil {
			return err
		}
		for _, row := range rows {
			sealed, err := s.resealValue(ctx, tx, key, c, row)
			if err != nil {
				return err
			}
			if sealed {
				values++
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return values, nil
}

// resealValue seals one value again, unless it has the key already, was deleted, or does not open.
func (s *Store) resealValue(
	ctx context.Context, tx *sql.Tx, key byte, c sealedColumn, row []string,
) (sealed bool, err error) {
	ids := make([]any, len(row))
	for i, id := range row {
		ids[i] = id
	}
	var old []byte
	err = tx.QueryRowContext(ctx, c.query(c.column)+" AND "+c.atRow(1), ids...).Scan(&old)
	if errors.Is(err, sql.ErrNoRows) || (err == nil && old[0] == key) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	value, err := s.unsealed(c.table, c.column, old, row...)
	if err != nil {
		return false, nil //nolint:nilerr // CheckSealed returns the error
	}
	renewed, err := s.sealed(ctx, tx, c.table, c.column, value, row...)
	if err != nil {
		return false, err
	}
	update := fmt.Sprintf(`UPDATE %s SET %s = $1 WHERE %s`, c.table, c.column, c.atRow(2)) //nolint:gosec // our names
	_, err = tx.ExecContext(ctx, update, append([]any{renewed}, ids...)...)
	return err == nil, err
}
