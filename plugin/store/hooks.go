package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"slipway/config/secret"

	"slipway/plugin/autobuild"
)

const selectHook = `SELECT h.id, h.account_id, ` + repositoryColumns + `, h.remote_id, h.secret,
	h.previous_secret, h.previous_until,
	h.secret_version, h.secret_written, h.state, h.problem, h.polled_at, h.delivered_at,
	h.listing_problem
	FROM hooks h JOIN repositories r ON r.provider_id = h.provider_id AND r.id = h.repository_id`

func (s *Store) scanHook(r scanner) (h autobuild.Hook, err error) {
	var current, previous []byte
	fields := append([]any{&h.ID, &h.AccountID}, repositoryFields(&h.Repository)...)
	fields = append(fields, &h.RemoteID, &current, &previous, at(&h.PreviousUntil), &h.SecretVersion, &h.SecretWritten)
	fields = append(fields, &h.State, &h.Problem, at(&h.PolledAt), at(&h.DeliveredAt), &h.ListingProblem)
	if err := r.Scan(fields...); err != nil {
		return autobuild.Hook{}, err
	}
	if h.Secret, err = s.unsealed("hooks", "secret", current, h.ID); err != nil {
		return autobuild.Hook{}, err
	}
	h.PreviousSecret, err = s.unsealed("hooks", "previous_secret", previous, h.ID)
	return h, err
}

func (s *Store) sealHook(
	ctx context.Context, tx *sql.Tx, id string, current, previous secret.Secret,
) (sealedCurrent, sealedPrevious []byte, err error) {
	if sealedCurrent, err = s.sealed(ctx, tx, "hooks", "secret", current, id); err != nil {
		return nil, nil, err
	}
	sealedPrevious, err = s.sealed(ctx, tx, "hooks", "previous_secret", previous, id)
	return sealedCurrent, sealedPrevious, err
}

// SaveHook creates a hook with its secrets, or replaces it if h.ID is set, and returns it as
// stored. A replaced hook keeps its stored secrets, because another process may have replaced
// them since the caller read them. It also keeps the later time of its last delivery and its last
// poll. SaveHook returns ErrConflict if the repository has another hook.
func (s *Store) SaveHook(ctx context.Context, h autobuild.Hook) (saved autobuild.Hook, err error) {
	if h.ID == "" {
		h.ID = newID()
	}
	err = s.listTx(ctx, "save hook of "+h.Repository.FullName, func(tx *sql.Tx) error {
		if err := ensureRepository(ctx, tx, h.Repository); err != nil {
			return err
		}
		current, previous, err := s.sealHook(ctx, tx, h.ID, h.Secret, h.PreviousSecret)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx,
			`INSERT INTO hooks (id, account_id, provider_id, repository_id, remote_id, secret, previous_secret,
				previous_until, state, problem, polled_at, delivered_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
			ON CONFLICT (id) DO UPDATE SET account_id = excluded.account_id,
			provider_id = excluded.provider_id, repository_id = excluded.repository_id,
			remote_id = excluded.remote_id, state = excluded.state, problem = excluded.problem,
			polled_at = CASE WHEN excluded.polled_at > hooks.polled_at THEN excluded.polled_at ELSE hooks.polled_at END,
			delivered_at = CASE WHEN excluded.delivered_at > hooks.delivered_at THEN excluded.delivered_at ELSE hooks.delivered_at END`,
			h.ID, h.AccountID, h.Repository.ProviderID, h.Repository.ID, h.RemoteID, current, previous,
			ms(h.PreviousUntil), h.State, h.Problem, ms(h.PolledAt), ms(h.DeliveredAt))
		if err != nil {
			return err
		}
		saved, err = s.scanHook(tx.QueryRowContext(ctx, selectHook+` WHERE h.id = $1`, h.ID))
		return err
	})
	return saved, err
}

// Hook returns the hook with this id, which is part of the webhook's URL.
func (s *Store) Hook(ctx context.Context, id string) (autobuild.Hook, error) {
	h, err := s.scanHook(s.read.QueryRowContext(ctx, selectHook+` WHERE h.id = $1`, id))
	if err != nil {
		return autobuild.Hook{}, fmt.Errorf("hook %s: %w", id, mapError(err))
	}
	return h, nil
}

// HookOf returns the hook of a repository.
func (s *Store) HookOf(ctx context.Context, r autobuild.Repository) (autobuild.Hook, error) {
	h, err := s.scanHook(
		s.read.QueryRowContext(ctx, selectHook+` WHERE h.provider_id = $1 AND h.repository_id = $2`, r.ProviderID,
			r.ID),
	)
	if err != nil {
		return autobuild.Hook{}, fmt.Errorf("hook of repository %s: %w", r.ID, mapError(err))
	}
	return h, nil
}

// Hooks returns all hooks, by repository.
func (s *Store) Hooks(ctx context.Context) ([]autobuild.Hook, error) {
	return s.listHooks(ctx, conditions{})
}

