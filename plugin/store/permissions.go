package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
)

// SavePermissions replaces everything that is known of a person's permissions. ErrNotFound if
// the session has ended: what was dropped with it must not come back.
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

// DropPermissions forgets a person's permissions: they see nothing until they are read again.
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

// PermissionsAt returns when a person's permissions were read last; zero if never, or if they
// were dropped since. ErrNotFound: there is no such user.
func (s *Store) PermissionsAt(ctx context.Context, userID string) (read time.Time, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT permissions_at FROM users WHERE id = $1`, userID).Scan(at(&read))
	if err != nil {
		return time.Time{}, fmt.Errorf("permissions of user %s: %w", userID, known(err))
	}
	return read, nil
}

// Repositories lists the repositories of a provider that automated builds, builds or webhooks
// belong to, by id.
func (s *Store) Repositories(ctx context.Context, providerID string) ([]autobuild.Repository, error) {
	scan := func(r scanner) (one autobuild.Repository, err error) {
		err = r.Scan(repositoryFields(&one)...)
		return one, err
	}
	all, err := rows(ctx, s.read, scan,
		`SELECT `+repositoryColumns+` FROM repositories r WHERE r.provider_id = $1 ORDER BY r.id`, providerID)
	if err != nil {
		return nil, fmt.Errorf("list repositories of provider %s: %w", providerID, err)
	}
	return all, nil
}

// Session returns a session that has not expired, with its grant; ErrNotFound otherwise.
func (s *Store) Session(ctx context.Context, sessionID string) (autobuild.Session, error) {
	found, err := s.session(ctx, s.read, sessionID)
	if err != nil {
		return autobuild.Session{}, fmt.Errorf("session: %w", known(err))
	}
	return found, nil
}

func (s *Store) session(ctx context.Context, q querier, sessionID string) (se autobuild.Session, err error) {
	var access, refresh []byte
	row := q.QueryRowContext(ctx, `SELECT id, user_id, created_at, expires_at,
		access_token, refresh_token, token_expires_at, grant_version
		FROM sessions WHERE id = $1 AND expires_at > $2`, sessionID, ms(s.Now()))
	err = row.Scan(&se.ID, &se.UserID, at(&se.CreatedAt), at(&se.ExpiresAt),
		&access, &refresh, at(&se.Grant.ExpiresAt), &se.Grant.Version)
	if err != nil {
		return autobuild.Session{}, err
	}
	if se.Grant.AccessToken, err = s.unsealed("sessions", "access_token", se.ID, access); err != nil {
		return autobuild.Session{}, err
	}
	se.Grant.RefreshToken, err = s.unsealed("sessions", "refresh_token", se.ID, refresh)
	return se, err
}

func (s *Store) sealGrant(sessionID string, g autobuild.Grant) (access, refresh []byte, err error) {
	if access, err = s.sealed("sessions", "access_token", sessionID, g.AccessToken); err != nil {
		return nil, nil, err
	}
	refresh, err = s.sealed("sessions", "refresh_token", sessionID, g.RefreshToken)
	return access, refresh, err
}

// UpdateGrant replaces the grant of a session that is at g.Version, and returns it with its new
// version. A grant without tokens drops it. ErrConflict: another process replaced it first;
// ErrNotFound: the session has ended.
func (s *Store) UpdateGrant(ctx context.Context, sessionID string, g autobuild.Grant) (autobuild.Grant, error) {
	access, refresh, err := s.sealGrant(sessionID, g)
	if err != nil {
		return autobuild.Grant{}, err
	}
	err = s.tx(ctx, "update the grant of a session", func(tx *sql.Tx) error {
		err := execOne(ctx, tx, `UPDATE sessions SET access_token = $3, refresh_token = $4, token_expires_at = $5,
			grant_version = grant_version + 1
			WHERE id = $1 AND grant_version = $2`, sessionID, g.Version, access, refresh, ms(g.ExpiresAt))
		if !errors.Is(err, autobuild.ErrNotFound) {
			return err
		}
		now, err := s.session(ctx, tx, sessionID)
		if err != nil {
			return err
		}
		return fmt.Errorf("it is at version %d, not %d: %w", now.Grant.Version, g.Version, autobuild.ErrConflict)
	})
	if err != nil {
		return autobuild.Grant{}, err
	}
	g.Version++
	return g, nil
}
