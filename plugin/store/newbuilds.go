package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"slipway/plugin/autobuild"
)

// CreateBuild stores a requested build with its tasks. A second call with the same cause,
// CauseKey, automated build and rule returns the first build and created false. A Seq of 0
// becomes the current one of the ref, so that later pushes are newer than this build.
func (s *Store) CreateBuild(ctx context.Context, b autobuild.Build) (build autobuild.Build, created bool, err error) {
	err = s.tx(ctx, "create build", func(tx *sql.Tx) error {
		if b.Seq == 0 {
			state, err := s.refState(ctx, tx, b.Repository, b.Ref)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			b.Seq = state.Seq
		}
		build, created, err = s.insertBuild(ctx, tx, b)
		if err != nil {
			return err
		}
		return forgetStartedRef(ctx, tx, b)
	})
	return build, created, err
}

// insertBuild stores a queued build with its tasks. If a build with the same identity exists, it
// returns that one and false.
func (s *Store) insertBuild(ctx context.Context, tx *sql.Tx, b autobuild.Build) (autobuild.Build, bool, error) {
	if err := ensureRepository(ctx, tx, b.Repository); err != nil {
		return autobuild.Build{}, false, err
	}
	existing, err := findBuild(ctx, tx, b)
	if err == nil || !errors.Is(err, sql.ErrNoRows) {
		return existing, false, err
	}
	if b.Number, err = nextNumber(ctx, tx, "builds"); err != nil {
		return autobuild.Build{}, false, err
	}
	b.ID, b.CreatedAt = newID(), s.Now()
	if b.ReceivedAt.IsZero() {
		b.ReceivedAt = b.CreatedAt
	}
	if err := insertBuildRow(ctx, tx, b); err != nil {
		return autobuild.Build{}, false, fmt.Errorf("build for rule %s at %s: %w", b.RuleID, b.Ref.Full(), err)
	}
	if err := s.enqueueDispatch(ctx, tx, b.ID, 0); err != nil {
		return autobuild.Build{}, false, err
	}
	if err := s.enqueueReport(ctx, tx, b); err != nil {
		return autobuild.Build{}, false, err
	}
	stored, err := buildByID(ctx, tx, b.ID)
	return stored, true, err
}

// findBuild returns the build with the same identity as b, or sql.ErrNoRows.
func findBuild(ctx context.Context, tx *sql.Tx, b autobuild.Build) (autobuild.Build, error) {
	if b.CauseKey != "" {
		found, err := scanBuild(
			tx.QueryRowContext(ctx,
				selectBuild+` WHERE b.cause = $1 AND b.cause_key = $2 AND b.automated_build_id = $3 AND b.rule_id = $4`,
				b.Cause, b.CauseKey, b.AutomatedBuildID, b.RuleID),
		)
		if !errors.Is(err, sql.ErrNoRows) {
			return found, err
		}
	}
	if b.Cause != autobuild.CausePush && b.Cause != autobuild.CauseReconcile {
		return autobuild.Build{}, sql.ErrNoRows
	}
	return scanBuild(
		tx.QueryRowContext(ctx,
			selectBuild+` WHERE b.automated_build_id = $1 AND b.rule_id = $2 AND b.provider_id = $3
				AND b.repository_id = $4
		AND b.ref_kind = $5 AND b.ref_name = $6 AND b.seq = $7 AND b.cause IN ('push', 'reconcile')`,
			b.AutomatedBuildID, b.RuleID, b.Repository.ProviderID, b.Repository.ID, b.Ref.Kind, b.Ref.Name, b.Seq),
	)
}

func insertBuildRow(ctx context.Context, tx *sql.Tx, b autobuild.Build) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO builds (
		id, number, automated_build_id, rule_id, provider_id, repository_id, ref_kind, ref_name, seq,
		commit_hash, commit_message, commit_author, commit_date,
		image, tags, dockerfile, context, build_args, platforms, caching, publish,
		cause, cause_key, caused_by, delivery_id, received_at, created_at,
		state, reason, detail, attempt, tries, digest, size, started_at, finished_at, stages, internal, account_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
		$22, $23, $24, $25, $26, $27,
		'queued', '', '', 0, 0, '', 0, 0, 0, 'null', $28, COALESCE((SELECT account_id FROM automated_builds
		WHERE id = $3), ''))`,
		b.ID, b.Number, b.AutomatedBuildID, b.RuleID, b.Repository.ProviderID, b.Repository.ID, b.Ref.Kind,
		b.Ref.Name, b.Seq, b.Commit.Hash, b.Commit.Message, b.Commit.Author, ms(b.Commit.Date), b.Image,
		asJSON(b.Tags), b.Dockerfile, b.Context, asJSON(b.BuildArgs), asJSON(b.Platforms), b.Caching, b.Publish,
		b.Cause, b.CauseKey, b.CausedBy, b.DeliveryID, ms(b.ReceivedAt), ms(b.CreatedAt), b.Internal)
	return err
}
