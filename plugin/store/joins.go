package store

import (
	"context"
	"database/sql"
	"fmt"

	"slipway/plugin/autobuild"
)

// BindPipeline gives a pipeline the oldest attempt that it may have, and makes the token with
// that hash the attempt's only one: an attempt on the engine of the automated build, for that
// ref and commit, that no pipeline has, or that this one has and whose runner did not come
// yet. Its heartbeat begins here. ErrNotFound when there is none.
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
		if _, b, err = s.fenced(ctx, tx, a.BuildID, a.Number); err != nil {
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

// BuildsOf lists an automated build's newest builds of a commit that a ref was at, newest
// first, without stages.
func (s *Store) BuildsOf(
	ctx context.Context, automatedBuildID string, ref autobuild.Ref, commit string,
) ([]autobuild.Build, error) {
	const enough = 100 // rules, each with its newest builds
	all, err := rows(ctx, s.read, scanBuild, selectBuild+` WHERE b.automated_build_id = $1 AND b.commit_hash = $2
		AND b.ref_kind = $3 AND b.ref_name = $4 ORDER BY b.number DESC LIMIT $5`, automatedBuildID, commit, ref.Kind, ref.Name, enough)
	if err != nil {
		return nil, fmt.Errorf("builds of %s at %s: %w", ref.Full(), commit, err)
	}
	for i := range all {
		all[i].Stages = nil
	}
	return all, nil
}

// WasAt reports whether a transition of the ref led to the commit, whatever the rules made of it.
func (s *Store) WasAt(
	ctx context.Context, r autobuild.Repository, ref autobuild.Ref, commit string,
) (was bool, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM transitions`+ofRef+` AND new_head = $5)`,
		r.ProviderID, r.ID, ref.Kind, ref.Name, commit).Scan(&was)
	if err != nil {
		return false, fmt.Errorf("transitions of %s in %s: %w", ref.Full(), r.ID, err)
	}
	return was, nil
}
