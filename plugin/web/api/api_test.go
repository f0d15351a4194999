package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"

	"slipway/config/discard"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/inrepo"
	"slipway/plugin/intake"
	"slipway/plugin/logs"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
	"slipway/plugin/watcher"
	"slipway/plugin/web/api"
	"slipway/plugin/web/httpx"
	"slipway/runner/spec"
)

const token = "runner-token"

var digest = "sha256:" + strings.Repeat("ab", 32)

// An env is the API over a real store, watcher and logs, with one attempt started.
type env struct {
	t       *testing.T
	engine  *gin.Engine
	store   *store.Store
	logs    *logs.Logs
	build   autobuild.Build
	specErr error
	intake  func(hookID string, body []byte) error
}

// noPolls is an inrepo.Poller that schedules nothing.
type noPolls struct{}

func (noPolls) PollSoon(context.Context, autobuild.Repository) error { return nil }

func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{t: t, store: storetest.Open(t), logs: logs.New(logs.Options{Dir: t.TempDir()})}
	gin.SetMode(gin.TestMode)
	e.engine = gin.New()
	e.engine.Use(httpx.Errors(discard.Logger(), httpx.JSON))
	api.New(api.Options{
		Store:   e.store,
		Watcher: watcher.New(watcher.Options{Store: e.store, Log: discard.Logger()}),
		Specs:   e,
		Logs:    e.logs,
		Intake:  e,
		Pipelines: inrepo.New(
			inrepo.Options{
				Tokens: e.store,
				Builds: e.store,
				Refs:   e.store,
				Log:    discard.Logger(),
				Poller: noPolls{},
			},
		),
		Probes: known("probe-token"),
	}).Mount(e.engine)
	owner := storetest.AutomatedBuild(t, e.store, storetest.Repository("app"))
	builds, err := e.store.Plan(t.Context(), storetest.Push(owner, storetest.Main(), "", storetest.Commit(1)))
	if err != nil {
		t.Fatal(err)
	}
	e.build = builds[0]
	_, err = e.store.StartAttempt(
		t.Context(),
		e.build.ID,
		"embedded",
		autobuild.TokenHash(secret.New(token)),
		time.Now().Add(time.Hour),
		autobuild.Limits{},
	)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// BuilderTLS is of one engine.
func (e *env) BuilderTLS(engine string) secret.Secret { return secret.New("certificate of " + engine) }

func (e *env) Spec(_ context.Context, a autobuild.Attempt) (spec.Spec, error) {
	return spec.Spec{
		BuildID: a.BuildID,
		Attempt: a.Number,
		Registries: []spec.RegistryCredential{
			{Host: "r", Credential: spec.Credential{Password: secret.New("registry-canary")}},
		},
		Environment: map[string]secret.Secret{"A": secret.New("environment-canary")},
	}, e.specErr
}

// Known implements Intake. All webhooks exist, except those with a name that begins with unknown.
func (e *env) Known(_ context.Context, hookID string) bool {
	return !strings.HasPrefix(hookID, "unknown")
}

func (e *env) Receive(_ context.Context, hookID string, _ http.Header, body []byte) error {
	return e.intake(hookID, body)
}

// post sends a body, as JSON unless it is bytes, with the attempt's token.
func (e *env) post(path string, body any, token string) *httptest.ResponseRecorder {
	e.t.Helper()
	raw, ok := body.([]byte)
	if !ok {
		var err error
		raw, err = json.Marshal(body)
		if err != nil {
			e.t.Fatal(err)
		}
	}
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(raw))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	e.engine.ServeHTTP(w, r)
	return w
}

func (e *env) runner(path string, body any) *httptest.ResponseRecorder {
	e.t.Helper()
	return e.post("/runner/v1/builds/"+e.build.ID+"/"+path, body, token)
}

func answer[T any](t *testing.T, w *httptest.ResponseRecorder, status int) (v T) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status: got %d %s, want %d", w.Code, w.Body, status)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("decode the body: got error %v, want none", err)
	}
	return v
}

func claim() spec.ClaimRequest { return spec.ClaimRequest{RunnerID: "r1", Version: "test"} }

