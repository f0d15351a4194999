package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"slipway/plugin/store/queue"
)

// With any mix of tasks, failures, snoozes and workers each task ends exactly once, lanes keep
// their order, and no two tasks of a lane overlap.
func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		db, c := open(t), newClock()
		c.step = time.Minute
		lanes := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "b", "c"}), 1, 15).Draw(r, "lanes")
		failures := rapid.SampledFrom([]string{"", "", "fail", "snooze", "panic"})
		trouble := rapid.SliceOfN(failures, len(lanes), len(lanes)).Draw(r, "trouble")
		workers := rapid.IntRange(1, 4).Draw(r, "workers")
		m := &model{
			lanes:   lanes,
			trouble: trouble,
			tries:   make([]int, len(lanes)),
			done:    make(chan struct{}, len(lanes)),
		}
		var stops []func()
		for range 2 { // two processes on one table
			q := queue.New(queue.Config{DB: db, Now: c.now, Poll: 5 * time.Millisecond})
			q.Handle("k", m.handle, queue.Options{Workers: workers, Lease: forever})
			if len(stops) == 0 {
				var tasks []queue.NewTask
				for i, lane := range lanes {
					tasks = append(tasks, queue.NewTask{Kind: "k", Arg: fmt.Sprint(i), Lane: lane})
				}
				enqueue(t, db, q, tasks...)
			}
			stops = append(stops, start(t, q))
		}
		for range lanes {
			<-m.done
		}
		for _, stop := range stops {
			stop()
		}
		m.check(r)
	})
}

type model struct {
	lanes, trouble []string
	done           chan struct{}

	mu       sync.Mutex
	tries    []int
	running  map[string]bool
	finished []int
	faults   []string
}

func (m *model) handle(_ context.Context, task queue.Task) error {
	var i int
	_, _ = fmt.Sscan(task.Arg, &i)
	lane := m.lanes[i]
	m.mu.Lock()
	if m.running == nil {
		m.running = map[string]bool{}
	}
	if lane != "" && m.running[lane] {
		m.faults = append(m.faults, "lane "+lane+" overlaps")
	}
	m.running[lane] = true
	m.tries[i]++
	again := m.tries[i] == 1 && m.trouble[i] != ""
	if !again {
		m.finished = append(m.finished, i)
	}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.running[lane] = false
		m.mu.Unlock()
		if !again {
			m.done <- struct{}{}
		}
	}()
	switch {
	case again && m.trouble[i] == "fail":
		return errors.New("once")
	case again && m.trouble[i] == "snooze":
		return queue.Snooze(time.Minute)
	case again:
		panic("once")
	}
	return nil
}

func (m *model) check(r *rapid.T) {
	if len(m.faults) > 0 {
		r.Fatal(m.faults)
	}
	last := map[string]int{}
	seen := map[int]bool{}
	for _, i := range m.finished {
		if seen[i] {
			r.Fatalf("runs of task %d: got two, want one", i)
		}
		seen[i] = true
		if before, ok := last[m.lanes[i]]; ok && m.lanes[i] != "" && before > i {
			r.Fatalf("lane %s: got %d after %d, want the order of the tasks", m.lanes[i], i, before)
		}
		last[m.lanes[i]] = i
	}
}
