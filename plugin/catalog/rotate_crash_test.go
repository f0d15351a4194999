package catalog_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/plugin/catalog"
)

// died is the panic of a process that ends at a commit.
type died struct{}

// rotateAndDie rotates in another process that dies before or after a commit. An open transaction is
// rolled back.
func rotateAndDie(t *testing.T, e *rotateEnv, what string, done bool) {
	t.Helper()
	reached := false
	process := e.beside(t, func(committing string, committed bool) {
		if committing == what && committed == done {
			reached = true
			panic(died{})
		}
	})
	defer func() {
		t.Helper()
		if cause := recover(); cause != (died{}) {
			t.Errorf("panic: got %v, want the failpoint %q", cause, what)
		}
		if !reached {
			t.Errorf("failpoint: got none, want %q", what)
		}
	}()
	_, err := process.RotateSecret(t.Context(), e.build.Repository)
	t.Errorf("rotation: got error %v, want a panic", err)
}

// I2: no delivery is rejected after the rotating process dies at any point. This holds before and
// after the next start, and after the old secret has expired.
func TestI2RotationDiesAtEachCommit(t *testing.T) {
	for _, what := range []string{"replace hook secret", "confirm hook secret"} {
		for name, done := range map[string]bool{"before ": false, "after ": true} {
			t.Run(name+what, func(t *testing.T) {
				e := newRotateEnv(t)
				rotateAndDie(t, e, what, done)
				survives(t, e)
			})
		}
	}
}

// I2: the same if the request to Bitbucket or its response is lost.
func TestI2RotationLosesItsRequest(t *testing.T) {
	for name, fault := range map[string]faults.Fault{"before": faults.ResetBefore(), "after": faults.ResetAfter()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the client tries again for seconds
			e := newRotateEnv(t)
			broken := e.faults.Add(
				faults.Rule{Method: http.MethodPut, Path: "/2.0/repositories/*/*/hooks/*", Fault: fault},
			)
			rotation, err := e.catalog.RotateSecret(t.Context(), e.build.Repository)
			must.Succeed(t, err)
			broken.Stop()
			if !rotation.Hook.SecretPending() {
				t.Error("pending secret: got none, want one")
			}
			survives(t, e)
		})
	}
}

// survives checks that deliveries are accepted now, after a start, and after the old secret has
// expired. It also checks that a later rotation works.
func survives(t *testing.T, e *rotateEnv) {
	t.Helper()
	if err := e.deliver(t); err != nil {
		t.Errorf("before the next start: got error %v, want none", err)
	}
	must.Succeed(t, e.with(func(o *catalog.Options) { o.Now = e.clock }).Tidy(t.Context()))
	if e.stored(t).SecretPending() {
		t.Error("pending secret after the next start: got one, want none")
	}
	if err := e.deliver(t); err != nil {
		t.Errorf("after the next start: got error %v, want none", err)
	}
	e.pass(day)
	if err := e.deliver(t); err != nil {
		t.Errorf("after the old secret's time: got error %v, want none", err)
	}
	if _, err := e.catalog.RotateSecret(t.Context(), e.build.Repository); err != nil {
		t.Errorf("a later rotation: got error %v, want none", err)
	}
	if err := e.deliver(t); err != nil {
		t.Errorf("after a later rotation: got error %v, want none", err)
	}
}

// I2: rotations by another process reject none of 200 deliveries a second.
func TestI2RotationUnderLoad(t *testing.T) {
	const (
		perSecond = 200
		senders   = 4
		rotations = 5
		between   = 60 // deliveries between two rotations
	)
	e := newRotateEnv(t)
	other := e.beside(t, nil)
	var (
		clock    sync.RWMutex // no delivery is under way when the clock passes a day
		accepted atomic.Int64
		stop     = make(chan struct{})
		load     sync.WaitGroup
	)
	began := time.Now()
	for range senders {
		load.Go(func() {
			tick := time.NewTicker(time.Second * senders / perSecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				clock.RLock()
				err := e.deliver(t)
				clock.RUnlock()
				if err != nil {
					t.Errorf("delivery %d: %v", accepted.Load(), err)
					return
				}
				accepted.Add(1)
			}
		})
	}
	for range rotations {
		awaitDeliveries(t, &accepted, between)
		if _, err := other.RotateSecret(t.Context(), e.build.Repository); err != nil {
			t.Errorf("rotate: got error %v, want none", err)
		}
		awaitDeliveries(t, &accepted, between)
		clock.Lock()
		e.pass(day)
		clock.Unlock()
	}
	close(stop)
	load.Wait()
	t.Logf(
		"%d deliveries in %s, %d rotations, none refused",
		accepted.Load(),
		time.Since(began).Round(time.Millisecond),
		rotations,
	)
}

// awaitDeliveries waits until n further deliveries were accepted.
func awaitDeliveries(t *testing.T, accepted *atomic.Int64, n int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for began := accepted.Load(); accepted.Load() < began+n; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("deliveries: got only %d, want more", accepted.Load())
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}
