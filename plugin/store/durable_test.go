package store_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

// receiveIn turns this test binary into a process that only receives deliveries.
const receiveIn = "SLIPWAY_TEST_RECEIVE_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(receiveIn); dir != "" {
		if err := receive(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(storetest.RunBesidePostgres(m))
}

// receive stores deliveries without end, and prints the id of each stored one.
func receive(dir string) error {
	sealer, err := seal.LoadOrCreate(filepath.Join(dir, "secret.key"), true)
	if err != nil {
		return err
	}
	s, err := store.Open(context.Background(), store.Options{Path: filepath.Join(dir, "slipway.db"), Sealer: sealer})
	if err != nil {
		return err
	}
	var printing sync.Mutex
	for range 7 {
		go func() {
			for {
				id, err := s.ReceiveDelivery(context.Background(), autobuild.Delivery{HookID: "h", Body: []byte("{}")})
				printing.Lock()
				if err == nil {
					fmt.Fprintln(os.Stdout, id)
				}
				printing.Unlock()
			}
		}()
	}
	select {}
}

// F1: Every acknowledged delivery exists after SIGKILL.
func TestAckedDeliveriesSurviveAKill(t *testing.T) {
	dir := t.TempDir()
	var acked []string
	for round := range 3 {
		acked = append(acked, killAfter(t, dir, 100+round*57)...)
	}
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

// killAfter kills the receiver after n acknowledged deliveries, and returns the ids of all
// acknowledged ones.
func killAfter(t *testing.T, dir string, n int) (acked []string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), receiveIn+"="+dir)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	const idLength = 26
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if len(lines.Text()) == idLength { // the last line may be incomplete
			acked = append(acked, lines.Text())
		}
		if len(acked) == n {
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = c.Wait() // the process was killed
	if len(acked) < n {
		t.Fatalf("receiver: got its end after %d deliveries, want a kill", len(acked))
	}
	return acked
}
