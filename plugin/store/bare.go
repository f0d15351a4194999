package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"slipway/plugin/autobuild"
)

// Queries that need only a part of automated builds, accounts and webhooks. They decrypt nothing.

// BareAutomatedBuilds returns the automated builds of a filter, by repository and image.
func (s *Store) BareAutomatedBuilds(
	ctx context.Context, f autobuild.BareFilter,
) ([]autobuild.BareAutomatedBuild, error) {
	var c conditions
	if f.AccountID != "" {
		c.terms = append(c.terms, "a.account_id = "+c.arg(f.AccountID))
	}
	if f.Image != "" {
		c.terms = append(c.terms, "a.image = "+c.arg(f.Image))
	}
	scan := func(r scanner) (a autobuild.BareAutomatedBuild, err error) {
		fields := append([]any{&a.ID, &a.AccountID}, repositoryFields(&a.Repository)...)
		err = r.Scan(append(fields, &a.Image, &a.Engine)...)
		return a, err
	}
	all, err := queryAll(ctx, s.read, scan, `SELECT a.id, a.account_id, `+repositoryColumns+`, a.image, a.engine`+
		fromAutomatedBuilds+c.where()+` ORDER BY r.full_name, a.image, a.id`, c.args...)
	if err != nil {
		return nil, fmt.Errorf("list automated builds: %w", err)
	}
	return all, nil
}

// CountAutomatedBuilds returns the numbers of automated builds by the id of their account.
func (s *Store) CountAutomatedBuilds(ctx context.Context) (map[string]int, error) {
	type count struct {
		account string
		n       int
	}
	scan := func(r scanner) (one count, err error) { err = r.Scan(&one.account, &one.n); return one, err }
	all, err := queryAll(ctx, s.read, scan, `SELECT account_id, COUNT(*) FROM automated_builds GROUP BY account_id`)
	if err != nil {
		return nil, fmt.Errorf("count automated builds: %w", err)
	}
	counts := map[string]int{}
	for _, one := range all {
		counts[one.account] = one.n
	}
	return counts, nil
}

// HasAutomatedBuilds reports whether there is an automated build.
func (s *Store) HasAutomatedBuilds(ctx context.Context) (bool, error) {
	return s.exists(ctx, "look for automated builds", `SELECT EXISTS (SELECT 1 FROM automated_builds)`)
}

// HasAccounts reports whether there is a linked account, usable or not.
func (s *Store) HasAccounts(ctx context.Context) (bool, error) {
	return s.exists(ctx, "look for accounts", `SELECT EXISTS (SELECT 1 FROM accounts)`)
}

func (s *Store) exists(ctx context.Context, op, query string, args ...any) (found bool, err error) {
	if err := s.read.QueryRowContext(ctx, query, args...).Scan(&found); err != nil {
		return false, fmt.Errorf("%s: %w", op, err)
	}
	return found, nil
}

// HasHooks reports whether there is a webhook that the viewer may read.
func (v View) HasHooks(ctx context.Context) (bool, error) {
	var c conditions
	v.restrict(&c, "h.provider_id", "h.repository_id")
	return v.store.exists(ctx, "look for webhooks", `SELECT EXISTS (SELECT 1 FROM hooks h`+c.where()+`)`, c.args...)
}

// Images returns the images of automated builds by their ids. It leaves out those that the viewer may not read.
func (v View) Images(ctx context.Context, ids []string) (map[string]string, error) {
	images, err := v.texts(ctx, ids, "a.id", `SELECT a.id, a.image FROM automated_builds a`, "a")
	if err != nil {
		return nil, fmt.Errorf("images of automated builds: %w", err)
	}
	return images, nil
}

// HookNames returns the full names of the repositories of webhooks by the ids of the webhooks. It leaves out those
// that the viewer may not read.
func (v View) HookNames(ctx context.Context, ids []string) (map[string]string, error) {
	names, err := v.texts(ctx, ids, "h.id", `SELECT h.id, r.full_name
		FROM hooks h JOIN repositories r ON r.provider_id = h.provider_id AND r.id = h.repository_id`, "h")
	if err != nil {
		return nil, fmt.Errorf("repositories of webhooks: %w", err)
	}
	return names, nil
}

// maxIDs is the number of ids that one query selects, so that a few compiled statements serve all calls.
const maxIDs = 100

// texts returns the second column of a query by the first one, of the rows with these ids. table has the columns
// of the repository.
func (v View) texts(ctx context.Context, ids []string, column, query, table string) (map[string]string, error) {
	type pair struct{ id, text string }
	scan := func(r scanner) (p pair, err error) { err = r.Scan(&p.id, &p.text); return p, err }
	all := map[string]string{}
	for chunk := range slices.Chunk(unique(ids), maxIDs) {
		var c conditions
		places := make([]string, len(chunk))
		for i, id := range chunk {
			places[i] = c.arg(id)
		}
		c.terms = append(c.terms, column+` IN (`+strings.Join(places, ", ")+`)`)
		v.restrict(&c, table+".provider_id", table+".repository_id")
		pairs, err := queryAll(ctx, v.store.read, scan, query+c.where(), c.args...)
		if err != nil {
			return nil, err
		}
		for _, p := range pairs {
			all[p.id] = p.text
		}
	}
	return all, nil
}

// unique returns the different ids, sorted.
func unique(ids []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(ids)))
}
