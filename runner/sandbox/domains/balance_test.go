package domains

import (
	"net"
	"testing"

	"slipway/config/discard"
	"slipway/runner/sandbox/domains/link"
)

// A builder without work has no more than a share, and gets all steps when the others have ended.
func TestBuildersShareTheSteps(t *testing.T) {
	s := New(Options{Parallel: 8, Log: discard.Logger()})
	defer s.Close()
	got := map[string]chan int{}
	children := map[string]*child{}
	for _, id := range []string{"a", "b"} {
		own, builder := net.Pipe()
		defer own.Close()
		steps := make(chan int)
		go link.Requests{Parallel: func(n int) { steps <- n }, Stop: func() {}}.Receive(builder)
		c := &child{link: own}
		got[id], children[id] = steps, c
		s.domains[id] = &domain{id: id, child: c}
	}
	defer func() { s.domains = nil }() // so that Close stops no process
	want := func(step string, id string, steps int) {
		t.Helper()
		if n := <-got[id]; n != steps {
			t.Errorf("%s: got %d steps for %s, want %d", step, n, id, steps)
		}
	}
	s.watches.Go(s.balance)
	want("both idle", "a", 8)
	want("both idle", "b", 8)
	s.update(func() { children["a"].busy = true })
	want("one busy", "b", 4)
	s.update(func() { children["b"].busy = true })
	want("both busy", "a", 4)
	s.update(func() { children["b"].busy = false })
	want("one idle again", "a", 8)
	s.cancel(errClosed)
	s.watches.Wait()
}
