package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"slipway/plugin/autobuild"
)

// CreateSession stores a session with its grant. se.ID is the hash of the session's cookie.
// CreateSession also deletes expired sessions.
func (s *Store) CreateSession(ctx context.Context, se autobuild.Session) error {
	if se.CreatedAt.IsZero() {
		se.CreatedAt = s.Now()
	}
	return s.tx(ctx, "create session", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE expires_at <= $1`, ms(s.Now())); err != nil {
			return err
		}
		access, refresh, err := s.sealGrant(ctx, tx, se.ID, se.Grant)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx,
			`INSERT INTO sessions (id, user_id, created_at, expires_at, access_token, refresh_token, token_expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`, se.ID, se.UserID, ms(se.CreatedAt), ms(se.ExpiresAt), access,
			refresh, ms(se.Grant.ExpiresAt))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE users SET signed_in_at = $2 WHERE id = $1`, se.UserID, ms(se.CreatedAt))
		return err
	})
}

// SessionUser returns the user of a session. It returns ErrNotFound if the session is unknown or
// expired.
func (s *Store) SessionUser(ctx context.Context, sessionID string) (autobuild.User, error) {
	u, err := scanUser(
		s.read.QueryRowContext(ctx,
			selectUser+` JOIN sessions s ON s.user_id = u.id WHERE s.id = $1 AND s.expires_at > $2`, sessionID,
			ms(s.Now())),
	)
	if err != nil {
		return autobuild.User{}, fmt.Errorf("user of the session: %w", mapError(err))
	}
	return u, nil
}

// DeleteSession deletes a session with its grant, and the state of the sign-in (dropSignInState).
// It returns nil if the session does not exist.
func (s *Store) DeleteSession(ctx context.Context, sessionID string) error {
	return s.tx(ctx, "delete session", func(tx *sql.Tx) error {
		var userID string
		err := tx.QueryRowContext(ctx, `DELETE FROM sessions WHERE id = $1 RETURNING user_id`, sessionID).Scan(&userID)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return dropSignInState(ctx, tx, userID)
	})
}

// dropSignInState deletes the permissions of a user, and the OAuth flows that the user started.
// The end of a flow signs its user in. Without the deletion, a stolen cookie could start a flow
// and outlive its session.
func dropSignInState(ctx context.Context, tx *sql.Tx, userID string) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM oauth_flows WHERE user_id = $1`, userID); err != nil {
		return err
	}
	return dropPermissions(ctx, tx, userID)
}

// EndSessions deletes all sessions of a user with their grants, and the state of the sign-in
// (dropSignInState).
func (s *Store) EndSessions(ctx context.Context, userID string) error {
	return s.tx(ctx, "end the sessions of user "+userID, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE user_id = $1`, userID); err != nil {
			return err
		}
		return dropSignInState(ctx, tx, userID)
	})
}

// SessionCounts returns the number of sessions by user id. Users without a session are left out.
func (s *Store) SessionCounts(ctx context.Context) (map[string]int, error) {
	type count struct {
		userID string
		n      int
	}
	scan := func(r scanner) (c count, err error) { err = r.Scan(&c.userID, &c.n); return c, err }
	all, err := queryAll(ctx, s.read, scan,
		`SELECT user_id, COUNT(*) FROM sessions WHERE expires_at > $1 GROUP BY user_id`, ms(s.Now()))
	if err != nil {
		return nil, fmt.Errorf("count sessions: %w", err)
	}
	counts := make(map[string]int, len(all))
	for _, c := range all {
		counts[c.userID] = c.n
	}
	return counts, nil
}

