package autobuild_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

var states = []autobuild.State{
	autobuild.Queued, autobuild.Starting, autobuild.Running,
	autobuild.Succeeded, autobuild.Failed, autobuild.Cancelled, autobuild.Errored,
}

func TestAdvances(t *testing.T) {
	for _, tc := range []struct {
		from    int
		state   autobuild.State
		attempt int
		to      autobuild.State
		want    bool
	}{
		{1, autobuild.Queued, 1, autobuild.Starting, true},
		{1, autobuild.Queued, 1, autobuild.Cancelled, true},
		{1, autobuild.Running, 1, autobuild.Starting, false},
		{1, autobuild.Running, 1, autobuild.Running, false},
		{1, autobuild.Succeeded, 1, autobuild.Failed, false},
		{1, autobuild.Cancelled, 1, autobuild.Succeeded, false},
		{1, autobuild.Errored, 2, autobuild.Queued, true},
		{2, autobuild.Running, 1, autobuild.Succeeded, false},
	} {
		if got := autobuild.Advances(tc.from, tc.state, tc.attempt, tc.to); got != tc.want {
			t.Errorf("Advances(%d %s → %d %s) = %v, want %v", tc.from, tc.state, tc.attempt, tc.to, got, tc.want)
		}
	}
}

// However reports arrive, a build never goes back, and at most one final state is taken
// in each attempt.
func TestAdvancesNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		attempt, state := 1, autobuild.Queued
		finals := map[int]int{}
		for range rapid.IntRange(1, 40).Draw(t, "reports") {
			a, s := rapid.IntRange(1, 3).Draw(t, "attempt"), rapid.SampledFrom(states).Draw(t, "state")
			if !autobuild.Advances(attempt, state, a, s) {
				continue
			}
			if a < attempt {
				t.Fatalf("attempt went back from %d to %d", attempt, a)
			}
			attempt, state = a, s
			if s.Final() {
				finals[a]++
			}
		}
		for a, n := range finals {
			if n > 1 {
				t.Fatalf("attempt %d ended %d times", a, n)
			}
		}
	})
}

// S1: every state has a status, and queued states are in progress.
func TestStatusOf(t *testing.T) {
	want := map[autobuild.State]autobuild.StatusState{
		autobuild.Queued:    autobuild.StatusInProgress,
		autobuild.Starting:  autobuild.StatusInProgress,
		autobuild.Running:   autobuild.StatusInProgress,
		autobuild.Succeeded: autobuild.StatusSuccessful,
		autobuild.Failed:    autobuild.StatusFailed,
		autobuild.Errored:   autobuild.StatusFailed,
		autobuild.Cancelled: autobuild.StatusStopped,
	}
	for _, s := range states {
		if got := autobuild.StatusOf(s); got != want[s] {
			t.Errorf("StatusOf(%s) = %q, want %q", s, got, want[s])
		}
	}
}

// S2: keys fit Cloud's 40 characters however long the names are, and differ with each part.
func TestStatusKey(t *testing.T) {
	long := strings.Repeat("x", 120)
	parts := []string{"instance", long, "rule", "build", "refs/heads/" + long}
	key := autobuild.StatusKey(parts[0], parts[1], parts[2], parts[3], parts[4])
	if len(key) != 40 || !strings.HasPrefix(key, "slipway-") {
		t.Fatalf("key %q is not of 40 characters with our prefix", key)
	}
	for i := range parts {
		other := append([]string(nil), parts...)
		other[i] += "y"
		if autobuild.StatusKey(other[0], other[1], other[2], other[3], other[4]) == key {
			t.Errorf("part %d does not change the key", i)
		}
	}
	if autobuild.StatusKey("a", "bc", "", "", "") == autobuild.StatusKey("ab", "c", "", "", "") {
		t.Error("parts run into each other")
	}
}

func TestRefFull(t *testing.T) {
	if got := (autobuild.Ref{Kind: autobuild.Tag, Name: "v1"}).Full(); got != "refs/tags/v1" {
		t.Error(got)
	}
	if got := (autobuild.Change{Kind: autobuild.Branch, Name: "feature/x"}).Ref().
		Full(); got != "refs/heads/feature/x" {
		t.Error(got)
	}
}

func TestRateLimitIsUnavailable(t *testing.T) {
	err := error(&autobuild.RateLimitError{RetryAfter: 90 * time.Second})
	if !errors.Is(err, autobuild.ErrUnavailable) || errors.Is(err, autobuild.ErrForbidden) {
		t.Error("a rate limit is a case of not available")
	}
	if !strings.Contains(err.Error(), "1m30s") {
		t.Errorf("%q does not say when", err)
	}
}

func TestDefaultsAndSmallFacts(t *testing.T) {
	r := autobuild.DefaultRule("main")
	if r.Source != "main" || r.Tags != "latest" || r.Context != "/" || !r.Autobuild || !r.Caching { // R23
		t.Errorf("default rule: %+v", r)
	}
	p := autobuild.Provider{ClientID: "key"}
	if p.Configured() {
		t.Error("a provider without a secret is not configured")
	}
	p.ClientSecret = secret.New("s")
	if !p.Configured() {
		t.Error("a provider with key and secret is configured")
	}
	if got := (autobuild.FieldError{Field: "rules[0].source", Message: "is empty"}).Error(); got != "rules[0].source: is empty" {
		t.Error(got)
	}
	if autobuild.State("odd").Final() {
		t.Error("an unknown state is not final")
	}
}
