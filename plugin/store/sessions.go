package store

import (
	"context"
	"database/sql"
	"fmt"

	ab "slipway/plugin/autobuild"
)

// CreateSession stores a session under the hash of its cookie. Sessions that have expired
// are forgotten by the way.
func (s *Store) CreateSession(ctx context.Context, se ab.Session) error {
	if se.CreatedAt.IsZero() {
		se.CreatedAt = s.Now()
	}
	return s.tx(ctx, "create session", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE expires_at <= $1`, ms(s.Now())); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO sessions (id, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)`,
			se.ID, se.UserID, ms(se.CreatedAt), ms(se.ExpiresAt))
		return err
	})
}

// SessionUser returns the user of a session that has not expired; ErrNotFound otherwise.
func (s *Store) SessionUser(ctx context.Context, sessionID string) (ab.User, error) {
	u, err := scanUser(s.read.QueryRowContext(ctx, selectUser+` JOIN sessions s ON s.user_id = u.id WHERE s.id = $1 AND s.expires_at > $2`, sessionID, ms(s.Now())))
	if err != nil {
		return ab.User{}, fmt.Errorf("user of the session: %w", known(err))
	}
	return u, nil
}

// DeleteSession ends one; one that is gone is no error.
func (s *Store) DeleteSession(ctx context.Context, sessionID string) error {
	return s.tx(ctx, "delete session", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE id = $1`, sessionID)
		return err
	})
}

// SaveOAuthFlow stores a flow under way. Flows that have expired are forgotten by the way.
func (s *Store) SaveOAuthFlow(ctx context.Context, f ab.OAuthFlow) error {
	sealed, err := s.sealed("oauth_flows", "code_verifier", f.State, f.CodeVerifier)
	if err != nil {
		return err
	}
	return s.tx(ctx, "save OAuth flow", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM oauth_flows WHERE expires_at <= $1`, ms(s.Now())); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO oauth_flows (state, browser_id, provider_id, user_id, code_verifier, return_to, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`, f.State, f.BrowserID, f.ProviderID, f.UserID, sealed, f.ReturnTo, ms(f.ExpiresAt))
		return err
	})
}

// TakeOAuthFlow returns and deletes a flow, once; ErrNotFound when unknown, expired or taken.
func (s *Store) TakeOAuthFlow(ctx context.Context, stateHash string) (f ab.OAuthFlow, err error) {
	var sealed []byte
	err = s.tx(ctx, "take OAuth flow", func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `DELETE FROM oauth_flows WHERE state = $1 AND expires_at > $2
			RETURNING state, browser_id, provider_id, user_id, code_verifier, return_to, expires_at`, stateHash, ms(s.Now())).
			Scan(&f.State, &f.BrowserID, &f.ProviderID, &f.UserID, &sealed, &f.ReturnTo, at(&f.ExpiresAt))
	})
	if err != nil {
		return ab.OAuthFlow{}, err
	}
	if f.CodeVerifier, err = s.unsealed("oauth_flows", "code_verifier", f.State, sealed); err != nil {
		return ab.OAuthFlow{}, fmt.Errorf("take OAuth flow: %w", err)
	}
	return f, nil
}
