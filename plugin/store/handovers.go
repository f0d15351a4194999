package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"slipway/plugin/autobuild"
)

// OfferAttempt stores that a pipeline of the attempt will start in a repository of the CI. Call
// it before the pipeline starts. The pipeline proves with the nonce in its parameters that it
// belongs to the attempt. A new offer replaces the earlier one. OfferAttempt returns ErrFenced if
// the attempt has ended.
func (s *Store) OfferAttempt(ctx context.Context, buildID string, attempt int, nonceHash, repository string) error {
	return s.tx(ctx, fmt.Sprintf("offer attempt %d of build %s", attempt, buildID), func(tx *sql.Tx) error {
		if _, _, err := s.loadActive(ctx, tx, buildID, attempt); err != nil {
			return err
		}
		return execOne(ctx, tx,
			`UPDATE attempts SET nonce_hash = $3, engine_ref = $4 WHERE build_id = $1 AND number = $2`, buildID,
			attempt, nonceHash, repository)
	})
}

// AttemptByNonce returns the attempt that was offered with a nonce, even if it has ended. It
// returns ErrNotFound for an unknown nonce.
func (s *Store) AttemptByNonce(ctx context.Context, nonceHash string) (autobuild.Attempt, error) {
	a, err := attemptByNonce(ctx, s.read, nonceHash)
	if err != nil {
		return autobuild.Attempt{}, fmt.Errorf("attempt by its nonce: %w", mapError(err))
	}
	return a, nil
}

// HandOver binds an offered attempt to the first pipeline that requests it, named
// repository#number. It replaces the token of the attempt. The same pipeline may request the
// attempt again; its earlier token then becomes invalid. HandOver returns ErrConflict if another
// pipeline has the attempt or its runner has claimed it, ErrFenced if the attempt has ended, and
// ErrNotFound if no attempt was offered with the nonce.
func (s *Store) HandOver(ctx context.Context, nonceHash, pipeline, tokenHash string) error {
	return s.tx(ctx, "hand over an attempt to "+pipeline, func(tx *sql.Tx) error {
		a, err := attemptByNonce(ctx, tx, nonceHash)
		if err != nil {
			return err
		}
		if _, _, err := s.loadActive(ctx, tx, a.BuildID, a.Number); err != nil {
			return err
		}
		if a.State == autobuild.Running {
			return fmt.Errorf("runner %s has attempt %d of build %s: %w", a.RunnerID, a.Number, a.BuildID,
				autobuild.ErrConflict)
		}
		if !isOfferedTo(a.EngineRef, pipeline) {
			return fmt.Errorf("attempt %d of build %s is for %s: %w", a.Number, a.BuildID, a.EngineRef,
				autobuild.ErrConflict)
		}
		return execOne(ctx, tx,
			`UPDATE attempts SET engine_ref = $3, token_hash = $4 WHERE build_id = $1 AND number = $2`, a.BuildID,
			a.Number, pipeline, tokenHash)
	})
}

// isOfferedTo reports whether a pipeline may get an attempt. bound is the repository in which the
// attempt was offered, or the pipeline that it is bound to.
func isOfferedTo(bound, pipeline string) bool {
	repository, _, _ := strings.Cut(pipeline, "#")
	return bound == pipeline || bound == repository
}

func attemptByNonce(ctx context.Context, q querier, nonceHash string) (autobuild.Attempt, error) {
	return scanAttempt(q.QueryRowContext(ctx, selectAttempt+` WHERE nonce_hash = $1 AND nonce_hash <> ''`, nonceHash))
}

// BindPipeline binds the oldest matching attempt to a pipeline, and replaces the attempt's token.
// An attempt matches if it is on the engine, belongs to the automated build, ref and commit, and
// is not claimed by a runner. It must be unbound or bound to this pipeline. The heartbeat of the
// attempt starts now. BindPipeline returns ErrNotFound if no attempt matches.
func (s *Store) BindPipeline(
	ctx context.Context, engine string, j autobuild.PipelineRequest, tokenHash string,
) (b autobuild.Build, err error) {
	err = s.tx(ctx, "join a pipeline to "+j.AutomatedBuildID, func(tx *sql.Tx) error {
		a, err := scanAttempt(
			tx.QueryRowContext(ctx, selectAttempt+` WHERE finished_at = 0 AND engine = $1 AND state = 'starting'
			AND engine_ref IN ('', $2) AND build_id IN (SELECT id FROM builds WHERE automated_build_id = $3
			AND commit_hash = $4
				AND ref_kind = $5 AND ref_name = $6 AND state = 'starting')
			ORDER BY (SELECT b.number FROM builds b WHERE b.id = build_id) LIMIT 1`,
				engine, j.Pipeline, j.AutomatedBuildID, j.Commit, j.Ref.Kind, j.Ref.Name),
		)
		if err != nil {
			return err
		}
		if _, b, err = s.loadActive(ctx, tx, a.BuildID, a.Number); err != nil {
			return err
		}
		return execOne(ctx, tx,
			`UPDATE attempts SET engine_ref = $3, token_hash = $4, heartbeat_at = $5 WHERE build_id = $1
				AND number = $2`,
			a.BuildID, a.Number, j.Pipeline, tokenHash, ms(s.Now()))
	})
	if err != nil {
		return autobuild.Build{}, err
	}
	return b, nil
}
