package store

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"

	"slipway/config/secret"

	"slipway/plugin/autobuild"
)

// SetPipelineToken replaces the pipeline token of an automated build by the token with this hash
// (autobuild.TokenHash). It returns ErrNotFound if the automated build does not exist.
func (s *Store) SetPipelineToken(ctx context.Context, automatedBuildID, tokenHash, by string) error {
	return s.tx(ctx, "set pipeline token of "+automatedBuildID, func(tx *sql.Tx) error {
		if _, err := s.automatedBuild(ctx, tx, automatedBuildID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx,
			`INSERT INTO pipeline_tokens (automated_build_id, token_hash, created_by, created_at)
				VALUES ($1, $2, $3, $4)
			ON CONFLICT (automated_build_id) DO UPDATE SET token_hash = excluded.token_hash,
			created_by = excluded.created_by, created_at = excluded.created_at`,
			automatedBuildID, tokenHash, by, ms(s.Now()))
		return err
	})
}

// RevokePipelineToken deletes the pipeline token of an automated build. It returns nil if the
// automated build has no token.
func (s *Store) RevokePipelineToken(ctx context.Context, automatedBuildID string) error {
	return s.tx(ctx, "revoke pipeline token of "+automatedBuildID, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM pipeline_tokens WHERE automated_build_id = $1`, automatedBuildID)
		return err
	})
}

// PipelineToken returns when and by whom the automated build's token was created. It returns
// ErrNotFound if the automated build has no token.
func (s *Store) PipelineToken(ctx context.Context, automatedBuildID string) (t autobuild.PipelineToken, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT created_by, created_at FROM pipeline_tokens
		WHERE automated_build_id = $1`, automatedBuildID).
		Scan(&t.CreatedBy, at(&t.CreatedAt))
	if err != nil {
		return autobuild.PipelineToken{}, fmt.Errorf("pipeline token of %s: %w", automatedBuildID, mapError(err))
	}
	return t, nil
}

// CheckPipelineToken returns ErrUnauthorized unless the hash belongs to the automated build's
// token. It takes the same time for a wrong token and an unknown automated build.
func (s *Store) CheckPipelineToken(ctx context.Context, automatedBuildID, tokenHash string) error {
	stored := ""
	err := s.read.QueryRowContext(ctx, `SELECT token_hash FROM pipeline_tokens
		WHERE automated_build_id = $1`, automatedBuildID).
		Scan(&stored)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("check pipeline token of %s: %w", automatedBuildID, err)
	}
	if subtle.ConstantTimeCompare([]byte(stored), []byte(tokenHash)) != 1 || stored == "" {
		return fmt.Errorf("pipeline token of %s: %w", automatedBuildID, autobuild.ErrUnauthorized)
	}
	return nil
}

// ExtensionSecret returns the secret that signs one kind of request from an engine's CI to the
// gateway. The first call creates the secret, and it never changes.
func (s *Store) ExtensionSecret(ctx context.Context, engine, purpose string) (value secret.Secret, err error) {
	row := engine + "/" + purpose
	err = s.tx(ctx, "secret of extension "+row, func(tx *sql.Tx) error {
		value, err = s.extensionSecret(ctx, tx, engine, purpose)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		value = autobuild.NewToken()
		sealed, err := s.sealed(ctx, tx, "extension_secrets", "value", value, engine, purpose)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO extension_secrets (engine, purpose, value) VALUES ($1, $2, $3)`,
			engine, purpose, sealed)
		return err
	})
	return value, err
}

// KnownExtensionSecret is like ExtensionSecret, but returns ErrNotFound instead of creating the
// secret.
func (s *Store) KnownExtensionSecret(ctx context.Context, engine, purpose string) (secret.Secret, error) {
	value, err := s.extensionSecret(ctx, s.read, engine, purpose)
	if err != nil {
		return secret.Secret{}, fmt.Errorf("secret of extension %s/%s: %w", engine, purpose, mapError(err))
	}
	return value, nil
}

func (s *Store) extensionSecret(ctx context.Context, q querier, engine, purpose string) (secret.Secret, error) {
	var sealed []byte
	err := q.QueryRowContext(ctx, `SELECT value FROM extension_secrets WHERE engine = $1
		AND purpose = $2`, engine, purpose).
		Scan(&sealed)
	if err != nil {
		return secret.Secret{}, err
	}
	return s.unsealed("extension_secrets", "value", sealed, engine, purpose)
}
