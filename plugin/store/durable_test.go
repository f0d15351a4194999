package store_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"modernc.org/sqlite"

	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

// These variables turn this test binary into a process that uses the database in a directory.
const (
	receiveIn   = "SLIPWAY_TEST_RECEIVE_IN"  // it only receives deliveries
	migrateIn   = "SLIPWAY_TEST_MIGRATE_IN"  // it opens the database and ends
	checkpoints = "SLIPWAY_TEST_CHECKPOINTS" // after each commit, if it is not empty
)

func TestMain(m *testing.M) {
	for name, run := range map[string]func(dir string) error{receiveIn: receive, migrateIn: migrate} {
		dir := os.Getenv(name)
		if dir == "" {
			continue
		}
		if err := run(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(storetest.RunBesidePostgres(m))
}

// migrate opens the database in a directory.
func migrate(dir string) error {
	s, err := openIn(dir)
	if err != nil {
		return err
	}
	return s.Close()
}

func openIn(dir string) (*store.Store, error) {
	sealer, err := seal.LoadOrCreate(filepath.Join(dir, "secret.key"), true)
	if err != nil {
		return nil, err
	}
	return store.Open(context.Background(), store.Options{Path: filepath.Join(dir, "slipway.db"), Sealer: sealer})
}

// receive stores deliveries without end. It prints the id of each stored one, and "refused" for the others.
func receive(dir string) error {
	if os.Getenv(checkpoints) != "" {
		sqlite.RegisterConnectionHook(func(c sqlite.ExecQuerierContext, _ string) error {
			_, err := c.ExecContext(context.Background(), "PRAGMA wal_autocheckpoint = 1", nil)
			return err
		})
	}
	s, err := openIn(dir)
	if err != nil {
		return err
	}
	var printing sync.Mutex
	for range 7 {
		go func() {
			for {
				id, err := s.ReceiveDelivery(context.Background(), autobuild.Delivery{HookID: "h", Body: []byte("{}")})
				printing.Lock()
				if err != nil {
					id = refused
				}
				fmt.Fprintln(os.Stdout, id)
				printing.Unlock()
			}
		}()
	}
	select {}
}

const (
	refused  = "refused"
	idLength = 26
)

// kills returns the number of kills in each mode.
func kills() int {
	if os.Getenv("SLIPWAY_TRUST") != "" {
		return 100
	}
	return 5
}

// F1, F2: a process is killed during grouped commits, also while each commit writes the log back to the
// database file. Every acknowledged delivery exists, with its task, and the file is whole.
func TestF1F2AcknowledgedDeliveriesSurviveAKill(t *testing.T) {
	for name, environment := range map[string]string{
		"during commits":     checkpoints + "=",
		"during checkpoints": checkpoints + "=1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var acked []string
			for range kills() {
				acked = append(acked, killAfter(t, dir, environment, 1+rand.IntN(200))...)
				checkWhole(t, filepath.Join(dir, "slipway.db"))
			}
			checkAcked(t, dir, acked)
			t.Logf("%d kills: %d deliveries acknowledged", kills(), len(acked))
		})
	}
}

// checkAcked checks that acknowledged deliveries exist, with their tasks.
func checkAcked(t *testing.T, dir string, acked []string) {
	t.Helper()
	s := mustOpen(t, dir)
	defer func() { _ = s.Close() }()
	for _, id := range acked {
		if _, err := s.Delivery(t.Context(), id); err != nil {
			t.Errorf("lost delivery: %v", err)
		}
	}
	waiting, _, err := s.Tasks().Depth(t.Context(), autobuild.TaskPlan)
	if err != nil {
		t.Fatal(err)
	}
	if waiting < len(acked) {
		t.Errorf("plan tasks: got %d, want at least one for each of %d stored deliveries", waiting, len(acked))
	}
}

// checkWhole checks the structure of a database file.
func checkWhole(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var result string
	if err := db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&result); err != nil || result != "ok" {
		t.Fatalf("integrity check: got %q, error %v, want ok", result, err)
	}
}

// A receiver is a process that receives deliveries.
type receiver struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func startReceiver(t *testing.T, dir string, environment ...string) *receiver {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(append(os.Environ(), receiveIn+"="+dir), environment...)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return &receiver{cmd: c, lines: bufio.NewScanner(out)}
}

// next returns the next acknowledged id, or "refused". ok is false at the end of the process.
func (r *receiver) next() (line string, ok bool) {
	for r.lines.Scan() {
		if line := r.lines.Text(); len(line) == idLength || line == refused { // the last line may be incomplete
			return line, true
		}
	}
	return "", false
}

// kill kills the process, and returns the ids that it acknowledged before.
func (r *receiver) kill(t *testing.T) (acked []string) {
	t.Helper()
	if err := r.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for line, ok := r.next(); ok; line, ok = r.next() {
		if line != refused {
			acked = append(acked, line)
		}
	}
	_ = r.cmd.Wait() // the process was killed
	return acked
}

// killAfter kills a receiver after n acknowledged deliveries, and returns the ids of all acknowledged ones.
func killAfter(t *testing.T, dir, environment string, n int) (acked []string) {
	t.Helper()
	r := startReceiver(t, dir, environment)
	for len(acked) < n {
		id, ok := r.next()
		if !ok || id == refused {
			t.Fatalf("receiver after %d deliveries: got %q, want further ones", len(acked), id)
		}
		acked = append(acked, id)
	}
	return append(acked, r.kill(t)...)
}
