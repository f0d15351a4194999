package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"slipway/plugin/autobuild"
)

// The pages load their lists again every few seconds. ListVersion lets them skip unchanged lists with one small
// read. The version consists of two counters: the number of the newest build, and "lists",
// which rises in each other transaction that changes what a list shows. So a version stands for one state of the
// rows, whichever gateway changed them. Deliveries and polls do not change it.

// changeLists raises the version of the lists, in the transaction that changes builds, automated builds, webhooks,
// accounts or names of repositories. Transactions exclude each other, so that no gateway waits for this row.
//
// The counter is the time of the change, if that is higher. So after the restore of a backup it does not take the
// values again that pages have seen.
func (s *Store) changeLists(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO counters (name, value) VALUES ('lists', $1)
		ON CONFLICT (name) DO UPDATE SET value =
			CASE WHEN excluded.value > counters.value THEN excluded.value ELSE counters.value + 1 END`, ms(s.Now()))
	return err
}

// listTx is tx for a change of what lists show.
func (s *Store) listTx(ctx context.Context, op string, f func(tx *sql.Tx) error) error {
	return s.tx(ctx, op, func(tx *sql.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		return s.changeLists(ctx, tx)
	})
}

const selectListVersion = `SELECT COALESCE((SELECT value FROM counters WHERE name = 'builds'), 0),
	COALESCE((SELECT value FROM counters WHERE name = 'lists'), 0)`

// ListVersion returns a text that differs after each change of the builds, the automated builds, their webhooks,
// accounts and repositories, as lists show them. Read it before the list.
func (s *Store) ListVersion(ctx context.Context) (string, error) {
	return s.As(autobuild.Viewer{Administrator: true}).ListVersion(ctx)
}

// ListVersion is Store.ListVersion for the lists of the viewer: it also differs after a change of the viewer or of
// their permissions.
func (v View) ListVersion(ctx context.Context) (string, error) {
	var builds, lists, permissions int64
	var err error
	if v.viewer.Administrator {
		err = v.store.read.QueryRowContext(ctx, selectListVersion).Scan(&builds, &lists)
	} else {
		err = v.store.read.QueryRowContext(ctx, selectListVersion+`, permissions_at FROM users WHERE id = $1`,
			v.viewer.UserID).Scan(&builds, &lists, &permissions)
	}
	if err != nil {
		return "", fmt.Errorf("version of the lists: %w", mapError(err))
	}
	version := strconv.FormatInt(builds, 36) + "." + strconv.FormatInt(lists, 36)
	if !v.viewer.Administrator {
		version += "." + strconv.FormatInt(permissions, 36) + "." + v.viewer.UserID
	}
	return version, nil
}
