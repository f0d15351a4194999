package store

import (
	"context"
	"database/sql"
	"strings"
	"unicode/utf8"

	"slipway/plugin/autobuild"
)

// checkCapacity returns an *autobuild.CapacityError if the build must not start on the engine now. It
// must run in the transaction that creates the attempt, so that several gateways keep the limits.
func checkCapacity(
	ctx context.Context, tx *sql.Tx, b autobuild.Build, engine string, limits autobuild.Limits,
) error {
	if limits.IsZero() {
		return nil
	}
	active, err := loadActiveShares(ctx, tx, engine)
	if err != nil {
		return err
	}
	use := engineUse(b, engine, active)
	// Most checks end here, because the engine is full. They need not read the queue.
	if err := decide(ctx, tx, b.Repository, limits, use); err != nil {
		return err
	}
	if use.Own.Active > 0 { // else no other automated build has fewer active builds
		waiting, err := loadWaitingShares(ctx, tx, engine)
		if err != nil {
			return err
		}
		use.Others = engineUse(b, engine, append(active, waiting...)).Others
	}
	if use.OlderQueued, err = isOlderQueued(ctx, tx, b); err != nil {
		return err
	}
	return decide(ctx, tx, b.Repository, limits, use)
}

// decide returns an *autobuild.CapacityError if the limits do not let a build of the repository start. It looks for
// other workspaces only if they matter, because it may have to read all automated builds.
func decide(
	ctx context.Context, tx *sql.Tx, repository autobuild.Repository, limits autobuild.Limits, use autobuild.EngineUse,
) error {
	wait := limits.Decide(use)
	use.OtherWorkspaces = true
	if beside := limits.Decide(use); beside != wait {
		others, err := hasOtherWorkspaces(ctx, tx, repository, use.Engine)
		if err != nil {
			return err
		}
		if others {
			wait = beside
		}
	}
	if wait.Kind != "" {
		return &autobuild.CapacityError{Wait: wait}
	}
	return nil
}

// An engineShare is the share of one automated build.
type engineShare struct {
	automatedBuildID string
	autobuild.Share
}

func scanShare(r scanner) (s engineShare, err error) {
	var provider string
	err = r.Scan(&s.automatedBuildID, &provider, &s.Repository, &s.Active, &s.Waiting)
	s.Workspace = provider + " " + workspacePrefix(s.Repository)
	return s, err
}

// engineUse adds up the shares of each automated build.
func engineUse(b autobuild.Build, engine string, shares []engineShare) autobuild.EngineUse {
	use := autobuild.EngineUse{Engine: engine, Own: autobuild.Share{
		Repository: b.Repository.FullName,
		Workspace:  b.Repository.ProviderID + " " + workspacePrefix(b.Repository.FullName),
	}}
	position := map[string]int{}
	for _, s := range shares {
		if s.automatedBuildID == b.AutomatedBuildID {
			use.Own.Active += s.Active
			continue
		}
		i, ok := position[s.automatedBuildID]
		if !ok {
			i = len(use.Others)
			position[s.automatedBuildID] = i
			use.Others = append(use.Others, autobuild.Share{Repository: s.Repository, Workspace: s.Workspace})
		}
		use.Others[i].Active += s.Active
		use.Others[i].Waiting = use.Others[i].Waiting || s.Waiting
	}
	return use
}

// workspacePrefix returns the owner part of a repository's full name, with the slash.
func workspacePrefix(fullName string) string {
	owner, _, _ := strings.Cut(fullName, "/")
	return owner + "/"
}

// loadActiveShares returns the automated builds with starting or running builds on an engine.
func loadActiveShares(ctx context.Context, tx *sql.Tx, engine string) ([]engineShare, error) {
	return queryAll(ctx, tx, scanShare, `SELECT b.automated_build_id, b.provider_id, r.full_name, COUNT(*), FALSE
		FROM attempts t JOIN builds b ON b.id = t.build_id
		JOIN repositories r ON r.provider_id = b.provider_id AND r.id = b.repository_id
		WHERE t.engine = $1 AND t.finished_at = 0
		GROUP BY b.automated_build_id, b.provider_id, r.full_name`, engine)
}

// loadWaitingShares returns the automated builds with queued builds that wait only for a place on an
// engine. A build with a Detail and another Reason waits for something else. It would leave a free
// place unused.
//
// The recursion takes one step in the index for each automated build in the queue. So it reads neither all
// automated builds nor all queued builds.
func loadWaitingShares(ctx context.Context, tx *sql.Tx, engine string) ([]engineShare, error) {
	return queryAll(ctx, tx, scanShare, `WITH RECURSIVE owner (id) AS (
			SELECT MIN(b.automated_build_id) FROM builds b WHERE b.state = 'queued'
			UNION ALL SELECT (SELECT MIN(n.automated_build_id) FROM builds n
				WHERE n.state = 'queued' AND n.automated_build_id > owner.id) FROM owner WHERE owner.id IS NOT NULL)
		SELECT a.id, a.provider_id, r.full_name, 0, TRUE FROM owner JOIN automated_builds a ON a.id = owner.id
		JOIN repositories r ON r.provider_id = a.provider_id AND r.id = a.repository_id
		WHERE a.engine = $1 AND EXISTS (SELECT 1 FROM builds q WHERE q.state = 'queued'
			AND q.automated_build_id = a.id AND (q.detail = '' OR q.reason = $2))`, engine, autobuild.ReasonCapacity)
}

// hasOtherWorkspaces reports whether automated builds of other workspaces than the repository's use an
// engine.
func hasOtherWorkspaces(
	ctx context.Context, tx *sql.Tx, repository autobuild.Repository, engine string,
) (others bool, err error) {
	prefix := workspacePrefix(repository.FullName)
	err = tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM automated_builds a
		JOIN repositories r ON r.provider_id = a.provider_id AND r.id = a.repository_id
		WHERE a.engine = $1 AND (a.provider_id <> $2 OR substr(r.full_name, 1, $3) <> $4))`,
		engine, repository.ProviderID, utf8.RuneCountInString(prefix), prefix).Scan(&others)
	return others, err
}

// isOlderQueued reports whether an older build of the same rule and ref is queued.
func isOlderQueued(ctx context.Context, tx *sql.Tx, b autobuild.Build) (older bool, err error) {
	err = tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM builds WHERE state = 'queued'
		AND automated_build_id = $1 AND rule_id = $2
		AND provider_id = $3 AND repository_id = $4 AND ref_kind = $5 AND ref_name = $6
		AND (seq < $7 OR (seq = $7 AND number < $8)))`,
		b.AutomatedBuildID,
		b.RuleID,
		b.Repository.ProviderID,
		b.Repository.ID,
		b.Ref.Kind,
		b.Ref.Name,
		b.Seq,
		b.Number,
	).Scan(&older)
	return older, err
}
