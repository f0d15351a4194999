package store_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/queue"
	"slipway/plugin/store/storetest"
)

// The index of due tasks is the check of tasks, so a task writes no byte more.
// The check indexes add few bytes to the write-ahead log of SQLite, which each commit waits for.
func TestCheckIndexesWriteFewBytes(t *testing.T) {
	for name, c := range map[string]struct {
		run func(t *testing.T, s *store.Store, n int)
		max float64 // bytes with the check indexes, as a multiple of those without
	}{
		"a delivery": {receiveDeliveries, 1.15},
		"a task":     {runTasks, 1.01},
	} {
		t.Run(name, func(t *testing.T) {
			with, without := logBytes(t, true, c.run), logBytes(t, false, c.run)
			ratio := float64(with) / float64(without)
			t.Logf("%s: got %d bytes, without check indexes %d: %.2f times", name, with, without, ratio)
			if ratio > c.max {
				t.Errorf(
					"bytes of the log: got %.2f times those without check indexes, want at most %.2f",
					ratio,
					c.max,
				)
			}
		})
	}
}

// logBytes returns the bytes of the write-ahead log for one call of many.
func logBytes(t *testing.T, checked bool, run func(t *testing.T, s *store.Store, n int)) int64 {
	t.Helper()
	const n = 200
	dir := t.TempDir()
	s := storetest.OpenAt(t, dir, time.Now)
	path := filepath.Join(dir, "slipway.db")
	if !checked {
		dropCheckIndexes(t, path)
	}
	store.SetPragma(t, s, "wal_autocheckpoint=0")
	before := must.Get[os.FileInfo](t)(os.Stat(path + "-wal")).Size()
	run(t, s, n)
	return (must.Get[os.FileInfo](t)(os.Stat(path+"-wal")).Size() - before) / n
}

func dropCheckIndexes(t *testing.T, path string) {
	t.Helper()
	db := must.Get[*sql.DB](t)(sql.Open("sqlite", path))
	defer db.Close()
	for _, table := range tablesOf(t, db) {
		execute(t, db, `DROP INDEX IF EXISTS check_`+table)
	}
}

func receiveDeliveries(t *testing.T, s *store.Store, n int) {
	t.Helper()
	for range n {
		_, err := s.ReceiveDelivery(t.Context(),
			autobuild.Delivery{HookID: "hook", Event: "repo:push", Body: []byte(strings.Repeat("body ", 100))})
		must.Succeed(t, err)
	}
}

// runTasks runs tasks one after the other: each is stored, claimed and completed.
func runTasks(t *testing.T, s *store.Store, n int) {
	t.Helper()
	done := make(chan struct{}, n)
	s.Tasks().
		Handle("work", func(context.Context, queue.Task) error { done <- struct{}{}; return nil }, queue.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Tasks().Run(ctx) })
	for range n {
		store.Enqueue(t, s, queue.NewTask{Kind: "work", Arg: strings.Repeat("a", 26), Lane: "hook"})
		<-done
	}
	cancel()
	running.Wait()
}
