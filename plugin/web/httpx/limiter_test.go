package httpx

import (
	"fmt"
	"testing"
	"time"
)

func TestALimiterForgetsTheOldest(t *testing.T) {
	const burst = 10
	start := time.Unix(0, 0)
	l := NewLimiter(time.Minute, burst, func() time.Time { return start })
	for range burst {
		if err := l.Allow("first"); err != nil {
			t.Fatal(err)
		}
	}
	if l.Allow("first") == nil {
		t.Fatal("first caller: got no limit, want one")
	}
	for i := range maxCallers {
		if err := l.Allow(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.by) != maxCallers {
		t.Fatalf("callers: got %d %v, want %d", len(l.by), l.by, maxCallers)
	}
	if l.recent.Len() != maxCallers {
		t.Errorf("recent callers: got %v, want %v", l.recent.Len(), maxCallers)
	}
	if l.Allow("first") != nil {
		t.Error("oldest caller: got it stored, want it removed")
	}
}

func TestALimitersRefusalSaysWhen(t *testing.T) {
	now := time.Unix(0, 0)
	l := NewLimiter(10*time.Second, 1, func() time.Time { return now })
	for _, step := range []struct {
		pass, wait time.Duration
	}{{0, 0}, {0, 10 * time.Second}, {4 * time.Second, 6 * time.Second}, {6 * time.Second, 0}} {
		now = now.Add(step.pass)
		err := l.Allow("a")
		if got := retryAfter(err).Round(time.Millisecond); got != step.wait {
			t.Errorf("after %s more: got error %v, time to wait %s, want %s", step.pass, err, got, step.wait)
		}
		if status, _ := ErrorResponse(err); err != nil && status != 429 {
			t.Errorf("status: got %d, want 429", status)
		}
	}
}
