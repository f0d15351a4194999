package must_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"slipway/config/must"
)

// recorder records the arguments of Fatal.
type recorder struct{ fatal []any }

func (r *recorder) Helper()           {}
func (r *recorder) Fatal(args ...any) { r.fatal = append(r.fatal, args...) }

func TestOnlyAnErrorEndsTheTest(t *testing.T) {
	r := &recorder{}
	must.Succeed(r, nil)
	if got := must.Get[int](r)(7, nil); got != 7 {
		t.Errorf("Get: got %d, want 7", got)
	}
	if len(r.fatal) != 0 {
		t.Fatalf("calls of Fatal: got %v, want none", r.fatal)
	}
	broken := errors.New("broken")
	must.Succeed(r, broken)
	must.Get[int](r)(7, broken)
	if len(r.fatal) != 2 {
		t.Errorf("got %d calls of Fatal, want 2", len(r.fatal))
	}
}

func TestEventuallyWaitsForAChange(t *testing.T) {
	r := &recorder{}
	var done atomic.Bool
	looks := 0
	must.Eventually(r, "another goroutine is done", func() bool {
		if looks++; looks == 2 {
			go done.Store(true)
		}
		return done.Load()
	})
	if len(r.fatal) != 0 || looks < 2 {
		t.Errorf("got %d looks and the errors %v, want at least 2 looks and none", looks, r.fatal)
	}
}
