package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
)

// newDatabase makes an empty schema for one server, and returns the address that uses it. Without an address
// it returns none: the server has SQLite.
func newDatabase(ctx context.Context, address string, number int) (string, error) {
	if address == "" {
		return "", nil
	}
	db, err := sql.Open("pgx", address)
	if err != nil {
		return "", err
	}
	schema := fmt.Sprintf("bench_%d", number)
	_, err = db.ExecContext(ctx, fmt.Sprintf(`DROP SCHEMA IF EXISTS %s CASCADE; CREATE SCHEMA %s`, schema, schema))
	if err := errors.Join(err, db.Close()); err != nil {
		return "", fmt.Errorf("-postgres: %w", err)
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("-postgres: %w", err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String(), nil
}
