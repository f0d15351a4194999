package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"slipway/plugin/autobuild"
)

// AfterRestore returns what the last restore of a backup means for a build. It is zero if the build was requested
// after the restore, by a push or by a person, or publishes nothing.
func (s *Store) AfterRestore(ctx context.Context, b autobuild.Build) (r autobuild.AfterRestore, err error) {
	restoredAt, err := s.restoredAt(ctx)
	if err != nil {
		return r, err
	}
	if !b.Publish || !b.ReceivedAt.Before(restoredAt) {
		return r, nil
	}
	var polledAt, retriedAt time.Time
	var seq int64
	err = s.read.QueryRowContext(ctx, `SELECT
		COALESCE((SELECT polled_at FROM hooks WHERE provider_id = $1 AND repository_id = $2), $6),
		COALESCE((SELECT seq FROM refs`+whereRef+`), 0),
		COALESCE((SELECT retried_at FROM builds WHERE id = $5), 0)`,
		b.Repository.ProviderID, b.Repository.ID, b.Ref.Kind, b.Ref.Name, b.ID, ms(s.Now())).
		Scan(at(&polledAt), &seq, at(&retriedAt))
	if err != nil {
		return r, fmt.Errorf("build %d after a restore: %w", b.Number, err)
	}
	if retriedAt.After(restoredAt) {
		return r, nil
	}
	r.Moved = seq > b.Seq
	if r.Unpolled = !polledAt.After(restoredAt); r.Unpolled {
		startedAt, err := s.instanceTime(ctx, restoredStart)
		if err != nil {
			return autobuild.AfterRestore{}, err
		}
		if startedAt.Before(restoredAt) {
			startedAt = restoredAt
		}
		r.Waited = s.Now().Sub(startedAt)
	}
	return r, nil
}

// EndRestored cancels the builds of refs that a restored backup has as unfinished (AfterRestore), with
// autobuild.ReasonRestored and a detail by ref. waiting means that the backup was restored after the last poll of the
// hook, so that builds wait for the next one. Otherwise it changes nothing.
func (s *Store) EndRestored(
	ctx context.Context, hook autobuild.Hook, details map[autobuild.Ref]string,
) (waiting bool, err error) {
	restoredAt, err := s.restoredAt(ctx)
	if err != nil || restoredAt.IsZero() || hook.PolledAt.After(restoredAt) {
		return false, err
	}
	r := hook.Repository
	for ref, detail := range details {
		ids, err := queryAll(ctx, s.read, scanString, `SELECT id FROM builds
			WHERE provider_id = $1 AND repository_id = $2 AND ref_kind = $3 AND ref_name = $4
			AND publish AND received_at < $5 AND retried_at <= $5 AND state IN ($6, $7, $8)`,
			r.ProviderID, r.ID, ref.Kind, ref.Name, ms(restoredAt),
			autobuild.Queued, autobuild.Starting, autobuild.Running)
		if err != nil {
			return false, fmt.Errorf("list builds of %s: %w", ref.Full(), err)
		}
		for _, id := range ids {
			_, err := s.CancelBuild(ctx, id, autobuild.ReasonRestored, detail)
			if err != nil && !errors.Is(err, autobuild.ErrConflict) { // it has ended meanwhile
				return false, err
			}
		}
	}
	return true, nil
}

// restoredAt returns the time of the last restore of a backup, or the zero time.
func (s *Store) restoredAt(ctx context.Context) (time.Time, error) {
	return s.instanceTime(ctx, "restored_at")
}

// restoredStart is the name of the time of the first start after the last restore. An older time belongs to an earlier
// restore.
const restoredStart = "restored_start"

// instanceTime returns a time of the table instance, or the zero time.
func (s *Store) instanceTime(ctx context.Context, name string) (time.Time, error) {
	var text []byte
	err := s.read.QueryRowContext(ctx, `SELECT value FROM instance WHERE name = $1`, name).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read %s: %w", name, err)
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("read %s: %w", name, err)
	}
	return time.UnixMilli(n), nil
}
