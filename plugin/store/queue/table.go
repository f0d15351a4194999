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

// errLeaseLost means that another worker has claimed the task.
var errLeaseLost = errors.New("the lease was lost")

// blockedUntil is the due time of a task with another task before it in its lane. It is never due.
// The end of the task before it sets the real time. Otherwise each claim would skip thousands of
// deliveries of one repository, and block all other writers meanwhile.
const blockedUntil = int64(1 << 62)

// maxErrorText bounds the stored text of a handler's error, in bytes.
const maxErrorText = 4 << 10

// Enqueue inserts tasks in the caller's transaction, after which the caller calls EndTx. The ids of tasks
// follow the order of commits, which is the order of a lane.
func (q *Queue) Enqueue(ctx context.Context, tx *sql.Tx, tasks ...NewTask) error {
	if len(tasks) == 0 {
		return nil
	}
	var last int64
	err := tx.QueryRowContext(ctx, `UPDATE counters SET value = value + $1 WHERE name = 'tasks' RETURNING value`,
		len(tasks)).Scan(&last)
	if err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	now := q.now()
	for i, t := range tasks {
		if err := insert(ctx, tx, last-int64(len(tasks)-1-i), t, now); err != nil {
			return fmt.Errorf("enqueue %s %s: %w", t.Kind, t.Arg, err)
		}
		q.record(tx, func(c *changes) { c.enqueued = append(c.enqueued, t.Kind) })
	}
	return nil
}

func insert(ctx context.Context, tx *sql.Tx, id int64, t NewTask, now time.Time) error {
	if t.RunAt.IsZero() {
		t.RunAt = now
	}
	_, err := tx.ExecContext(ctx,
		`INSERT INTO tasks (id, kind, arg, key, lane, state, attempt, due_at, error, created_at)
		VALUES ($1, $2, $3, $4, $5, 'waiting', 0,
			CASE WHEN EXISTS (SELECT 1 FROM tasks e WHERE e.lane = $5 AND e.lane <> '' AND e.state <> 'dead')
				THEN CAST($8 AS BIGINT) ELSE CAST($6 AS BIGINT) END,
			'', $7)
		ON CONFLICT (kind, key) WHERE key <> '' DO UPDATE SET due_at = excluded.due_at
			WHERE tasks.due_at > excluded.due_at`, id, t.Kind, t.Arg, t.Key, t.Lane,
		t.RunAt.UnixMilli(), now.UnixMilli(), blockedUntil)
	return err
}

// Depth returns the number of waiting or running tasks of a kind, and the number of dead ones.
func (q *Queue) Depth(ctx context.Context, kind string) (waiting, dead int, err error) {
	err = q.db.QueryRowContext(ctx, `SELECT
		COUNT(CASE WHEN state <> 'dead' THEN 1 END), COUNT(CASE WHEN state = 'dead' THEN 1 END)
		FROM tasks WHERE kind = $1`, kind).Scan(&waiting, &dead)
	if err != nil {
		return 0, 0, fmt.Errorf("count %s tasks: %w", kind, err)
	}
	return waiting, dead, nil
}

