package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"slipway/plugin/store/queue"
)

func TestAStoppedWorkerReleasesItsTask(t *testing.T) {
	db, c := open(t), newClock()
	q := queue.New(queue.Config{DB: db, Now: c.now})
	started := make(chan struct{})
	q.Handle("plan", func(ctx context.Context, _ queue.Task) error {
		close(started)
		<-ctx.Done()
		return ctx.Err()
	}, queue.Options{MaxAttempts: 1})
	stop := start(t, q)
	enqueue(t, db, q, queue.NewTask{Kind: "plan"})
	<-started
	stop()

	again := queue.New(queue.Config{DB: db, Now: c.now}) // the clock does not advance, so no lease has expired
	attempt := make(chan int)
	again.Handle("plan", func(_ context.Context, task queue.Task) error { attempt <- task.Attempt; return nil },
		queue.Options{})
	stop = start(t, again)
	if got := <-attempt; got != 1 {
		t.Errorf("attempt: got %d, want 1, because a shutdown does not count", got)
	}
	stop()
}

func TestATaskIsClaimableWhenItsWorkerDied(t *testing.T) {
	db, c := open(t), newClock()
	dead := queue.New(queue.Config{DB: db, Now: c.now})
	claimed := make(chan struct{}, 1)
	stuck := make(chan struct{})
	dead.Handle("plan", func(context.Context, queue.Task) error { claimed <- struct{}{}; <-stuck; return nil },
		queue.Options{Lease: time.Hour})
	enqueue(t, db, dead, queue.NewTask{Kind: "plan", Arg: "d"})
	stopDead := start(t, dead)
	<-claimed

	next := queue.New(queue.Config{DB: db, Now: c.now})
	attempts := make(chan int)
	next.Handle("plan", func(_ context.Context, task queue.Task) error { attempts <- task.Attempt; return nil },
		queue.Options{})
	stop := start(t, next)
	if waiting, _ := depth(t, next, "plan"); waiting != 1 {
		t.Errorf("waiting tasks: got %d, want 1", waiting)
	}
	c.add(2 * time.Hour) // the heartbeat comes every 20 minutes of real time, so not in between
	if attempt := <-attempts; attempt != 2 {
		t.Errorf("attempt: got %d, want 2", attempt)
	}
	stop()
	close(stuck) // the dead worker continues and is rejected
	stopDead()
	if waiting, deadLetters := depth(t, next, "plan"); waiting != 0 || deadLetters != 0 {
		t.Errorf("tasks: got %d waiting and %d dead ones, want none", waiting, deadLetters)
	}
}

func TestI6ATaskThatKillsTheProcessIsDead(t *testing.T) {
	db, c := open(t), newClock()
	q := queue.New(queue.Config{DB: db, Now: c.now})
	enqueue(t, db, q, queue.NewTask{Kind: "plan"})
	if _, err := db.Exec(`UPDATE tasks SET state = 'running', attempt = 2, due_at = 1`); err != nil {
		t.Fatal(err)
	}
	calls := make(chan error)
	q.Handle(
		"plan",
		func(context.Context, queue.Task) error { t.Error("task: got a second run, want one"); return nil },
		queue.Options{MaxAttempts: 2, Dead: func(_ context.Context, _ queue.Task, cause error) { calls <- cause }},
	)
	stop := start(t, q)
	if cause := <-calls; !strings.Contains(cause.Error(), "died") {
		t.Errorf(`cause: got %v, want it to contain "died"`, cause)
	}
	stop()
}

