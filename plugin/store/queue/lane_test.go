package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipway/plugin/store/queue"
)

func TestALaneKeepsItsOrder(t *testing.T) {
	db := open(t)
	q := queue.New(queue.Config{DB: db})
	var mu sync.Mutex
	order, running := map[string][]string{}, map[string]int{}
	done := make(chan struct{}, 100)
	q.Handle("plan", func(_ context.Context, task queue.Task) error {
		lane := task.Arg[:1]
		mu.Lock()
		running[lane]++
		if running[lane] > 1 {
			t.Errorf("lane %s: got two tasks at once, want one", lane)
		}
		order[lane] = append(order[lane], task.Arg)
		mu.Unlock()
		defer func() { mu.Lock(); running[lane]--; mu.Unlock(); done <- struct{}{} }()
		return nil
	}, queue.Options{Workers: 8})
	var tasks []queue.NewTask
	for i := range 20 {
		for _, lane := range []string{"a", "b"} {
			tasks = append(tasks, queue.NewTask{Kind: "plan", Arg: fmt.Sprintf("%s%02d", lane, i), Lane: lane})
		}
	}
	enqueue(t, db, q, tasks...)
	stop := start(t, q)
	for range tasks {
		<-done
	}
	stop()
	for lane, args := range order {
		if len(args) != 20 || !slices.IsSorted(args) {
			t.Errorf("lane %s: got order %v, want the order of the tasks", lane, args)
		}
	}
}

// A task behind a postponed one in its lane is not due, so that no claim reads it. It is due as
// soon as the task before it has ended.
func TestATaskBehindAPostponedOneWaits(t *testing.T) {
	db, c := open(t), newClock()
	q := queue.New(queue.Config{DB: db, Now: c.now, Poll: time.Millisecond})
	seen := make(chan string, 10)
	var first atomic.Bool
	q.Handle("plan", func(_ context.Context, task queue.Task) error {
		seen <- task.Arg
		if task.Arg == "a" && first.CompareAndSwap(false, true) {
			return queue.Snooze(time.Minute)
		}
		return nil
	}, queue.Options{Lease: forever})
	enqueue(t, db, q, queue.NewTask{Kind: "plan", Arg: "a", Lane: "h"},
		queue.NewTask{Kind: "plan", Arg: "b", Lane: "h"}, queue.NewTask{Kind: "plan", Arg: "c", Lane: "h2"})
	stop := start(t, q)
	if got := []string{<-seen, <-seen}; !slices.Equal(got, []string{"a", "c"}) {
		t.Fatalf("first tasks: got %q, want a and c", got)
	}
	stop() // stop waits until the results are stored
	var due int
	if err := db.QueryRow(`SELECT COUNT(*) FROM tasks WHERE due_at <= $1`, c.now().UnixMilli()).
		Scan(&due); err != nil ||
		due != 0 {
		t.Errorf("due tasks: got %d, error %v, want 0", due, err)
	}
	c.add(time.Minute)
	stop = start(t, q)
	if got := []string{<-seen, <-seen}; !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("next tasks: got %q, want a and b", got)
	}
	stop()
}

// I13: of any number of tasks in a lane, a claim reads only the first.
func TestI13OneTaskOfALaneIsDue(t *testing.T) {
	db, c := open(t), newClock()
	q := queue.New(queue.Config{DB: db, Now: c.now, Poll: time.Millisecond})
	due := func() (n int) {
		t.Helper()
		if err := db.QueryRow(`SELECT COUNT(*) FROM tasks WHERE due_at <= $1`, c.now().UnixMilli()).
			Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const all = 20
	for n := range all {
		enqueue(t, db, q, queue.NewTask{Kind: "plan", Arg: fmt.Sprint(n), Lane: "h"})
	}
	if n := due(); n != 1 {
		t.Errorf("due tasks of the lane at first: got %d, want 1", n)
	}
	seen := make(chan int, all)
	q.Handle("plan", func(_ context.Context, task queue.Task) error {
		seen <- due() // this task runs under its lease, the others are blocked by it
		if task.Arg == "7" {
			return queue.Permanent(errors.New("no"))
		}
		return nil
	}, queue.Options{Workers: 4, Lease: forever})
	stop := start(t, q)
	defer stop()
	for range all {
		if n := <-seen; n != 0 {
			t.Errorf("due tasks while one runs: got %d, want 0", n)
		}
	}
}

// Older versions of the program end a task without making the next one in its lane due.
func TestAStartWakesBlockedTasks(t *testing.T) {
	db := open(t)
	q := queue.New(queue.Config{DB: db})
	seen := make(chan string, 2)
	q.Handle("plan", func(_ context.Context, task queue.Task) error { seen <- task.Arg; return nil }, queue.Options{})
	enqueue(t, db, q, queue.NewTask{Kind: "plan", Arg: "a", Lane: "h"},
		queue.NewTask{Kind: "plan", Arg: "b", Lane: "h"}, queue.NewTask{Kind: "plan", Arg: "c", Lane: "h"})
	if _, err := db.Exec(`DELETE FROM tasks WHERE arg = 'a'`); err != nil {
		t.Fatal(err)
	}
	defer start(t, q)()
	if got := []string{<-seen, <-seen}; !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("processed tasks: got %q, want %q", got, []string{"b", "c"})
	}
}

func TestADeadTaskDoesNotBlockItsLane(t *testing.T) {
	db := open(t)
	q := queue.New(queue.Config{DB: db})
	seen := make(chan string, 2)
	q.Handle("plan", func(_ context.Context, task queue.Task) error {
		seen <- task.Arg
		return queue.Permanent(errors.New("no"))
	}, queue.Options{Workers: 2})
	enqueue(t, db, q, queue.NewTask{Kind: "plan", Arg: "1", Lane: "l"},
		queue.NewTask{Kind: "plan", Arg: "2", Lane: "l"})
	stop := start(t, q)
	first, second := <-seen, <-seen
	if first != "1" {
		t.Errorf("first task: got %q, want %q", first, "1")
	}
	if second != "2" {
		t.Errorf("second task: got %q, want %q", second, "2")
	}
	stop()
}
