package store

import (
	"context"
	"database/sql"
	"fmt"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

const (
	selectAutomatedBuild = `SELECT a.id, a.account_id, ` + repositoryColumns + `, a.image, a.engine,
		a.autotest, a.hooks_off, a.tests_off, a.skip_ci_off, a.created_by, a.created_at, a.updated_at` +
		fromAutomatedBuilds
	fromAutomatedBuilds = `
		FROM automated_builds a JOIN repositories r ON r.provider_id = a.provider_id AND r.id = a.repository_id`
)

func scanAutomatedBuild(r scanner) (a autobuild.AutomatedBuild, err error) {
	fields := append([]any{&a.ID, &a.AccountID}, repositoryFields(&a.Repository)...)
	err = r.Scan(append(fields, &a.Image, &a.Engine, &a.Autotest, &a.HooksOff, &a.TestsOff, &a.SkipCIOff,
		&a.CreatedBy, at(&a.CreatedAt), at(&a.UpdatedAt))...)
	return a, err
}

// SaveAutomatedBuild creates an automated build with its rules, or replaces it if a.ID is set,
// and returns it as stored. Rules without an id get one. It returns ErrConflict if two rules have
// the same id.
func (s *Store) SaveAutomatedBuild(
	ctx context.Context, a autobuild.AutomatedBuild,
) (saved autobuild.AutomatedBuild, err error) {
	if a.ID == "" {
		a.ID = newID()
	}
	err = s.listTx(ctx, "save automated build of "+a.Repository.FullName, func(tx *sql.Tx) error {
		if err := saveRepository(ctx, tx, a.Repository); err != nil {
			return err
		}
		now := ms(s.Now())
		_, err := tx.ExecContext(ctx,
			`INSERT INTO automated_builds (id, account_id, provider_id, repository_id, image, engine, autotest,
				hooks_off, tests_off, skip_ci_off, created_by, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)
			ON CONFLICT (id) DO UPDATE SET account_id = excluded.account_id,
			provider_id = excluded.provider_id, repository_id = excluded.repository_id,
			image = excluded.image, engine = excluded.engine, autotest = excluded.autotest,
			hooks_off = excluded.hooks_off, tests_off = excluded.tests_off, skip_ci_off = excluded.skip_ci_off,
			updated_at = excluded.updated_at`,
			a.ID, a.AccountID, a.Repository.ProviderID, a.Repository.ID, a.Image, a.Engine, a.Autotest, a.HooksOff,
			a.TestsOff, a.SkipCIOff, a.CreatedBy, now)
		if err != nil {
			return err
		}
		if err := replaceRules(ctx, tx, a.ID, a.Rules); err != nil {
			return err
		}
		if err := s.replaceEnvironment(ctx, tx, a.ID, a.Environment); err != nil {
			return err
		}
		saved, err = s.automatedBuild(ctx, tx, a.ID)
		return err
	})
	return saved, err
}

func replaceRules(ctx context.Context, tx *sql.Tx, id string, rules []autobuild.Rule) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM rules WHERE automated_build_id = $1`, id); err != nil {
		return err
	}
	for i, r := range rules {
		if r.ID == "" {
			r.ID = newRuleID()
		}
		_, err := tx.ExecContext(ctx,
			`INSERT INTO rules (automated_build_id, id, position, source_type, source, tags, context,
				dockerfile, autobuild, caching, build_args, platforms, paths)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`, id, r.ID, i, r.SourceType, r.Source,
			r.Tags, r.Context, r.Dockerfile, r.Autobuild, r.Caching, asJSON(r.BuildArgs), asJSON(r.Platforms),
			asJSON(r.Paths))
		if err != nil {
			return fmt.Errorf("rule %s: %w", r.ID, err)
		}
	}
	return nil
}

// newRuleID returns an id of 8 characters. It is shorter than other ids because the pages show it
// with every decision. It must be unique only among the rules that one automated build ever had.
func newRuleID() string { return newID()[:8] }

// scanRule reads a rule, after columns of the caller.
func scanRule(r scanner, before ...any) (rule autobuild.Rule, err error) {
	err = r.Scan(append(before, &rule.ID, &rule.SourceType, &rule.Source, &rule.Tags, &rule.Context, &rule.Dockerfile,
		&rule.Autobuild, &rule.Caching, fromJSON(&rule.BuildArgs), fromJSON(&rule.Platforms), fromJSON(&rule.Paths))...)
	return rule, err
}

func (s *Store) replaceEnvironment(
	ctx context.Context, tx *sql.Tx, id string, environment map[string]secret.Secret,
) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM environment WHERE automated_build_id = $1`, id); err != nil {
		return err
	}
	for name, value := range environment {
		sealed, err := s.sealed(ctx, tx, "environment", "value", value, id, name)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx,
			`INSERT INTO environment (automated_build_id, name, value) VALUES ($1, $2, $3)`, id, name,
			sealed); err != nil {
			return err
		}
	}
	return nil
}

