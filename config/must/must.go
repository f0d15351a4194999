// Package must ends a test if an operation of its setup fails, or if something that it waits for does not happen.
package must

import (
	"fmt"
	"time"
)

// A TB is the part of testing.TB that this package needs. So it does not import testing.
type TB interface {
	Helper()
	Fatal(args ...any)
}

// Succeed ends the test if err is not nil.
func Succeed(t TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Get returns a function that returns its first argument, and ends the test if err is not nil:
//
//	digest := must.Get[string](t)(image.Digest())
func Get[T any](t TB) func(value T, err error) T {
	t.Helper()
	return func(value T, err error) T {
		t.Helper()
		Succeed(t, err)
		return value
	}
}

const (
	patience = time.Minute
	interval = 10 * time.Millisecond
)

// Eventually waits until met returns true, because another process or goroutine makes it so. It ends the test after
// a minute. condition is a clause, for example "the runner has ended".
func Eventually(t TB, condition string, met func() bool) {
	t.Helper()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal(fmt.Sprintf("got no change in %v, want that %s", patience, condition))
			return // only a test of this package continues
		}
	}
}
