package queue_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"slipway/plugin/store/queue"
)

// open creates a database with the two tables of a queue, from the migrations.
func open(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open(
		"sqlite",
		"file:"+filepath.Join(t.TempDir(),
			"q.db")+"?_txlock=immediate&_pragma=busy_timeout(8000)&_pragma=journal_mode(WAL)",
	)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	for _, file := range []string{"00001_start.sql", "00004_gateways.sql"} {
		schema, err := os.ReadFile("../migrations/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(string(schema)); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func enqueue(t testing.TB, db *sql.DB, q *queue.Queue, tasks ...queue.NewTask) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, task := range tasks {
		if err := q.Enqueue(t.Context(), tx, task); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	q.EndTx(tx, true)
}

// start runs a queue. stop stops it and waits for its end.
func start(t testing.TB, q *queue.Queue) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

func depth(t testing.TB, q *queue.Queue, kind string) (waiting, dead int) {
	t.Helper()
	waiting, dead, err := q.Depth(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	return waiting, dead
}

// clock is a clock that tests set. It is safe for concurrent use. With a step it advances on each
// reading, so that every postponed task is soon due.
type clock struct {
	ms   atomic.Int64
	step time.Duration
}

// forever is a lease that the stepping clock does not reach.
const forever = 100 * 365 * 24 * time.Hour

func newClock() *clock {
	c := &clock{}
	c.ms.Store(1_764_000_000_000)
	return c
}
func (c *clock) now() time.Time      { return time.UnixMilli(c.ms.Add(c.step.Milliseconds())) }
func (c *clock) add(d time.Duration) { c.ms.Add(d.Milliseconds()) }

func TestATaskIsDoneOnceAndDeleted(t *testing.T) {
	db := open(t)
	q := queue.New(queue.Config{DB: db})
	seen := make(chan queue.Task, 10)
	q.Handle("plan", func(_ context.Context, task queue.Task) error { seen <- task; return nil }, queue.Options{})
	stop := start(t, q)
	enqueue(t, db, q, queue.NewTask{Kind: "plan", Arg: "d1"}, queue.NewTask{Kind: "other", Arg: "x"})
	task := <-seen
	stop()
	if task.Kind != "plan" {
		t.Errorf("kind: got %q, want %q", task.Kind, "plan")
	}
	if task.Arg != "d1" {
		t.Errorf("argument: got %q, want %q", task.Arg, "d1")
	}
	if task.Attempt != 1 {
		t.Errorf("attempt: got %v, want 1", task.Attempt)
	}
	if waiting, dead := depth(t, q, "plan"); waiting != 0 || dead != 0 {
		t.Errorf("tasks: got %d waiting and %d dead ones, want none", waiting, dead)
	}
	if waiting, _ := depth(t, q, "other"); waiting != 1 {
		t.Error("task without a handler: got a changed one, want the same")
	}
}

func TestAKeyIsUniqueUntilItsTaskStarts(t *testing.T) {
	db := open(t)
	q := queue.New(queue.Config{DB: db})
	report := queue.NewTask{Kind: "report", Arg: "b1", Key: "b1"}
	enqueue(t, db, q, report, report, queue.NewTask{Kind: "dispatch", Arg: "b1", Key: "b1"})
	if waiting, _ := depth(t, q, "report"); waiting != 1 {
		t.Fatalf("waiting tasks: got %d, want 1", waiting)
	}
	started, release := make(chan struct{}), make(chan struct{})
	q.Handle("report", func(context.Context, queue.Task) error { started <- struct{}{}; <-release; return nil },
		queue.Options{})
	stop := start(t, q)
	<-started
	enqueue(t, db, q, report, report) // the running task may have read the old state, so one more is needed
	if waiting, _ := depth(t, q, "report"); waiting != 2 {
		t.Errorf("waiting and running tasks: got %d, want 2", waiting)
	}
	close(release)
	<-started
	stop()
}

func TestFailuresAreRetriedThenDead(t *testing.T) {
	db, c := open(t), newClock()
	c.step = time.Minute
	q := queue.New(queue.Config{DB: db, Now: c.now})
	var attempts []int
	calls := make(chan error, 1)
	q.Handle("plan", func(_ context.Context, task queue.Task) error {
		attempts = append(attempts, task.Attempt)
		if task.Attempt == 2 {
			panic("a bug")
		}
		return errors.New("not today")
	}, queue.Options{
		MaxAttempts: 3, Lease: forever,
		Dead: func(_ context.Context, task queue.Task, cause error) { calls <- cause },
	})
	stop := start(t, q)
	enqueue(t, db, q, queue.NewTask{Kind: "plan", Arg: "d1"})
	cause := <-calls
	stop()
	if !slices.Equal(attempts, []int{1, 2, 3}) || cause.Error() != "not today" {
		t.Errorf(`attempts: got %v, cause %v, want 1 to 3 and "not today"`, attempts, cause)
	}
	waiting, dead := depth(t, q, "plan")
	if waiting != 0 {
		t.Errorf("waiting tasks: got %v, want 0", waiting)
	}
	if dead != 1 {
		t.Errorf("dead: got %v, want 1", dead)
	}
	if got := column(t, db, "error"); got != "not today" {
		t.Errorf("error of the dead letter: got %q, want not today", got)
	}
}

func column(t testing.TB, db *sql.DB, name string) (value string) {
	t.Helper()
	if err := db.QueryRow(`SELECT ` + name + ` FROM tasks`).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestI6APanicIsAFailureWithItsText(t *testing.T) {
	db := open(t)
	q := queue.New(queue.Config{DB: db})
	done := make(chan struct{})
	q.Handle("plan", func(context.Context, queue.Task) error { defer close(done); panic("out of range") },
		queue.Options{})
	stop := start(t, q)
	enqueue(t, db, q, queue.NewTask{Kind: "plan"})
	<-done
	stop()
	if got := column(t, db, "error"); !strings.HasPrefix(got, "panic: out of range") {
		t.Errorf(`error: got %q, want it to start with "panic: out of range"`, got)
	}
}

func TestPermanentGivesUpAtOnce(t *testing.T) {
	db := open(t)
	q := queue.New(queue.Config{DB: db})
	calls := make(chan error, 1)
	fault := errors.New("not JSON")
	q.Handle(
		"plan",
		func(context.Context, queue.Task) error { return fmt.Errorf("plan: %w", queue.Permanent(fault)) },
		queue.Options{
			Dead: func(_ context.Context, _ queue.Task, cause error) { calls <- cause; panic("in the callback") },
		},
	)
	stop := start(t, q)
	enqueue(t, db, q, queue.NewTask{Kind: "plan"})
	if cause := <-calls; !errors.Is(cause, fault) {
		t.Errorf("cause: got %v, want %v", cause, fault)
	}
	stop()
	if _, dead := depth(t, q, "plan"); dead != 1 {
		t.Errorf("dead tasks: got %d, want 1", dead)
	}
	if queue.Permanent(nil) != nil {
		t.Errorf("permanent: got %v, want nil", queue.Permanent(nil))
	}
	if queue.IsPermanent(fault) {
		t.Error("permanent error: got true, want false")
	}
}

func TestSnoozeCountsNoAttempt(t *testing.T) {
	db, c := open(t), newClock()
	c.step = time.Minute
	q := queue.New(queue.Config{DB: db, Now: c.now})
	attempts := make(chan int)
	q.Handle("dispatch", func(ctx context.Context, task queue.Task) error {
		select {
		case attempts <- task.Attempt:
		case <-ctx.Done():
		}
		return queue.Snooze(time.Minute)
	}, queue.Options{MaxAttempts: 2, Lease: forever})
	stop := start(t, q)
	enqueue(t, db, q, queue.NewTask{Kind: "dispatch"})
	for range 5 {
		if attempt := <-attempts; attempt != 1 {
			t.Errorf("attempt: got %d, want 1", attempt)
		}
	}
	stop()
	waiting, dead := depth(t, q, "dispatch")
	if waiting != 1 {
		t.Errorf("waiting: got %v, want 1", waiting)
	}
	if dead != 0 {
		t.Errorf("dead: got %v, want 0", dead)
	}
}

func TestBackoffGrowsAndIsJittered(t *testing.T) {
	previous := time.Duration(0)
	for attempt := 1; attempt < 40; attempt++ {
		low, high := time.Hour, time.Duration(0)
		for range 200 {
			d := queue.Backoff(attempt)
			low, high = min(low, d), max(high, d)
		}
		if high > 5*time.Minute {
			t.Errorf("attempt %d: longest delay: got %v, want at most %v", attempt, high, 5*time.Minute)
		}
		if low < 500*time.Millisecond {
			t.Errorf("attempt %d: shortest delay: got %v, want at least %v", attempt, low, 500*time.Millisecond)
		}
		if high < previous {
			t.Errorf("attempt %d: longest delay: got %v, want at least %v", attempt, high, previous)
		}
		if attempt > 1 && low == high {
			t.Errorf("attempt %d: got 200 equal delays of %s, want random ones", attempt, low)
		}
		previous = high / 2
	}
}
