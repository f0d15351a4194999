package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
)

// SavePermissions replaces all stored permissions of a user. It returns ErrNotFound if the
// session has ended, because its end deleted the permissions.
func (s *Store) SavePermissions(ctx context.Context, p autobuild.Permissions) error {
	return s.tx(ctx, "save permissions of user "+p.UserID, func(tx *sql.Tx) error {
		now := ms(s.Now())
		err := execOne(ctx, tx, `UPDATE users SET permissions_at = $2, had_right = had_right OR $4
			WHERE id = $1 AND EXISTS (SELECT 1 FROM sessions s WHERE s.id = $3 AND s.user_id = users.id
			AND s.expires_at > $2)`,
			p.UserID, now, p.SessionID, p.Granted)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM permissions WHERE user_id = $1`, p.UserID); err != nil {
			return err
		}
		for id, permission := range p.Repositories {
			if !permission.Known() {
				continue
			}
			_, err := tx.ExecContext(ctx,
				`INSERT INTO permissions (user_id, provider_id, repository_id, permission, checked_at)
				VALUES ($1, $2, $3, $4, $5)`, p.UserID, p.ProviderID, id, permission, now)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// DropPermissions deletes the permissions of a user. The user sees no repository until the
// permissions are read again.
func (s *Store) DropPermissions(ctx context.Context, userID string) error {
	return s.tx(ctx, "drop permissions of user "+userID, func(tx *sql.Tx) error {
		return dropPermissions(ctx, tx, userID)
	})
}

func dropPermissions(ctx context.Context, tx *sql.Tx, userID string) error {
	if _, err := tx.ExecContext(ctx, `UPDATE users SET permissions_at = 0 WHERE id = $1`, userID); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM permissions WHERE user_id = $1`, userID)
	return err
}

// PermissionsAt returns when the permissions of a user were last read from the provider. The time
// is zero if they were never read, or were dropped. It returns ErrNotFound for an unknown user.
func (s *Store) PermissionsAt(ctx context.Context, userID string) (read time.Time, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT permissions_at FROM users WHERE id = $1`, userID).Scan(at(&read))
	if err != nil {
		return time.Time{}, fmt.Errorf("permissions of user %s: %w", userID, mapError(err))
	}
	return read, nil
}
