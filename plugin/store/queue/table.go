package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// errLost: the task is no longer ours; somebody else has claimed it since.
var errLost = errors.New("the lease was lost")

// behind is when a task is due that has another one before it in its lane: not before that one is
// out of it. Thousands of deliveries of one repository would else be passed over by each claim,
// while all other writers wait.
const behind = int64(1 << 62)

// maxErrorText bounds what is kept of a handler's error, in bytes.
const maxErrorText = 4 << 10

// Enqueue writes a task within the caller's transaction. Tasks get their ids in the order
// of commits, which is the order of a lane.
func (q *Queue) Enqueue(ctx context.Context, tx *sql.Tx, t NewTask) error {
	now := q.now()
	if t.RunAt.IsZero() {
		t.RunAt = now
	}
	var id int64
	err := tx.QueryRowContext(ctx, `UPDATE counters SET value = value + 1 WHERE name = 'tasks' RETURNING value`).Scan(&id)
	if err == nil {
		_, err = tx.ExecContext(ctx, `INSERT INTO tasks (id, kind, arg, key, lane, state, attempt, due_at, error, created_at)
			VALUES ($1, $2, $3, $4, $5, 'waiting', 0,
				CASE WHEN EXISTS (SELECT 1 FROM tasks e WHERE e.lane = $5 AND e.lane <> '' AND e.state <> 'dead') THEN CAST($8 AS BIGINT) ELSE CAST($6 AS BIGINT) END,
				'', $7) ON CONFLICT (kind, key) WHERE key <> '' DO NOTHING`,
			id, t.Kind, t.Arg, t.Key, t.Lane, t.RunAt.UnixMilli(), now.UnixMilli(), behind)
	}
	if err != nil {
		return fmt.Errorf("enqueue %s %s: %w", t.Kind, t.Arg, err)
	}
	return nil
}

// Depth returns how many tasks of a kind wait or run, and how many are dead.
func (q *Queue) Depth(ctx context.Context, kind string) (waiting, dead int, err error) {
	err = q.db.QueryRowContext(ctx, `SELECT
		COUNT(CASE WHEN state <> 'dead' THEN 1 END), COUNT(CASE WHEN state = 'dead' THEN 1 END)
		FROM tasks WHERE kind = $1`, kind).Scan(&waiting, &dead)
	if err != nil {
		return 0, 0, fmt.Errorf("count %s tasks: %w", kind, err)
	}
	return waiting, dead, nil
}

// claim leases up to n due tasks of a kind. A task that runs beyond its lease is due
// again; one with an unfinished task before it in its lane has to wait for that.
func (q *Queue) claim(ctx context.Context, kind string, n int, lease time.Duration) ([]Task, error) {
	tx, err := q.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	claimed, err := q.claimIn(ctx, tx, kind, n, lease)
	if err != nil || len(claimed) == 0 {
		return nil, err
	}
	q.commit("claim a task to "+kind, false)
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	q.commit("claim a task to "+kind, true)
	return claimed, nil
}

func (q *Queue) claimIn(ctx context.Context, tx *sql.Tx, kind string, n int, lease time.Duration) ([]Task, error) {
	now := q.now()
	rows, err := tx.QueryContext(ctx, `UPDATE tasks SET state = 'running', attempt = attempt + 1, key = '', due_at = $1, gateway = $5
		WHERE id IN (
			SELECT t.id FROM tasks t
			WHERE t.kind = $2 AND t.state <> 'dead' AND t.due_at <= $3
			AND (t.lane = '' OR NOT EXISTS (SELECT 1 FROM tasks e WHERE e.lane = t.lane AND e.lane <> '' AND e.state <> 'dead' AND e.id < t.id))
			ORDER BY t.due_at, t.id LIMIT $4)
		RETURNING id, kind, arg, attempt, lane`,
		now.Add(lease).UnixMilli(), kind, now.UnixMilli(), n, q.worker)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var claimed []Task
	for rows.Next() {
		var t Task
		if err := rows.Scan(&t.ID, &t.Kind, &t.Arg, &t.Attempt, &t.lane); err != nil {
			return nil, err
		}
		claimed = append(claimed, t)
	}
	slices.SortFunc(claimed, func(a, b Task) int { return int(a.ID - b.ID) }) // RETURNING keeps no order
	return claimed, rows.Err()
}

