package store

import (
	"context"
	"database/sql"
	"fmt"

	"slipway/plugin/autobuild"
)

// A repository stands in one row, to which hooks, automated builds and builds refer: a new
// name is known everywhere at once.

// A repository has one row. Hooks, automated builds and builds refer to it, so a rename changes
// one row.
//
// repositoryColumns are the columns of a JOIN with repositories as r.
const repositoryColumns = `r.provider_id, r.id, r.workspace_id, r.full_name, r.default_branch, r.private, r.admin`

func repositoryFields(r *autobuild.Repository) []any {
	return []any{&r.ProviderID, &r.ID, &r.WorkspaceID, &r.FullName, &r.DefaultBranch, &r.Private, &r.Admin}
}

// ensureRepository creates the row of a repository. It does not change an existing row.
func ensureRepository(ctx context.Context, tx *sql.Tx, r autobuild.Repository) error {
	return execRepository(ctx, tx, r, insertRepository+`DO NOTHING`)
}

// saveRepository creates or replaces the row of a repository.
func saveRepository(ctx context.Context, tx *sql.Tx, r autobuild.Repository) error {
	return execRepository(ctx, tx, r,
		insertRepository+`DO UPDATE SET workspace_id = excluded.workspace_id, full_name = excluded.full_name,
		default_branch = excluded.default_branch, private = excluded.private, admin = excluded.admin`)
}

const insertRepository = `INSERT INTO repositories (provider_id, id, workspace_id, full_name, default_branch,
	private, admin)
	VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (provider_id, id) `

func execRepository(ctx context.Context, tx *sql.Tx, r autobuild.Repository, query string) error {
	_, err := tx.ExecContext(ctx, query, r.ProviderID, r.ID, r.WorkspaceID, r.FullName, r.DefaultBranch, r.Private,
		r.Admin)
	return err
}

// RenameRepository updates the full name and the default branch of a repository.
func (s *Store) RenameRepository(ctx context.Context, r autobuild.Repository) error {
	return s.listTx(ctx, "rename repository "+r.ID, func(tx *sql.Tx) error {
		return execOne(ctx, tx,
			`UPDATE repositories SET full_name = $3, default_branch = $4 WHERE provider_id = $1 AND id = $2`,
			r.ProviderID, r.ID, r.FullName, r.DefaultBranch)
	})
}

// Repositories returns the repositories of a provider that have an automated build, a build or a
// webhook, by id.
func (s *Store) Repositories(ctx context.Context, providerID string) ([]autobuild.Repository, error) {
	scan := func(r scanner) (one autobuild.Repository, err error) {
		err = r.Scan(repositoryFields(&one)...)
		return one, err
	}
	all, err := queryAll(ctx, s.read, scan,
		`SELECT `+repositoryColumns+` FROM repositories r WHERE r.provider_id = $1 ORDER BY r.id`, providerID)
	if err != nil {
		return nil, fmt.Errorf("list repositories of provider %s: %w", providerID, err)
	}
	return all, nil
}