// claim leases up to n due tasks of a kind. A running task whose lease has expired is due again. A
// task with an unfinished one before it in its lane is not claimed.
func (q *Queue) claim(ctx context.Context, kind string, n int, lease time.Duration) ([]Task, error) {
	if due, err := q.hasDue(ctx, kind); err != nil || !due {
		return nil, err
	}
	tx, err := q.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // has no effect after a commit
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

// hasDue reports whether a task of a kind is due. Another worker may claim it before this one does.
func (q *Queue) hasDue(ctx context.Context, kind string) (due bool, err error) {
	err = q.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM tasks
		WHERE kind = $1 AND state <> 'dead' AND due_at <= $2)`, kind, q.now().UnixMilli()).Scan(&due)
	return due, err
}

func (q *Queue) claimIn(ctx context.Context, tx *sql.Tx, kind string, n int, lease time.Duration) ([]Task, error) {
	now := q.now()
	rows, err := tx.QueryContext(ctx,
		`UPDATE tasks SET state = 'running', attempt = attempt + 1, key = '', due_at = $1, gateway = $5
		WHERE id IN (
			SELECT t.id FROM tasks t
			WHERE t.kind = $2 AND t.state <> 'dead' AND t.due_at <= $3
			AND (t.lane = '' OR NOT EXISTS (
				SELECT 1 FROM tasks e WHERE e.lane = t.lane AND e.lane <> '' AND e.state <> 'dead' AND e.id < t.id))
			ORDER BY t.due_at, t.id LIMIT $4)
		RETURNING id, kind, arg, attempt, lane`, now.Add(lease).UnixMilli(), kind, now.UnixMilli(), n, q.worker)
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
	slices.SortFunc(claimed, func(a, b Task) int { return int(a.ID - b.ID) }) // RETURNING does not preserve the order
	return claimed, rows.Err()
}

// recoverTasks makes the running tasks of an earlier process with this name due.
func (q *Queue) recoverTasks(ctx context.Context) error {
	if q.worker == "" {
		return nil
	}
	_, err := q.db.ExecContext(ctx, `UPDATE tasks SET due_at = $1 WHERE state = 'running' AND gateway = $2`,
		q.now().UnixMilli(), q.worker)
	return err
}

// wakeBlocked makes blocked tasks without a task before them due. Older versions of the program
// leave such tasks, because they do not wake the next task of a lane.
func (q *Queue) wakeBlocked(ctx context.Context) error {
	_, err := q.db.ExecContext(ctx, `UPDATE tasks SET due_at = $1 WHERE due_at = $2 AND NOT EXISTS (
		SELECT 1 FROM tasks e WHERE e.lane = tasks.lane AND e.lane <> '' AND e.state <> 'dead' AND e.id < tasks.id)`,
		q.now().UnixMilli(), blockedUntil)
	return err
}

// makeDue makes waiting tasks due now if their due time is after the given one. The condition of the index of due tasks
// is repeated, so that SQLite uses it.
func (q *Queue) makeDue(ctx context.Context, kind string, now, beyond time.Time) error {
	_, err := q.db.ExecContext(
		ctx,
		`UPDATE tasks SET due_at = $2
		WHERE kind = $1 AND state <> 'dead' AND state = 'waiting' AND due_at > $3 AND due_at < $4`,
		kind,
		now.UnixMilli(),
		beyond.UnixMilli(),
		blockedUntil,
	)
	return err
}

// fence limits a change to the claim of a running task.
const fence = ` WHERE id = $1 AND attempt = $2 AND state = 'running'`

const deleteTask = `DELETE FROM tasks` + fence

func (q *Queue) complete(ctx context.Context, t Task) error {
	q.commit("complete a task to "+t.Kind, false)
	if err := q.endInLane(ctx, t, deleteTask, t.ID, t.Attempt); err != nil {
		return err
	}
	q.commit("complete a task to "+t.Kind, true)
	return nil
}

// CompleteIn completes the task whose handler has ctx, in the handler's own transaction, after which the handler
// calls EndTx. It has no effect without such a task. If the lease was lost, it returns an error, and the
// transaction must not be committed.
func (q *Queue) CompleteIn(ctx context.Context, tx *sql.Tx) error {
	current, ok := ctx.Value(claimKey{}).(*claim)
	if !ok {
		return nil
	}
	if err := q.endIn(ctx, tx, current.task, deleteTask, current.task.ID, current.task.Attempt); err != nil {
		return fmt.Errorf("complete task %d: %w", current.task.ID, err)
	}
	q.record(tx, func(c *changes) { c.completed = append(c.completed, current) })
	return nil
}

func (q *Queue) extend(ctx context.Context, t Task, lease time.Duration) error {
	return q.change(ctx, `UPDATE tasks SET due_at = $3`+fence, t.ID, t.Attempt, q.now().Add(lease).UnixMilli())
}

// Holds reports whether a claimed task still belongs to the claim: no other worker has claimed it.
// Therefore none has claimed a later task of its lane.
func (q *Queue) Holds(ctx context.Context, t Task) (bool, error) {
	var n int
	if err := q.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM tasks`+fence, t.ID, t.Attempt).Scan(&n); err != nil {
		return false, fmt.Errorf("look whether task %d is held: %w", t.ID, err)
	}
	return n == 1, nil
}

// postpone makes the task due again after delay. counted reports whether this attempt counts.
func (q *Queue) postpone(ctx context.Context, t Task, delay time.Duration, cause error, counted bool) error {
	uncounted := 1
	if counted {
		uncounted = 0
	}
	return q.change(ctx, `UPDATE tasks SET state = 'waiting', due_at = $3, error = $4, attempt = attempt - $5`+fence,
		t.ID, t.Attempt, q.now().Add(delay).UnixMilli(), errorText(cause), uncounted)
}

func (q *Queue) markDead(ctx context.Context, t Task, cause error) error {
	return q.endInLane(ctx, t, `UPDATE tasks SET state = 'dead', error = $3`+fence, t.ID, t.Attempt, errorText(cause))
}

// endInLane removes a task from its lane with the given change, and makes the next one due. The
// transaction excludes Enqueue: a task that is inserted meanwhile would wait forever for the ended
// one.
func (q *Queue) endInLane(ctx context.Context, t Task, query string, args ...any) error {
	if t.lane == "" {
		return q.change(ctx, query, args...)
	}
	tx, err := q.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // has no effect after a commit
	if err := q.endIn(ctx, tx, t, query, args...); err != nil {
		return err
	}
	return tx.Commit()
}

// endIn is endInLane without the transaction.
func (q *Queue) endIn(ctx context.Context, tx *sql.Tx, t Task, query string, args ...any) error {
	err := changed(tx.ExecContext(ctx, query, args...))
	if err != nil || t.lane == "" {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE tasks SET due_at = $2 WHERE due_at = $3
		AND id = (SELECT MIN(e.id) FROM tasks e WHERE e.lane = $1 AND e.lane <> '' AND e.state <> 'dead')`,
		t.lane, q.now().UnixMilli(), blockedUntil)
	return err
}

func (q *Queue) change(ctx context.Context, query string, args ...any) error {
	return changed(q.db.ExecContext(ctx, query, args...))
}

// changed returns errLeaseLost if a change of a running task affected no row.
func changed(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		err = errLeaseLost
	}
	return err
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	s := err.Error()
	return strings.ToValidUTF8(s[:min(len(s), maxErrorText)], "")
}