// takeUp makes due what an earlier process of this name was working on.
func (q *Queue) takeUp(ctx context.Context) error {
	if q.worker == "" {
		return nil
	}
	_, err := q.db.ExecContext(ctx, `UPDATE tasks SET due_at = $1 WHERE state = 'running' AND gateway = $2`, q.now().UnixMilli(), q.worker)
	return err
}

// mend makes due what stands behind nothing: an older version of this program does not when it
// ends the task before.
func (q *Queue) mend(ctx context.Context) error {
	_, err := q.db.ExecContext(ctx, `UPDATE tasks SET due_at = $1 WHERE due_at = $2 AND NOT EXISTS (
		SELECT 1 FROM tasks e WHERE e.lane = tasks.lane AND e.lane <> '' AND e.state <> 'dead' AND e.id < tasks.id)`, q.now().UnixMilli(), behind)
	return err
}

// hasten makes what waits beyond a time due now.
func (q *Queue) hasten(ctx context.Context, kind string, now, beyond time.Time) error {
	_, err := q.db.ExecContext(ctx, `UPDATE tasks SET due_at = $2 WHERE kind = $1 AND state = 'waiting' AND due_at > $3 AND due_at < $4`,
		kind, now.UnixMilli(), beyond.UnixMilli(), behind)
	return err
}

// fence is the claim that each change of a running task is bound to.
const fence = ` WHERE id = $1 AND attempt = $2 AND state = 'running'`

func (q *Queue) complete(ctx context.Context, t Task) error {
	q.commit("complete a task to "+t.Kind, false)
	if err := q.end(ctx, t, `DELETE FROM tasks`+fence, t.ID, t.Attempt); err != nil {
		return err
	}
	q.commit("complete a task to "+t.Kind, true)
	return nil
}

func (q *Queue) extend(ctx context.Context, t Task, lease time.Duration) error {
	return q.change(ctx, `UPDATE tasks SET due_at = $3`+fence, t.ID, t.Attempt, q.now().Add(lease).UnixMilli())
}

// Holds reports whether a task that was claimed is still so: nobody has claimed it since, nor
// any that follows it in its lane.
func (q *Queue) Holds(ctx context.Context, t Task) (bool, error) {
	var n int
	if err := q.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM tasks`+fence, t.ID, t.Attempt).Scan(&n); err != nil {
		return false, fmt.Errorf("look whether task %d is held: %w", t.ID, err)
	}
	return n == 1, nil
}

// postpone makes the task due again in delay; counted says whether this attempt counts.
func (q *Queue) postpone(ctx context.Context, t Task, delay time.Duration, cause error, counted bool) error {
	uncounted := 1
	if counted {
		uncounted = 0
	}
	return q.change(ctx, `UPDATE tasks SET state = 'waiting', due_at = $3, error = $4, attempt = attempt - $5`+fence,
		t.ID, t.Attempt, q.now().Add(delay).UnixMilli(), text(cause), uncounted)
}

func (q *Queue) bury(ctx context.Context, t Task, cause error) error {
	return q.end(ctx, t, `UPDATE tasks SET state = 'dead', error = $3`+fence, t.ID, t.Attempt, text(cause))
}

// end takes a task out of its lane by a change of it, and makes the next one due. No other task
// may come into the lane meanwhile: it would find the one before it there, and wait for ever.
func (q *Queue) end(ctx context.Context, t Task, query string, args ...any) error {
	if t.lane == "" {
		return q.change(ctx, query, args...)
	}
	tx, err := q.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	if err := changed(tx.ExecContext(ctx, query, args...)); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE tasks SET due_at = $2 WHERE due_at = $3
		AND id = (SELECT MIN(e.id) FROM tasks e WHERE e.lane = $1 AND e.lane <> '' AND e.state <> 'dead')`, t.lane, q.now().UnixMilli(), behind)
	if err != nil {
		return err
	}
	return tx.Commit()
}

func (q *Queue) change(ctx context.Context, query string, args ...any) error {
	return changed(q.db.ExecContext(ctx, query, args...))
}

// changed makes errLost of a change of a running task that changed none.
func changed(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		err = errLost
	}
	return err
}

func text(err error) string {
	if err == nil {
		return ""
	}
	s := err.Error()
	return strings.ToValidUTF8(s[:min(len(s), maxErrorText)], "")
}
