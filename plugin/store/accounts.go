package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

const selectAccount = `SELECT id, provider_id, kind, user_id, name, remote_id, scopes, repository, workspace,
	access_token, refresh_token, expires_at, state, problem, version, linked_at FROM accounts`

func (s *Store) scanAccount(r scanner) (a autobuild.Account, err error) {
	var access, refresh []byte
	err = r.Scan(&a.ID, &a.ProviderID, &a.Kind, &a.UserID, &a.Name, &a.RemoteID, fromJSON(&a.Scopes), &a.Repository,
		&a.Workspace, &access, &refresh, at(&a.ExpiresAt), &a.State, &a.Problem, &a.Version, at(&a.LinkedAt))
	if err != nil {
		return autobuild.Account{}, err
	}
	if a.AccessToken, err = s.unsealed("accounts", "access_token", access, a.ID); err != nil {
		return autobuild.Account{}, err
	}
	a.RefreshToken, err = s.unsealed("accounts", "refresh_token", refresh, a.ID)
	return a, err
}

func (s *Store) sealTokens(
	ctx context.Context, tx *sql.Tx, id string, access, refresh secret.Secret,
) (sealedAccess, sealedRefresh []byte, err error) {
	if sealedAccess, err = s.sealed(ctx, tx, "accounts", "access_token", access, id); err != nil {
		return nil, nil, err
	}
	sealedRefresh, err = s.sealed(ctx, tx, "accounts", "refresh_token", refresh, id)
	return sealedAccess, sealedRefresh, err
}

// SaveAccount creates a linked account, or replaces it if a.ID is set, and returns it as stored.
// The version rises. A zero LinkedAt becomes the current time, and an empty State becomes linked.
func (s *Store) SaveAccount(ctx context.Context, a autobuild.Account) (saved autobuild.Account, err error) {
	if a.ID == "" {
		a.ID = newID()
	}
	if a.LinkedAt.IsZero() {
		a.LinkedAt = s.Now()
	}
	if a.State == "" {
		a.State = autobuild.AccountLinked
	}
	err = s.listTx(ctx, "save account "+a.Name, func(tx *sql.Tx) error {
		access, refresh, err := s.sealTokens(ctx, tx, a.ID, a.AccessToken, a.RefreshToken)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx,
			`INSERT INTO accounts (id, provider_id, kind, user_id, name, remote_id, scopes, repository, workspace,
			access_token, refresh_token, expires_at, state, problem, linked_at, version)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 1)
			ON CONFLICT (id) DO UPDATE SET provider_id = excluded.provider_id, kind = excluded.kind,
			user_id = excluded.user_id, name = excluded.name,
			remote_id = excluded.remote_id, scopes = excluded.scopes, repository = excluded.repository,
			workspace = excluded.workspace,
			access_token = excluded.access_token, refresh_token = excluded.refresh_token,
			expires_at = excluded.expires_at,
			state = excluded.state, problem = excluded.problem, linked_at = excluded.linked_at,
			version = accounts.version + 1`,
			a.ID, a.ProviderID, a.Kind, a.UserID, a.Name, a.RemoteID, asJSON(a.Scopes), a.Repository, a.Workspace,
			access, refresh, ms(a.ExpiresAt), a.State, a.Problem, ms(a.LinkedAt))
		if err != nil {
			return err
		}
		saved, err = s.account(ctx, tx, a.ID)
		return err
	})
	return saved, err
}

func (s *Store) account(ctx context.Context, q querier, id string) (autobuild.Account, error) {
	return s.scanAccount(q.QueryRowContext(ctx, selectAccount+` WHERE id = $1`, id))
}

// Account returns the linked account with this id.
func (s *Store) Account(ctx context.Context, id string) (autobuild.Account, error) {
	a, err := s.account(ctx, s.read, id)
	if err != nil {
		return autobuild.Account{}, fmt.Errorf("account %s: %w", id, mapError(err))
	}
	return a, nil
}

// Accounts returns all linked accounts, oldest first.
func (s *Store) Accounts(ctx context.Context) ([]autobuild.Account, error) {
	all, err := queryAll(ctx, s.read, s.scanAccount, selectAccount+` ORDER BY linked_at, id`)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return all, nil
}

// UpdateTokens stores refreshed tokens. Call it before the first use of the tokens. The account
// becomes linked, even if another process marked it broken because of the old tokens.
// UpdateTokens returns ErrConflict if the account is no longer at version, because another
// process refreshed it.
func (s *Store) UpdateTokens(
	ctx context.Context, id string, version int64, access, refresh secret.Secret, expires time.Time,
) (a autobuild.Account, err error) {
	err = s.listTx(ctx, "update tokens of account "+id, func(tx *sql.Tx) error {
		sealedAccess, sealedRefresh, err := s.sealTokens(ctx, tx, id, access, refresh)
		if err != nil {
			return err
		}
		err = execOne(ctx, tx,
			`UPDATE accounts SET access_token = $3, refresh_token = $4, expires_at = $5, state = $6,
				problem = '', version = version + 1
			WHERE id = $1 AND version = $2`, id, version, sealedAccess, sealedRefresh, ms(expires),
			autobuild.AccountLinked)
		moved := errors.Is(err, autobuild.ErrNotFound)
		if err != nil && !moved {
			return err
		}
		if a, err = s.account(ctx, tx, id); err != nil {
			return err
		}
		if moved {
			return fmt.Errorf("stored version is %d, not %d: %w", a.Version, version, autobuild.ErrConflict)
		}
		return nil
	})
	if err != nil {
		return autobuild.Account{}, err
	}
	return a, nil
}

// BreakAccount marks an account broken and stores the problem, which the pages show. It returns
// ErrConflict if the account is no longer at version: it was linked again or refreshed after the
// problem occurred.
func (s *Store) BreakAccount(ctx context.Context, id string, version int64, problem string) error {
	return s.listTx(ctx, "mark account "+id+" broken", func(tx *sql.Tx) error {
		err := execOne(ctx, tx, `UPDATE accounts SET state = $3, problem = $4 WHERE id = $1 AND version = $2`, id,
			version, autobuild.AccountBroken, problem)
		if !errors.Is(err, autobuild.ErrNotFound) {
			return err
		}
		if _, err := s.account(ctx, tx, id); err != nil {
			return err
		}
		return fmt.Errorf("stored version is no longer %d: %w", version, autobuild.ErrConflict)
	})
}

// DeleteAccount deletes an account and its tokens. It returns ErrConflict while automated builds
// use the account.
func (s *Store) DeleteAccount(ctx context.Context, id string) error {
	return s.listTx(ctx, "delete account "+id, func(tx *sql.Tx) error {
		var used int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM automated_builds WHERE account_id = $1`, id).
			Scan(&used); err != nil {
			return err
		}
		if used > 0 {
			return fmt.Errorf("%d automated builds use it: delete them first: %w", used, autobuild.ErrConflict)
		}
		return execOne(ctx, tx, `DELETE FROM accounts WHERE id = $1`, id)
	})
}
