package server

import (
	"context"
	"testing"
	"time"
)

func TestSlotsFollowTheLimit(t *testing.T) {
	s := newSlots(4)
	running := 0
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	fill := func() int {
		t.Helper()
		for s.sem.TryAcquire(1) {
			running++
		}
		return running
	}
	if got := fill(); got != 4 {
		t.Errorf("without a limit: got %d steps, want 4", got)
	}
	s.limit(1)
	// The limit takes effect as the steps end.
	for ; running > 1; running-- {
		s.sem.Release(1)
	}
	<-s.done
	if got := fill(); got != 1 {
		t.Errorf("with limit 1: got %d steps, want 1", got)
	}
	s.limit(0) // at least one step always runs
	s.limit(3)
	<-s.done
	if got := fill(); got != 3 {
		t.Errorf("with limit 3: got %d steps, want 3", got)
	}
	s.limit(1)
	s.limit(100) // replaces a limit that has not taken effect
	<-s.done
	if err := s.sem.Acquire(ctx, 1); err != nil {
		t.Errorf("with limit 100: got %v for a fourth step, want none", err)
	}
}
