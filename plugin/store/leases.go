package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// lapsedLeaseKept is the time after which an expired lease is deleted.
const lapsedLeaseKept = 24 * time.Hour

// Gateway returns the name of this gateway among those of the database.
func (s *Store) Gateway() string { return s.gateway }

// Hold acquires or renews a lease for this gateway, unless another gateway has it. The lease
// expires after life, on the database's clock. Hold returns false if another gateway has the
// lease.
func (s *Store) Hold(ctx context.Context, lease string, life time.Duration) (held bool, err error) {
	err = s.tx(ctx, "hold "+lease, func(tx *sql.Tx) error {
		now := s.Now()
		if _, err := tx.ExecContext(
			ctx,
			`DELETE FROM leases WHERE until < $1`,
			ms(now.Add(-lapsedLeaseKept)),
		); err != nil {
			return err
		}
		var holder string
		err := tx.QueryRowContext(ctx, `INSERT INTO leases (name, holder, until) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
			WHERE leases.holder = excluded.holder OR leases.until <= $4 RETURNING holder`,
			lease, s.gateway, ms(now.Add(life)), ms(now)).Scan(&holder)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		held = err == nil
		return err
	})
	return held, err
}

// Release gives up a lease, so that another gateway need not wait until it expires. It does not
// change the lease of another gateway.
func (s *Store) Release(ctx context.Context, lease string) error {
	return s.tx(ctx, "release "+lease, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM leases WHERE name = $1 AND holder = $2`, lease, s.gateway)
		return err
	})
}

// Held reports whether any gateway has a lease that has not expired.
func (s *Store) Held(ctx context.Context, lease string) (held bool, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM leases WHERE name = $1
		AND until > $2)`, lease, ms(s.Now())).
		Scan(&held)
	if err != nil {
		return false, fmt.Errorf("read lease %s: %w", lease, err)
	}
	return held, nil
}
