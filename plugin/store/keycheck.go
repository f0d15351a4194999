package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

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

// explainWrongKey explains why the key check does not open, if the key file decrypts other values. After
// an interrupted change of the key, an older copy of the key file does. Otherwise the key check is damaged.
func (s *Store) explainWrongKey(ctx context.Context, columns map[string][]string, wrong error) error {
	check, err := s.openColumns(ctx, existingSealedColumns(columns))
	switch {
	case err != nil:
		return errors.Join(wrong, err)
	case check.total() == len(check.Broken):
		return wrong
	case errors.Is(wrong, seal.ErrUnknownKey):
		const fix = "other secrets open, so put the line of this key back; if there never was such a line"
		return fmt.Errorf("%w: %s, %w", wrong, fix, ErrDamaged)
	}
	return fmt.Errorf("%s does not open, but other secrets do: %w", keyCheckPlace, ErrDamaged)
}

// checkKeyIDs checks that the key file contains the key of each sealed value, without decrypting them.
func (s *Store) checkKeyIDs(ctx context.Context, columns map[string][]string) error {
	for _, c := range existingSealedColumns(columns) {
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
