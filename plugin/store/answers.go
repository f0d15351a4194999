package store

import (
	"context"
	"database/sql"

	"slipway/plugin/autobuild"
)

// rememberMoves keeps every move of a ref that the outcomes of a plan answered, accepted or
// refused, so that a delivery that is replayed later is known (TransitionSeen).
func rememberMoves(ctx context.Context, tx *sql.Tx, r autobuild.Repository, outcomes []autobuild.Outcome) error {
	for _, o := range outcomes {
		if o.Change.Kind == autobuild.PullRequest {
			continue
		}
		_, err := tx.ExecContext(ctx,
			`INSERT INTO answered_moves (provider_id, repository_id, kind, name, old_head, new_head)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`, r.ProviderID, r.ID, o.Change.Kind,
			o.Change.Name, o.Change.Old, o.Change.Commit)
		if err != nil {
			return err
		}
	}
	return nil
}

// ExplainDelivery says in a received delivery's Reason what its planning waits for. A
// delivery that was planned is left as it is.
func (s *Store) ExplainDelivery(ctx context.Context, id, reason string) error {
	return s.tx(ctx, "explain delivery "+id, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE deliveries SET reason = $2 WHERE id = $1 AND state = $3`, id, reason,
			autobuild.DeliveryReceived)
		return err
	})
}

// ExplainBuild says in a queued build's Detail what it waits for; empty = it no longer does.
// A build in another state is left as it is.
func (s *Store) ExplainBuild(ctx context.Context, id, detail string) error {
	return s.tx(ctx, "explain build "+id, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE builds SET detail = $2 WHERE id = $1 AND state = $3`, id, detail,
			autobuild.Queued)
		return err
	})
}
