package leader_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipway/config/discard"
	"slipway/plugin/leader"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.RunBesidePostgres(m)) }

// gateways returns n stores that share a database.
func gateways(t *testing.T, n int) []*store.Store {
	t.Helper()
	address := storetest.NewestPostgres(t)
	sealer, err := seal.LoadOrCreate(filepath.Join(t.TempDir(), "secret.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	var all []*store.Store
	for range n {
		all = append(all, storetest.OpenPostgresAt(t, address, sealer, nil))
	}
	return all
}

func acquire(t *testing.T, s *store.Store, life time.Duration) *leader.Elector {
	t.Helper()
	log := discard.Logger()
	e := leader.New(leader.Options{Leases: s, Life: life, Log: log})
	if err := e.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

// run keeps a gateway's leases until stop is called.
func run(t *testing.T, e *leader.Elector) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func alive(t *testing.T, e *leader.Elector, gateway string) bool {
	t.Helper()
	isAlive, err := e.Alive(t.Context(), gateway)
	if err != nil {
		t.Fatal(err)
	}
	return isAlive
}

func TestOneGatewayLeadsUntilItReleasesItsLease(t *testing.T) {
	all := gateways(t, 2)
	first, second := acquire(t, all[0], time.Minute), acquire(t, all[1], time.Minute)
	stop := run(t, first)
	if !first.IsLeader() || second.IsLeader() {
		t.Fatalf("leader: got first %v, second %v, want only the first", first.IsLeader(), second.IsLeader())
	}
	if !alive(t, first, second.ID()) || !alive(t, second, first.ID()) {
		t.Error("gateways: got no other one, want it listed")
	}
	if alive(t, first, "unknown") {
		t.Error("unknown gateway: got it alive, want it not alive")
	}
	stop()
	if first.IsLeader() || alive(t, second, first.ID()) {
		t.Error("stopped gateway: got it leading or alive, want neither")
	}
	if err := second.Acquire(t.Context()); err != nil || !second.IsLeader() {
		t.Errorf("second gateway: got no lease, error %v, want it to lead", err)
	}
}

// F9: a suspended gateway loses the leader lease to another one, and knows it when it continues.
func TestASuspendedGatewayLosesTheLead(t *testing.T) {
	all := gateways(t, 2)
	const life = 300 * time.Millisecond
	suspended := acquire(t, all[0], life) // it does not renew its leases, like a suspended process
	second := acquire(t, all[1], life)
	if second.IsLeader() {
		t.Fatal("leaders: got both gateways, want one")
	}
	defer run(t, second)()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !second.IsLeader() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("leader lease: got no new holder, want one")
		}
	}
	if suspended.IsLeader() {
		t.Error("leaders: got two gateways, want one")
	}
	if err := suspended.Acquire(t.Context()); err != nil || suspended.IsLeader() {
		t.Errorf("suspended gateway: got leader %v, error %v, want it not to lead", suspended.IsLeader(), err)
	}
}

// A gateway that was killed gets its leases again when it restarts with the same name.
func TestARestartGetsItsLeasesAtOnce(t *testing.T) {
	address := storetest.NewestPostgres(t)
	sealer, err := seal.LoadOrCreate(filepath.Join(t.TempDir(), "secret.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // without a release in between, as after a crash
		s, err := store.Open(t.Context(), store.Options{Postgres: address, Sealer: sealer, Gateway: "a"})
		if err != nil {
			t.Fatal(err)
		}
		if e := acquire(t, s, time.Hour); !e.IsLeader() || !alive(t, e, "a") {
			t.Errorf("gateway: got leader %v, alive %v, want both true", e.IsLeader(), alive(t, e, "a"))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