func TestClaimHandsOutTheSpecOnce(t *testing.T) {
	e := newEnv(t)
	for range 2 { // repeated by the same runner after a lost reply
		w := e.runner("claim", claim())
		s, err := spec.DecodeSpec(w.Body)
		if err != nil {
			t.Fatalf("decode spec: got error %v, want none", err)
		}
		if w.Code != http.StatusOK {
			t.Fatalf("status: got %v, want %v", w.Code, http.StatusOK)
		}
		if s.Registries[0].Password.Reveal() != "registry-canary" {
			t.Fatalf(`password: got %q, want "registry-canary"`, s.Registries[0].Password.Reveal())
		}
		if w.Header().Get("Cache-Control") != "no-store" {
			t.Fatalf(`Cache-Control: got %q, want "no-store"`, w.Header().Get("Cache-Control"))
		}
	}
	answer[spec.ErrorReply](t, e.runner("claim", spec.ClaimRequest{RunnerID: "r2"}), http.StatusConflict)
	b, err := e.store.Build(t.Context(), e.build.ID)
	if err != nil {
		t.Fatalf("build: got error %v, want none", err)
	}
	if b.State != autobuild.Running {
		t.Errorf("state: got %v, want %v", b.State, autobuild.Running)
	}
	a, err := e.store.Attempt(t.Context(), e.build.ID, 1)
	if err != nil {
		t.Fatal(err)
	}
	if a.RunnerVersion != "test" {
		t.Errorf("version of the runner: got %q, want test", a.RunnerVersion)
	}
	answer[spec.ErrorReply](t, e.runner("claim", spec.ClaimRequest{}), http.StatusBadRequest)
}

// S7: a token works only for its own build, and other tokens do not work.
func TestS7Tokens(t *testing.T) {
	e := newEnv(t)
	for _, path := range []string{"claim", "events", "log?offset=0", "permit", "finish"} {
		for name, w := range map[string]*httptest.ResponseRecorder{
			"none":          e.post("/runner/v1/builds/"+e.build.ID+"/"+path, claim(), ""),
			"wrong":         e.post("/runner/v1/builds/"+e.build.ID+"/"+path, claim(), "wrong"),
			"another build": e.post("/runner/v1/builds/b-other/"+path, claim(), token),
			"the hash":      e.post("/runner/v1/builds/"+e.build.ID+"/"+path, claim(), autobuild.TokenHash(secret.New(token))),
		} {
			if w.Code != http.StatusUnauthorized {
				t.Errorf("%s with token %s: got status %d, want 401", path, name, w.Code)
			}
		}
	}
}

func TestSpecProblemsAreNotTheRunners(t *testing.T) {
	for err, status := range map[error]int{
		autobuild.ErrUnauthorized: http.StatusFailedDependency, autobuild.ErrNotFound: http.StatusFailedDependency,
		autobuild.ErrForbidden: http.StatusFailedDependency, autobuild.ErrUnavailable: http.StatusServiceUnavailable,
		errors.New("disk"): http.StatusInternalServerError,
	} {
		e := newEnv(t)
		e.specErr = err
		if w := e.runner("claim", claim()); w.Code != status {
			t.Errorf("status: got %v, want %v", w.Code, status)
		} else if strings.Contains(w.Body.String(), "canary") {
			t.Errorf(`body: got %q, want it not to contain "canary"`, w.Body.String())
		}
	}
}

