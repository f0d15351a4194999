package store

import (
	"context"
	"fmt"
	"time"

	"slipway/plugin/autobuild"
)

// An Overview is how the work of the installation stands: what waits, since when, and what
// needs a person. It counts; it names no repository.
type Overview struct {
	Unplanned Backlog   // deliveries that wait to be planned
	Queued    []Backlog // builds that wait for a place, by Engine
	Active    []Backlog // attempts under way, by Engine and State
	Tasks     []TaskCount
	Refused   int // builds whose newest status Bitbucket did not take
	Hooks     []HookCount
	Accounts  map[autobuild.AccountState]int
	// Registries are those whose credential worked at the last check, Failing those where it did not.
	Registries, Failing int
}

// A Backlog is what waits or works in one place.
type Backlog struct {
	Engine string // empty where there is none, or its automated build was deleted
	State  autobuild.State
	Count  int
	Oldest time.Time // zero without any: when the delivery came, the build was asked for, the attempt made or claimed
	// Stranded are those of Count that no task moves on. Always 0, unless a hand-over was lost.
	Stranded int
}

// A TaskCount counts the tasks of one kind and state: waiting, running, dead.
type TaskCount struct {
	Kind, State string
	Count       int
	Oldest      time.Time // when the oldest was made
	// Due is when the first is or was due, far ahead where all stand behind others in their lanes; of
	// running ones, when the first lease ends.
	Due time.Time
}

// A HookCount counts the hooks of one state.
type HookCount struct {
	State       autobuild.HookState
	Count       int
	Problems    int       // those that say what is wrong with them
	NeverPolled int       // those whose refs were not looked at yet
	Polled      time.Time // of the others, the poll that is longest ago; zero without any
}

// Overview counts. It costs seven queries by indexes, or of tables that stay small.
func (s *Store) Overview(ctx context.Context) (o Overview, err error) {
	for _, count := range []func(context.Context, *Overview) error{
		s.countUnplanned, s.countQueued, s.countUnderWay, s.countTasks, s.countRefused, s.countHooks, s.countLinks,
	} {
		if err := count(ctx, &o); err != nil {
			return Overview{}, fmt.Errorf("overview: %w", err)
		}
	}
	return o, nil
}

// pending selects what a kind's tasks that are not given up are about.
const pending = `(SELECT arg FROM tasks WHERE kind = $1 AND state <> 'dead')`

func (s *Store) countUnplanned(ctx context.Context, o *Overview) error {
	return s.read.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(MIN(received_at), 0), COUNT(CASE WHEN id NOT IN `+pending+` THEN 1 END)
		FROM deliveries WHERE planned_at = 0`, TaskPlan).
		Scan(&o.Unplanned.Count, at(&o.Unplanned.Oldest), &o.Unplanned.Stranded)
}

func (s *Store) countQueued(ctx context.Context, o *Overview) (err error) {
	o.Queued, err = rows(ctx, s.read, func(r scanner) (b Backlog, err error) {
		b.State = autobuild.Queued
		err = r.Scan(&b.Engine, &b.Count, at(&b.Oldest), &b.Stranded)
		return b, err
	}, `SELECT COALESCE(a.engine, ''), COUNT(*), MIN(CASE WHEN b.retried_at > b.received_at THEN b.retried_at ELSE b.received_at END),
			COUNT(CASE WHEN b.id NOT IN `+pending+` THEN 1 END)
		FROM builds b LEFT JOIN automated_builds a ON a.id = b.automated_build_id
		WHERE b.state = 'queued' GROUP BY COALESCE(a.engine, '') ORDER BY 1`, TaskDispatch)
	return err
}

func (s *Store) countUnderWay(ctx context.Context, o *Overview) (err error) {
	o.Active, err = rows(ctx, s.read, func(r scanner) (b Backlog, err error) {
		err = r.Scan(&b.Engine, &b.State, &b.Count, at(&b.Oldest))
		return b, err
	}, `SELECT engine, state, COUNT(*), MIN(CASE WHEN claimed_at > 0 THEN claimed_at ELSE created_at END)
		FROM attempts WHERE finished_at = 0 GROUP BY engine, state ORDER BY engine, state`)
	return err
}

func (s *Store) countTasks(ctx context.Context, o *Overview) (err error) {
	o.Tasks, err = rows(ctx, s.read, func(r scanner) (t TaskCount, err error) {
		err = r.Scan(&t.Kind, &t.State, &t.Count, at(&t.Oldest), at(&t.Due))
		return t, err
	}, `SELECT kind, state, COUNT(*), MIN(created_at), MIN(due_at) FROM tasks GROUP BY kind, state ORDER BY kind, state`)
	return err
}

func (s *Store) countRefused(ctx context.Context, o *Overview) error {
	return s.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM reports WHERE problem <> ''`).Scan(&o.Refused)
}

func (s *Store) countHooks(ctx context.Context, o *Overview) (err error) {
	o.Hooks, err = rows(ctx, s.read, func(r scanner) (h HookCount, err error) {
		err = r.Scan(&h.State, &h.Count, &h.Problems, &h.NeverPolled, at(&h.Polled))
		return h, err
	}, `SELECT state, COUNT(*), COUNT(CASE WHEN problem <> '' THEN 1 END), COUNT(CASE WHEN polled_at = 0 THEN 1 END),
			COALESCE(MIN(CASE WHEN polled_at > 0 THEN polled_at END), 0)
		FROM hooks GROUP BY state ORDER BY state`)
	return err
}

func (s *Store) countLinks(ctx context.Context, o *Overview) error {
	var linked, broken int
	err := s.read.QueryRowContext(ctx, `SELECT
		(SELECT COUNT(*) FROM accounts WHERE state = $1), (SELECT COUNT(*) FROM accounts WHERE state = $2),
		(SELECT COUNT(*) FROM registries WHERE problem = ''), (SELECT COUNT(*) FROM registries WHERE problem <> '')`,
		autobuild.AccountLinked, autobuild.AccountBroken).Scan(&linked, &broken, &o.Registries, &o.Failing)
	o.Accounts = map[autobuild.AccountState]int{autobuild.AccountLinked: linked, autobuild.AccountBroken: broken}
	return err
}
