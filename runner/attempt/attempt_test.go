package attempt_test

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"slipway/runner/runnertest"
	"slipway/runner/spec"
)

func TestAPushBecomesAnImageUnderEveryTag(t *testing.T) {
	e := newEnv(t)
	b := e.must(e.Push(runnertest.Dockerfile("FROM scratch\n")), spec.Succeeded, "")
	checkTags(t, e, b.Digest)
	if b.Size != 42 {
		t.Errorf("size: got %d, want 42", b.Size)
	}
	if b.Built != b.Digest {
		t.Errorf("the digest before the push: got %q, want %q", b.Built, b.Digest)
	}
	checkStages(t, b.Stages)
	r := e.Builder.Requests[0]
	if got := filepath.Base(r.Context); got != "src" {
		t.Errorf("context: got %s, want src", got)
	}
	if !strings.HasSuffix(r.Dockerfile, "/src/svc/Dockerfile") {
		t.Errorf("Dockerfile: got %s", r.Dockerfile)
	}
	if r.NoCache {
		t.Error("the builder was asked to use no cache")
	}
	if r.Image != e.Registry.Image() {
		t.Errorf("image: got %s, want %s", r.Image, e.Registry.Image())
	}
	if !e.Builder.Closed {
		t.Error("the builder was not closed")
	}
	for _, want := range []string{
		"Slipway build 1, attempt 1",
		"acme/app",
		b.Commit[:12] + " of refs/heads/main",
		"#1 building",
		"=== push",
		"succeeded: " + b.Digest,
	} {
		if !strings.Contains(b.Log, want) {
			t.Errorf("%q is missing in the log:\n%s", want, b.Log)
		}
	}
}

// checkTags checks that every tag points at a digest.
func checkTags(t *testing.T, e *env, digest string) {
	t.Helper()
	for _, tag := range runnertest.Tags() {
		if got := e.Registry.Tag(tag); got == "" || got != digest {
			t.Errorf("tag %s: got %q, want %q", tag, got, digest)
		}
	}
}

// checkStages checks the stages of a build without hooks.
func checkStages(t *testing.T, got []runnertest.Stage) {
	t.Helper()
	want := []runnertest.Stage{
		{Name: "fetch"},
		{Name: "build", Detail: "2 of 3 steps cached"},
		{Name: "push", Detail: "1.2, 1, latest"},
	}
	if len(got) != len(want) {
		t.Fatalf("got %d stages, want %d: %+v", len(got), len(want), got)
	}
	for i, stage := range got {
		if stage.StartedAt.IsZero() {
			t.Errorf("stage %s has no start", stage.Name)
		}
		if stage.FinishedAt.IsZero() {
			t.Errorf("stage %s has no end", stage.Name)
		}
		stage.StartedAt, stage.FinishedAt = want[i].StartedAt, want[i].FinishedAt
		if stage != want[i] {
			t.Errorf("stage %d: got %+v, want %+v", i, stage, want[i])
		}
	}
}

func TestTestOnlyBuildsPublishNothing(t *testing.T) {
	e := newEnv(t)
	e.Edit = func(s *spec.Spec) { s.Publish, s.Tags = false, nil }
	files := runnertest.Dockerfile("FROM scratch\n")
	files[runnertest.Hook("pre_push")] = "#!/bin/sh\nexit 1\n"
	files[runnertest.Hook("test")] = "#!/bin/sh\necho tested $IMAGE_NAME\n"
	b := e.must(e.Push(files), spec.Succeeded, "")
	if got := e.Registry.Tag("latest"); got != "" {
		t.Errorf("latest was pushed: %s", got)
	}
	for _, want := range []string{"not published", "tested " + e.Registry.Image() + ":" + b.Commit[:12]} {
		if !strings.Contains(b.Log, want) {
			t.Errorf("%q is missing in the log:\n%s", want, b.Log)
		}
	}
}

// F1: attempt 2 finds that attempt 1 had pushed everything before it died.
func TestTagsPushedByAnEarlierAttemptCount(t *testing.T) {
	e := newEnv(t)
	digest := e.Registry.Put("1.2", "built before")
	for _, tag := range []string{"1", "latest"} {
		e.Registry.Put(tag, "built before")
	}
	e.Edit = func(s *spec.Spec) { s.BuiltDigest = digest }
	b := e.must(e.Push(runnertest.Dockerfile("FROM scratch\n")), spec.Succeeded, "")
	if b.Digest != digest {
		t.Errorf("digest: got %v, want %v", b.Digest, digest)
	}
	if got := len(e.Builder.Requests); got != 0 {
		t.Errorf("builds: got %v, want %v", got, 0)
	}
	e.Registry.Put("1", "something else")
	b = e.must(e.Push(runnertest.Dockerfile("FROM other\n")), spec.Succeeded, "")
	if got := len(e.Builder.Requests); got != 1 {
		t.Errorf("builds: got %v, want %v", got, 1)
	}
	if got := e.Registry.Tag("1"); got != b.Digest {
		t.Errorf("tag 1: got %v, want %v", got, b.Digest)
	}
	if b.Digest == digest {
		t.Errorf("digest: got that of the earlier attempt, %s", digest)
	}
}

