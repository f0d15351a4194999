package store_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/store"
)

// A powerLoss is the files of a database after a power loss, compared with the rows that were stored before it.
type powerLoss struct {
	lost    int    // acknowledged rows that are not in the database
	damaged string // the error of opening or checking the database; empty = none
}

// unsynced returns the choices of the changes that reach the disk without a sync, each with a name. It returns all
// of them for long tests, else none of the changes and one other choice.
func unsynced(n int) map[string]func() bool {
	random := mathrand.New(mathrand.NewPCG(uint64(n), 0))
	left := random.IntN(200) // sectors of the prefix
	all := map[string]func() bool{
		"all":         func() bool { return true },
		"a prefix":    func() bool { left--; return left >= 0 },
		"half":        func() bool { return random.IntN(2) == 0 },
		"almost all":  func() bool { return random.IntN(50) != 0 },
		"almost none": func() bool { return random.IntN(50) == 0 },
	}
	names := slices.Sorted(maps.Keys(all))
	if !isLong() {
		one := names[n%len(names)]
		all = map[string]func() bool{one: all[one]}
	}
	all["none"] = func() bool { return false }
	return all
}

func isLong() bool { return os.Getenv("SLIPWAY_TRUST") != "" }

// loadStore stores deliveries with this many senders at once, and returns the events of the files. Each delivery that
// is acknowledged is a note with its id. pragma changes a setting of the store's connection; empty = none.
func loadStore(t *testing.T, pragma string, senders, each int) []fileEvent {
	t.Helper()
	dir := t.TempDir()
	r := record(t, dir)
	s := mustOpen(t, dir)
	store.SetPragma(t, s, "wal_autocheckpoint=100") // pages; with the default of 1000 the files would be larger
	if pragma != "" {
		store.SetPragma(t, s, pragma)
	}
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for range each {
				body := make([]byte, 6<<10) // incompressible
				_, _ = rand.Read(body)
				id, err := s.ReceiveDelivery(context.Background(), autobuild.Delivery{HookID: "h", Body: body})
				if err != nil {
					t.Errorf("ReceiveDelivery: got %v, want no error", err)
					return
				}
				r.note(id)
			}
		})
	}
	sending.Wait()
	events := r.log()
	must.Succeed(t, s.Close())
	return events
}

// losePower makes the database that is left by a power loss after the events, and compares it with their notes.
func losePower(t *testing.T, events []fileEvent, keep func() bool) (p powerLoss) {
	t.Helper()
	dir := t.TempDir()
	storeFiles(t, dir, filesAfter(events, keep))
	stored, err := readDatabase(t.Context(), filepath.Join(dir, "slipway.db"))
	if err != nil {
		p.damaged = err.Error()
	}
	for _, e := range events {
		if e.kind == noted && !stored[e.note] {
			p.lost++
		}
	}
	return p
}

// readDatabase checks a database and returns the ids of its deliveries.
func readDatabase(ctx context.Context, path string) (ids map[string]bool, err error) {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	var result string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&result); err != nil || result != "ok" {
		return nil, fmt.Errorf("integrity_check: %s, %w", result, err)
	}
	ids = map[string]bool{}
	rows, err := db.QueryContext(ctx, `SELECT d.id FROM deliveries d JOIN tasks t ON t.arg = d.id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids[id] = true
	}
	return ids, rows.Err()
}

// crashPoints returns numbers of events after which the power fails: after many acknowledgments, and around each
// sync of the database file, which ends a checkpoint.
func crashPoints(events []fileEvent, acknowledgments int) (points []int) {
	var acked []int
	for i, e := range events {
		if e.kind == noted {
			acked = append(acked, i+1)
		}
		if e.kind == synced && e.file == "slipway.db" && acked != nil {
			points = append(points, i-20, i, i+1, i+20)
		}
	}
	for i := range acknowledgments {
		points = append(points, acked[i*len(acked)/acknowledgments])
	}
	return append(points, len(events))
}

// Every acknowledged delivery is in the database after a power loss. SIGKILL cannot show this, because the kernel
// keeps the writes of a killed process.
func TestAckedDeliveriesSurviveAPowerLoss(t *testing.T) {
	each, acknowledgments := 15, 8
	if isLong() {
		each, acknowledgments = 100, 100
	}
	events := loadStore(t, "", 8, each)
	if checkpoints := countSyncs(events, "slipway.db"); checkpoints == 0 {
		t.Errorf("checkpoints: got none, want at least one")
	}
	losses := 0
	for n, point := range crashPoints(events, acknowledgments) {
		for name, keep := range unsynced(n) {
			losses++
			p := losePower(t, events[:min(point, len(events))], keep)
			if p.damaged != "" {
				t.Errorf("power loss after event %d, %s of the unsynced writes: got %s", point, name, p.damaged)
			}
			if p.lost != 0 {
				t.Errorf("power loss after event %d, %s of the unsynced writes: got %d lost rows, want 0",
					point, name, p.lost)
			}
		}
	}
	t.Logf("%d power losses in %d events", losses, len(events))
}

// The test above would find a database that does not wait for the disk.
func TestAPowerLossIsFoundWithoutFullSyncs(t *testing.T) {
	for _, mode := range []string{"NORMAL", "OFF"} {
		t.Run(mode, func(t *testing.T) {
			events := loadStore(t, "synchronous="+mode, 4, 5)
			lost := 0
			for _, point := range crashPoints(events, 10) { // at some, a checkpoint has just synced all
				lost += losePower(t, events[:min(point, len(events))], func() bool { return false }).lost
			}
			if lost == 0 {
				t.Errorf("lost rows: got 0, want some")
			}
		})
	}
}

// Deliveries that arrive together share a sync.
func TestDeliveriesShareSyncs(t *testing.T) {
	events := loadStore(t, "", 32, 10)
	if syncs := countSyncs(events, "slipway.db-wal"); syncs > 320/2 {
		t.Errorf("syncs for 320 deliveries of 32 senders: got %d, want at most half as many", syncs)
	}
}

func countSyncs(events []fileEvent, file string) (n int) {
	for _, e := range events {
		if e.kind == synced && e.file == file {
			n++
		}
	}
	return n
}
