package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
)

// whereRef selects one ref by provider, repository id, kind and name.
const whereRef = ` WHERE provider_id = $1 AND repository_id = $2 AND kind = $3 AND name = $4`

// gapKept is the time for which a state has a gap. Bitbucket sends and repeats deliveries within
// minutes.
const gapKept = time.Hour

// RefState returns the last accepted head of a ref. It returns ErrNotFound if the ref was never
// seen.
func (s *Store) RefState(ctx context.Context, r autobuild.Repository, ref autobuild.Ref) (autobuild.RefState, error) {
	state, err := s.refState(ctx, s.read, r, ref)
	if err != nil {
		return autobuild.RefState{}, fmt.Errorf("state of %s in %s: %w", ref.Full(), r.ID, mapError(err))
	}
	return state, nil
}

func (s *Store) refState(
	ctx context.Context, q querier, r autobuild.Repository, ref autobuild.Ref,
) (state autobuild.RefState, err error) {
	err = q.QueryRowContext(ctx, `SELECT head, seq, gap_at > $5 FROM refs`+whereRef, r.ProviderID, r.ID, ref.Kind, ref.Name,
		ms(s.Now().Add(-gapKept))).
		Scan(&state.Head, &state.Seq, &state.Gap)
	return state, err
}

// RefStates returns all known refs of a repository, also deleted ones, whose head is empty.
func (s *Store) RefStates(ctx context.Context, r autobuild.Repository) (map[autobuild.Ref]autobuild.RefState, error) {
	type row struct {
		ref   autobuild.Ref
		state autobuild.RefState
	}
	scan := func(r scanner) (one row, err error) {
		err = r.Scan(&one.ref.Kind, &one.ref.Name, &one.state.Head, &one.state.Seq, &one.state.Gap)
		return one, err
	}
	all, err := queryAll(ctx, s.read, scan,
		`SELECT kind, name, head, seq, gap_at > $3 FROM refs WHERE provider_id = $1 AND repository_id = $2`,
		r.ProviderID, r.ID, ms(s.Now().Add(-gapKept)))
	if err != nil {
		return nil, fmt.Errorf("states of the refs in %s: %w", r.ID, err)
	}
	states := make(map[autobuild.Ref]autobuild.RefState, len(all))
	for _, one := range all {
		states[one.ref] = one.state
	}
	return states, nil
}

// TransitionSeen reports whether a plan decided this move of the ref before, accepted or
// refused.
func (s *Store) TransitionSeen(ctx context.Context, t autobuild.Transition) (bool, error) {
	var seen bool
	const whereMove = whereRef + ` AND old_head = $5 AND new_head = $6`
	err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM transitions`+whereMove+`) OR EXISTS (SELECT 1
		FROM answered_moves`+whereMove+`)`,
		t.Repository.ProviderID, t.Repository.ID, t.Ref.Kind, t.Ref.Name, t.Old, t.New).
		Scan(&seen)
	if err != nil {
		return false, fmt.Errorf("transitions of %s in %s: %w", t.Ref.Full(), t.Repository.ID, err)
	}
	return seen, nil
}

// HasTransitionTo reports whether a transition of the ref led to the commit, with or without a build.
func (s *Store) HasTransitionTo(
	ctx context.Context, r autobuild.Repository, ref autobuild.Ref, commit string,
) (was bool, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM transitions`+whereRef+` AND new_head = $5)`,
		r.ProviderID, r.ID, ref.Kind, ref.Name, commit).Scan(&was)
	if err != nil {
		return false, fmt.Errorf("transitions of %s in %s: %w", ref.Full(), r.ID, err)
	}
	return was, nil
}

// BaselineRefs stores the heads of refs that were never seen, with seq 0 and without a build,
// because rules are not retroactive.
func (s *Store) BaselineRefs(ctx context.Context, r autobuild.Repository, heads []autobuild.Head) error {
	return s.tx(ctx, "baseline refs of "+r.ID, func(tx *sql.Tx) error {
		for _, h := range heads {
			_, err := tx.ExecContext(ctx,
				`INSERT INTO refs (provider_id, repository_id, kind, name, head, seq) VALUES ($1, $2, $3, $4, $5, 0)
				ON CONFLICT DO NOTHING`, r.ProviderID, r.ID, h.Ref.Kind, h.Ref.Name, h.Commit.Hash)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// AdoptRefs stores the heads of a repository that Slipway starts to watch. It replaces the heads
// of refs that were seen in an earlier period, because the moves in between must not build.
// Sequence numbers stay, so that builds of the earlier period still count as older.
func (s *Store) AdoptRefs(ctx context.Context, r autobuild.Repository, heads []autobuild.Head) error {
	return s.tx(ctx, "adopt refs of "+r.ID, func(tx *sql.Tx) error {
		for _, h := range heads {
			_, err := tx.ExecContext(ctx,
				`INSERT INTO refs (provider_id, repository_id, kind, name, head, seq) VALUES ($1, $2, $3, $4, $5, 0)
				ON CONFLICT (provider_id, repository_id, kind, name) DO UPDATE SET head = excluded.head`,
				r.ProviderID, r.ID, h.Ref.Kind, h.Ref.Name, h.Commit.Hash)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// moveRef stores a transition and returns the new sequence number of the ref. The ref must be at
// the transition's old head or never seen, and must get m.Seq unless that is 0; else moveRef returns
// ErrConflict.
func (s *Store) moveRef(ctx context.Context, tx *sql.Tx, m autobuild.Move) (seq int64, err error) {
	t, r := m.Transition, m.Transition.Repository
	var gapAt int64
	if m.Gap {
		gapAt = ms(s.Now())
	}
	const update = `UPDATE refs SET head = $5, seq = seq + 1, gap_at = CASE WHEN $7 > gap_at THEN $7 ELSE gap_at END` +
		whereRef + ` AND head = $6 RETURNING seq`
	err = tx.QueryRowContext(ctx, update, r.ProviderID, r.ID, t.Ref.Kind, t.Ref.Name, t.New, t.Old, gapAt).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		err = tx.QueryRowContext(ctx, `INSERT INTO refs (provider_id, repository_id, kind, name, head, seq, gap_at)
			VALUES ($1, $2, $3, $4, $5, 1, $6)
			ON CONFLICT DO NOTHING RETURNING seq`, r.ProviderID, r.ID, t.Ref.Kind, t.Ref.Name, t.New, gapAt).
			Scan(&seq)
	}
	if err == nil && m.Seq != 0 && seq != m.Seq {
		return 0, fmt.Errorf("%s in %s moved and came back: %w", t.Ref.Full(), r.ID, autobuild.ErrConflict)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("%s in %s is no longer at %q: %w", t.Ref.Full(), r.ID, t.Old, autobuild.ErrConflict)
	}
	if err != nil {
		return 0, err
	}
	if err := forgetMovedRef(ctx, tx, r, t.Ref); err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx,
		`INSERT INTO transitions (provider_id, repository_id, kind, name, seq, old_head, new_head, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, r.ProviderID, r.ID, t.Ref.Kind, t.Ref.Name, seq, t.Old, t.New,
		ms(s.Now()))
	return seq, err
}
