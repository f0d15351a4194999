package pipeline_test

import (
	"fmt"
	"testing"
	"time"

	"slipway/plugin/engine/pipeline"
)

func TestASignatureIsAcceptedOnceWhileItIsValid(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	r := pipeline.NewReplays(5*time.Minute, func() time.Time { return now })
	for range 20 {
		if !r.First(fmt.Sprint(now)) {
			t.Fatalf("new signature at %s: got a replay, want a new one", now)
		}
		if r.First(fmt.Sprint(now)) {
			t.Fatalf("repeated signature at %s: got a new one, want a replay", now)
		}
		now = now.Add(time.Minute)
	}
	if r.First(fmt.Sprint(now.Add(-9 * time.Minute))) {
		t.Error("signature that a fast clock still makes valid: got none, want it kept")
	}
	if !r.First(fmt.Sprint(now.Add(-15 * time.Minute))) {
		t.Error("expired signature: got it kept, want it removed")
	}
}

func TestAFullMemoryRefusesNewSignatures(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	r := pipeline.NewReplays(5*time.Minute, func() time.Time { return now })
	for i := range 100_000 {
		r.First(fmt.Sprint(i))
	}
	if r.First("one more") || r.First("0") {
		t.Error("signature with a full cache: got accepted, want rejected")
	}
	now = now.Add(11 * time.Minute)
	if !r.First("one more") {
		t.Error("signature after the cache was full: got rejected, want accepted")
	}
}

func TestForgetAllowsARepetition(t *testing.T) {
	r := pipeline.NewReplays(time.Minute, time.Now)
	if !r.First("a") || !r.First("b") {
		t.Fatal("new signature: got a replay, want a new one")
	}
	r.Forget("a")
	if !r.First("a") || r.First("b") {
		t.Error("removed signature: got a newer one, want the oldest")
	}
}
