package autobuild_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

// In any order of reports, a build never goes back, and each attempt gets at most one final state.
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
				t.Fatalf("attempt: got %d after %d, want at least %d", attempt, a, attempt)
			}
			attempt, state = a, s
			if s.Final() {
				finals[a]++
			}
		}
		for a, n := range finals {
			if n > 1 {
				t.Fatalf("ends of attempt %d: got %d, want at most 1", a, n)
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

// S2: a key has at most 40 characters, the limit of Cloud, for names of any length. It depends on
// each part.
func TestStatusKey(t *testing.T) {
	long := strings.Repeat("x", 120)
	parts := []string{"instance", long, "rule", "build", "refs/heads/" + long}
	key := autobuild.StatusKey(parts[0], parts[1], parts[2], parts[3], parts[4])
	if len(key) != 40 {
		t.Fatalf("length of the key %q: got %d, want 40", key, len(key))
	}
	if !strings.HasPrefix(key, "slipway-") {
		t.Fatalf("key: got %q, want the prefix slipway-", key)
	}
	for i := range parts {
		other := append([]string(nil), parts...)
		other[i] += "y"
		if autobuild.StatusKey(other[0], other[1], other[2], other[3], other[4]) == key {
			t.Errorf("another part %d: got the same key, want another one", i)
		}
	}
	if autobuild.StatusKey("a", "bc", "", "", "") == autobuild.StatusKey("ab", "c", "", "", "") {
		t.Error(`parts "a", "bc" and "ab", "c": got the same key, want different ones`)
	}
}

func TestRefFull(t *testing.T) {
	tag := autobuild.Ref{Kind: autobuild.Tag, Name: "v1"}
	if got := tag.Full(); got != "refs/tags/v1" {
		t.Errorf("tag: got %s, want refs/tags/v1", got)
	}
	branch := autobuild.Change{Kind: autobuild.Branch, Name: "feature/x"}
	if got := branch.Ref().Full(); got != "refs/heads/feature/x" {
		t.Errorf("branch: got %s, want refs/heads/feature/x", got)
	}
}

func TestRateLimitIsUnavailable(t *testing.T) {
	err := error(&autobuild.RateLimitError{RetryAfter: 90 * time.Second})
	if !errors.Is(err, autobuild.ErrUnavailable) {
		t.Error("rate limit is ErrUnavailable: got false, want true")
	}
	if errors.Is(err, autobuild.ErrForbidden) {
		t.Error("rate limit is ErrForbidden: got true, want false")
	}
	if !strings.Contains(err.Error(), "1m30s") {
		t.Errorf("error: got %q, want the time to wait: 1m30s", err)
	}
}

// R23
func TestTheDefaultRuleBuildsTheDefaultBranchAsLatest(t *testing.T) {
	want := autobuild.Rule{
		SourceType: autobuild.Branch, Source: "main", Tags: "latest",
		Context: "/", Dockerfile: "Dockerfile", Autobuild: true, Caching: true,
	}
	if diff := cmp.Diff(want, autobuild.DefaultRule("main")); diff != "" {
		t.Errorf("default rule (-want +got):\n%s", diff)
	}
}

func TestAProviderIsConfiguredWithKeyAndSecret(t *testing.T) {
	p := autobuild.Provider{ClientID: "key"}
	if p.Configured() {
		t.Error("a provider without a secret: got configured, want not configured")
	}
	p.ClientSecret = secret.New("s")
	if !p.Configured() {
		t.Error("a provider with key and secret: got not configured, want configured")
	}
}

func TestAFieldErrorBeginsWithItsField(t *testing.T) {
	err := autobuild.FieldError{Field: "rules[0].source", Message: "is empty"}
	if got := err.Error(); got != "rules[0].source: is empty" {
		t.Errorf("error: got %q, want the field before the message", got)
	}
}

func TestAnUnknownStateIsNotFinal(t *testing.T) {
	if autobuild.State("odd").Final() {
		t.Error("unknown state: got final, want not final")
	}
}
