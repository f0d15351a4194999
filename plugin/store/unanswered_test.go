package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/store"
	"slipway/plugin/store/seal"
	"slipway/plugin/store/storetest"
)

// A lossyLine is a connection to PostgreSQL that loses every fifth commit or its reply, until it is
// fixed.
type lossyLine struct {
	bad          atomic.Bool
	happened, no atomic.Int64 // commits without a reply: committed, and not committed
}

func (l *lossyLine) fate(bool) storetest.Loss {
	if !l.bad.Load() {
		return storetest.None
	}
	switch rand.IntN(10) {
	case 0:
		l.happened.Add(1)
		return storetest.Unanswered
	case 1:
		l.no.Add(1)
		return storetest.Unsent
	}
	return storetest.None
}

// fix ends the losses, and expects that some occurred.
func (l *lossyLine) fix(t *testing.T) {
	t.Helper()
	l.bad.Store(false)
	t.Logf("lost responses: %d of successful commits, %d of failed ones", l.happened.Load(), l.no.Load())
	if l.happened.Load() == 0 {
		t.Error("successful commits without a response: got 0, want some")
	}
	if l.no.Load() == 0 {
		t.Error("lost responses of failed commits: got 0, want at least 1")
	}
}

// overLossyLine opens a store on PostgreSQL over a lossyLine.
func overLossyLine(t *testing.T) (*store.Store, *lossyLine) {
	t.Helper()
	address := storetest.NewestPostgres(t)
	sealer, err := seal.LoadOrCreate(filepath.Join(t.TempDir(), "secret.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	l := &lossyLine{}
	s := storetest.OpenPostgresAt(t, storetest.Losing(t, address, l.fate), sealer, nil)
	l.bad.Store(true)
	return s, l
}

// F7: Commits lose their reply. Every acknowledged delivery exists, and the task of every stored
// delivery is done, acknowledged or not.
func TestF7DeliveriesSurviveCommitsWithoutAReply(t *testing.T) {
	t.Parallel()
	s, line := overLossyLine(t)
	senders := sendUntil(t, s)
	worked := workAll(t, s)
	senders.await(t, often(150))
	acked, refused := senders.stop()
	line.fix(t)
	t.Logf("%d deliveries promised, %d refused", len(acked), refused)
	stored, err := s.Deliveries(t.Context(), autobuild.DeliveryFilter{Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	there := map[string]bool{}
	for _, d := range stored {
		ids, there[d.ID] = append(ids, d.ID), true
	}
	for _, id := range acked {
		if !there[id] {
			t.Errorf("accepted delivery %s: got none stored, want it", id)
		}
	}
	worked.await(t, ids)
	noneWaits(t, s)
}

// often returns n, or ten times n in the long form of the test.
func often(n int) int {
	if os.Getenv("SLIPWAY_TRUST") != "" {
		return 10 * n
	}
	return n
}

// noneWaits returns when no plan task is left.
func noneWaits(t *testing.T, s *store.Store) {
	t.Helper()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	deadline := time.After(10 * time.Second)
	for {
		waiting, dead, err := s.Tasks().Depth(t.Context(), autobuild.TaskPlan)
		if err != nil {
			t.Fatal(err)
		}
		if dead != 0 {
			t.Fatalf("dead: got %v, want 0", dead)
		}
		if waiting == 0 {
			return
		}
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("unprocessed tasks: got %d, want none", waiting)
		}
	}
}

// F7: A caller without a reply repeats the call. Still each push has one build with one attempt,
// which ends once.
func TestF7CallsRepeatedWithoutAReplyAreDoneOnce(t *testing.T) {
	t.Parallel()
	s, line := overLossyLine(t)
	line.bad.Store(false)
	a := storetest.AutomatedBuild(t, s, storetest.Repository("app"))
	line.bad.Store(true)
	pushes := often(25)
	var living sync.WaitGroup
	for n := range pushes {
		living.Go(func() {
			if err := live(t, s, a, n); err != nil {
				t.Errorf("push %d: %v", n, err)
			}
		})
	}
	living.Wait()
	line.fix(t)
	builds, err := s.Builds(t.Context(), autobuild.BuildFilter{Limit: 10 * pushes})
	if err != nil {
		t.Fatal(err)
	}
	if len(builds) != pushes {
		t.Fatalf("builds: got %v, want %v", len(builds), pushes)
	}
	for _, b := range builds {
		if b.State != autobuild.Succeeded {
			t.Errorf("state: got %v, want %v", b.State, autobuild.Succeeded)
		}
		if b.Attempt != 1 {
			t.Errorf("attempt: got %v, want 1", b.Attempt)
		}
		if b.Digest != "sha256:"+b.Commit.Hash {
			t.Errorf("digest: got %v, want %v", b.Digest, "sha256:"+b.Commit.Hash)
		}
		if b.Seq != 1 {
			t.Errorf("sequence number: got %v, want 1", b.Seq)
		}
	}
	active, err := s.ActiveAttempts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(active) != 0 {
		t.Fatalf("active attempts: got %v, want 0", len(active))
	}
}

// live plans a push and takes its build through all states, like the stations and the runner.
func live(t *testing.T, s *store.Store, a autobuild.AutomatedBuild, n int) error {
	p := storetest.Push(a, autobuild.Ref{Kind: autobuild.Branch, Name: fmt.Sprint("b", n)}, "", storetest.Commit(n))
	var b autobuild.Build
	digest := "sha256:" + storetest.Commit(n)
	for _, step := range []struct {
		name string
		do   func() error
		done error // its error if it was done before; nil = none
	}{
		{"receive", func() (err error) {
			p.DeliveryID, err = s.ReceiveDelivery(t.Context(), autobuild.Delivery{HookID: "h", Body: []byte("{}")})
			return err
		}, nil},
		{"plan", func() error {
			builds, err := s.Plan(t.Context(), p)
			if err == nil {
				b = builds[0]
			}
			return err
		}, nil},
		{"start", func() error {
			_, err := s.StartAttempt(t.Context(), b.ID, "embedded", "hash"+b.ID, time.Now().Add(time.Hour), autobuild.Limits{})
			return err
		}, autobuild.ErrConflict},
		{"claim", func() error { return s.ClaimAttempt(t.Context(), b.ID, 1, "runner"+b.ID) }, nil},
		{"record", func() error {
			return s.RecordEvents(t.Context(), b.ID, 1, autobuild.EventRecord{Seq: 1, Digest: digest})
		}, nil},
		{"permit", func() error {
			granted, holder, err := s.Permit(t.Context(), b.ID, 1, nil, []string{fmt.Sprint("tag", n)})
			if err == nil && !granted {
				err = fmt.Errorf("build %d blocks the start: %w", holder.Number, autobuild.ErrConflict)
			}
			return err
		}, nil},
		{"finish", func() error {
			_, err := s.FinishAttempt(t.Context(), autobuild.Finish{BuildID: b.ID, Attempt: 1, State: autobuild.Succeeded})
			return err
		}, autobuild.ErrFenced},
	} {
		if err := untilAnswered(step.do, step.done); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// untilAnswered repeats a call until it has a reply, like a station's task.
func untilAnswered(do func() error, done error) (err error) {
	for tries := range 30 {
		err = do()
		switch {
		case err == nil, tries > 0 && done != nil && errors.Is(err, done):
			return nil
		case errors.Is(err, autobuild.ErrConflict),
			errors.Is(err, autobuild.ErrFenced),
			errors.Is(err, autobuild.ErrNotFound):
			return err
		}
	}
	return fmt.Errorf("no response: %w", err)
}