func TestALostLeaseEndsTheHandler(t *testing.T) {
	db := open(t)
	q := queue.New(queue.Config{DB: db})
	ended := make(chan error)
	started := make(chan struct{})
	q.Handle("plan", func(ctx context.Context, _ queue.Task) error {
		close(started)
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil
	}, queue.Options{Lease: 30 * time.Millisecond})
	stop := start(t, q)
	enqueue(t, db, q, queue.NewTask{Kind: "plan"})
	<-started
	// As if another worker claimed it.
	if _, err := db.Exec(`UPDATE tasks SET attempt = 7, due_at = 9999999999999`); err != nil {
		t.Fatal(err)
	}
	cause := <-ended
	if cause == nil {
		t.Error("cause of the end: got none, want an error")
	}
	if errors.Is(cause, context.Canceled) {
		t.Errorf("cause: got %v, want an error other than context.Canceled", cause)
	}
	stop()
	if got := column(t, db, "attempt"); got != "7" {
		t.Errorf("attempt of the other claim: got %s, want 7", got)
	}
}

// Commit is called with done only if the change was committed.
func TestCommitIsNotCalledForALostTask(t *testing.T) {
	db := open(t)
	var mu sync.Mutex
	var calls []string
	q := queue.New(queue.Config{DB: db, Commit: func(operation string, done bool) {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, fmt.Sprint(operation, " ", done))
	}})
	begun := make(chan struct{})
	q.Handle("plan", func(ctx context.Context, _ queue.Task) error {
		_, err := db.ExecContext(ctx,
			`UPDATE tasks SET attempt = 7, due_at = 9999999999999`) // as if another worker claimed it
		close(begun)
		return err
	}, queue.Options{})
	stop := start(t, q)
	enqueue(t, db, q, queue.NewTask{Kind: "plan"})
	<-begun
	stop()
	want := []string{"claim a task to plan false", "claim a task to plan true", "complete a task to plan false"}
	if !slices.Equal(calls, want) {
		t.Errorf("got calls %q, want %q", calls, want)
	}
}

func TestALongTaskKeepsItsLease(t *testing.T) {
	db := open(t)
	q := queue.New(queue.Config{DB: db})
	var runs atomic.Int32
	done := make(chan struct{})
	q.Handle("plan", func(ctx context.Context, _ queue.Task) error {
		runs.Add(1)
		timer := time.NewTimer(400 * time.Millisecond) // longer than several leases
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			t.Error("lease: got it lost, want it held")
		}
		close(done)
		return nil
	}, queue.Options{Workers: 3, Lease: 150 * time.Millisecond})
	stop := start(t, q)
	enqueue(t, db, q, queue.NewTask{Kind: "plan"})
	<-done
	stop()
	if runs.Load() != 1 {
		t.Errorf("runs: got %d, want 1", runs.Load())
	}
}

// The running tasks of a dead process are run at once by the next process with its name. Other
// processes run them when their leases end.
func TestARestartedProcessRecoversItsTasks(t *testing.T) {
	db, c := open(t), newClock()
	died := make(chan struct{})
	before := queue.New(queue.Config{DB: db, Worker: "a", Now: c.now})
	before.Handle("plan", func(context.Context, queue.Task) error { close(died); select {} },
		queue.Options{Lease: forever})
	enqueue(t, db, before, queue.NewTask{Kind: "plan", Arg: "d1"})
	go func() { _ = before.Run(context.Background()) }() // never returns: its task never finishes
	<-died
	for _, name := range []string{"b", "a"} {
		q := queue.New(queue.Config{DB: db, Worker: name, Now: c.now, Poll: time.Millisecond})
		done := make(chan queue.Task, 1)
		q.Handle("plan", func(_ context.Context, task queue.Task) error { done <- task; return nil }, queue.Options{})
		q.Handle("other", func(_ context.Context, task queue.Task) error { done <- task; return nil }, queue.Options{})
		enqueue(t, db, q, queue.NewTask{Kind: "other", Arg: "after"})
		stop := start(t, q)
		first := []string{(<-done).Arg}
		if name == "a" {
			first = append(first, (<-done).Arg)
		}
		stop()
		if took := slices.Contains(first, "d1"); took != (name == "a") {
			t.Errorf("first task of %s: got %v, want d1 only for a", name, first)
		}
	}
}
