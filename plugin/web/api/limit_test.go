package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus/hooks/test"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/intake"
	"slipway/plugin/web/httpx"
	"slipway/runner/spec"
)

// An env is an API whose services accept one probe's token and reject all others.
type env struct {
	*gin.Engine
	now time.Time
}

func newEnv(t *testing.T) *env {
	t.Helper()
	gin.SetMode(gin.TestMode)
	log, _ := test.NewNullLogger()
	e := &env{Engine: gin.New(), now: time.Unix(1_800_000_000, 0)}
	e.Use(httpx.Errors(log, httpx.JSON))
	New(
		Options{
			Store:  noAttempts{},
			Specs:  noAttempts{},
			Probes: noAttempts{},
			Intake: noAttempts{},
			Now:    func() time.Time { return e.now },
		},
	).Mount(e)
	return e
}

type noAttempts struct{ Specs }

func (noAttempts) AttemptByToken(context.Context, string, string) (autobuild.Attempt, error) {
	return autobuild.Attempt{}, autobuild.ErrUnauthorized
}
func (noAttempts) Build(context.Context, string) (autobuild.Build, error) {
	return autobuild.Build{}, autobuild.ErrNotFound
}
func (noAttempts) SetRunnerVersion(context.Context, string, int, string) error { return nil }
func (noAttempts) BuilderTLS(string) secret.Secret                             { return secret.Secret{} }
func (noAttempts) Verify(token secret.Secret) (string, bool) {
	return "drone", token.Reveal() == "good"
}
func (noAttempts) Known(context.Context, string) bool { return false }

func (noAttempts) Receive(context.Context, string, http.Header, []byte) error {
	return intake.ErrUnauthorized
}

func (e *env) post(path, from, token string) *http.Response {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}"))
	r.RemoteAddr = from + ":1000"
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w.Result()
}

// S11: an address that guesses tokens gets 429. Its valid tokens and other addresses are not affected.
func TestS11GuessingAtTokensIsLimitedPerAddress(t *testing.T) {
	e := newEnv(t)
	for i := range rejectedBurst {
		if got := e.post("/runner/v1/builds/b/claim", "192.0.2.1", "guess").StatusCode; got != http.StatusUnauthorized {
			t.Fatalf("guess %d: got status %d, want 401", i, got)
		}
	}
	limited := e.post("/runner/v1/builds/b/finish", "192.0.2.1", "guess")
	if limited.StatusCode != http.StatusTooManyRequests {
		t.Errorf("status: got %v, want %v", limited.StatusCode, http.StatusTooManyRequests)
	}
	if limited.Header.Get("Retry-After") != "1" {
		t.Errorf(`Retry-After: got %q, want "1"`, limited.Header.Get("Retry-After"))
	}
	if got := e.post(spec.ProbePath, "192.0.2.1", "good").StatusCode; got != http.StatusOK {
		t.Errorf("a good token from the same address: got %v, want %v", got, http.StatusOK)
	}
	if got := e.post(spec.ProbePath, "192.0.2.2", "guess").StatusCode; got != http.StatusUnauthorized {
		t.Errorf("another address: got %v, want %v", got, http.StatusUnauthorized)
	}
	e.now = e.now.Add(rejectedEvery)
	if got := e.post("/runner/v1/builds/b/permit", "192.0.2.1", "guess").StatusCode; got != http.StatusUnauthorized {
		t.Errorf("later: got %v, want %v", got, http.StatusUnauthorized)
	}
}

// S11: a valid token is limited to the rate that a build needs.
func TestS11ATokenIsLimited(t *testing.T) {
	e := newEnv(t)
	for i := range tokenBurst {
		if got := e.post(spec.ProbePath, "192.0.2.1", "good").StatusCode; got != http.StatusOK {
			t.Fatalf("request %d: got %d, want 200", i, got)
		}
	}
	limited := e.post(spec.ProbePath, "192.0.2.9", "good")
	if limited.StatusCode != http.StatusTooManyRequests {
		t.Errorf("status: got %v, want %v", limited.StatusCode, http.StatusTooManyRequests)
	}
	if limited.Header.Get("Retry-After") == "" {
		t.Error("Retry-After: got none, want one")
	}
	e.now = e.now.Add(time.Second)
	if got := e.post(spec.ProbePath, "192.0.2.1", "good").StatusCode; got != http.StatusOK {
		t.Errorf("a second later: got %v, want %v", got, http.StatusOK)
	}
}

// S11: deliveries are not limited, because Bitbucket does not repeat them after a 429.
func TestS11DeliveriesAreNeverLimited(t *testing.T) {
	e := newEnv(t)
	for i := range 2000 {
		if got := e.post("/hooks/bitbucket/h", "192.0.2.1", "guess").StatusCode; got != http.StatusUnauthorized {
			t.Fatalf("delivery %d: got %d, want 401", i, got)
		}
	}
}

// oneAttempt is a fake store and watcher with one attempt.
type oneAttempt struct {
	noAttempts
	Watcher
}

func (oneAttempt) AttemptByToken(context.Context, string, string) (autobuild.Attempt, error) {
	return autobuild.Attempt{BuildID: "b", Number: 1}, nil
}

func (oneAttempt) Events(context.Context, autobuild.Attempt, autobuild.EventRecord) error { return nil }

// newEnvWithAttempt returns an env in which every token belongs to one attempt.
func newEnvWithAttempt(t *testing.T) *env {
	t.Helper()
	e := newEnv(t)
	log, _ := test.NewNullLogger()
	e.Engine = gin.New()
	e.Use(httpx.Errors(log, httpx.JSON))
	New(Options{Store: oneAttempt{}, Watcher: oneAttempt{}, Now: func() time.Time { return e.now }}).Mount(e)
	return e
}

// Reports of an attempt are limited to its heartbeat and its few events.
func TestReportsAreLimitedPerAttempt(t *testing.T) {
	e := newEnvWithAttempt(t)
	report := func(token string) *http.Response { return e.post("/runner/v1/builds/b/events", "192.0.2.1", token) }
	for i := range eventsBurst {
		if got := report("one").StatusCode; got != http.StatusOK {
			t.Fatalf("request %d: got %d, want 200", i, got)
		}
	}
	limited := report("another") // the limit counts per attempt
	if limited.StatusCode != http.StatusTooManyRequests {
		t.Errorf("status: got %d, want 429", limited.StatusCode)
	}
	if got := limited.Header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After: got %q, want 1", got)
	}
	for i := range 600 {
		e.now = e.now.Add(time.Second)
		for range 3 { // a heartbeat, and the two events of a stage
			if got := report("one").StatusCode; got != http.StatusOK {
				t.Fatalf("second %d: got %d, want 200", i, got)
			}
		}
	}
}

// Permits of an attempt are limited, because each is a database transaction.
func TestPermitsAreLimitedPerAttempt(t *testing.T) {
	e := newEnvWithAttempt(t)
	ask := func() int { return e.post("/runner/v1/builds/b/permit", "192.0.2.1", "one").StatusCode }
	for i := range permitsBurst {
		if got := ask(); got == http.StatusTooManyRequests {
			t.Fatalf("request %d: got status 429, want another one", i)
		}
	}
	if got := ask(); got != http.StatusTooManyRequests {
		t.Errorf("status: got %d, want 429", got)
	}
	e.now = e.now.Add(time.Second)
	if got := ask(); got == http.StatusTooManyRequests {
		t.Error("a second later: got status 429, want another one")
	}
}
