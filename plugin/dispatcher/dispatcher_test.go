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

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/runner/spec"
)

func TestAQueuedBuildGetsItsPipeline(t *testing.T) {
	y := newEnv(t, 2)
	b := y.build(y.owner)
	y.dispatch(b)
	y.dispatch(b) // the task once more
	if len(y.engine.started) != 1 {
		t.Fatalf("%d pipelines, want 1", len(y.engine.started))
	}
	p := y.engine.started[0]
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
	}
	if diff := cmp.Diff(want, p, cmp.Comparer(secret.Secret.Equal)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	a, err := y.store.AttemptByToken(t.Context(), b.ID, autobuild.TokenHash(p.Token))
	must(t, err)
	if a.Number != 1 || a.EngineRef != "pipeline-1" || a.Engine != "embedded" ||
		!a.Deadline.Equal(y.now.Add(4*time.Hour)) {
		t.Errorf("attempt %+v", a)
	}
	if len(p.Token.Reveal()) != 43 {
		t.Errorf("the token has %d characters, want 43: 32 bytes of base64url", len(p.Token.Reveal()))
	}
	if now := y.reload(b); now.State != autobuild.Starting {
		t.Errorf("build is %s", now.State)
	}
}

func TestOnlyQueuedBuildsAreStarted(t *testing.T) {
	y := newEnv(t, 2)
	b := y.build(y.owner)
	_, err := y.store.CancelBuild(t.Context(), b.ID, autobuild.ReasonUser, "no")
	must(t, err)
	y.dispatch(b)
	must(t, y.Dispatch(t.Context(), "no such build"))
	if len(y.engine.started) != 0 {
		t.Errorf("%d pipelines", len(y.engine.started))
	}
}

func TestAFullEngineIsWaitedFor(t *testing.T) {
	y := newEnv(t, 1)
	first, second := y.build(y.owner), y.build(y.owner)
	y.dispatch(first)
	y.wantSnooze(second, 500*time.Millisecond, time.Second, "")
	_, err := y.store.CancelBuild(t.Context(), first.ID, autobuild.ReasonUser, "no")
	must(t, err)
	y.dispatch(second)
	if len(y.engine.started) != 2 {
		t.Errorf("%d pipelines, want 2", len(y.engine.started))
	}
}

func TestI13ABuildOfAnotherComesFirstWhenPlacesAreFew(t *testing.T) {
	y := newEnv(t, 2)
	other := y.automate("registry.example.com/acme/other", "embedded")
	y.dispatch(y.build(y.owner))
	y.dispatch(y.build(y.owner))
	mine, theirs := y.build(y.owner), y.build(other)
	y.wantSnooze(mine, 1500*time.Millisecond, 3*time.Second, "")
	y.wantSnooze(theirs, 500*time.Millisecond, time.Second, "")
}

// I13: however many builds of one repository wait, the next place is for the build of another, and
// that one looks for it soon.
func TestI13AFloodHoldsUpNoOthersBuild(t *testing.T) {
	y := newEnv(t, 2)
	other := y.automate("registry.example.com/acme/other", "embedded")
	first, second := y.build(y.owner), y.build(y.owner)
	y.dispatch(first)
	y.dispatch(second)
	var flood []autobuild.Build
	for range 200 {
		flood = append(flood, y.build(y.owner))
	}
	theirs := y.build(other)
	y.wantSnooze(theirs, 500*time.Millisecond, time.Second, "")
	_, err := y.store.FinishAttempt(
		t.Context(),
		autobuild.Finish{BuildID: first.ID, Attempt: 1, State: autobuild.Succeeded},
	)
	must(t, err)
	for _, b := range flood[:20] {
		y.wantSnooze(b, 5*time.Second, 15*time.Second, "")
	}
	y.dispatch(theirs)
	if now := y.reload(theirs); now.State != autobuild.Starting {
		t.Errorf("the build of the other is %s", now.State)
	}
}

func TestWhatPeopleMustMendIsSaid(t *testing.T) {
	y := newEnv(t, 2)
	b := y.build(y.owner)
	for _, tt := range []struct {
		err    error
		detail string
	}{
		{autobuild.ErrUnauthorized, "link it again in the settings"},
		{autobuild.ErrNotFound, "the linked account was removed"},
	} {
		y.account.err = fmt.Errorf("account: %w", tt.err)
		y.wantSnooze(b, 30*time.Second, 30*time.Second, tt.detail)
	}
	y.account.err = errors.New("disk full")
	if err := y.Dispatch(t.Context(), b.ID); !errors.Is(err, y.account.err) {
		t.Errorf("Dispatch = %v", err)
	}
	y.account.err = nil
	y.dispatch(b)
	if now := y.reload(b); now.State != autobuild.Starting || now.Detail != "" {
		t.Errorf("build is %s: %q", now.State, now.Detail)
	}
	elsewhere := y.build(y.automate("registry.example.com/x", "drone"))
	y.wantSnooze(elsewhere, 30*time.Second, 30*time.Second, `no engine "drone"`)
}

