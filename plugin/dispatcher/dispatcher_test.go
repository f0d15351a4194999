package dispatcher_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/runner/spec"
)

func TestAQueuedBuildGetsItsPipeline(t *testing.T) {
	e := newEnv(t, 2)
	b := e.build(e.owner)
	e.dispatch(b)
	e.dispatch(b) // the task runs again
	if len(e.engine.started) != 1 {
		t.Fatalf("pipelines: got %d, want 1", len(e.engine.started))
	}
	p := e.engine.started[0]
	want := autobuild.Pipeline{
		BuildID:    b.ID,
		Number:     b.Number,
		Attempt:    1,
		URL:        "http://127.0.0.1:8080/runner/v1/builds/" + b.ID,
		Token:      p.Token,
		Hooks:      true,
		Repository: b.Repository,
		Ref:        b.Ref,
		Commit:     b.Commit.Hash,

		CacheDomain: "automated-build/" + b.AutomatedBuildID,
	}
	if diff := cmp.Diff(want, p, cmp.Comparer(secret.Secret.Equal)); diff != "" {
		t.Errorf("pipeline (-want +got):\n%s", diff)
	}
	a, err := e.store.AttemptByToken(t.Context(), b.ID, autobuild.TokenHash(p.Token))
	must.Succeed(t, err)
	if a.Number != 1 {
		t.Errorf("attempt: got number %d, want 1", a.Number)
	}
	if a.EngineRef != "pipeline-1" {
		t.Errorf("attempt: got the engine reference %q, want pipeline-1", a.EngineRef)
	}
	if a.Engine != "embedded" {
		t.Errorf("attempt: got the engine %q, want embedded", a.Engine)
	}
	if want := e.now.Add(4 * time.Hour); !a.Deadline.Equal(want) {
		t.Errorf("attempt: got the deadline %s, want %s", a.Deadline, want)
	}
	if len(p.Token.Reveal()) != 43 {
		t.Errorf("token: got %d characters, want 43 (32 bytes in base64url)", len(p.Token.Reveal()))
	}
	e.wantState(b, autobuild.Starting)
}

func TestOnlyQueuedBuildsAreStarted(t *testing.T) {
	e := newEnv(t, 2)
	b := e.build(e.owner)
	_, err := e.store.CancelBuild(t.Context(), b.ID, autobuild.ReasonUser, "no")
	must.Succeed(t, err)
	e.dispatch(b)
	must.Succeed(t, e.Dispatch(t.Context(), "no such build"))
	if len(e.engine.started) != 0 {
		t.Errorf("pipelines: got %d, want none", len(e.engine.started))
	}
}

func TestTheBuildsPageShowsTheFix(t *testing.T) {
	e := newEnv(t, 2)
	b := e.build(e.owner)
	for _, tt := range []struct {
		err    error
		detail string
	}{
		{autobuild.ErrUnauthorized, "link it again under Settings"},
		{autobuild.ErrNotFound, "the linked account was removed"},
	} {
		e.account.err = fmt.Errorf("account: %w", tt.err)
		e.wantSnooze(b, 30*time.Second, 30*time.Second, tt.detail)
	}
	e.account.err = errors.New("disk full")
	if err := e.Dispatch(t.Context(), b.ID); !errors.Is(err, e.account.err) {
		t.Errorf("Dispatch: got %v, want %v", err, e.account.err)
	}
	e.account.err = nil
	e.dispatch(b)
	e.wantState(b, autobuild.Starting)
	if got := e.reload(b).Detail; got != "" {
		t.Errorf("detail of the started build: got %q, want none", got)
	}
	withoutEngine := e.build(e.automate("registry.example.com/x", "drone"))
	e.wantSnooze(withoutEngine, 30*time.Second, 30*time.Second, `no engine "drone"`)
}

func TestBuildsWaitForSpaceOnTheDiskOfTheGateway(t *testing.T) {
	e := newEnv(t, 2)
	b := e.build(e.owner)
	e.space = errors.New("the disk of SLIPWAY_DATA=/data has 3 MB free")
	e.wantSnooze(b, 10*time.Second, 10*time.Second, "the gateway's disk has too little free space")
	e.wantState(b, autobuild.Queued)
	if got := e.reload(b).Attempt; got != 0 {
		t.Errorf("attempts without space: got %d, want none", got)
	}
	e.space = nil
	e.dispatch(b)
	e.wantState(b, autobuild.Starting)
}

