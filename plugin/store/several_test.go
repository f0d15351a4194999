package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
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

// gateways opens stores that share a PostgreSQL database concurrently, like gateways that start
// together.
func gateways(t *testing.T, address secret.Secret, n int) []*store.Store {
	t.Helper()
	sealer, err := seal.LoadOrCreate(filepath.Join(t.TempDir(), "secret.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]*store.Store, n)
	var opening sync.WaitGroup
	for i := range all {
		opening.Go(func() {
			s, err := store.Open(t.Context(), store.Options{Postgres: address, Sealer: sealer})
			if err != nil {
				t.Error(err)
				return
			}
			all[i] = s
			t.Cleanup(func() { _ = s.Close() })
		})
	}
	opening.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return all
}

func TestGatewaysThatStartTogetherAreOneInstallation(t *testing.T) {
	all := gateways(t, storetest.PostgresAddress(t), 3)
	names, instances := map[string]bool{}, map[string]bool{}
	for _, s := range all {
		id, err := s.InstanceID(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		names[s.Gateway()], instances[id] = true, true
	}
	if len(names) != 3 {
		t.Fatalf("len(names): got %v, want 3", len(names))
	}
	if len(instances) != 1 {
		t.Fatalf("len(instances): got %v, want 1", len(instances))
	}
}

// Three gateways share one task table: each task is done once, and the tasks of a lane in order.
func TestATaskRunsOnOneGateway(t *testing.T) {
	const tasks, lanes = 300, 7
	all := gateways(t, storetest.NewestPostgres(t), 3)
	var mu sync.Mutex
	done := map[string][]int{} // by lane
	finished := make(chan struct{}, 2*tasks)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, s := range all {
		s.Tasks().Handle("work", func(_ context.Context, task queue.Task) error {
			var n int
			if _, err := fmt.Sscan(task.Arg, &n); err != nil {
				return err
			}
			mu.Lock()
			lane := fmt.Sprint(n % lanes)
			done[lane] = append(done[lane], n)
			mu.Unlock()
			finished <- struct{}{}
			return nil
		}, queue.Options{Workers: 4})
		running.Go(func() { _ = s.Tasks().Run(ctx) })
	}
	for n := range tasks {
		store.Enqueue(t, all[n%3], queue.NewTask{Kind: "work", Arg: fmt.Sprint(n), Lane: fmt.Sprint(n % lanes)})
	}
	for range tasks {
		<-finished
	}
	cancel()
	running.Wait()
	total := 0
	for lane, order := range done {
		total += len(order)
		if !slices.IsSorted(order) {
			t.Errorf("lane %s: %v", lane, order)
		}
	}
	if total != tasks {
		t.Errorf("finished tasks: got %d, want %d", total, tasks)
	}
	waiting, dead, err := all[0].Tasks().Depth(t.Context(), "work")
	if waiting != 0 {
		t.Errorf("waiting: got %v, want 0", waiting)
	}
	if dead != 0 {
		t.Errorf("dead: got %v, want 0", dead)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A push that several gateways receive repeatedly and concurrently is one transition.
func TestATransitionCountsOnceForAllGateways(t *testing.T) {
	all := gateways(t, storetest.NewestPostgres(t), 3)
	a := storetest.AutomatedBuild(t, all[0], storetest.Repository("app"))
	var planning sync.WaitGroup
	var mu sync.Mutex
	built, refused := 0, 0
	for _, s := range slices.Repeat(all, 4) {
		planning.Go(func() {
			builds, err := s.Plan(t.Context(), storetest.Push(a, storetest.Main(), "", storetest.Commit(1)))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, autobuild.ErrConflict):
				refused++
			case err != nil:
				t.Error(err)
			default:
				built += len(builds)
			}
		})
	}
	planning.Wait()
	if built != 1 {
		t.Errorf("builds: got %v, want 1", built)
	}
	if refused != 11 {
		t.Errorf("conflicts: got %v, want 11", refused)
	}
}

// The limits of an engine apply to all gateways together.
func TestTheLimitsOfAnEngineApplyToAllGateways(t *testing.T) {
	for name, limits := range map[string]autobuild.Limits{
		"of all builds":         {Total: 5, PerBuild: 5},
		"of an automated build": {Total: 9},
		"of a workspace":        {Total: 9, PerBuild: 9, PerWorkspace: 5},
	} {
		t.Run(name, func(t *testing.T) { testLimits(t, limits) })
	}
}

// testLimits starts 12 builds on three gateways at once, with limits that allow five.
func testLimits(t *testing.T, limits autobuild.Limits) {
	all := gateways(t, storetest.NewestPostgres(t), 3)
	a := storetest.AutomatedBuild(t, all[0], storetest.Repository("app"))
	var builds []autobuild.Build
	for n := range 12 {
		ref := autobuild.Ref{Kind: autobuild.Branch, Name: fmt.Sprint("b", n)}
		planned, err := all[0].Plan(t.Context(), storetest.Push(a, ref, "", storetest.Commit(n)))
		if err != nil {
			t.Fatal(err)
		}
		builds = append(builds, planned...)
	}
	var starting sync.WaitGroup
	for i, b := range builds {
		starting.Go(func() {
			deadline := time.Now().Add(time.Hour)
			_, err := all[i%3].StartAttempt(t.Context(), b.ID, "embedded", "hash"+b.ID, deadline, limits)
			if err != nil && !errors.Is(err, autobuild.ErrUnavailable) {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	active, err := all[1].ActiveAttempts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(active) != 5 {
		t.Fatalf("active attempts: got %d, want 5", len(active))
	}
	i := slices.IndexFunc(builds, func(b autobuild.Build) bool { return b.ID == active[0].BuildID })
	if want := all[i%3].Gateway(); active[0].Gateway != want {
		t.Errorf("gateway of the first attempt: got %q, want %q", active[0].Gateway, want)
	}
}

// F10: Due times and expired leases use the database's clock, which is ten minutes ahead of this
// machine's in this test.
func TestF10TheClockOfTheDatabaseIsUsed(t *testing.T) {
	const ahead = 10 * time.Minute
	u, err := url.Parse(storetest.PostgresAddress(t).Reveal())
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	schema := q.Get("search_path")
	q.Set("search_path", schema+",pg_catalog") // our function hides PostgreSQL's
	u.RawQuery = q.Encode()
	db, err := sql.Open("pgx", u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(t.Context(),
		`CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$
			SELECT pg_catalog.clock_timestamp() + interval '10 minutes' $$`)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.LoadOrCreate(filepath.Join(t.TempDir(), "secret.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	s := storetest.OpenPostgresAt(t, secret.New(u.String()), sealer, nil)
	if off := (time.Until(s.Now()) - ahead).Abs(); off > time.Minute {
		t.Errorf("difference from the database's clock: got %s, want at most %s", off, time.Minute)
	}
	held, err := s.Hold(t.Context(), "x", ahead/2)
	if err != nil {
		t.Fatal(err)
	}
	if !held {
		t.Fatal("the lease is not held")
	}
	var until int64
	if err := db.QueryRowContext(t.Context(), `SELECT until FROM leases WHERE name = 'x'`).Scan(&until); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(time.UnixMilli(until)); left < ahead {
		t.Errorf("remaining time of the lease by this machine's clock: got %s, want at least %s", left, ahead)
	}
}

// Bytes that PostgreSQL does not accept in text are stored as replacement characters.
func TestAnyTextCanBeStored(t *testing.T) {
	s := storetest.OpenPostgres(t)
	id, err := s.ReceiveDelivery(t.Context(),
		autobuild.Delivery{HookID: "h", RequestID: "a\x00b\xffc", Body: []byte{0, 0xff}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Delivery(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if d.RequestID != "a\uFFFDb\uFFFDc" {
		t.Errorf("d.RequestID: got %q, want %q", d.RequestID, "a\uFFFDb\uFFFDc")
	}
	if string(d.Body) != "\x00\xff" {
		t.Errorf("string(d.Body): got %q, want %q", string(d.Body), "\x00\xff")
	}
}

func TestErrorsOfAnAddressDoNotContainItsPassword(t *testing.T) {
	for _, address := range []string{"postgres://u:hush@127.0.0.1:1/db", "postgres://u:hush@[", "host=127.0.0.1 port=none password=hush"} {
		_, err := store.Open(t.Context(), store.Options{Postgres: secret.New(address)})
		if err == nil {
			t.Fatalf("open %s: got no error, want one", address)
		}
		if text := err.Error(); strings.Contains(text, "hush") ||
			!strings.HasPrefix(text, "open database PostgreSQL: ") {
			t.Errorf("got error %q", text)
		}
	}
}
