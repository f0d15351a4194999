package queue_test

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/store/queue"
)

// inTx runs f in a transaction of its own, and rolls it back if f returns an error.
func inTx(ctx context.Context, db *sql.DB, q *queue.Queue, f func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		q.EndTx(tx, false)
		return errors.Join(err, tx.Rollback())
	}
	err = tx.Commit()
	q.EndTx(tx, err == nil)
	return err
}

// A handler completes its task in its own transaction. If that is rolled back, the task runs again. The next
// task of the lane is due at once.
func TestAHandlerCompletesItsTaskInItsTransaction(t *testing.T) {
	db := open(t)
	var ends atomic.Int32 // of tasks, outside of the handler's transactions
	q := queue.New(queue.Config{DB: db, Poll: time.Hour, Commit: func(operation string, _ bool) {
		if operation == "complete a task to plan" {
			ends.Add(1)
		}
	}})
	seen := make(chan string, 10)
	var failed atomic.Bool
	q.Handle("plan", func(ctx context.Context, task queue.Task) error {
		err := inTx(ctx, db, q, func(tx *sql.Tx) error {
			if err := q.CompleteIn(ctx, tx); err != nil {
				return err
			}
			if task.Arg == "d1" && failed.CompareAndSwap(false, true) {
				return queue.Snooze(0)
			}
			return nil
		})
		seen <- task.Arg
		return err
	}, queue.Options{})
	stop := start(t, q)
	enqueue(
		t,
		db,
		q,
		queue.NewTask{Kind: "plan", Arg: "d1", Lane: "l"},
		queue.NewTask{Kind: "plan", Arg: "d2", Lane: "l"},
	)
	for i, want := range []string{"d1", "d1", "d2"} {
		if got := <-seen; got != want {
			t.Errorf("run %d: got task %s, want %s", i+1, got, want)
		}
	}
	stop()
	if waiting, dead := depth(t, q, "plan"); waiting != 0 || dead != 0 {
		t.Errorf("tasks: got %d waiting and %d dead ones, want none", waiting, dead)
	}
	if got := ends.Load(); got != 0 {
		t.Errorf("ends of tasks in a transaction of their own: got %d, want none", got)
	}
}

// A handler that has lost its lease cannot commit.
func TestATaskOfAnotherWorkerIsNotCompleted(t *testing.T) {
	db := open(t)
	q := queue.New(queue.Config{DB: db})
	result := make(chan error, 1)
	q.Handle("plan", func(ctx context.Context, _ queue.Task) error {
		_, err := db.ExecContext(ctx,
			`UPDATE tasks SET attempt = 7, due_at = 9999999999999`) // as if another worker claimed it
		if err == nil {
			err = inTx(ctx, db, q, func(tx *sql.Tx) error { return q.CompleteIn(ctx, tx) })
		}
		result <- err
		return err
	}, queue.Options{})
	stop := start(t, q)
	enqueue(t, db, q, queue.NewTask{Kind: "plan"})
	if err := <-result; err == nil {
		t.Error("complete a task of another worker: got no error, want one")
	}
	stop()
	if got := column(t, db, "attempt"); got != "7" {
		t.Errorf("attempt of the other claim: got %s, want 7", got)
	}
}

// Outside of a handler, there is no task to complete.
func TestCompleteInWithoutATask(t *testing.T) {
	db := open(t)
	q := queue.New(queue.Config{DB: db})
	enqueue(t, db, q, queue.NewTask{Kind: "plan"})
	must.Succeed(t, inTx(t.Context(), db, q, func(tx *sql.Tx) error { return q.CompleteIn(t.Context(), tx) }))
	if waiting, _ := depth(t, q, "plan"); waiting != 1 {
		t.Errorf("waiting tasks: got %d, want 1", waiting)
	}
}

// A kind without due tasks begins no transaction.
func TestAClaimThatFindsNothingIsNoTransaction(t *testing.T) {
	db := open(t)
	var begun atomic.Int32
	looks := make(chan struct{})
	stopped := make(chan struct{})
	q := queue.New(queue.Config{
		DB: db, Poll: time.Millisecond,
		Begin: func(ctx context.Context) (*sql.Tx, error) { begun.Add(1); return db.BeginTx(ctx, nil) },
		Now: func() time.Time {
			select {
			case looks <- struct{}{}:
			case <-stopped:
			}
			return time.Now()
		},
	})
	q.Handle("plan", func(context.Context, queue.Task) error { return nil }, queue.Options{})
	stop := start(t, q)
	for range 20 {
		<-looks
	}
	close(stopped)
	stop()
	if got := begun.Load(); got != 0 {
		t.Errorf("transactions: got %d, want none", got)
	}
}