// If the engine is down, a build makes one attempt and then waits until the engine answers.
func TestBuildsWaitWhileTheEngineIsDown(t *testing.T) {
	e := newEnv(t, 2)
	b := e.build(e.owner)
	down := fmt.Errorf("connection refused: %w", autobuild.ErrUnavailable)
	e.engine.startErr, e.engine.stateErr = down, down
	e.dispatch(b)
	e.wantState(b, autobuild.Queued)
	if got := e.reload(b).Attempt; got != 1 {
		t.Fatalf("attempt: got %d, want 1", got)
	}
	a, err := e.store.Attempt(t.Context(), b.ID, 1)
	must.Succeed(t, err)
	if a.State != autobuild.Errored {
		t.Errorf("attempt: got the state %s, want error", a.State)
	}
	if a.Reason != autobuild.ReasonInfrastructure {
		t.Errorf("attempt: got the reason %s, want infrastructure", a.Reason)
	}
	if !strings.Contains(a.Detail, "connection refused") {
		t.Errorf("attempt: got the detail %q, want connection refused", a.Detail)
	}
	e.wantSnooze(b, 2*time.Second, 2*time.Second, "engine embedded is not available")
	pause := 4 * time.Second
	for range 8 { // each probe doubles the pause
		e.now = e.now.Add(time.Minute)
		e.wantSnooze(b, pause, pause, "engine embedded is not available")
		pause = min(2*pause, time.Minute)
	}
	if got := e.OpenCircuits(); !slices.Equal(got, []string{"embedded"}) {
		t.Errorf("open circuits while the engine is down: got %v, want [embedded]", got)
	}
	if e.engine.probes != 8 {
		t.Errorf("probes of the engine: got %d, want 8", e.engine.probes)
	}
	e.engine.startErr, e.engine.stateErr = nil, nil
	e.now = e.now.Add(time.Minute)
	e.dispatch(b)
	e.dispatch(e.build(e.owner))
	if len(e.engine.started) != 2 {
		t.Fatalf("pipelines: got %d, want 2", len(e.engine.started))
	}
	if got := e.engine.started[0].Attempt; got != 2 {
		t.Errorf("attempt of the first pipeline: got %d, want 2", got)
	}
	if e.engine.probes != 9 {
		t.Errorf("probes of the engine: got %d, want 9", e.engine.probes)
	}
	if got := e.OpenCircuits(); len(got) > 0 {
		t.Errorf("open circuits when the engine works again: got %v, want none", got)
	}
}

func TestThreeFailedStartsEndTheBuild(t *testing.T) {
	e := newEnv(t, 2)
	b := e.build(e.owner)
	e.engine.startErr = errors.New("no such image")
	for range autobuild.MaxAttempts {
		e.dispatch(b)
		e.now = e.now.Add(2 * time.Minute)
	}
	e.wantState(b, autobuild.Errored)
	got := e.reload(b)
	if got.Attempt != 3 {
		t.Errorf("attempt: got %d, want 3", got.Attempt)
	}
	if want := "engine embedded did not start it: no such image"; got.Detail != want {
		t.Errorf("detail: got %q, want %q", got.Detail, want)
	}
}

// If the engine is not available or rejects the gateway's credential, the build waits. Such starts do
// not count as attempts.
func TestAnEngineFaultCostsNoAttempt(t *testing.T) {
	for _, cause := range []error{autobuild.ErrUnavailable, autobuild.ErrUnauthorized, autobuild.ErrForbidden} {
		e := newEnv(t, 0)
		b := e.build(e.owner)
		e.engine.startErr = fmt.Errorf("no pipeline: %w", cause)
		for range 2 * autobuild.MaxAttempts {
			_ = e.Dispatch(t.Context(), b.ID) // another test checks the snooze
			if got := e.reload(b); got.State != autobuild.Queued {
				t.Fatalf("%v: got the state %s (%s), want queued", cause, got.State, got.Detail)
			}
			e.now = e.now.Add(2 * time.Minute)
		}
		e.engine.startErr = nil
		must.Succeed(t, e.Dispatch(t.Context(), b.ID))
		if got := e.reload(b); got.State != autobuild.Starting {
			t.Errorf("%v is over: got the state %s (%s), want starting", cause, got.State, got.Detail)
		}
	}
}

