package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	ab "slipway/plugin/autobuild"
)

// Permit asks to move tags of the build's image: granted unless a newer transition of the
// same ref holds or held one of them; then no tag is granted. Different refs and rules may
// share a tag, the last one wins. Asking again is harmless. holder says which build stands
// in the way; zero when that one was pruned. ErrFenced when the attempt is over.
func (s *Store) Permit(ctx context.Context, buildID string, attempt int, tags []string) (granted bool, holder ab.Build, err error) {
	op := fmt.Sprintf("permit for build %s attempt %d", buildID, attempt)
	err = s.tx(ctx, op, func(tx *sql.Tx) error {
		_, b, err := s.fenced(ctx, tx, buildID, attempt)
		if err != nil {
			return err
		}
		for _, tag := range tags {
			newer, err := newerHolder(ctx, tx, b, tag)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			if holder, err = buildByID(ctx, tx, newer); errors.Is(err, sql.ErrNoRows) {
				return nil // pruned
			}
			return err
		}
		granted = true
		return s.grant(ctx, tx, b, attempt, tags)
	})
	if err != nil {
		return false, ab.Build{}, err
	}
	return granted, holder, nil
}

// newerHolder returns the build of a newer transition of b's ref that moved the tag;
// sql.ErrNoRows when there is none.
func newerHolder(ctx context.Context, tx *sql.Tx, b ab.Build, tag string) (buildID string, err error) {
	err = tx.QueryRowContext(ctx, `SELECT build_id FROM permits WHERE image = $1 AND tag = $2
		AND provider_id = $3 AND repository_id = $4 AND ref_kind = $5 AND ref_name = $6 AND seq > $7`,
		b.Image, tag, b.Repository.ProviderID, b.Repository.ID, b.Ref.Kind, b.Ref.Name, b.Seq).Scan(&buildID)
	return buildID, err
}

func (s *Store) grant(ctx context.Context, tx *sql.Tx, b ab.Build, attempt int, tags []string) error {
	for _, tag := range tags {
		_, err := tx.ExecContext(ctx, `INSERT INTO permits (image, tag, provider_id, repository_id, ref_kind, ref_name, seq, build_id, attempt, granted_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			ON CONFLICT (image, tag, provider_id, repository_id, ref_kind, ref_name)
			DO UPDATE SET seq = excluded.seq, build_id = excluded.build_id, attempt = excluded.attempt, granted_at = excluded.granted_at`,
			b.Image, tag, b.Repository.ProviderID, b.Repository.ID, b.Ref.Kind, b.Ref.Name, b.Seq, b.ID, attempt, ms(s.Now()))
		if err != nil {
			return err
		}
	}
	return nil
}
