package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"slipway/plugin/autobuild"
)

// checkCapacity returns ErrUnavailable if the build must not start on the engine now. limit is the
// maximum number of active builds; 0 = no limit, and then no order and no fair share either.
func checkCapacity(ctx context.Context, tx *sql.Tx, b autobuild.Build, engine string, limit int) error {
	if limit <= 0 {
		return nil
	}
	active, err := countActive(ctx, tx, engine)
	if err != nil {
		return err
	}
	if active >= limit {
		return fmt.Errorf("engine %s runs %d builds, its limit is %d: %w", engine, active, limit,
			autobuild.ErrUnavailable)
	}
	if err := checkOrder(ctx, tx, b); err != nil {
		return err
	}
	return fairShare(ctx, tx, b, engine)
}

// checkOrder returns ErrUnavailable if an older build of the same rule and ref is queued. If the
// newer build started first, the older build could no longer push its tags.
func checkOrder(ctx context.Context, tx *sql.Tx, b autobuild.Build) error {
	var older int64
	err := tx.QueryRowContext(
		ctx,
		`SELECT number FROM builds WHERE state = 'queued'
		AND automated_build_id = $1 AND rule_id = $2
		AND provider_id = $3 AND repository_id = $4 AND ref_kind = $5 AND ref_name = $6
		AND (seq < $7 OR (seq = $7 AND number < $8)) LIMIT 1`,
		b.AutomatedBuildID,
		b.RuleID,
		b.Repository.ProviderID,
		b.Repository.ID,
		b.Ref.Kind,
		b.Ref.Name,
		b.Seq,
		b.Number,
	).
		Scan(&older)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("older build %d of the same ref must start first: %w", older, autobuild.ErrUnavailable)
	}
	return err
}

// fairShare returns ErrUnavailable if another automated build waits that has fewer active builds
// on the engine. Without it, thousands of builds of one repository would keep the single build of
// another repository waiting. Queued builds with a Detail do not count, because they wait for
// something else and would leave the slot unused.
func fairShare(ctx context.Context, tx *sql.Tx, b autobuild.Build, engine string) error {
	var fewer bool
	err := tx.QueryRowContext(ctx, `WITH active AS MATERIALIZED (SELECT u.automated_build_id AS id, COUNT(*) AS builds
			FROM attempts t JOIN builds u ON u.id = t.build_id WHERE t.engine = $1 AND t.finished_at = 0
			GROUP BY u.automated_build_id)
		SELECT EXISTS (SELECT 1 FROM active mine JOIN automated_builds a ON a.engine = $1 AND a.id <> $2 LEFT
		JOIN active theirs ON theirs.id = a.id
			WHERE mine.id = $2 AND COALESCE(theirs.builds, 0) < mine.builds
			AND EXISTS (SELECT 1 FROM builds q WHERE q.state = 'queued' AND q.automated_build_id = a.id
			AND q.detail = ''))`,
		engine, b.AutomatedBuildID).Scan(&fewer)
	if err == nil && fewer {
		err = fmt.Errorf("an automated build with fewer active builds on engine %s must start first: %w", engine,
			autobuild.ErrUnavailable)
	}
	return err
}

// countActive returns the number of starting and running builds on an engine.
func countActive(ctx context.Context, q querier, engine string) (n int, err error) {
	err = q.QueryRowContext(ctx, `SELECT COUNT(*) FROM attempts WHERE engine = $1 AND finished_at = 0`, engine).Scan(&n)
	return n, err
}