func TestABuildCancelledWhileItStartsIsAlsoCancelledOnTheEngine(t *testing.T) {
	e := newEnv(t, 2)
	b := e.build(e.owner)
	e.engine.cancelErr = errors.New("only logged")
	e.engine.onStart = func() {
		_, err := e.store.CancelBuild(t.Context(), b.ID, autobuild.ReasonUser, "cancelled by alice")
		must.Succeed(t, err)
	}
	e.dispatch(b)
	if len(e.engine.cancelled) != 1 {
		t.Fatalf("cancelled pipelines: got %d, want 1", len(e.engine.cancelled))
	}
	if got := e.engine.cancelled[0].EngineRef; got != "pipeline-1" {
		t.Errorf("cancelled pipeline: got %q, want pipeline-1", got)
	}
	e.wantState(b, autobuild.Cancelled)
}

func TestABuildCancelledBeforeAFailedStartStaysCancelled(t *testing.T) {
	e := newEnv(t, 2)
	b := e.build(e.owner)
	e.engine.startErr = errors.New("no")
	a, err := e.store.StartAttempt(t.Context(), b.ID, "embedded", "h", e.now.Add(time.Hour), autobuild.Limits{})
	must.Succeed(t, err)
	_, err = e.store.CancelBuild(t.Context(), b.ID, autobuild.ReasonUser, "no")
	must.Succeed(t, err)
	e.dispatch(b)
	e.wantState(b, autobuild.Cancelled)
	if got := e.reload(b).Attempt; got != a.Number {
		t.Errorf("attempt: got %d, want %d", got, a.Number)
	}
}

func TestTasksOfTheQueueAreDispatched(t *testing.T) {
	e := newEnv(t, 2)
	started := make(chan struct{})
	e.engine.onStart = func() { close(started) }
	e.Register(e.store.Tasks())
	b := e.build(e.owner)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.store.Tasks().Run(ctx) }()
	<-started
	stop() // while the handler still stores the pipeline's name
	must.Succeed(t, <-done)
	a, err := e.store.Attempt(t.Context(), b.ID, 1)
	must.Succeed(t, err)
	if a.EngineRef != "pipeline-1" {
		t.Errorf("engine reference: got %q, want pipeline-1", a.EngineRef)
	}
}

