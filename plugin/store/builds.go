package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"slipway/plugin/autobuild"
)

const selectBuild = `SELECT b.id, b.number, b.automated_build_id, b.rule_id, ` + repositoryColumns + `,
	b.ref_kind, b.ref_name, b.seq, b.commit_hash, b.commit_message, b.commit_author, b.commit_date,
	b.image, b.tags, b.dockerfile, b.context, b.build_args, b.platforms, b.caching, b.publish,
	b.cause, b.cause_key, b.caused_by, b.delivery_id,
	b.state, b.reason, b.detail, b.attempt, b.tries, b.digest, b.size,
	b.received_at, b.retried_at, b.created_at, b.started_at, b.finished_at, b.stages, b.extra_tags, b.internal
	FROM builds b JOIN repositories r ON r.provider_id = b.provider_id AND r.id = b.repository_id`

// ofDelivery selects the builds of a delivery; its id follows. The first term repeats the condition of the index of
// deliveries. Without it, both databases read all builds.
const ofDelivery = `b.delivery_id <> '' AND b.delivery_id = `

func scanBuild(r scanner) (b autobuild.Build, err error) {
	fields := append([]any{&b.ID, &b.Number, &b.AutomatedBuildID, &b.RuleID}, repositoryFields(&b.Repository)...)
	err = r.Scan(append(
		fields,
		&b.Ref.Kind,
		&b.Ref.Name,
		&b.Seq,
		&b.Commit.Hash,
		&b.Commit.Message,
		&b.Commit.Author,
		at(&b.Commit.Date),
		&b.Image,
		fromJSON(&b.Tags),
		&b.Dockerfile,
		&b.Context,
		fromJSON(&b.BuildArgs),
		fromJSON(&b.Platforms),
		&b.Caching,
		&b.Publish,
		&b.Cause,
		&b.CauseKey,
		&b.CausedBy,
		&b.DeliveryID,
		&b.State,
		&b.Reason,
		&b.Detail,
		&b.Attempt,
		&b.Tries,
		&b.Digest,
		&b.Size,
		at(&b.ReceivedAt),
		at(&b.RetriedAt),
		at(&b.CreatedAt),
		at(&b.StartedAt),
		at(&b.FinishedAt),
		fromJSON(&b.Stages),
		fromJSON(&b.ExtraTags),
		&b.Internal,
	)...)
	return b, err
}

// buildByID loads a build from a pool or within a transaction.
func buildByID(ctx context.Context, q querier, id string) (autobuild.Build, error) {
	return scanBuild(q.QueryRowContext(ctx, selectBuild+` WHERE b.id = $1`, id))
}

// Build returns the build with this id.
func (s *Store) Build(ctx context.Context, id string) (autobuild.Build, error) {
	b, err := buildByID(ctx, s.read, id)
	if err != nil {
		return autobuild.Build{}, fmt.Errorf("build %s: %w", id, mapError(err))
	}
	return b, nil
}

// BuildByNumber returns the build with this number.
func (s *Store) BuildByNumber(ctx context.Context, number int64) (autobuild.Build, error) {
	b, err := scanBuild(s.read.QueryRowContext(ctx, selectBuild+` WHERE b.number = $1`, number))
	if err != nil {
		return autobuild.Build{}, fmt.Errorf("build %d: %w", number, mapError(err))
	}
	return b, nil
}

// Builds returns the builds of a filter, newest first, without stages.
func (s *Store) Builds(ctx context.Context, f autobuild.BuildFilter) ([]autobuild.Build, error) {
	return s.listBuilds(ctx, conditions{}, f)
}

func (s *Store) listBuilds(ctx context.Context, c conditions, f autobuild.BuildFilter) ([]autobuild.Build, error) {
	if f.AutomatedBuildID != "" {
		c.terms = append(c.terms, "b.automated_build_id = "+c.arg(f.AutomatedBuildID))
	}
	if f.DeliveryID != "" {
		c.terms = append(c.terms, ofDelivery+c.arg(f.DeliveryID))
	}
	if f.Before > 0 {
		c.terms = append(c.terms, "b.number < "+c.arg(f.Before))
	}
	f.Limit = pageLimit(f.Limit)
	where := c.where()
	if len(f.States) > 0 {
		where = c.whereStates(f.States, f.Limit)
	}
	return s.queryBuilds(ctx, c, where, f.Limit)
}

// pageLimit returns the limit of a list, or the default.
func pageLimit(limit int) int {
	if limit <= 0 {
		return 50
	}
	return limit
}

// queryBuilds returns the newest builds of a WHERE clause, which has the arguments of the conditions.
func (s *Store) queryBuilds(ctx context.Context, c conditions, where string, limit int) ([]autobuild.Build, error) {
	statement := selectBuild + where + newestFirst + c.arg(limit)
	all, err := queryAll(ctx, s.read, scanBuild, statement, c.args...)
	if err != nil {
		return nil, fmt.Errorf("list builds: %w", err)
	}
	for i := range all {
		all[i].Stages = nil
	}
	return all, nil
}

