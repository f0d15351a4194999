package store_test

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/queue"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

// F7: PostgreSQL crashes under load and restarts. Every acknowledged delivery exists, and its task
// is done once.
func TestF7AcknowledgedDeliveriesSurviveACrashOfPostgreSQL(t *testing.T) {
	storetest.PostgresAddress(t) // skips the test without PostgreSQL
	server, err := storetest.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.LoadOrCreate(filepath.Join(t.TempDir(), "secret.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	s := storetest.OpenPostgresAt(t, secret.New(server.Address("")), sealer, nil)
	senders := sendUntil(t, s)
	worked := workAll(t, s)
	for range 3 {
		senders.await(t, 100) // since the last crash
		server.Kill()
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
	}
	senders.await(t, 100)
	acked, refused := senders.stop()
	t.Logf("%d deliveries promised, %d refused", len(acked), refused)
	for _, id := range acked {
		if _, err := s.Delivery(t.Context(), id); err != nil {
			t.Errorf("lost delivery: %v", err)
		}
	}
	worked.await(t, acked)
}

// senders store deliveries without end.
type senders struct {
	end     context.CancelFunc
	running sync.WaitGroup
	stored  chan struct{} // receives one element for each acknowledged delivery

	mu      sync.Mutex
	acked   []string
	refused int
}

func sendUntil(t *testing.T, s *store.Store) *senders {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	all := &senders{end: cancel, stored: make(chan struct{})}
	for range 8 {
		all.running.Go(func() {
			for ctx.Err() == nil {
				id, err := s.ReceiveDelivery(ctx,
					autobuild.Delivery{HookID: rand.Text(), Body: []byte("{}")}) // each in its own lane
				all.note(id, err)
				if err != nil {
					continue
				}
				select {
				case all.stored <- struct{}{}:
				case <-ctx.Done():
				}
			}
		})
	}
	t.Cleanup(func() { all.stop() })
	return all
}

func (s *senders) note(id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.refused++
		return
	}
	s.acked = append(s.acked, id)
}

// await returns after n more acknowledged deliveries.
func (s *senders) await(t *testing.T, n int) {
	t.Helper()
	deadline := time.After(time.Minute)
	for range n {
		select {
		case <-s.stored:
		case <-deadline:
			t.Fatal("deliveries: got none accepted, want them accepted again")
		}
	}
}

func (s *senders) stop() (acked []string, refused int) {
	s.end()
	s.running.Wait()
	return s.acked, s.refused
}

// works counts the completed plan tasks of each delivery.
type works struct {
	mu   sync.Mutex
	done map[string]map[int64]bool
	more chan struct{}
}

// workAll handles the plan tasks until the test ends.
func workAll(t *testing.T, s *store.Store) *works {
	t.Helper()
	w := &works{done: map[string]map[int64]bool{}, more: make(chan struct{}, 1)}
	s.Tasks().Handle(autobuild.TaskPlan, func(_ context.Context, task queue.Task) error {
		w.note(task)
		select {
		case w.more <- struct{}{}:
		default:
		}
		return nil
	}, queue.Options{Workers: 16, Lease: 2 * time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Tasks().Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *works) note(task queue.Task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done[task.Arg] == nil {
		w.done[task.Arg] = map[int64]bool{}
	}
	w.done[task.Arg][task.ID] = true
}

// await returns when each delivery's task is done. It fails the test if a delivery had two tasks. A
// task whose result could not be stored runs again; handlers allow that.
func (w *works) await(t *testing.T, ids []string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		w.mu.Lock()
		left := 0
		for _, id := range ids {
			switch n := len(w.done[id]); {
			case n == 0:
				left++
			case n > 1:
				t.Errorf("tasks of delivery %s: got %d, want at most 1", id, n)
			}
		}
		w.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-w.more:
		case <-deadline:
			t.Fatalf("unprocessed deliveries: got %d, want none", left)
		}
	}
}