// B11: the runner builds the queued commit, even if its branch has moved since. It gets only the
// credential of the image's registry.
func TestB11TheSpecIsComplete(t *testing.T) {
	e := newEnv(t, 2)
	passwords := map[string]string{"registry.example.com": "registry secret", "ghcr.io": "another secret"}
	for host, password := range passwords {
		r := autobuild.Registry{Host: host, Username: "robot", Password: secret.New(password), Insecure: true}
		_, err := e.store.SaveRegistry(t.Context(), r)
		must.Succeed(t, err)
	}
	b := e.build(e.owner)
	first, err := e.store.StartAttempt(t.Context(), b.ID, "embedded", "h1", e.now.Add(time.Hour), autobuild.Limits{})
	must.Succeed(t, err)
	must.Succeed(t, e.store.ClaimAttempt(t.Context(), b.ID, 1, "r"))
	must.Succeed(t, e.store.RecordEvents(t.Context(), b.ID, 1, autobuild.EventRecord{Seq: 1, Digest: "sha256:built"}))
	got, err := e.Spec(t.Context(), first)
	must.Succeed(t, err)
	if got.BuiltDigest != "" {
		t.Errorf("digest for the first attempt: got %s, want none", got.BuiltDigest)
	}
	result := autobuild.Finish{BuildID: b.ID, Attempt: 1, State: autobuild.Errored, Retry: true}
	_, err = e.store.FinishAttempt(t.Context(), result)
	must.Succeed(t, err)
	second, err := e.store.StartAttempt(t.Context(), b.ID, "embedded", "h2", e.now.Add(time.Hour), autobuild.Limits{})
	must.Succeed(t, err)
	e.now = e.now.Add(20 * time.Minute)

	got, err = e.Spec(t.Context(), second)
	must.Succeed(t, err)
	want := spec.Spec{
		BuildID: b.ID, Number: b.Number, Attempt: 2, Repository: "acme/app",
		Source: spec.Source{
			URL:     "https://bitbucket.example.com/acme/app.git",
			Ref:     "refs/heads/main",
			RefName: "main",
			Commit:  strings.Repeat("a", 40),
			Message: "A",
		},
		Image: "registry.example.com/acme/app", Tags: []string{"latest"}, Dockerfile: "Dockerfile", Context: ".",
		BuildArgs: map[string]string{"A": "1"}, Platforms: []string{"linux/amd64"}, Caching: true, Publish: true,
		BuiltDigest: "sha256:built", Timeout: 40 * time.Minute,
		Registries: []spec.RegistryCredential{
			{
				Host:       "registry.example.com",
				Insecure:   true,
				Credential: spec.Credential{Username: "robot", Password: secret.New("registry secret")},
			},
		},
		Environment: map[string]secret.Secret{"NPM_TOKEN": secret.New("n")}, BuilderTLS: secret.New("builder secret"),
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(secret.Secret.Equal)); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	var wire bytes.Buffer
	must.Succeed(t, spec.EncodeSpec(&wire, got))
	if strings.Contains(wire.String(), "another secret") {
		t.Error("credential of the runner: got another registry's, want none")
	}
}

func TestSpecReturnsTheErrorsOfTheStoreAndTheAccount(t *testing.T) {
	e := newEnv(t, 2)
	b := e.build(e.owner)
	a, err := e.store.StartAttempt(t.Context(), b.ID, "embedded", "h1", e.now.Add(time.Hour), autobuild.Limits{})
	must.Succeed(t, err)
	e.account.err = autobuild.ErrUnauthorized
	if _, err := e.Spec(t.Context(), a); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("broken link: got %v, want ErrUnauthorized", err)
	}
	if _, err := e.Spec(t.Context(), autobuild.Attempt{BuildID: "unknown"}); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("unknown build: got %v, want ErrNotFound", err)
	}
	must.Succeed(t, e.store.DeleteAutomatedBuild(t.Context(), e.owner.ID))
	if _, err := e.Spec(t.Context(), a); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("deleted automated build: got %v, want ErrNotFound", err)
	}
}

// The runner has the build's whole time after a wait in the CI's queue. The API passes the attempt as it
// was before the claim.
func TestTheTimeOfARunnerBeginsWithItsClaim(t *testing.T) {
	e := newEnv(t, 2)
	b := e.build(e.owner)
	a, err := e.store.StartAttempt(t.Context(), b.ID, "embedded", "h1", e.now.Add(time.Hour), autobuild.Limits{})
	must.Succeed(t, err)
	e.now = e.now.Add(10 * time.Hour)
	must.Succeed(t, e.store.ClaimAttempt(t.Context(), b.ID, 1, "runner"))
	got, err := e.Spec(t.Context(), a)
	must.Succeed(t, err)
	if got.Timeout != time.Hour {
		t.Errorf("time of the runner: got %s, want 1h", got.Timeout)
	}
}

func TestAnImageWithoutAStoredCredentialGetsNone(t *testing.T) {
	e := newEnv(t, 2)
	b := e.build(e.owner)
	a, err := e.store.StartAttempt(t.Context(), b.ID, "embedded", "h1", e.now.Add(-time.Hour), autobuild.Limits{})
	must.Succeed(t, err)
	got, err := e.Spec(t.Context(), a)
	must.Succeed(t, err)
	if len(got.Registries) != 0 {
		t.Errorf("registries: got %v, want none", got.Registries)
	}
	if got.Timeout != time.Second {
		t.Errorf("timeout after the deadline: got %s, want 1s", got.Timeout)
	}
}
