package store

import (
	"context"
	"fmt"
	"strings"
)

// A BrokenValue is a stored secret that does not open.
type BrokenValue struct {
	Place string // table, column and row, e.g. "hooks/secret/g6dpf7wqymcapjcdv5wpjdge3u"
	Err   error  // the key is missing, or the value was altered or moved
}

// A SealCheck is the result of opening all sealed values.
type SealCheck struct {
	Key    byte          // seals new values
	Values map[byte]int  // the number of values by the id of their key
	Broken []BrokenValue // values that do not open
}

// Old returns the number of values of other keys.
func (c SealCheck) Old() int {
	old := 0
	for key, n := range c.Values {
		if key != c.Key {
			old += n
		}
	}
	return old
}

// total returns the number of values.
func (c SealCheck) total() (n int) {
	for _, values := range c.Values {
		n += values
	}
	return n
}

// CheckSealed opens all sealed values. If all have the key that seals new values, no transaction
// stores a value of another key later.
func (s *Store) CheckSealed(ctx context.Context) (SealCheck, error) {
	key, err := s.SealingKey(ctx)
	if err != nil {
		return SealCheck{}, err
	}
	check, err := s.openColumns(ctx, sealedColumns())
	check.Key = key
	return check, err
}

// openColumns opens the values of columns.
func (s *Store) openColumns(ctx context.Context, columns []sealedColumn) (SealCheck, error) {
	check := SealCheck{Values: map[byte]int{}}
	for _, c := range columns {
		if err := s.checkColumn(ctx, &check, c); err != nil {
			return SealCheck{}, fmt.Errorf("check %s.%s: %w", c.table, c.column, mapError(err))
		}
	}
	return check, nil
}

func (s *Store) checkColumn(ctx context.Context, check *SealCheck, c sealedColumn) error {
	rows, err := s.read.QueryContext(ctx, c.query(c.column+", "+strings.Join(c.ids, ", ")))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var value []byte
		row := make([]string, len(c.ids))
		if err := rows.Scan(append([]any{&value}, pointers(row)...)...); err != nil {
			return err
		}
		check.Values[value[0]]++
		if _, err := s.unsealed(c.table, c.column, value, row...); err != nil {
			place := strings.Join(append([]string{c.table, c.column}, row...), "/")
			check.Broken = append(check.Broken, BrokenValue{Place: place, Err: err})
		}
	}
	return rows.Err()
}
