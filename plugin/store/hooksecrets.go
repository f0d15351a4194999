package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

// ReplaceHookSecret makes next the secret of a hook, and the secret that h holds its previous
// one, accepted until the time given. It returns the hook as stored. ErrConflict if the stored
// secret is no longer the one that h holds, ErrNotFound if the hook is gone.
func (s *Store) ReplaceHookSecret(
	ctx context.Context, h autobuild.Hook, next secret.Secret, until time.Time,
) (autobuild.Hook, error) {
	current, err := s.sealed("hooks", "secret", h.ID, next)
	if err != nil {
		return autobuild.Hook{}, fmt.Errorf("seal the secret of hook %s: %w", h.ID, err)
	}
	previous, err := s.sealed("hooks", "previous_secret", h.ID, h.Secret)
	if err != nil {
		return autobuild.Hook{}, fmt.Errorf("seal the previous secret of hook %s: %w", h.ID, err)
	}
	var replaced autobuild.Hook
	err = s.tx(ctx, "replace hook secret", func(tx *sql.Tx) error {
		stored, err := s.scanHook(tx.QueryRowContext(ctx, selectHook+` WHERE h.id = $1`, h.ID))
		if err != nil {
			return err
		}
		if stored.SecretVersion != h.SecretVersion {
			return fmt.Errorf("hook %s: its secret was replaced meanwhile: %w", h.ID, autobuild.ErrConflict)
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

// ConfirmHookSecret records that the provider has the secret of that version. A version older
// than the recorded one changes nothing. ErrNotFound if the hook is gone.
func (s *Store) ConfirmHookSecret(ctx context.Context, id string, version int64) error {
	return s.tx(ctx, "confirm hook secret", func(tx *sql.Tx) error {
		return execOne(ctx, tx, `UPDATE hooks SET
			secret_written = CASE WHEN $2 > secret_written THEN $2 ELSE secret_written END
			WHERE id = $1`, id, version)
	})
}