func TestEventsBecomeStages(t *testing.T) {
	e := newEnv(t)
	e.runner("claim", claim())
	at := func(s int) time.Time { return time.Unix(1_800_000_000+int64(s), 0).UTC() }
	send := func(seq int64, events ...spec.Event) {
		t.Helper()
		if got := answer[spec.EventsReply](
			t,
			e.runner("events", spec.EventsRequest{Events: events}),
			http.StatusOK,
		); got.Seq != seq {
			t.Errorf("sequence number: got %v, want %v", got.Seq, seq)
		} else if got.Cancel {
			t.Error("cancel: got true, want false")
		}
	}
	started := spec.Event{Seq: 1, Kind: spec.StageStarted, Stage: "build", At: at(0)}
	finished := spec.Event{Seq: 2, Kind: spec.StageFinished, Stage: "build", At: at(3), Detail: "all cached"}
	send(0)
	send(1, started)
	send(1, spec.Event{Seq: 3, Kind: spec.StageStarted, Stage: "push", At: at(5)}) // after a gap: not acknowledged
	send(3, finished, started, spec.Event{Seq: 3, Kind: spec.Built, Digest: digest, At: at(4)})
	send(3) // the heartbeat loses nothing
	b, err := e.store.Build(t.Context(), e.build.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := []autobuild.Stage{{Name: "build", StartedAt: at(0), FinishedAt: at(3), Detail: "all cached"}}
	if diff := cmp.Diff(want, b.Stages); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
	a, err := e.store.Attempt(t.Context(), e.build.ID, 1)
	if err != nil {
		t.Fatalf("attempt: got error %v, want none", err)
	}
	if a.Digest != digest {
		t.Errorf("digest: got %v, want %v", a.Digest, digest)
	}
	if a.HeartbeatAt.IsZero() {
		t.Error("time of the last heartbeat: got none, want one")
	}
	send(4, spec.Event{Seq: 4, Kind: spec.StageFinished, Stage: spec.StageTest, At: at(9)})
}

func TestLogAtOffsets(t *testing.T) {
	e := newEnv(t)
	e.runner("claim", claim())
	for _, tt := range []struct {
		offset, body string
		status       int
		size         int64
	}{
		{"0", "one\n", 200, 4},
		{"0", "one\ntwo\n", 200, 8}, // again, and more
		{"9", "gap", 409, 8},
		{"8", "registry-canary\n", 200, 24},
	} {
		got := answer[spec.LogReply](t, e.runner("log?offset="+tt.offset, []byte(tt.body)), tt.status)
		if got.Size != tt.size {
			t.Errorf("%+v: size: got %d, want %d", tt, got.Size, tt.size)
		}
	}
	text, err := e.logs.Read(t.Context(), e.build.ID, 1, 0, 100)
	if err != nil {
		t.Fatalf("read: got error %v, want none", err)
	}
	if string(text) != "one\ntwo\n***************\n" {
		t.Errorf("text: got %q, want %q", string(text), "one\ntwo\n***************\n")
	}
	for _, offset := range []string{"", "x", "-1"} {
		answer[spec.ErrorReply](t, e.runner("log?offset="+offset, []byte("x")), http.StatusBadRequest)
	}
	answer[spec.ErrorReply](
		t,
		e.runner("log?offset=0", make([]byte, spec.MaxLogChunk+1)),
		http.StatusRequestEntityTooLarge,
	)
}

func TestBodiesThatAreNotUnderstood(t *testing.T) {
	e := newEnv(t)
	for _, path := range []string{"claim", "events", "permit", "finish"} {
		answer[spec.ErrorReply](t, e.runner(path, []byte("<html>")), http.StatusBadRequest)
	}
}

func TestDeliveries(t *testing.T) {
	e := newEnv(t)
	for _, tt := range []struct {
		err    error
		status int
	}{
		{nil, http.StatusAccepted},
		{intake.ErrUnauthorized, http.StatusUnauthorized},
		{intake.ErrTooLarge, http.StatusRequestEntityTooLarge},
		{autobuild.ErrUnavailable, http.StatusServiceUnavailable},
		{errors.New("disk"), http.StatusServiceUnavailable},
	} {
		var got string
		e.intake = func(hookID string, body []byte) error {
			got = hookID + " " + string(body)
			return tt.err
		}
		w := e.post("/hooks/bitbucket/h1", []byte("raw bytes"), "")
		if w.Code != tt.status {
			t.Errorf("status: got %v, want %v", w.Code, tt.status)
		}
		if got != "h1 raw bytes" {
			t.Errorf(`received delivery: got %q, want "h1 raw bytes"`, got)
		}
	}
	if w := e.post(
		"/hooks/bitbucket/h1",
		make([]byte, intake.MaxBody+1),
		"",
	); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("an endless delivery: got Code %v, want %v", w.Code, http.StatusRequestEntityTooLarge)
	}
}
