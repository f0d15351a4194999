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

// A gate is an API whose rooms know one probe's token and refuse all else.
type gate struct {
	*gin.Engine
	now time.Time
}

func newGate(t *testing.T) *gate {
	t.Helper()
	gin.SetMode(gin.TestMode)
	log, _ := test.NewNullLogger()
	g := &gate{Engine: gin.New(), now: time.Unix(1_800_000_000, 0)}
	g.Use(httpx.Errors(log, httpx.JSON))
	New(
		Options{
			Store:  strangers{},
			Specs:  strangers{},
			Probes: strangers{},
			Intake: strangers{},
			Now:    func() time.Time { return g.now },
		},
	).Mount(g)
	return g
}

type strangers struct{ Specs }

func (strangers) AttemptByToken(context.Context, string, string) (autobuild.Attempt, error) {
	return autobuild.Attempt{}, autobuild.ErrUnauthorized
}
func (strangers) Build(context.Context, string) (autobuild.Build, error) {
	return autobuild.Build{}, autobuild.ErrNotFound
}
func (strangers) BuilderTLS(string) secret.Secret           { return secret.Secret{} }
func (strangers) Verify(token secret.Secret) (string, bool) { return "drone", token.Reveal() == "good" }
func (strangers) Receive(context.Context, string, http.Header, []byte) error {
	return intake.ErrUnauthorized
}

func (g *gate) post(path, from, token string) *http.Response {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}"))
	r.RemoteAddr = from + ":1000"
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w.Result()
}

// S11: an address that tries tokens is told to wait, and neither its good tokens nor other
// addresses pay for it.
func TestS11GuessingAtTokensIsLimitedPerAddress(t *testing.T) {
	g := newGate(t)
	for i := range refusedBurst {
		if got := g.post("/runner/v1/builds/b/claim", "192.0.2.1", "guess").StatusCode; got != http.StatusUnauthorized {
			t.Fatalf("guess %d: %d, want 401", i, got)
		}
	}
	limited := g.post("/runner/v1/builds/b/finish", "192.0.2.1", "guess")
	if limited.StatusCode != http.StatusTooManyRequests || limited.Header.Get("Retry-After") != "1" {
		t.Errorf("%d, Retry-After %q; want 429 and 1", limited.StatusCode, limited.Header.Get("Retry-After"))
	}
	if got := g.post(spec.ProbePath, "192.0.2.1", "good").StatusCode; got != http.StatusOK {
		t.Errorf("a good token from the same address: %d", got)
	}
	if got := g.post(spec.ProbePath, "192.0.2.2", "guess").StatusCode; got != http.StatusUnauthorized {
		t.Errorf("another address: %d", got)
	}
	g.now = g.now.Add(refusedEvery)
	if got := g.post("/runner/v1/builds/b/permit", "192.0.2.1", "guess").StatusCode; got != http.StatusUnauthorized {
		t.Errorf("later: %d", got)
	}
}

// S11: a good token asks as often as a build needs, and no oftener.
func TestS11ATokenIsLimited(t *testing.T) {
	g := newGate(t)
	for i := range tokenBurst {
		if got := g.post(spec.ProbePath, "192.0.2.1", "good").StatusCode; got != http.StatusOK {
			t.Fatalf("request %d: %d", i, got)
		}
	}
	limited := g.post(spec.ProbePath, "192.0.2.9", "good")
	if limited.StatusCode != http.StatusTooManyRequests || limited.Header.Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q; want 429", limited.StatusCode, limited.Header.Get("Retry-After"))
	}
	g.now = g.now.Add(time.Second)
	if got := g.post(spec.ProbePath, "192.0.2.1", "good").StatusCode; got != http.StatusOK {
		t.Errorf("a second later: %d", got)
	}
}

// S11: Bitbucket would not send again what a 429 refused.
func TestS11DeliveriesAreNeverLimited(t *testing.T) {
	g := newGate(t)
	for i := range 2000 {
		if got := g.post("/hooks/bitbucket/h", "192.0.2.1", "guess").StatusCode; got != http.StatusUnauthorized {
			t.Fatalf("delivery %d: %d", i, got)
		}
	}
}

// reporting is a store and a watcher with one attempt, whose reports cost nothing.
type reporting struct {
	strangers
	Watcher
}

func (reporting) AttemptByToken(context.Context, string, string) (autobuild.Attempt, error) {
	return autobuild.Attempt{BuildID: "b", Number: 1}, nil
}

func (reporting) Events(context.Context, autobuild.Attempt, autobuild.EventRecord) error {
	return nil
}

// newReporting is a gate whose tokens are all of one attempt.
func newReporting(t *testing.T) *gate {
	t.Helper()
	g := newGate(t)
	log, _ := test.NewNullLogger()
	g.Engine = gin.New()
	g.Use(httpx.Errors(log, httpx.JSON))
	New(Options{Store: reporting{}, Watcher: reporting{}, Now: func() time.Time { return g.now }}).Mount(g)
	return g
}

// An attempt reports as often as its heartbeat and its few events need.
func TestReportsAreLimitedPerAttempt(t *testing.T) {
	g := newReporting(t)
	report := func(token string) *http.Response { return g.post("/runner/v1/builds/b/events", "192.0.2.1", token) }
	for i := range eventsBurst {
		if got := report("one").StatusCode; got != http.StatusOK {
			t.Fatalf("request %d: got %d, want 200", i, got)
		}
	}
	limited := report("another") // the limit is of the attempt
	if limited.StatusCode != http.StatusTooManyRequests {
		t.Errorf("got %d, want 429", limited.StatusCode)
	}
	if got := limited.Header.Get("Retry-After"); got != "1" {
		t.Errorf("got Retry-After %q, want 1", got)
	}
	for i := range 600 {
		g.now = g.now.Add(time.Second)
		for range 3 { // a heartbeat, and the two events of a stage
			if got := report("one").StatusCode; got != http.StatusOK {
				t.Fatalf("second %d: got %d, want 200", i, got)
			}
		}
	}
}

// An attempt asks for as many permits as its tags need: each is a transaction of the database.
func TestPermitsAreLimitedPerAttempt(t *testing.T) {
	g := newReporting(t)
	ask := func() int { return g.post("/runner/v1/builds/b/permit", "192.0.2.1", "one").StatusCode }
	for i := range permitsBurst {
		if got := ask(); got == http.StatusTooManyRequests {
			t.Fatalf("request %d: got 429", i)
		}
	}
	if got := ask(); got != http.StatusTooManyRequests {
		t.Errorf("got %d, want 429", got)
	}
	g.now = g.now.Add(time.Second)
	if got := ask(); got == http.StatusTooManyRequests {
		t.Error("a second later: got 429")
	}
}
