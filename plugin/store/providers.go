package store

import (
	"context"
	"database/sql"
	"fmt"

	"slipway/plugin/autobuild"
)

const selectProvider = `SELECT id, kind, name, web_url, api_url, client_id, client_secret FROM providers`

func (s *Store) scanProvider(r scanner) (p autobuild.Provider, err error) {
	var sealed []byte
	if err := r.Scan(&p.ID, &p.Kind, &p.Name, &p.WebURL, &p.APIURL, &p.ClientID, &sealed); err != nil {
		return autobuild.Provider{}, err
	}
	p.ClientSecret, err = s.unsealed("providers", "client_secret", sealed, p.ID)
	return p, err
}

// SaveProvider creates a source provider, or replaces it if p.ID is set, and returns it as
// stored. It returns ErrConflict if another provider has the name.
func (s *Store) SaveProvider(ctx context.Context, p autobuild.Provider) (saved autobuild.Provider, err error) {
	if p.ID == "" {
		p.ID = newID()
	}
	err = s.tx(ctx, "save provider "+p.Name, func(tx *sql.Tx) error {
		sealed, err := s.sealed(ctx, tx, "providers", "client_secret", p.ClientSecret, p.ID)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx,
			`INSERT INTO providers (id, kind, name, web_url, api_url, client_id, client_secret, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, name = excluded.name,
			web_url = excluded.web_url, api_url = excluded.api_url,
			client_id = excluded.client_id, client_secret = excluded.client_secret`, p.ID, p.Kind, p.Name, p.WebURL,
			p.APIURL, p.ClientID, sealed, ms(s.Now()))
		if err != nil {
			return err
		}
		saved, err = s.scanProvider(tx.QueryRowContext(ctx, selectProvider+` WHERE id = $1`, p.ID))
		return err
	})
	return saved, err
}

// Provider returns the source provider with this id.
func (s *Store) Provider(ctx context.Context, id string) (autobuild.Provider, error) {
	p, err := s.scanProvider(s.read.QueryRowContext(ctx, selectProvider+` WHERE id = $1`, id))
	if err != nil {
		return autobuild.Provider{}, fmt.Errorf("provider %s: %w", id, mapError(err))
	}
	return p, nil
}

// Providers returns all source providers, oldest first.
func (s *Store) Providers(ctx context.Context) ([]autobuild.Provider, error) {
	all, err := queryAll(ctx, s.read, s.scanProvider, selectProvider+` ORDER BY created_at, name`)
	if err != nil {
		return nil, fmt.Errorf("list providers: %w", err)
	}
	return all, nil
}
