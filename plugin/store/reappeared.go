package store

import (
	"context"
	"database/sql"
	"fmt"

	"slipway/plugin/autobuild"
)

// maxReappeared is the maximum number of refs that ReappearedRefs returns.
const maxReappeared = 50

// storeReappeared stores refs that a poll found again. A ref that is stored already gets the new
// commit and time.
func (s *Store) storeReappeared(ctx context.Context, tx *sql.Tx, refs []autobuild.ReappearedRef) error {
	now := ms(s.Now())
	for _, r := range refs {
		_, err := tx.ExecContext(ctx, `INSERT INTO reappeared_refs (automated_build_id, rule_id, ref_kind, ref_name,
				commit_hash, build_number, found_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (automated_build_id, rule_id, ref_kind, ref_name) DO UPDATE SET
			commit_hash = excluded.commit_hash, build_number = excluded.build_number, found_at = excluded.found_at`,
			r.AutomatedBuildID, r.RuleID, r.Ref.Kind, r.Ref.Name, r.Commit, r.BuildNumber, now)
		if err != nil {
			return fmt.Errorf("store that %s reappeared: %w", r.Ref.Full(), err)
		}
	}
	return nil
}

// forgetMovedRef deletes the rows of a ref of a repository, because the ref moved.
func forgetMovedRef(ctx context.Context, tx *sql.Tx, r autobuild.Repository, ref autobuild.Ref) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM reappeared_refs WHERE ref_kind = $1 AND ref_name = $2
		AND automated_build_id IN (SELECT id FROM automated_builds WHERE provider_id = $3 AND repository_id = $4)`,
		ref.Kind, ref.Name, r.ProviderID, r.ID)
	return err
}

// forgetStartedRef deletes the row of a ref and a rule, because a build of it was started.
func forgetStartedRef(ctx context.Context, tx *sql.Tx, b autobuild.Build) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM reappeared_refs WHERE automated_build_id = $1 AND rule_id = $2
		AND ref_kind = $3 AND ref_name = $4`, b.AutomatedBuildID, b.RuleID, b.Ref.Kind, b.Ref.Name)
	return err
}

// ReappearedRefs returns the refs of an automated build that polls found again and did not build,
// newest first, at most 50.
func (s *Store) ReappearedRefs(ctx context.Context, automatedBuildID string) ([]autobuild.ReappearedRef, error) {
	scan := func(r scanner) (one autobuild.ReappearedRef, err error) {
		err = r.Scan(&one.AutomatedBuildID, &one.RuleID, &one.Ref.Kind, &one.Ref.Name, &one.Commit, &one.BuildNumber,
			at(&one.FoundAt))
		return one, err
	}
	all, err := queryAll(ctx, s.read, scan, `SELECT automated_build_id, rule_id, ref_kind, ref_name, commit_hash,
		build_number, found_at FROM reappeared_refs WHERE automated_build_id = $1
		ORDER BY found_at DESC, ref_kind, ref_name, rule_id LIMIT $2`, automatedBuildID, maxReappeared)
	if err != nil {
		return nil, fmt.Errorf("reappeared refs of %s: %w", automatedBuildID, err)
	}
	return all, nil
}
