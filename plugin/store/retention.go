package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

const (
	// minKeptBuilds is the number of newest builds of each automated build that are never
	// pruned.
	minKeptBuilds = 10
	// pruneBatch is the maximum number of rows that one transaction deletes, because deliveries
	// wait for its end.
	pruneBatch = 200
)

// idleUserKept is how long a user who never had a permission is kept after the last session.
const idleUserKept = 24 * time.Hour

// Pruned contains the numbers of rows that Prune deleted.
type Pruned struct{ Deliveries, Builds, People, Sessions int }

// Prune deletes old data: planned deliveries with their bodies, and final builds with their
// attempts. It keeps deliveries and builds that are newer than before, and the newest ten builds
// of each automated build. It also deletes idle users, and expired sessions with their grants.
//
// Prune keeps refs, transitions and decided moves. They are small, and without them a replayed
// delivery would build again. It keeps permits, which stop an older build from moving a tag back.
// The idempotency key of a request is deleted with its build.
func (s *Store) Prune(ctx context.Context, before time.Time) (p Pruned, err error) {
	p.Deliveries, err = s.prune(ctx, before,
		`SELECT id FROM deliveries WHERE received_at < $1 AND planned_at > 0 ORDER BY received_at, id LIMIT $2`,
		`DELETE FROM deliveries WHERE id = $2 AND received_at < $1 AND planned_at > 0`)
	if err != nil {
		return p, fmt.Errorf("prune deliveries: %w", err)
	}
	if p.Builds, err = s.pruneBuilds(ctx, before); err != nil {
		return p, fmt.Errorf("prune builds: %w", err)
	}
	p.People, err = s.prunePeople(ctx, before)
	if err != nil {
		return p, fmt.Errorf("prune people: %w", err)
	}
	p.Sessions, err = s.prune(ctx, s.Now(),
		`SELECT id FROM sessions WHERE expires_at <= $1 LIMIT $2`,
		`DELETE FROM sessions WHERE id = $2 AND expires_at <= $1`)
	if err != nil {
		return p, fmt.Errorf("prune sessions: %w", err)
	}
	return p, nil
}

// An oldBuild is a build that finished before a time.
type oldBuild struct {
	id                 string
	finishedAt, number int64
	newest             bool // of its automated build's newest ones
}

func scanOldBuild(r scanner) (b oldBuild, err error) {
	err = r.Scan(&b.id, &b.finishedAt, &b.number, &b.newest)
	return b, err
}

// pruneBuilds deletes old builds except the newest ones of each automated build. It looks at each old build once, in
// the order in which they finished, so that builds that stay are not read for each batch again.
func (s *Store) pruneBuilds(ctx context.Context, before time.Time) (removed int, err error) {
	var last oldBuild
	for {
		old, err := queryAll(ctx, s.read, scanOldBuild, `SELECT b.id, b.finished_at, b.number,
			b.number >= COALESCE((SELECT n.number FROM builds n WHERE n.automated_build_id = b.automated_build_id
				ORDER BY n.number DESC LIMIT 1 OFFSET $5), 0)
			FROM builds b WHERE b.finished_at > 0 AND b.finished_at < $1 AND (b.finished_at, b.number) > ($2, $3)
			ORDER BY b.finished_at, b.number LIMIT $4`,
			ms(before), last.finishedAt, last.number, pruneBatch, minKeptBuilds-1)
		if err != nil || len(old) == 0 {
			return removed, err
		}
		last = old[len(old)-1]
		var ids []string
		for _, b := range old {
			if !b.newest {
				ids = append(ids, b.id)
			}
		}
		n, err := s.removeEach(ctx, before, `DELETE FROM builds WHERE id = $2 AND finished_at > 0
			AND finished_at < $1`, ids) // one that is retried meanwhile stays
		removed += n
		if err != nil {
			return removed, err
		}
	}
}

// prunePeople deletes users without a role, a session and a linked account. Users who never had a
// permission are deleted a day after their last session, and other users after the usual time. A
// deleted user who signs in again gets a new row.
func (s *Store) prunePeople(ctx context.Context, before time.Time) (removed int, err error) {
	const idle = ` role = 'none' AND created_at < $1 AND signed_in_at < $1
		AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.user_id = users.id AND s.expires_at > $1)
		AND NOT EXISTS (SELECT 1 FROM accounts a WHERE a.user_id = users.id)`
	withoutRight := s.Now().Add(-idleUserKept)
	for _, pass := range []struct {
		before time.Time
		which  string
	}{{withoutRight, idle + ` AND had_right = FALSE`}, {before, idle}} {
		n, err := s.prune(ctx, pass.before,
			`SELECT id FROM users WHERE`+pass.which+` ORDER BY created_at, id LIMIT $2`,
			`DELETE FROM users WHERE id = $2 AND`+pass.which)
		removed += n
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// prune deletes the rows that a query finds, in batches. The query runs on a reading connection,
// so that a slow query does not block writers.
func (s *Store) prune(ctx context.Context, before time.Time, find, remove string) (removed int, err error) {
	for {
		ids, err := queryAll(ctx, s.read, scanID, find, ms(before), pruneBatch)
		if err != nil || len(ids) == 0 {
			return removed, err
		}
		n, err := s.removeEach(ctx, before, remove, ids)
		removed += n
		if err != nil || n == 0 {
			return removed, err
		}
	}
}

func scanID(r scanner) (id string, err error) {
	err = r.Scan(&id)
	return id, err
}

func (s *Store) removeEach(
	ctx context.Context, before time.Time, remove string, ids []string,
) (removed int, err error) {
	if len(ids) == 0 {
		return 0, nil
	}
	err = s.listTx(ctx, "remove a batch", func(tx *sql.Tx) error {
		for _, id := range ids {
			result, err := tx.ExecContext(ctx, remove, ms(before), id)
			if err != nil {
				return err
			}
			n, err := result.RowsAffected()
			if err != nil {
				return err
			}
			removed += int(n)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}
