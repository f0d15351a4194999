package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"slipway/plugin/store/seal"
)

// checkKey checks that the key file can decrypt the stored secrets. With a wrong key the gateway
// would start, and then fail at each linked account and each registry. It only reads.
func (s *Store) checkKey(ctx context.Context) error {
	columns, err := s.columnsOf(ctx, s.read)
	if err != nil {
		return err
	}
	if len(columns["instance"]) == 0 {
		return ErrNotInstalled
	}
	err = s.openKeyCheck(ctx, s.read)
	if errors.Is(err, ErrWrongKey) {
		return s.explainWrongKey(ctx, columns, err)
	}
	if err != nil {
		return err
	}
	return s.checkKeyIDs(ctx, columns)
}

// openKeyCheck decrypts the value that every installation has.
func (s *Store) openKeyCheck(ctx context.Context, q querier) error {
	var sealed []byte
	err := q.QueryRowContext(ctx, `SELECT value FROM instance WHERE name = 'key_check'`).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotInstalled
	}
	if err != nil {
		return fmt.Errorf("check key: %w", mapError(err))
	}
	if _, err := s.sealer.Open(keyCheckPlace, sealed); err != nil {
		return fmt.Errorf("%w: %w", ErrWrongKey, err)
	}
	return nil
}

// explainWrongKey returns ErrDamaged if the key file decrypts other values than the key check, and
// wrong otherwise.
func (s *Store) explainWrongKey(ctx context.Context, columns map[string][]string, wrong error) error {
	for _, c := range sealedColumns() {
		if !slices.Contains(columns[c.table], c.column) { // the schema is older
			continue
		}
		check := SealCheck{Values: map[byte]int{}}
		if err := s.checkColumn(ctx, &check, c); err != nil {
			return errors.Join(wrong, mapError(err))
		}
		if check.total() > len(check.Broken) {
			return fmt.Errorf("%s does not open, but other secrets do: %w", keyCheckPlace, ErrDamaged)
		}
	}
	return wrong
}

// total returns the number of values.
func (c SealCheck) total() (n int) {
	for _, values := range c.Values {
		n += values
	}
	return n
}

// checkKeyIDs checks that the key file contains the key of each sealed value, without decrypting them.
func (s *Store) checkKeyIDs(ctx context.Context, columns map[string][]string) error {
	for _, c := range sealedColumns() {
		if !slices.Contains(columns[c.table], c.column) { // the schema is older
			continue
		}
		ids, err := queryAll(ctx, s.read, scanBytes, c.query(`DISTINCT substr(`+c.column+`, 1, 1)`))
		if err != nil {
			return fmt.Errorf("read %s.%s: %w", c.table, c.column, mapError(err))
		}
		for _, id := range ids {
			_, err := s.sealer.Open(c.table+"/"+c.column, id)
			if errors.Is(err, seal.ErrUnknownKey) {
				return fmt.Errorf(
					"a secret in %s.%s has key %d: put its line back; if there never was such a line, %w: %w",
					c.table,
					c.column,
					id[0],
					ErrDamaged,
					ErrWrongKey,
				)
			}
		}
	}
	return nil
}

func scanBytes(r scanner) (b []byte, err error) {
	err = r.Scan(&b)
	return b, err
}