// An engine that fails for all costs a build one attempt, and then nothing until it answers.
func TestAnEngineThatIsDownIsWaitedFor(t *testing.T) {
	y := newEnv(t, 2)
	b := y.build(y.owner)
	down := fmt.Errorf("connection refused: %w", autobuild.ErrUnavailable)
	y.engine.startErr, y.engine.stateErr = down, down
	y.dispatch(b)
	if now := y.reload(b); now.State != autobuild.Queued || now.Attempt != 1 {
		t.Fatalf("build is %s in attempt %d", now.State, now.Attempt)
	}
	a, err := y.store.Attempt(t.Context(), b.ID, 1)
	must(t, err)
	if a.State != autobuild.Errored || a.Reason != autobuild.ReasonInfrastructure ||
		!strings.Contains(a.Detail, "connection refused") {
		t.Errorf("attempt %+v", a)
	}
	y.wantSnooze(b, 2*time.Second, 2*time.Second, "engine embedded is not available")
	pause := 4 * time.Second
	for range 8 { // probes, each twice as far
		y.now = y.now.Add(time.Minute)
		y.wantSnooze(b, pause, pause, "engine embedded is not available")
		pause = min(2*pause, time.Minute)
	}
	if got := y.Resting(); !slices.Equal(got, []string{"embedded"}) {
		t.Errorf("resting are %v while the engine is down", got)
	}
	if y.engine.asked != 8 {
		t.Errorf("the engine was asked %d times, want 8", y.engine.asked)
	}
	y.engine.startErr, y.engine.stateErr = nil, nil
	y.now = y.now.Add(time.Minute)
	y.dispatch(b)
	y.dispatch(y.build(y.owner))
	if len(y.engine.started) != 2 || y.engine.started[0].Attempt != 2 || y.engine.asked != 9 {
		t.Errorf("%d pipelines, %d questions", len(y.engine.started), y.engine.asked)
	}
	if got := y.Resting(); len(got) > 0 {
		t.Errorf("resting are %v when it works again", got)
	}
}

func TestThreeFailedStartsEndTheBuild(t *testing.T) {
	y := newEnv(t, 2)
	b := y.build(y.owner)
	y.engine.startErr = errors.New("no such image")
	for range autobuild.MaxAttempts {
		y.dispatch(b)
		y.now = y.now.Add(2 * time.Minute)
	}
	now := y.reload(b)
	if now.State != autobuild.Errored || now.Attempt != 3 ||
		now.Detail != "engine embedded did not start it: no such image" {
		t.Errorf("build is %s in attempt %d: %s", now.State, now.Attempt, now.Detail)
	}
}

// An engine that is not available for all, or does not take our credential, is nobody's fault
// in a build: it waits, and its attempts stay its own.
func TestStartsThatFailForAllCostNoAttempt(t *testing.T) {
	for _, cause := range []error{autobuild.ErrUnavailable, autobuild.ErrUnauthorized, autobuild.ErrForbidden} {
		y := newEnv(t, 0)
		b := y.build(y.owner)
		y.engine.startErr = fmt.Errorf("no pipeline: %w", cause)
		for range 2 * autobuild.MaxAttempts {
			_ = y.Dispatch(t.Context(), b.ID) // the snooze is another test's
			if got := y.reload(b); got.State != autobuild.Queued {
				t.Fatalf("%v: build is %s: %s", cause, got.State, got.Detail)
			}
			y.now = y.now.Add(2 * time.Minute)
		}
		y.engine.startErr = nil
		must(t, y.Dispatch(t.Context(), b.ID))
		if got := y.reload(b); got.State != autobuild.Starting {
			t.Errorf("%v: build is %s when the engine is back: %s", cause, got.State, got.Detail)
		}
	}
}

func TestABuildCancelledWhileItStartsIsCancelledOnTheEngineToo(t *testing.T) {
	y := newEnv(t, 2)
	b := y.build(y.owner)
	y.engine.cancelErr = errors.New("is logged")
	y.engine.onStart = func() {
		_, err := y.store.CancelBuild(t.Context(), b.ID, autobuild.ReasonUser, "cancelled by alice")
		must(t, err)
	}
	y.dispatch(b)
	if len(y.engine.cancelled) != 1 || y.engine.cancelled[0].EngineRef != "pipeline-1" {
		t.Errorf("cancelled %+v", y.engine.cancelled)
	}
	if now := y.reload(b); now.State != autobuild.Cancelled {
		t.Errorf("build is %s", now.State)
	}
}

