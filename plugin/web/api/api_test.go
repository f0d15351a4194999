package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

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

// A desk is the API over a real store, watcher and logs, with one attempt started.
type desk struct {
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

func newDesk(t *testing.T) *desk {
	t.Helper()
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	d := &desk{t: t, store: storetest.Open(t), logs: logs.New(logs.Options{Dir: t.TempDir()})}
	gin.SetMode(gin.TestMode)
	d.engine = gin.New()
	d.engine.Use(httpx.Errors(quiet, httpx.JSON))
	api.New(api.Options{
		Store:   d.store,
		Watcher: watcher.New(watcher.Options{Store: d.store, Log: quiet}),
		Specs:   d,
		Logs:    d.logs,
		Intake:  d,
		Pipelines: inrepo.New(
			inrepo.Options{
				Tokens: d.store,
				Builds: d.store,
				Refs:   d.store,
				Log:    quiet,
				Poller: noPolls{},
			},
		),
		Probes: known("probe-token"),
	}).Mount(d.engine)
	owner := storetest.AutomatedBuild(t, d.store, storetest.Repository("app"))
	builds, err := d.store.Plan(t.Context(), storetest.Push(owner, storetest.Main(), "", storetest.Commit(1)))
	if err != nil {
		t.Fatal(err)
	}
	d.build = builds[0]
	_, err = d.store.StartAttempt(
		t.Context(),
		d.build.ID,
		"embedded",
		autobuild.TokenHash(secret.New(token)),
		time.Now().Add(time.Hour),
		0,
	)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// BuilderTLS is of one engine.
func (d *desk) BuilderTLS(engine string) secret.Secret { return secret.New("certificate of " + engine) }

func (d *desk) Spec(_ context.Context, a autobuild.Attempt) (spec.Spec, error) {
	return spec.Spec{
		BuildID: a.BuildID,
		Attempt: a.Number,
		Registries: []spec.RegistryCredential{
			{Host: "r", Credential: spec.Credential{Password: secret.New("registry-canary")}},
		},
		Environment: map[string]secret.Secret{"A": secret.New("environment-canary")},
	}, d.specErr
}

func (d *desk) Receive(_ context.Context, hookID string, _ http.Header, body []byte) error {
	return d.intake(hookID, body)
}

// post sends a body, as JSON unless it is bytes, with the attempt's token.
func (d *desk) post(path string, body any, token string) *httptest.ResponseRecorder {
	d.t.Helper()
	raw, ok := body.([]byte)
	if !ok {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			d.t.Fatal(err)
		}
	}
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(raw))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	d.engine.ServeHTTP(w, r)
	return w
}

func (d *desk) runner(path string, body any) *httptest.ResponseRecorder {
	d.t.Helper()
	return d.post("/runner/v1/builds/"+d.build.ID+"/"+path, body, token)
}

func answer[T any](t *testing.T, w *httptest.ResponseRecorder, status int) (v T) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status %d %s, want %d", w.Code, w.Body, status)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	return v
}

func claim() spec.ClaimRequest { return spec.ClaimRequest{RunnerID: "r1", Version: "test"} }

func TestClaimHandsOutTheSpecOnce(t *testing.T) {
	d := newDesk(t)
	for range 2 { // again by the same runner, whose first reply was lost
		w := d.runner("claim", claim())
		s, err := spec.DecodeSpec(w.Body)
		if err != nil || w.Code != http.StatusOK || s.Registries[0].Password.Reveal() != "registry-canary" ||
			w.Header().Get("Cache-Control") != "no-store" {
			t.Fatalf("%d, %+v, %v", w.Code, s, err)
		}
	}
	answer[spec.ErrorReply](t, d.runner("claim", spec.ClaimRequest{RunnerID: "r2"}), http.StatusConflict)
	b, err := d.store.Build(t.Context(), d.build.ID)
	if err != nil || b.State != autobuild.Running {
		t.Errorf("build is %s, %v", b.State, err)
	}
	answer[spec.ErrorReply](t, d.runner("claim", spec.ClaimRequest{}), http.StatusBadRequest)
}

