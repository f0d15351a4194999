package member_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/plugin/member"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.RunBesidePostgres(m)) }

// gateways are stores that share a database, with a way to make a member of each.
func gateways(t *testing.T, n int) []*store.Store {
	t.Helper()
	address := storetest.PostgresAddress(t)
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

func join(t *testing.T, s *store.Store, life time.Duration) *member.Member {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	m := member.New(member.Options{Leases: s, Life: life, Log: log})
	if err := m.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

// run keeps a member's place until the function returned is called.
func run(t *testing.T, m *member.Member) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func alive(t *testing.T, m *member.Member, gateway string) bool {
	t.Helper()
	there, err := m.Alive(t.Context(), gateway)
	if err != nil {
		t.Fatal(err)
	}
	return there
}

func TestOneGatewayLeadsUntilItLeaves(t *testing.T) {
	all := gateways(t, 2)
	first, second := join(t, all[0], time.Minute), join(t, all[1], time.Minute)
	stop := run(t, first)
	if !first.Leads() || second.Leads() {
		t.Fatalf("the first leads %v, the second %v", first.Leads(), second.Leads())
	}
	if !alive(t, first, second.Self()) || !alive(t, second, first.Self()) || alive(t, first, "nobody") {
		t.Error("the gateways do not know of each other, or know of nobody")
	}
	stop()
	if first.Leads() || alive(t, second, first.Self()) {
		t.Error("it left, and leads or is there still")
	}
	if err := second.Join(t.Context()); err != nil || !second.Leads() {
		t.Errorf("the second does not lead, error %v", err)
	}
}

// F9: a gateway that stands still loses the lead to another one, and knows it when it goes on.
func TestAGatewayThatStandsStillLosesTheLead(t *testing.T) {
	all := gateways(t, 2)
	const life = 300 * time.Millisecond
	stood := join(t, all[0], life) // it does not run, as if it were stopped
	second := join(t, all[1], life)
	if second.Leads() {
		t.Fatal("both lead")
	}
	defer run(t, second)()
	deadline := time.After(30 * time.Second)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !second.Leads() {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatal("nobody took the lead over")
		}
	}
	if stood.Leads() {
		t.Error("two lead")
	}
	if err := stood.Join(t.Context()); err != nil || stood.Leads() {
		t.Errorf("it leads again %v, error %v", stood.Leads(), err)
	}
}

// A gateway that was killed has its place again when it comes back under its name.
func TestARestartNeedNotWaitForALease(t *testing.T) {
	address := storetest.PostgresAddress(t)
	sealer, err := seal.LoadOrCreate(filepath.Join(t.TempDir(), "secret.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // without leaving in between, as a crash
		s, err := store.Open(t.Context(), store.Options{Postgres: address, Sealer: sealer, Gateway: "a"})
		if err != nil {
			t.Fatal(err)
		}
		if m := join(t, s, time.Hour); !m.Leads() || !alive(t, m, "a") {
			t.Errorf("it leads %v, is there %v", m.Leads(), alive(t, m, "a"))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
