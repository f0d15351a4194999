package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

// OfferAttempt notes, before a pipeline of the attempt is started, in which of the CI's
// repositories that will be and the hash of the nonce in its parameters. Whatever was offered
// before is void. ErrFenced when the attempt is over.
func (s *Store) OfferAttempt(ctx context.Context, buildID string, attempt int, nonceHash, repository string) error {
	return s.tx(ctx, fmt.Sprintf("offer attempt %d of build %s", attempt, buildID), func(tx *sql.Tx) error {
		if _, _, err := s.fenced(ctx, tx, buildID, attempt); err != nil {
			return err
		}
		return execOne(ctx, tx,
			`UPDATE attempts SET nonce_hash = $3, engine_ref = $4 WHERE build_id = $1 AND number = $2`, buildID,
			attempt, nonceHash, repository)
	})
}

// AttemptByNonce returns the attempt that was offered with a nonce, also when it is over.
// ErrNotFound when there is none.
func (s *Store) AttemptByNonce(ctx context.Context, nonceHash string) (autobuild.Attempt, error) {
	a, err := attemptByNonce(ctx, s.read, nonceHash)
	if err != nil {
		return autobuild.Attempt{}, fmt.Errorf("attempt by its nonce: %w", known(err))
	}
	return a, nil
}

// HandOver binds an offered attempt to the first pipeline (repository#number) that asks, and
// makes the token with that hash its only one: the pipeline that has it may ask again, for
// what it got before is void then. ErrConflict when another pipeline has the attempt, or its
// runner came already; ErrFenced when it is over; ErrNotFound when nothing was offered.
func (s *Store) HandOver(ctx context.Context, nonceHash, pipeline, tokenHash string) error {
	return s.tx(ctx, "hand over an attempt to "+pipeline, func(tx *sql.Tx) error {
		a, err := attemptByNonce(ctx, tx, nonceHash)
		if err != nil {
			return err
		}
		if _, _, err := s.fenced(ctx, tx, a.BuildID, a.Number); err != nil {
			return err
		}
		if a.State == autobuild.Running {
			return fmt.Errorf("runner %s has attempt %d of build %s: %w", a.RunnerID, a.Number, a.BuildID,
				autobuild.ErrConflict)
		}
		if !mayHave(a.EngineRef, pipeline) {
			return fmt.Errorf("attempt %d of build %s is for %s: %w", a.Number, a.BuildID, a.EngineRef,
				autobuild.ErrConflict)
		}
		return execOne(ctx, tx,
			`UPDATE attempts SET engine_ref = $3, token_hash = $4 WHERE build_id = $1 AND number = $2`, a.BuildID,
			a.Number, pipeline, tokenHash)
	})
}

// mayHave reports whether a pipeline may have an attempt that was offered in a repository or
// is bound to a pipeline already.
func mayHave(bound, pipeline string) bool {
	repository, _, _ := strings.Cut(pipeline, "#")
	return bound == pipeline || bound == repository
}

func attemptByNonce(ctx context.Context, q querier, nonceHash string) (autobuild.Attempt, error) {
	return scanAttempt(q.QueryRowContext(ctx, selectAttempt+` WHERE nonce_hash = $1 AND nonce_hash <> ''`, nonceHash))
}

// ExtensionSecret returns what an engine's CI signs one kind of its requests to the gateway
// with. It is made when it is first asked for, and stays.
func (s *Store) ExtensionSecret(ctx context.Context, engine, purpose string) (value secret.Secret, err error) {
	row := engine + "/" + purpose
	err = s.tx(ctx, "secret of extension "+row, func(tx *sql.Tx) error {
		value, err = s.extensionSecret(ctx, tx, engine, purpose)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		value = autobuild.NewToken()
		sealed, err := s.sealed("extension_secrets", "value", row, value)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO extension_secrets (engine, purpose, value) VALUES ($1, $2, $3)`,
			engine, purpose, sealed)
		return err
	})
	return value, err
}

// KnownExtensionSecret is ExtensionSecret for one that was made before; ErrNotFound otherwise.
func (s *Store) KnownExtensionSecret(ctx context.Context, engine, purpose string) (secret.Secret, error) {
	value, err := s.extensionSecret(ctx, s.read, engine, purpose)
	if err != nil {
		return secret.Secret{}, fmt.Errorf("secret of extension %s/%s: %w", engine, purpose, known(err))
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
	return s.unsealed("extension_secrets", "value", engine+"/"+purpose, sealed)
}
