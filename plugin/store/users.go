package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
)

const selectUser = `SELECT u.id, u.provider_id, u.remote_id, u.name, u.role, u.created_at FROM users u`

func scanUser(r scanner) (u autobuild.User, err error) {
	err = r.Scan(&u.ID, &u.ProviderID, &u.RemoteID, &u.Name, &u.Role, at(&u.CreatedAt))
	return u, err
}

// SaveUser creates a user, or replaces it if u.ID is set, and returns it as stored. It returns
// ErrConflict if another user has the same provider and remote id.
func (s *Store) SaveUser(ctx context.Context, u autobuild.User) (saved autobuild.User, err error) {
	err = s.tx(ctx, "save user "+u.Name, func(tx *sql.Tx) error {
		saved, err = s.saveUser(ctx, tx, u)
		return err
	})
	return saved, err
}

func (s *Store) saveUser(ctx context.Context, tx *sql.Tx, u autobuild.User) (autobuild.User, error) {
	if u.ID == "" {
		u.ID = newID()
	}
	return scanUser(
		tx.QueryRowContext(ctx,
			`INSERT INTO users (id, provider_id, remote_id, name, role, created_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO UPDATE SET provider_id = excluded.provider_id, remote_id = excluded.remote_id,
		name = excluded.name, role = excluded.role
		RETURNING id, provider_id, remote_id, name, role, created_at`, u.ID, u.ProviderID, u.RemoteID, u.Name,
			u.Role, ms(s.Now())),
	)
}

// User returns the user with this id.
func (s *Store) User(ctx context.Context, id string) (autobuild.User, error) {
	u, err := scanUser(s.read.QueryRowContext(ctx, selectUser+` WHERE u.id = $1`, id))
	if err != nil {
		return autobuild.User{}, fmt.Errorf("user %s: %w", id, mapError(err))
	}
	return u, nil
}

// UserByRemote returns the user with this identity at a provider.
func (s *Store) UserByRemote(ctx context.Context, providerID, remoteID string) (autobuild.User, error) {
	u, err := scanUser(
		s.read.QueryRowContext(ctx,
			selectUser+` WHERE u.provider_id = $1 AND u.remote_id = $2 AND u.remote_id <> ''`, providerID,
			remoteID),
	)
	if err != nil {
		return autobuild.User{}, fmt.Errorf("user with identity %s: %w", remoteID, mapError(err))
	}
	return u, nil
}

// Users returns all users, oldest first.
func (s *Store) Users(ctx context.Context) ([]autobuild.User, error) {
	all, err := queryAll(ctx, s.read, scanUser, selectUser+` ORDER BY u.created_at, u.id`)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	return all, nil
}

// SetRole changes the role of a user, and deletes the state of the sign-in (dropSignInState). So
// a former administrator cannot finish linking an account. It returns ErrNotFound for an unknown
// user.
func (s *Store) SetRole(ctx context.Context, id string, role autobuild.Role) error {
	return s.tx(ctx, "set role of user "+id, func(tx *sql.Tx) error {
		if err := execOne(ctx, tx, `UPDATE users SET role = $2 WHERE id = $1`, id, role); err != nil {
			return err
		}
		return dropSignInState(ctx, tx, id)
	})
}

// DeleteUser deletes a user with the user's sessions, permissions and OAuth flows. It returns
// ErrConflict while the user owns a linked account.
func (s *Store) DeleteUser(ctx context.Context, id string) error {
	return s.tx(ctx, "delete user "+id, func(tx *sql.Tx) error {
		var linked int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM accounts WHERE user_id = $1`, id).
			Scan(&linked); err != nil {
			return err
		}
		if linked > 0 {
			return fmt.Errorf("the user has %d linked accounts: unlink them first: %w", linked, autobuild.ErrConflict)
		}
		if err := dropSignInState(ctx, tx, id); err != nil {
			return err
		}
		// Sessions and permissions go with the row, by their foreign keys.
		return execOne(ctx, tx, `DELETE FROM users WHERE id = $1`, id)
	})
}

// CreateFirstToken stores the hash of the one-time token of the first administrator, and replaces
// an earlier token. It returns ErrConflict if an administrator can sign in without the token.
// Until an account is linked, the token is the only way to sign in after the session is lost.
func (s *Store) CreateFirstToken(ctx context.Context, hash string, expires time.Time) error {
	return s.tx(ctx, "create the first administrator's token", func(tx *sql.Tx) error {
		if err := noAdministrator(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM first_tokens`); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO first_tokens (hash, expires_at) VALUES ($1, $2)`, hash, ms(expires))
		return err
	})
}

// TakeFirstToken uses the token once, and returns the first administrator, which it creates if
// necessary. It returns ErrNotFound if the token is wrong, used or expired.
func (s *Store) TakeFirstToken(ctx context.Context, hash string) (u autobuild.User, err error) {
	err = s.tx(ctx, "take the first administrator's token", func(tx *sql.Tx) error {
		err := execOne(ctx, tx, `DELETE FROM first_tokens WHERE hash = $1 AND expires_at > $2`, hash, ms(s.Now()))
		if err != nil {
			return err
		}
		if err := noAdministrator(ctx, tx); err != nil {
			return err
		}
		u, err = scanUser(
			tx.QueryRowContext(ctx,
				selectUser+` WHERE u.role = $1 AND u.remote_id = '' ORDER BY u.created_at LIMIT 1`,
				autobuild.RoleAdmin),
		)
		if errors.Is(err, sql.ErrNoRows) {
			u, err = s.saveUser(ctx, tx, autobuild.User{Name: "administrator", Role: autobuild.RoleAdmin})
		}
		return err
	})
	return u, err
}

func noAdministrator(ctx context.Context, tx *sql.Tx) error {
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM users WHERE role = $1
		AND remote_id <> '' LIMIT 1`, autobuild.RoleAdmin).
		Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("an administrator can sign in already: %w", autobuild.ErrConflict)
}