// HooksOfAccount returns the hooks that an account manages, by repository.
func (s *Store) HooksOfAccount(ctx context.Context, accountID string) ([]autobuild.Hook, error) {
	return s.listHooks(ctx, conditions{terms: []string{"h.account_id = $1"}, args: []any{accountID}})
}

func (s *Store) listHooks(ctx context.Context, c conditions) ([]autobuild.Hook, error) {
	all, err := queryAll(ctx, s.read, s.scanHook, selectHook+c.where()+` ORDER BY r.full_name, h.id`, c.args...)
	if err != nil {
		return nil, fmt.Errorf("list hooks: %w", err)
	}
	return all, nil
}

// HooksWithoutSecrets returns all hooks without their secrets, by repository. Load a hook with HookOf before you save
// it.
func (s *Store) HooksWithoutSecrets(ctx context.Context) ([]autobuild.Hook, error) {
	scan := func(r scanner) (h autobuild.Hook, err error) {
		fields := append([]any{&h.ID, &h.AccountID}, repositoryFields(&h.Repository)...)
		err = r.Scan(append(fields, &h.RemoteID, at(&h.PreviousUntil), &h.SecretVersion, &h.SecretWritten, &h.State,
			&h.Problem, at(&h.PolledAt), at(&h.DeliveredAt), &h.ListingProblem)...)
		return h, err
	}
	all, err := queryAll(ctx, s.read, scan, `SELECT h.id, h.account_id, `+repositoryColumns+`, h.remote_id,
		h.previous_until, h.secret_version, h.secret_written, h.state, h.problem, h.polled_at, h.delivered_at,
		h.listing_problem
		FROM repositories r JOIN hooks h ON h.provider_id = r.provider_id AND h.repository_id = r.id
		ORDER BY r.full_name, h.id`)
	if err != nil {
		return nil, fmt.Errorf("list hooks: %w", err)
	}
	return all, nil
}

// DeleteHook deletes a hook. It returns nil if the hook does not exist.
func (s *Store) DeleteHook(ctx context.Context, id string) error {
	return s.listTx(ctx, "delete hook "+id, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM hooks WHERE id = $1`, id)
		return err
	})
}

// TouchHook stores the time of the last valid delivery or of the last poll. A zero time changes
// nothing.
func (s *Store) TouchHook(ctx context.Context, id string, delivered, polled time.Time) error {
	return s.tx(ctx, "touch hook "+id, func(tx *sql.Tx) error {
		return execOne(ctx, tx, `UPDATE hooks SET
			delivered_at = CASE WHEN $2 > delivered_at THEN $2 ELSE delivered_at END,
			polled_at = CASE WHEN $3 > polled_at THEN $3 ELSE polled_at END
			WHERE id = $1`, id, ms(delivered), ms(polled))
	})
}

// SetListingProblem stores what was suspicious about the last list of the refs of a hook's repository.
// Empty means nothing.
func (s *Store) SetListingProblem(ctx context.Context, id, problem string) error {
	return s.tx(ctx, "listing problem of hook "+id, func(tx *sql.Tx) error {
		return execOne(ctx, tx, `UPDATE hooks SET listing_problem = $2 WHERE id = $1`, id, problem)
	})
}

// ReplaceHookSecret makes next the secret of a hook. The secret of h becomes the previous one,
// which is accepted until the given time. It returns the hook as stored. It returns ErrConflict
// if the secret of h is no longer the stored one, and ErrNotFound if the hook was deleted.
func (s *Store) ReplaceHookSecret(
	ctx context.Context, h autobuild.Hook, next secret.Secret, until time.Time,
) (autobuild.Hook, error) {
	var replaced autobuild.Hook
	err := s.tx(ctx, "replace hook secret", func(tx *sql.Tx) error {
		stored, err := s.scanHook(tx.QueryRowContext(ctx, selectHook+` WHERE h.id = $1`, h.ID))
		if err != nil {
			return err
		}
		if stored.SecretVersion != h.SecretVersion {
			return fmt.Errorf("hook %s: another process replaced its secret: %w", h.ID, autobuild.ErrConflict)
		}
		current, previous, err := s.sealHook(ctx, tx, h.ID, next, h.Secret)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE hooks SET secret = $2, previous_secret = $3, previous_until = $4,
			secret_version = secret_version + 1 WHERE id = $1`, h.ID, current, previous, ms(until))
		if err != nil {
			return err
		}
		replaced, err = s.scanHook(tx.QueryRowContext(ctx, selectHook+` WHERE h.id = $1`, h.ID))
		return err
	})
	return replaced, err
}

// ConfirmHookSecret stores that the provider has the secret with this version. A version lower
// than the stored one changes nothing. It returns ErrNotFound if the hook was deleted.
func (s *Store) ConfirmHookSecret(ctx context.Context, id string, version int64) error {
	return s.tx(ctx, "confirm hook secret", func(tx *sql.Tx) error {
		return execOne(ctx, tx, `UPDATE hooks SET
			secret_written = CASE WHEN $2 > secret_written THEN $2 ELSE secret_written END
			WHERE id = $1`, id, version)
	})
}
