package queue_test

import (
	"context"
	"testing"
	"time"

	"slipway/plugin/store/queue"
)

// If the clock is set back by a day, a task that is due in a second must not wait for a day. The
// clock changes while the queue runs or between two runs.
func TestAClockThatIsSetBackDelaysNoTask(t *testing.T) {
	for name, running := range map[string]bool{"while it runs": true, "between two runs": false} {
		t.Run(name, func(t *testing.T) {
			db, c := open(t), newClock()
			q := queue.New(queue.Config{DB: db, Now: c.now, Poll: time.Millisecond})
			done := make(chan string, 10)
			q.Handle("plan", func(_ context.Context, task queue.Task) error { done <- task.Arg; return nil },
				queue.Options{})
			if running {
				defer start(t, q)()
				enqueue(t, db, q, queue.NewTask{Kind: "plan", Arg: "first"})
				<-done
			}
			enqueue(t, db, q, queue.NewTask{Kind: "plan", Arg: "soon", RunAt: c.now().Add(time.Second)})
			c.add(-24 * time.Hour)
			if !running {
				defer start(t, q)()
			}
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				t.Error("task: got it waiting for the clock, want it done")
			}
		})
	}
}

// A long delay of a task survives a restart.
func TestAStartKeepsDelays(t *testing.T) {
	db, c := open(t), newClock()
	q := queue.New(queue.Config{DB: db, Now: c.now})
	done := make(chan string, 10)
	q.Handle("plan", func(_ context.Context, task queue.Task) error { done <- task.Arg; return nil }, queue.Options{})
	enqueue(t, db, q, queue.NewTask{Kind: "plan", Arg: "later", RunAt: c.now().Add(59 * time.Minute)},
		queue.NewTask{Kind: "plan", Arg: "now"})
	stop := start(t, q)
	first := <-done
	stop()
	waiting, _ := depth(t, q, "plan")
	if first != "now" {
		t.Errorf("first task: got %q, want %q", first, "now")
	}
	if waiting != 1 {
		t.Errorf("waiting: got %v, want 1", waiting)
	}
}

// A waiting task becomes due earlier if a task with its key is enqueued that is due earlier, and never later.
func TestAnEarlierTaskMovesAWaitingTaskForward(t *testing.T) {
	db := open(t)
	c := newClock()
	q := queue.New(queue.Config{DB: db, Now: c.now})
	done := make(chan string, 10)
	q.Handle("plan", func(_ context.Context, task queue.Task) error { done <- task.Arg; return nil }, queue.Options{})
	now := c.now()
	enqueue(t, db, q,
		queue.NewTask{Kind: "plan", Arg: "paused", Key: "a", RunAt: now.Add(time.Minute)},
		queue.NewTask{Kind: "plan", Arg: "soon", Key: "b"},
		queue.NewTask{Kind: "plan", Arg: "later", Key: "b", RunAt: now.Add(time.Minute)},
		queue.NewTask{Kind: "plan", Arg: "now", Key: "a"},
	)
	stop := start(t, q)
	defer stop()
	for _, want := range []string{"paused", "soon"} {
		if got := <-done; got != want {
			t.Errorf("task: got %q, want %q", got, want)
		}
	}
	var others int
	query := `SELECT COUNT(*) FROM tasks WHERE arg IN ('later', 'now')`
	if err := db.QueryRowContext(t.Context(), query).Scan(&others); err != nil {
		t.Fatal(err)
	}
	if others != 0 {
		t.Errorf("further tasks with these keys: got %d, want none", others)
	}
}
