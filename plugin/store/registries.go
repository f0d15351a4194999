package store

import (
	"context"
	"database/sql"
	"fmt"

	"slipway/plugin/autobuild"
)

const selectRegistry = `SELECT id, host, purpose, automated_build_id, username, password, insecure,
	checked_at, problem FROM registries`

func (s *Store) scanRegistry(r scanner) (g autobuild.Registry, err error) {
	var sealed []byte
	var boundTo sql.NullString
	err = r.Scan(&g.ID, &g.Host, &g.Purpose, &boundTo, &g.Username, &sealed, &g.Insecure, at(&g.CheckedAt), &g.Problem)
	if err != nil {
		return autobuild.Registry{}, err
	}
	g.AutomatedBuildID = boundTo.String
	g.Password, err = s.unsealed("registries", "password", sealed, g.ID)
	return g, err
}

// SaveRegistry creates a registry credential, or replaces it if r.ID is set, and returns it as
// stored. It returns ErrConflict if another credential has the same Host, Purpose and
// AutomatedBuildID. It returns ErrNotFound if the automated build does not exist.
func (s *Store) SaveRegistry(ctx context.Context, r autobuild.Registry) (saved autobuild.Registry, err error) {
	if r.ID == "" {
		r.ID = newID()
	}
	if r.Purpose == "" {
		r.Purpose = autobuild.RegistryPush
	}
	boundTo := sql.NullString{String: r.AutomatedBuildID, Valid: r.AutomatedBuildID != ""}
	err = s.tx(ctx, "save registry "+r.Host, func(tx *sql.Tx) error {
		if boundTo.Valid {
			if _, err := s.automatedBuild(ctx, tx, r.AutomatedBuildID); err != nil {
				return fmt.Errorf("automated build %s: %w", r.AutomatedBuildID, err)
			}
		}
		sealed, err := s.sealed(ctx, tx, "registries", "password", r.Password, r.ID)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO registries
			(id, host, purpose, automated_build_id, username, password, insecure, checked_at, problem)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (id) DO UPDATE SET host = excluded.host, purpose = excluded.purpose,
			automated_build_id = excluded.automated_build_id, username = excluded.username,
			password = excluded.password,
			insecure = excluded.insecure, checked_at = excluded.checked_at, problem = excluded.problem`,
			r.ID, r.Host, r.Purpose, boundTo, r.Username, sealed, r.Insecure, ms(r.CheckedAt), r.Problem)
		if err != nil {
			return err
		}
		saved, err = s.scanRegistry(tx.QueryRowContext(ctx, selectRegistry+` WHERE id = $1`, r.ID))
		return err
	})
	return saved, err
}

// Registry returns the registry credential with this id.
func (s *Store) Registry(ctx context.Context, id string) (autobuild.Registry, error) {
	r, err := s.scanRegistry(s.read.QueryRowContext(ctx, selectRegistry+` WHERE id = $1`, id))
	if err != nil {
		return autobuild.Registry{}, fmt.Errorf("registry %s: %w", id, mapError(err))
	}
	return r, nil
}

// Registries returns all registry credentials, by host and purpose.
func (s *Store) Registries(ctx context.Context) ([]autobuild.Registry, error) {
	all, err := queryAll(ctx, s.read, s.scanRegistry, selectRegistry+` ORDER BY host, purpose, automated_build_id, id`)
	if err != nil {
		return nil, fmt.Errorf("list registries: %w", err)
	}
	return all, nil
}

// DeleteRegistry deletes a registry credential. It returns nil if it does not exist.
func (s *Store) DeleteRegistry(ctx context.Context, id string) error {
	return s.tx(ctx, "delete registry "+id, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM registries WHERE id = $1`, id)
		return err
	})
}