// environments returns the environments of the automated builds that a condition on their id selects.
func (s *Store) environments(
	ctx context.Context, q querier, which string, args ...any,
) (map[string]map[string]secret.Secret, error) {
	type variable struct {
		id, name string
		value    []byte
	}
	scan := func(r scanner) (v variable, err error) { err = r.Scan(&v.id, &v.name, &v.value); return v, err }
	all, err := queryAll(ctx, q, scan,
		`SELECT automated_build_id, name, value FROM environment WHERE automated_build_id `+which, args...)
	if err != nil {
		return nil, err
	}
	environments := map[string]map[string]secret.Secret{}
	for _, v := range all {
		value, err := s.unsealed("environment", "value", v.value, v.id, v.name)
		if err != nil {
			return nil, err
		}
		if environments[v.id] == nil {
			environments[v.id] = map[string]secret.Secret{}
		}
		environments[v.id][v.name] = value
	}
	return environments, nil
}

// AutomatedBuild returns one automated build with its rules and environment.
func (s *Store) AutomatedBuild(ctx context.Context, id string) (autobuild.AutomatedBuild, error) {
	a, err := s.automatedBuild(ctx, s.read, id)
	if err != nil {
		return autobuild.AutomatedBuild{}, fmt.Errorf("automated build %s: %w", id, mapError(err))
	}
	return a, nil
}

func (s *Store) automatedBuild(ctx context.Context, q querier, id string) (autobuild.AutomatedBuild, error) {
	a, err := scanAutomatedBuild(q.QueryRowContext(ctx, selectAutomatedBuild+` WHERE a.id = $1`, id))
	if err != nil {
		return autobuild.AutomatedBuild{}, err
	}
	all := []autobuild.AutomatedBuild{a}
	err = s.loadRules(ctx, q, all, `= $1`, id)
	return all[0], err
}

// loadRules adds the rules and the environments to automated builds. which is a condition on their ids. It
// makes two queries, however many there are.
func (s *Store) loadRules(
	ctx context.Context, q querier, all []autobuild.AutomatedBuild, which string, args ...any,
) error {
	type ruleOf struct {
		autobuild.Rule
		id string
	}
	scan := func(r scanner) (one ruleOf, err error) {
		one.Rule, err = scanRule(r, &one.id)
		return one, err
	}
	rules, err := queryAll(ctx, q, scan, `SELECT automated_build_id, id, source_type, source, tags, context, dockerfile,
		autobuild, caching, build_args, platforms, paths FROM rules WHERE automated_build_id `+which+`
		ORDER BY automated_build_id, position`, args...)
	if err != nil {
		return err
	}
	environments, err := s.environments(ctx, q, which, args...)
	if err != nil {
		return err
	}
	byID := map[string][]autobuild.Rule{}
	for _, r := range rules {
		byID[r.id] = append(byID[r.id], r.Rule)
	}
	for i := range all {
		all[i].Rules, all[i].Environment = byID[all[i].ID], environments[all[i].ID]
	}
	return nil
}

// AutomatedBuilds returns all automated builds, by repository and image.
func (s *Store) AutomatedBuilds(ctx context.Context) ([]autobuild.AutomatedBuild, error) {
	return s.listAutomatedBuilds(ctx, "")
}

// AutomatedBuildsOf returns the automated builds of one repository.
func (s *Store) AutomatedBuildsOf(ctx context.Context, r autobuild.Repository) ([]autobuild.AutomatedBuild, error) {
	return s.listAutomatedBuilds(ctx, ` WHERE a.provider_id = $1 AND a.repository_id = $2`, r.ProviderID, r.ID)
}

func (s *Store) listAutomatedBuilds(
	ctx context.Context, where string, args ...any,
) ([]autobuild.AutomatedBuild, error) {
	all, err := queryAll(ctx, s.read, scanAutomatedBuild,
		selectAutomatedBuild+where+` ORDER BY r.full_name, a.image, a.id`, args...)
	if err == nil {
		err = s.loadRules(ctx, s.read, all, `IN (SELECT a.id`+fromAutomatedBuilds+where+`)`, args...)
	}
	if err != nil {
		return nil, fmt.Errorf("list automated builds: %w", err)
	}
	return all, nil
}

// DeleteAutomatedBuild deletes an automated build and cancels its active builds with the reason
// removed. Its builds stay in the lists.
func (s *Store) DeleteAutomatedBuild(ctx context.Context, id string) error {
	var ended []finished
	err := s.listTx(ctx, "delete automated build "+id, func(tx *sql.Tx) error {
		// The rules and the environment go with it, by their foreign keys.
		if err := execOne(ctx, tx, `DELETE FROM automated_builds WHERE id = $1`, id); err != nil {
			return err
		}
		active, err := queryAll(ctx, tx, scanBuild,
			selectBuild+` WHERE b.automated_build_id = $1 AND b.state IN ('queued', 'starting', 'running')
				ORDER BY b.number`,
			id)
		if err != nil {
			return err
		}
		for _, b := range active {
			end, err := s.cancel(ctx, tx, b, autobuild.ReasonRemoved, "its automated build was deleted")
			if err != nil {
				return err
			}
			ended = append(ended, end)
		}
		return nil
	})
	if err == nil {
		s.notifyFinished(ended...)
	}
	return err
}