// BuildsOf returns the newest builds that an automated build has of a ref at a commit, newest
// first, without stages.
func (s *Store) BuildsOf(
	ctx context.Context, automatedBuildID string, ref autobuild.Ref, commit string,
) ([]autobuild.Build, error) {
	const maxBuilds = 100 // enough for the newest builds of all rules
	all, err := queryAll(ctx, s.read, scanBuild, selectBuild+` WHERE b.automated_build_id = $1 AND b.commit_hash = $2
		AND b.ref_kind = $3 AND b.ref_name = $4 ORDER BY b.number DESC LIMIT $5`, automatedBuildID, commit, ref.Kind, ref.Name, maxBuilds)
	if err != nil {
		return nil, fmt.Errorf("builds of %s at %s: %w", ref.Full(), commit, err)
	}
	for i := range all {
		all[i].Stages = nil
	}
	return all, nil
}

// newestFirst is the order of lists of builds; their limit follows.
const newestFirst = ` ORDER BY b.number DESC LIMIT `

// whereStates returns the WHERE clause for builds in one of the states. For several states it selects a page of each
// state, because an index has the order of each state, but not of several. So no list sorts all builds.
func (c *conditions) whereStates(states []autobuild.State, limit int) string {
	if len(states) == 1 {
		c.terms = append(c.terms, "b.state = "+c.arg(states[0]))
		return c.where()
	}
	last := newestFirst + c.arg(limit)
	var pages []string
	for _, state := range states {
		one := conditions{terms: append(slices.Clip(c.terms), "b.state = "+c.arg(state))}
		pages = append(pages, fmt.Sprintf(`SELECT number FROM (SELECT b.number FROM builds b%s%s) page%d`,
			one.where(), last, len(pages)))
	}
	return ` WHERE b.number IN (` + strings.Join(pages, ` UNION ALL `) + `)`
}

// LatestBuild returns the newest build with the same commit status as b: the same automated
// build, rule, ref and commit.
func (s *Store) LatestBuild(ctx context.Context, b autobuild.Build) (autobuild.Build, error) {
	latest, err := scanBuild(
		s.read.QueryRowContext(ctx, selectBuild+` WHERE b.automated_build_id = $1 AND b.rule_id = $2
		AND b.ref_kind = $3 AND b.ref_name = $4 AND b.commit_hash = $5 ORDER BY b.number DESC LIMIT 1`,
			b.AutomatedBuildID, b.RuleID, b.Ref.Kind, b.Ref.Name, b.Commit.Hash),
	)
	if err != nil {
		return autobuild.Build{}, fmt.Errorf("latest build of rule %s at %s: %w", b.RuleID, b.Ref.Full(), mapError(err))
	}
	return latest, nil
}

// SucceededBuild returns the newest succeeded build with the same commit status as b (LatestBuild). It returns
// ErrNotFound if there is none.
func (s *Store) SucceededBuild(ctx context.Context, b autobuild.Build) (autobuild.Build, error) {
	succeeded, err := scanBuild(
		s.read.QueryRowContext(ctx, selectBuild+` WHERE b.automated_build_id = $1 AND b.rule_id = $2
		AND b.ref_kind = $3 AND b.ref_name = $4 AND b.commit_hash = $5 AND b.state = $6 ORDER BY b.number DESC LIMIT 1`,
			b.AutomatedBuildID, b.RuleID, b.Ref.Kind, b.Ref.Name, b.Commit.Hash, autobuild.Succeeded),
	)
	if err != nil {
		return autobuild.Build{}, fmt.Errorf(
			"succeeded build of rule %s at %s: %w",
			b.RuleID,
			b.Ref.Full(),
			mapError(err),
		)
	}
	return succeeded, nil
}

// AccountOf returns the account whose credential is used for a build. It is the account of the
// automated build, or, if that was deleted, the account at the time when the build was created.
// It returns ErrNotFound if there is no such account.
func (s *Store) AccountOf(ctx context.Context, buildID string) (accountID string, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT COALESCE(a.account_id, b.account_id) FROM builds b
		LEFT JOIN automated_builds a ON a.id = b.automated_build_id WHERE b.id = $1`, buildID).Scan(&accountID)
	if err == nil && accountID == "" {
		err = autobuild.ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("account of build %s: %w", buildID, mapError(err))
	}
	return accountID, nil
}

// QueueOf returns the length of the queue for one automated build.
func (s *Store) QueueOf(ctx context.Context, automatedBuildID string) (q autobuild.QueueLength, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT COUNT(CASE WHEN state = 'queued' THEN 1 END),
		COUNT(CASE WHEN state = 'queued' AND automated_build_id <> $1 THEN 1 END),
		COUNT(DISTINCT CASE WHEN state = 'queued' THEN automated_build_id END),
		COUNT(CASE WHEN state <> 'queued' AND automated_build_id = $1 THEN 1 END)
		FROM builds WHERE state IN ('queued', 'starting', 'running')`, automatedBuildID).
		Scan(&q.Waiting, &q.OthersWaiting, &q.Owners, &q.OwnActive)
	if err != nil {
		return autobuild.QueueLength{}, fmt.Errorf("count waiting builds: %w", err)
	}
	return q, nil
}

// ExplainBuild stores in the Detail of a queued build why it waits; empty = it no longer waits. The
// reason is ReasonCapacity if it waits only for a place on its engine, ReasonSpace if its cache has no space, else empty. ExplainBuild does
// not change a build in another state.
func (s *Store) ExplainBuild(ctx context.Context, id string, reason autobuild.Reason, detail string) error {
	return s.tx(ctx, "explain build "+id, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE builds SET reason = $2, detail = $3 WHERE id = $1 AND state = $4`, id,
			reason, detail, autobuild.Queued)
		return err
	})
}