// SaveOAuthFlow stores a flow that has started. It also deletes expired flows.
func (s *Store) SaveOAuthFlow(ctx context.Context, f autobuild.OAuthFlow) error {
	return s.tx(ctx, "save OAuth flow", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM oauth_flows WHERE expires_at <= $1`, ms(s.Now())); err != nil {
			return err
		}
		sealed, err := s.sealed(ctx, tx, "oauth_flows", "code_verifier", f.CodeVerifier, f.State)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx,
			`INSERT INTO oauth_flows (state, browser_id, provider_id, user_id, code_verifier, return_to, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`, f.State, f.BrowserID, f.ProviderID, f.UserID, sealed, f.ReturnTo,
			ms(f.ExpiresAt))
		return err
	})
}

// TakeOAuthFlow returns a flow and deletes it. It returns ErrNotFound if the flow is unknown,
// expired or taken already.
func (s *Store) TakeOAuthFlow(ctx context.Context, stateHash string) (f autobuild.OAuthFlow, err error) {
	var sealed []byte
	err = s.tx(ctx, "take OAuth flow", func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `DELETE FROM oauth_flows WHERE state = $1 AND expires_at > $2
			RETURNING state, browser_id, provider_id, user_id, code_verifier, return_to,
			expires_at`, stateHash, ms(s.Now())).
			Scan(&f.State, &f.BrowserID, &f.ProviderID, &f.UserID, &sealed, &f.ReturnTo, at(&f.ExpiresAt))
	})
	if err != nil {
		return autobuild.OAuthFlow{}, err
	}
	if f.CodeVerifier, err = s.unsealed("oauth_flows", "code_verifier", sealed, f.State); err != nil {
		return autobuild.OAuthFlow{}, fmt.Errorf("take OAuth flow: %w", err)
	}
	return f, nil
}

// Session returns a session with its grant. It returns ErrNotFound if the session is unknown or
// expired.
func (s *Store) Session(ctx context.Context, sessionID string) (autobuild.Session, error) {
	found, err := s.session(ctx, s.read, sessionID)
	if err != nil {
		return autobuild.Session{}, fmt.Errorf("session: %w", mapError(err))
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
	if se.Grant.AccessToken, err = s.unsealed("sessions", "access_token", access, se.ID); err != nil {
		return autobuild.Session{}, err
	}
	se.Grant.RefreshToken, err = s.unsealed("sessions", "refresh_token", refresh, se.ID)
	return se, err
}

func (s *Store) sealGrant(
	ctx context.Context, tx *sql.Tx, sessionID string, g autobuild.Grant,
) (access, refresh []byte, err error) {
	if access, err = s.sealed(ctx, tx, "sessions", "access_token", g.AccessToken, sessionID); err != nil {
		return nil, nil, err
	}
	refresh, err = s.sealed(ctx, tx, "sessions", "refresh_token", g.RefreshToken, sessionID)
	return access, refresh, err
}

// UpdateGrant replaces the grant of a session, and returns it with its new version. A grant
// without tokens deletes the stored tokens. UpdateGrant returns ErrConflict if the stored grant
// is no longer at g.Version, because another process replaced it. It returns ErrNotFound if the
// session has ended.
func (s *Store) UpdateGrant(ctx context.Context, sessionID string, g autobuild.Grant) (autobuild.Grant, error) {
	err := s.tx(ctx, "update the grant of a session", func(tx *sql.Tx) error {
		access, refresh, err := s.sealGrant(ctx, tx, sessionID, g)
		if err != nil {
			return err
		}
		err = execOne(ctx, tx, `UPDATE sessions SET access_token = $3, refresh_token = $4, token_expires_at = $5,
			grant_version = grant_version + 1
			WHERE id = $1 AND grant_version = $2`, sessionID, g.Version, access, refresh, ms(g.ExpiresAt))
		if !errors.Is(err, autobuild.ErrNotFound) {
			return err
		}
		now, err := s.session(ctx, tx, sessionID)
		if err != nil {
			return err
		}
		return fmt.Errorf("stored version is %d, not %d: %w", now.Grant.Version, g.Version, autobuild.ErrConflict)
	})
	if err != nil {
		return autobuild.Grant{}, err
	}
	g.Version++
	return g, nil
}
