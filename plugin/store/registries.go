package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	ab "slipway/plugin/autobuild"
)

const selectRegistry = `SELECT id, host, username, password, insecure, checked_at, problem FROM registries`

func (s *Store) scanRegistry(r scanner) (g ab.Registry, err error) {
	var sealed []byte
	if err := r.Scan(&g.ID, &g.Host, &g.Username, &sealed, &g.Insecure, at(&g.CheckedAt), &g.Problem); err != nil {
		return ab.Registry{}, err
	}
	g.Password, err = s.unsealed("registries", "password", g.ID, sealed)
	return g, err
}

// SaveRegistry creates (empty ID) or replaces a registry credential; Host is unique.
func (s *Store) SaveRegistry(ctx context.Context, r ab.Registry) (saved ab.Registry, err error) {
	if r.ID == "" {
		r.ID = newID()
	}
	sealed, err := s.sealed("registries", "password", r.ID, r.Password)
	if err != nil {
		return ab.Registry{}, err
	}
	err = s.tx(ctx, "save registry "+r.Host, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO registries (id, host, username, password, insecure, checked_at, problem) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (id) DO UPDATE SET host = excluded.host, username = excluded.username, password = excluded.password,
			insecure = excluded.insecure, checked_at = excluded.checked_at, problem = excluded.problem`,
			r.ID, r.Host, r.Username, sealed, r.Insecure, ms(r.CheckedAt), r.Problem)
		if err != nil {
			return err
		}
		saved, err = s.scanRegistry(tx.QueryRowContext(ctx, selectRegistry+` WHERE id = $1`, r.ID))
		return err
	})
	return saved, err
}

// Registry returns one by id.
func (s *Store) Registry(ctx context.Context, id string) (ab.Registry, error) {
	r, err := s.scanRegistry(s.read.QueryRowContext(ctx, selectRegistry+` WHERE id = $1`, id))
	if err != nil {
		return ab.Registry{}, fmt.Errorf("registry %s: %w", id, known(err))
	}
	return r, nil
}

// RegistryFor returns the credential with the longest Host that an image name begins with
// (whole path segments); ErrNotFound when there is none.
func (s *Store) RegistryFor(ctx context.Context, image string) (ab.Registry, error) {
	all, err := s.Registries(ctx)
	if err != nil {
		return ab.Registry{}, err
	}
	best := -1
	for i, r := range all {
		host := strings.TrimSuffix(r.Host, "/")
		if strings.HasPrefix(image+"/", host+"/") && (best < 0 || len(r.Host) > len(all[best].Host)) {
			best = i
		}
	}
	if best < 0 {
		return ab.Registry{}, fmt.Errorf("registry for %s: %w", image, ab.ErrNotFound)
	}
	return all[best], nil
}

// Registries lists all, by host.
func (s *Store) Registries(ctx context.Context) ([]ab.Registry, error) {
	all, err := rows(ctx, s.read, s.scanRegistry, selectRegistry+` ORDER BY host`)
	if err != nil {
		return nil, fmt.Errorf("list registries: %w", err)
	}
	return all, nil
}

// DeleteRegistry forgets one; one that is gone is no error.
func (s *Store) DeleteRegistry(ctx context.Context, id string) error {
	return s.tx(ctx, "delete registry "+id, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM registries WHERE id = $1`, id)
		return err
	})
}
