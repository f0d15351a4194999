package store

import (
	"context"
	"fmt"

	"slipway/plugin/autobuild"
)

// Overview counts the work of the installation. It costs seven queries, which use indexes or read
// small tables.
func (s *Store) Overview(ctx context.Context) (o autobuild.Overview, err error) {
	for _, count := range []func(context.Context, *autobuild.Overview) error{
		s.countUnplanned, s.countQueued, s.countActiveAttempts, s.countTasks, s.countRejected, s.countHooks, s.countCredentials,
	} {
		if err := count(ctx, &o); err != nil {
			return autobuild.Overview{}, fmt.Errorf("overview: %w", err)
		}
	}
	return o, nil
}

// pendingTaskArgs selects the arguments of all tasks of one kind that are not dead.
const pendingTaskArgs = `(SELECT arg FROM tasks WHERE kind = $1 AND state <> 'dead')`

func (s *Store) countUnplanned(ctx context.Context, o *autobuild.Overview) error {
	return s.read.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(MIN(received_at), 0),
		COUNT(CASE WHEN id NOT IN `+pendingTaskArgs+` THEN 1 END)
		FROM deliveries WHERE planned_at = 0`, autobuild.TaskPlan).
		Scan(&o.Unplanned.Count, at(&o.Unplanned.Oldest), &o.Unplanned.Stranded)
}

func (s *Store) countQueued(ctx context.Context, o *autobuild.Overview) (err error) {
	o.Queued, err = queryAll(ctx, s.read, func(r scanner) (b autobuild.Backlog, err error) {
		b.State = autobuild.Queued
		err = r.Scan(&b.Engine, &b.Count, at(&b.Oldest), &b.Stranded)
		return b, err
	}, `SELECT COALESCE(a.engine, ''), COUNT(*), MIN(CASE WHEN b.retried_at > b.received_at THEN b.retried_at ELSE b.received_at END),
			COUNT(CASE WHEN b.id NOT IN `+pendingTaskArgs+` THEN 1 END)
		FROM builds b LEFT JOIN automated_builds a ON a.id = b.automated_build_id
		WHERE b.state = 'queued' GROUP BY COALESCE(a.engine, '') ORDER BY 1`, autobuild.TaskDispatch)
	return err
}

func (s *Store) countActiveAttempts(ctx context.Context, o *autobuild.Overview) (err error) {
	o.Active, err = queryAll(ctx, s.read, func(r scanner) (b autobuild.Backlog, err error) {
		err = r.Scan(&b.Engine, &b.State, &b.Count, at(&b.Oldest))
		return b, err
	}, `SELECT engine, state, COUNT(*), MIN(CASE WHEN claimed_at > 0 THEN claimed_at ELSE created_at END)
		FROM attempts WHERE finished_at = 0 GROUP BY engine, state ORDER BY engine, state`)
	return err
}

func (s *Store) countTasks(ctx context.Context, o *autobuild.Overview) (err error) {
	o.Tasks, err = queryAll(ctx, s.read, func(r scanner) (t autobuild.TaskCount, err error) {
		err = r.Scan(&t.Kind, &t.State, &t.Count, at(&t.Oldest), at(&t.Due))
		return t, err
	}, `SELECT kind, state, COUNT(*), MIN(created_at), MIN(due_at) FROM tasks GROUP BY kind, state
		ORDER BY kind, state`)
	return err
}

func (s *Store) countRejected(ctx context.Context, o *autobuild.Overview) error {
	return s.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM reports WHERE problem <> ''`).Scan(&o.Refused)
}

func (s *Store) countHooks(ctx context.Context, o *autobuild.Overview) (err error) {
	o.Hooks, err = queryAll(ctx, s.read, func(r scanner) (h autobuild.HookCount, err error) {
		err = r.Scan(&h.State, &h.Count, &h.Problems, &h.NeverPolled, at(&h.Polled))
		return h, err
	}, `SELECT state, COUNT(*), COUNT(CASE WHEN problem <> '' THEN 1 END), COUNT(CASE WHEN polled_at = 0 THEN 1 END),
			COALESCE(MIN(CASE WHEN polled_at > 0 THEN polled_at END), 0)
		FROM hooks GROUP BY state ORDER BY state`)
	return err
}

func (s *Store) countCredentials(ctx context.Context, o *autobuild.Overview) error {
	var linked, broken int
	err := s.read.QueryRowContext(ctx, `SELECT
		(SELECT COUNT(*) FROM accounts WHERE state = $1), (SELECT COUNT(*) FROM accounts WHERE state = $2),
		(SELECT COUNT(*) FROM registries WHERE problem = ''), (SELECT COUNT(*) FROM registries WHERE problem <> '')`,
		autobuild.AccountLinked, autobuild.AccountBroken).Scan(&linked, &broken, &o.Registries, &o.Failing)
	o.Accounts = map[autobuild.AccountState]int{autobuild.AccountLinked: linked, autobuild.AccountBroken: broken}
	return err
}
