package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"slipway/config/secret"
)

// keyCheckPlace is the place of the value that names the key of this database: new values are
// sealed with the key of this one.
const keyCheckPlace = "instance/value/key_check"

// A sealedColumn is a column of sealed values.
type sealedColumn struct {
	table, column string
	ids           []string // the TEXT columns that identify a row, in the order of the place
	where         string   // SQL for the rows with a sealed value; empty = all rows
}

// sealedColumns lists all columns of sealed values. Values of other columns cannot be sealed, so
// that each sealed value is checked, and sealed again with a new key.
func sealedColumns() []sealedColumn {
	return []sealedColumn{
		{table: "instance", column: "value", ids: []string{"name"}, where: "name = 'key_check'"},
		{table: "accounts", column: "access_token", ids: []string{"id"}},
		{table: "accounts", column: "refresh_token", ids: []string{"id"}},
		{table: "environment", column: "value", ids: []string{"automated_build_id", "name"}},
		{table: "extension_secrets", column: "value", ids: []string{"engine", "purpose"}},
		{table: "forms", column: "result", ids: []string{"session_id", "form_key"}},
		{table: "hooks", column: "secret", ids: []string{"id"}},
		{table: "hooks", column: "previous_secret", ids: []string{"id"}},
		{table: "oauth_flows", column: "code_verifier", ids: []string{"state"}},
		{table: "providers", column: "client_secret", ids: []string{"id"}},
		{table: "registries", column: "password", ids: []string{"id"}},
		{table: "sessions", column: "access_token", ids: []string{"id"}},
		{table: "sessions", column: "refresh_token", ids: []string{"id"}},
	}
}

// existingSealedColumns returns the columns of sealed values that a database has. An older schema lacks some.
func existingSealedColumns(columns map[string][]string) []sealedColumn {
	return slices.DeleteFunc(sealedColumns(), func(c sealedColumn) bool {
		return !slices.Contains(columns[c.table], c.column)
	})
}

// query selects an expression from the rows with a sealed value.
func (c sealedColumn) query(expression string) string {
	where := c.where
	if where == "" {
		where = "TRUE"
	}
	return fmt.Sprintf(`SELECT %s FROM %s WHERE %s AND length(%s) > 0`, expression, c.table, where, c.column)
}

// atRow returns the condition for one row, with placeholders from $first on.
func (c sealedColumn) atRow(first int) string {
	terms := make([]string, len(c.ids))
	for i, id := range c.ids {
		terms[i] = fmt.Sprintf("%s = $%d", id, first+i)
	}
	return strings.Join(terms, " AND ")
}

// placeOf returns the place of a sealed value, which binds it to its row.
func placeOf(table, column string, row ...string) (string, error) {
	known := slices.ContainsFunc(sealedColumns(), func(c sealedColumn) bool {
		return c.table == table && c.column == column && len(c.ids) == len(row)
	})
	if !known {
		return "", fmt.Errorf("column %s.%s with %d ids is not in sealedColumns", table, column, len(row))
	}
	return table + "/" + column + "/" + strings.Join(row, "/"), nil
}

// sealed encrypts the value of a sealed column with the key that the database uses now. It must run
// in the transaction that stores the value: then no value is stored with an old key after a change
// of the key, because a transaction excludes all other writers.
func (s *Store) sealed(
	ctx context.Context, tx *sql.Tx, table, column string, v secret.Secret, row ...string,
) ([]byte, error) {
	place, err := placeOf(table, column, row...)
	if err != nil || v.IsZero() {
		return nil, err
	}
	key, err := sealingKey(ctx, tx)
	if err != nil {
		return nil, err
	}
	return s.sealer.Seal(key, place, v)
}

// unsealed decrypts a value that sealed returned for the same place.
func (s *Store) unsealed(table, column string, value []byte, row ...string) (secret.Secret, error) {
	place, err := placeOf(table, column, row...)
	if err != nil {
		return secret.Secret{}, err
	}
	return s.sealer.Open(place, value)
}

// sealingKey returns the id of the key that seals new values: the key of the key check.
func sealingKey(ctx context.Context, q querier) (byte, error) {
	var check []byte
	if err := q.QueryRowContext(ctx, `SELECT value FROM instance WHERE name = 'key_check'`).Scan(&check); err != nil {
		return 0, fmt.Errorf("read the key check: %w", err)
	}
	if len(check) == 0 {
		return 0, errors.New("the key check is empty: restore the database from a backup")
	}
	return check[0], nil
}