func TestABuildCancelledBeforeAFailedStartStaysCancelled(t *testing.T) {
	y := newEnv(t, 2)
	b := y.build(y.owner)
	y.engine.startErr = errors.New("no")
	a, err := y.store.StartAttempt(t.Context(), b.ID, "embedded", "h", y.now.Add(time.Hour), 0)
	must(t, err)
	_, err = y.store.CancelBuild(t.Context(), b.ID, autobuild.ReasonUser, "no")
	must(t, err)
	y.dispatch(b)
	if now := y.reload(b); now.State != autobuild.Cancelled || now.Attempt != a.Number {
		t.Errorf("build is %s", now.State)
	}
}

func TestTasksOfTheQueueAreDispatched(t *testing.T) {
	y := newEnv(t, 2)
	started := make(chan struct{})
	y.engine.onStart = func() { close(started) }
	y.Register(y.store.Tasks())
	b := y.build(y.owner)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- y.store.Tasks().Run(ctx) }()
	<-started
	stop() // while the handler still notes what it started
	must(t, <-done)
	a, err := y.store.Attempt(t.Context(), b.ID, 1)
	must(t, err)
	if a.EngineRef != "pipeline-1" {
		t.Errorf("attempt %+v", a)
	}
}

// B11: what is built is the queued commit, wherever its branch has moved; the one credential is the
// image's registry's.
func TestB11SpecSaysEverythingTheRunnerNeeds(t *testing.T) {
	y := newEnv(t, 2)
	for host, password := range map[string]string{"registry.example.com": "registry secret", "ghcr.io": "another secret"} {
		_, err := y.store.SaveRegistry(
			t.Context(),
			autobuild.Registry{Host: host, Username: "robot", Password: secret.New(password), Insecure: true},
		)
		must(t, err)
	}
	b := y.build(y.owner)
	first, err := y.store.StartAttempt(t.Context(), b.ID, "embedded", "h1", y.now.Add(time.Hour), 0)
	must(t, err)
	must(t, y.store.ClaimAttempt(t.Context(), b.ID, 1, "r"))
	must(t, y.store.RecordEvents(t.Context(), b.ID, 1, autobuild.EventRecord{Seq: 1, Digest: "sha256:built"}))
	got, err := y.Spec(t.Context(), first)
	must(t, err)
	if got.BuiltDigest != "" {
		t.Errorf("the first attempt is told of %s", got.BuiltDigest)
	}
	_, err = y.store.FinishAttempt(
		t.Context(),
		autobuild.Finish{BuildID: b.ID, Attempt: 1, State: autobuild.Errored, Retry: true},
	)
	must(t, err)
	second, err := y.store.StartAttempt(t.Context(), b.ID, "embedded", "h2", y.now.Add(time.Hour), 0)
	must(t, err)
	y.now = y.now.Add(20 * time.Minute)

	got, err = y.Spec(t.Context(), second)
	must(t, err)
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
		t.Errorf("(-want +got)\n%s", diff)
	}
	var wire bytes.Buffer
	must(t, spec.EncodeSpec(&wire, got))
	if strings.Contains(wire.String(), "another secret") {
		t.Error("the runner gets another registry's credential")
	}
}

func TestASpecThatCannotBeHadIsAnError(t *testing.T) {
	y := newEnv(t, 2)
	b := y.build(y.owner)
	a, err := y.store.StartAttempt(t.Context(), b.ID, "embedded", "h1", y.now.Add(time.Hour), 0)
	must(t, err)
	y.account.err = autobuild.ErrUnauthorized
	if _, err := y.Spec(t.Context(), a); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("broken link: %v", err)
	}
	if _, err := y.Spec(t.Context(), autobuild.Attempt{BuildID: "nobody"}); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("no build: %v", err)
	}
	must(t, y.store.DeleteAutomatedBuild(t.Context(), y.owner.ID))
	if _, err := y.Spec(t.Context(), a); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("no automated build: %v", err)
	}
}

func TestAnImageWithoutACredentialIsPushedWithoutOne(t *testing.T) {
	y := newEnv(t, 2)
	b := y.build(y.owner)
	a, err := y.store.StartAttempt(t.Context(), b.ID, "embedded", "h1", y.now.Add(-time.Hour), 0)
	must(t, err)
	got, err := y.Spec(t.Context(), a)
	must(t, err)
	if len(got.Registries) != 0 || got.Timeout != time.Second {
		t.Errorf("registries %v, timeout %s", got.Registries, got.Timeout)
	}
}