// S5: no secret of the spec shows in the log, whoever prints it.
func TestS5SecretsAreMaskedInTheLog(t *testing.T) {
	e := newEnv(t)
	files := runnertest.Dockerfile("FROM scratch\n")
	files[runnertest.Hook("pre_build")] = "#!/bin/sh\necho token $NPM_TOKEN; printf %s \"$NPM_TOKEN\" | base64\n"
	b := e.must(e.Push(files), spec.Succeeded, "")
	for _, secret := range []string{"npm-canary", "bnBtLWNhbmFyeQ"} {
		if strings.Contains(b.Log, secret) {
			t.Errorf("the log shows %q:\n%s", secret, b.Log)
		}
	}
	if want := "token **********"; !strings.Contains(b.Log, want) {
		t.Errorf("%q is missing in the log:\n%s", want, b.Log)
	}
}

// An older build does not move a tag after a newer one.
func TestSupersededBuildsPushNothing(t *testing.T) {
	e := newEnv(t)
	older := e.Push(runnertest.Dockerfile("FROM older\n"))
	newer := e.must(e.Push(runnertest.Dockerfile("FROM newer\n")), spec.Succeeded, "")
	got := e.must(older, spec.Cancelled, "superseded")
	if got.Detail != "build 2 is newer" {
		t.Errorf("detail: got %q, want %q", got.Detail, "build 2 is newer")
	}
	if got := e.Registry.Tag("latest"); got != newer.Digest {
		t.Errorf("tag latest: got %v, want %v", got, newer.Digest)
	}
}

// A build that is older by the time its upload is over does not move a tag either: a permit
// says how it stands at one moment, and an upload may last long.
func TestABuildSupersededWhileItUploadsMovesNoTag(t *testing.T) {
	e := newEnv(t)
	older := e.Push(runnertest.Dockerfile("FROM older\n"))
	newer := e.Push(runnertest.Dockerfile("FROM newer\n"))
	var done ended
	e.Builder.OnUpload = func() { done = e.must(newer, spec.Succeeded, "") }
	e.must(older, spec.Cancelled, "superseded")
	if got := e.Registry.Tag("latest"); got != done.Digest {
		t.Errorf("latest is at %s, want the newer build's %s", got, done.Digest)
	}
}

// Nor between two tries for a tag: while a registry fails, a newer build may get through.
func TestABuildSupersededBetweenTriesMovesNoTag(t *testing.T) {
	e := newEnv(t)
	older := e.Push(runnertest.Dockerfile("FROM older\n"))
	newer := e.Push(runnertest.Dockerfile("FROM newer\n"))
	var done ended
	var tries atomic.Int32
	e.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/latest") && tries.Add(1) == 1 {
			done = e.must(newer, spec.Succeeded, "")
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(rw, r)
	})
	e.must(older, spec.Cancelled, "superseded")
	if got := e.Registry.Tag("latest"); got != done.Digest || tries.Load() != 2 {
		t.Errorf("latest is at %s after %d tries, want the newer build's %s after 2", got, tries.Load(), done.Digest)
	}
}

// waitInside lets a test act while the builder works.
func waitInside(e *env) (inside chan struct{}) {
	inside = make(chan struct{})
	e.Builder.OnBuild = func(ctx context.Context) error {
		close(inside)
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return inside
}

// B14: a tag's push fails twice, then works.
func TestB14TagsAreRetried(t *testing.T) {
	e := newEnv(t)
	var puts atomic.Int32
	e.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/1.2") && puts.Add(1) <= 2 {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(rw, r)
	})
	b := e.must(e.Push(runnertest.Dockerfile("FROM scratch\n")), spec.Succeeded, "")
	if got := e.Registry.Tag("1.2"); got != b.Digest {
		t.Errorf("tag 1.2: got %v, want %v", got, b.Digest)
	}
	runnertest.CheckHas(t, "the log", b.Log, "attempt 3")
}

// F16: a registry that does not take one tag, however often it is tried, costs that tag only:
// the others are moved, the log names it, and the next attempt moves it, too.
func TestF16TheErrorNamesATagThatTheRegistryNeverAccepts(t *testing.T) {
	e := newEnv(t)
	old := e.Registry.Put("1", "older")
	e.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/1") {
			rw.WriteHeader(http.StatusBadGateway)
			return
		}
		next.ServeHTTP(rw, r)
	})
	b := e.Push(runnertest.Dockerfile("FROM scratch\n"))
	got := e.must(b, spec.Error, "infrastructure")
	checkDetail(t, got, "1 of 3 tags were not pushed")
	for _, want := range []string{"tag 1 was not pushed", ":1.2\n"} {
		if !strings.Contains(got.Log, want) {
			t.Errorf("%q is missing in the log:\n%s", want, got.Log)
		}
	}
	if tag := e.Registry.Tag("1"); tag != old {
		t.Errorf("tag 1: got %s, want the older image %s", tag, old)
	}
	tag := e.Registry.Tag("1.2")
	if tag == "" {
		t.Errorf("tag is empty")
	}
	if tag != e.Registry.Tag("latest") {
		t.Errorf("tag: got %v, want %v", tag, e.Registry.Tag("latest"))
	}
	e.Registry.Intercept(nil)
	checkTags(t, e, e.must(b, spec.Succeeded, "").Digest)
}