// S7: a token is good for its own build alone, and nothing else is.
func TestS7Tokens(t *testing.T) {
	d := newDesk(t)
	for _, path := range []string{"claim", "events", "log?offset=0", "permit", "finish"} {
		for name, w := range map[string]*httptest.ResponseRecorder{
			"none":          d.post("/runner/v1/builds/"+d.build.ID+"/"+path, claim(), ""),
			"wrong":         d.post("/runner/v1/builds/"+d.build.ID+"/"+path, claim(), "wrong"),
			"another build": d.post("/runner/v1/builds/b-other/"+path, claim(), token),
			"the hash":      d.post("/runner/v1/builds/"+d.build.ID+"/"+path, claim(), autobuild.TokenHash(secret.New(token))),
		} {
			if w.Code != http.StatusUnauthorized {
				t.Errorf("%s with token %s: %d, want 401", path, name, w.Code)
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
		d := newDesk(t)
		d.specErr = err
		if w := d.runner("claim", claim()); w.Code != status || strings.Contains(w.Body.String(), "canary") {
			t.Errorf("%v: %d %s, want %d", err, w.Code, w.Body, status)
		}
	}
}

func TestEventsBecomeStages(t *testing.T) {
	d := newDesk(t)
	d.runner("claim", claim())
	at := func(s int) time.Time { return time.Unix(1_800_000_000+int64(s), 0).UTC() }
	send := func(seq int64, events ...spec.Event) {
		t.Helper()
		if got := answer[spec.EventsReply](
			t,
			d.runner("events", spec.EventsRequest{Events: events}),
			http.StatusOK,
		); got.Seq != seq ||
			got.Cancel {
			t.Errorf("reply %+v, want seq %d", got, seq)
		}
	}
	started := spec.Event{Seq: 1, Kind: spec.StageStarted, Stage: "build", At: at(0)}
	finished := spec.Event{Seq: 2, Kind: spec.StageFinished, Stage: "build", At: at(3), Detail: "all cached"}
	send(0)
	send(1, started)
	send(1, spec.Event{Seq: 3, Kind: spec.StageStarted, Stage: "push", At: at(5)}) // a gap: it has to come again
	send(3, finished, started, spec.Event{Seq: 3, Kind: spec.Built, Digest: digest, At: at(4)})
	send(3) // the heartbeat loses nothing
	b, err := d.store.Build(t.Context(), d.build.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := []autobuild.Stage{{Name: "build", StartedAt: at(0), FinishedAt: at(3), Detail: "all cached"}}
	if diff := cmp.Diff(want, b.Stages); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	a, err := d.store.Attempt(t.Context(), d.build.ID, 1)
	if err != nil || a.Digest != digest || a.HeartbeatAt.IsZero() {
		t.Errorf("attempt %+v, %v", a, err)
	}
	send(4, spec.Event{Seq: 4, Kind: spec.StageFinished, Stage: spec.StageTest, At: at(9)})
}

func TestLogAtOffsets(t *testing.T) {
	d := newDesk(t)
	d.runner("claim", claim())
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
		got := answer[spec.LogReply](t, d.runner("log?offset="+tt.offset, []byte(tt.body)), tt.status)
		if got.Size != tt.size {
			t.Errorf("%+v: size %d", tt, got.Size)
		}
	}
	text, err := d.logs.Read(t.Context(), d.build.ID, 1, 0, 100)
	if err != nil || string(text) != "one\ntwo\n***************\n" {
		t.Errorf("log %q, %v", text, err)
	}
	for _, offset := range []string{"", "x", "-1"} {
		answer[spec.ErrorReply](t, d.runner("log?offset="+offset, []byte("x")), http.StatusBadRequest)
	}
	answer[spec.ErrorReply](
		t,
		d.runner("log?offset=0", make([]byte, spec.MaxLogChunk+1)),
		http.StatusRequestEntityTooLarge,
	)
}

func TestPermit(t *testing.T) {
	d := newDesk(t)
	d.runner("claim", claim())
	got := answer[spec.PermitReply](
		t,
		d.runner("permit", spec.PermitRequest{Digest: digest, Tags: []string{"latest"}}),
		http.StatusOK,
	)
	if !got.Granted {
		t.Errorf("refused: %s", got.Reason)
	}
	answer[spec.ErrorReply](t, d.runner("permit", spec.PermitRequest{}), http.StatusBadRequest)
}

func TestFinishMayBeRepeated(t *testing.T) {
	d := newDesk(t)
	d.runner("claim", claim())
	result := spec.Result{State: spec.Succeeded, Reason: "whatever", Digest: digest, Size: 42}
	for range 2 {
		if w := d.runner("finish", result); w.Code != http.StatusNoContent {
			t.Fatalf("status %d %s", w.Code, w.Body)
		}
	}
	b, err := d.store.Build(t.Context(), d.build.ID)
	if err != nil || b.State != autobuild.Succeeded || b.Digest != digest || b.Size != 42 || b.Reason != "" {
		t.Errorf("build %+v, %v", b, err)
	}
	answer[spec.ErrorReply](t, d.runner("finish", spec.Result{State: spec.Failed}), http.StatusGone)
	answer[spec.ErrorReply](t, d.runner("events", spec.EventsRequest{}), http.StatusGone)
}

func TestResultsInTheGatewaysWords(t *testing.T) {
	for _, tt := range []struct {
		result spec.Result
		state  autobuild.State
		reason autobuild.Reason
	}{
		{spec.Result{State: spec.Failed, Reason: "hook"}, autobuild.Failed, autobuild.ReasonHook},
		{spec.Result{State: spec.Failed, Reason: "of its own"}, autobuild.Failed, autobuild.ReasonBuild},
		{spec.Result{State: spec.Cancelled, Reason: "superseded"}, autobuild.Cancelled, autobuild.ReasonSuperseded},
		{spec.Result{State: spec.Error, Reason: "<script>"}, autobuild.Errored, autobuild.ReasonInfrastructure},
		{spec.Result{State: "exploded", Detail: strings.Repeat("é", 4000)}, autobuild.Errored, autobuild.ReasonInfrastructure},
	} {
		d := newDesk(t)
		d.runner("claim", claim())
		if w := d.runner("finish", tt.result); w.Code != http.StatusNoContent {
			t.Fatalf("status %d %s", w.Code, w.Body)
		}
		a, err := d.store.Attempt(t.Context(), d.build.ID, 1)
		if err != nil || a.State != tt.state || a.Reason != tt.reason || len(a.Detail) > 1200 {
			t.Errorf(
				"%+v became %s (%s), %d bytes of detail, %v",
				tt.result.State,
				a.State,
				a.Reason,
				len(a.Detail),
				err,
			)
		}
	}
}

func TestBodiesThatAreNotUnderstood(t *testing.T) {
	d := newDesk(t)
	for _, path := range []string{"claim", "events", "permit", "finish"} {
		answer[spec.ErrorReply](t, d.runner(path, []byte("<html>")), http.StatusBadRequest)
	}
}

func TestDeliveries(t *testing.T) {
	d := newDesk(t)
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
		d.intake = func(hookID string, body []byte) error {
			got = hookID + " " + string(body)
			return tt.err
		}
		w := d.post("/hooks/bitbucket/h1", []byte("raw bytes"), "")
		if w.Code != tt.status || got != "h1 raw bytes" {
			t.Errorf("%v: status %d, received %q", tt.err, w.Code, got)
		}
	}
	if w := d.post(
		"/hooks/bitbucket/h1",
		make([]byte, intake.MaxBody+1),
		"",
	); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("an endless delivery: %d", w.Code)
	}
}
