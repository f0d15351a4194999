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
			t.Fatalf("%s: a new signature was rejected as a replay", now)
		}
		if r.First(fmt.Sprint(now)) {
			t.Fatalf("%s: a replay was accepted", now)
		}
		now = now.Add(time.Minute)
	}
	if r.First(fmt.Sprint(now.Add(-9 * time.Minute))) {
		t.Error("a signature was removed while a fast clock still makes it valid")
	}
	if !r.First(fmt.Sprint(now.Add(-15 * time.Minute))) {
		t.Error("an expired signature was not removed")
	}
}

func TestAFullMemoryRefusesNewSignatures(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	r := pipeline.NewReplays(5*time.Minute, func() time.Time { return now })
	for i := range 100_000 {
		r.First(fmt.Sprint(i))
	}
	if r.First("one more") || r.First("0") {
		t.Error("a full cache accepted another signature")
	}
	now = now.Add(11 * time.Minute)
	if !r.First("one more") {
		t.Error("the cache accepts nothing after it was full")
	}
}

func TestForgetAllowsARepetition(t *testing.T) {
	r := pipeline.NewReplays(time.Minute, time.Now)
	if !r.First("a") || !r.First("b") {
		t.Fatal("a new signature was rejected as a replay")
	}
	r.Forget("a")
	if !r.First("a") || r.First("b") {
		t.Error("the wrong signature was removed")
	}
}
