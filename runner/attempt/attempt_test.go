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
		t.Errorf("Dockerfile: got %s, want /src/svc/Dockerfile at its end", r.Dockerfile)
	}
	if r.NoCache {
		t.Error("got a request without cache, want one with cache")
	}
	if r.Image != e.Registry.Image() {
		t.Errorf("image: got %s, want %s", r.Image, e.Registry.Image())
	}
	if !e.Builder.Closed {
		t.Error("builder after the run: got it open, want it closed")
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
			t.Errorf("log: got:\n%s\nwant %q in it", b.Log, want)
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
			t.Errorf("stage %s: got no start time, want one", stage.Name)
		}
		if stage.FinishedAt.IsZero() {
			t.Errorf("stage %s: got no end time, want one", stage.Name)
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
		t.Errorf("tag latest: got %s, want none", got)
	}
	for _, want := range []string{"not published", "tested " + e.Registry.Image() + ":" + b.Commit[:12]} {
		if !strings.Contains(b.Log, want) {
			t.Errorf("log: got:\n%s\nwant %q in it", b.Log, want)
		}
	}
}

// F1: attempt 1 pushed all tags before it died. Attempt 2 finds them in the registry.
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
		t.Errorf("got %d builds, want none", got)
	}
	e.Registry.Put("1", "something else")
	b = e.must(e.Push(runnertest.Dockerfile("FROM other\n")), spec.Succeeded, "")
	if got := len(e.Builder.Requests); got != 1 {
		t.Errorf("got %d builds, want 1", got)
	}
	if got := e.Registry.Tag("1"); got != b.Digest {
		t.Errorf("tag 1: got %v, want %v", got, b.Digest)
	}
	if b.Digest == digest {
		t.Errorf("digest: got %s of the earlier attempt, want another", digest)
	}
}

// S5: the log contains no secret of the spec, even if a hook or the Dockerfile prints one.
func TestS5SecretsAreMaskedInTheLog(t *testing.T) {
	e := newEnv(t)
	files := runnertest.Dockerfile("FROM scratch\n")
	files[runnertest.Hook("pre_build")] = "#!/bin/sh\necho token $NPM_TOKEN; printf %s \"$NPM_TOKEN\" | base64\n"
	b := e.must(e.Push(files), spec.Succeeded, "")
	for _, secret := range []string{"npm-canary", "bnBtLWNhbmFyeQ"} {
		if strings.Contains(b.Log, secret) {
			t.Errorf("log: got:\n%s\nwant no %q in it", b.Log, secret)
		}
	}
	if want := "token **********"; !strings.Contains(b.Log, want) {
		t.Errorf("log: got:\n%s\nwant %q in it", b.Log, want)
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

// A build does not move a tag if a newer build starts during its upload. An upload may take long, so a
// permit from before the upload is not enough.
func TestABuildSupersededWhileItUploadsMovesNoTag(t *testing.T) {
	e := newEnv(t)
	older := e.Push(runnertest.Dockerfile("FROM older\n"))
	newer := e.Push(runnertest.Dockerfile("FROM newer\n"))
	var done ended
	e.Builder.OnUpload = func() { done = e.must(newer, spec.Succeeded, "") }
	e.must(older, spec.Cancelled, "superseded")
	if got := e.Registry.Tag("latest"); got != done.Digest {
		t.Errorf("tag latest: got %s, want the newer build's %s", got, done.Digest)
	}
}

// A newer build may push a tag between two tries of an older build. The older build then gives up.
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
		t.Errorf("tag latest: got %s after %d tries, want the newer build's %s after 2", got, tries.Load(), done.Digest)
	}
}

// waitInside lets a test act during a build.
func waitInside(e *env) (inside chan struct{}) {
	inside = make(chan struct{})
	e.Builder.OnBuild = func(ctx context.Context) error {
		close(inside)
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return inside
}

// B14: the push of a tag fails twice and then succeeds.
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

// F16: the registry rejects one tag at every try. The runner moves the other tags and logs the name of
// the rejected one. The next attempt moves this tag too.
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
			t.Errorf("log: got:\n%s\nwant %q in it", got.Log, want)
		}
	}
	if tag := e.Registry.Tag("1"); tag != old {
		t.Errorf("tag 1: got %s, want the older image %s", tag, old)
	}
	tag := e.Registry.Tag("1.2")
	if tag == "" {
		t.Errorf("tag 1.2: got none, want a digest")
	}
	if tag != e.Registry.Tag("latest") {
		t.Errorf("tag 1.2: got %v, want that of latest, %v", tag, e.Registry.Tag("latest"))
	}
	e.Registry.Intercept(nil)
	checkTags(t, e, e.must(b, spec.Succeeded, "").Digest)
}

// BuildKit accepts a file dockerfile, so a repository may have one.
func TestADockerfileInLowerCaseIsBuilt(t *testing.T) {
	e := newEnv(t)
	e.must(e.Push(map[string]string{"svc/dockerfile": "FROM scratch\n"}), spec.Succeeded, "")
	if got := e.Builder.Requests[0].Dockerfile; filepath.Base(got) != "dockerfile" {
		t.Errorf("Dockerfile: got %s, want dockerfile", got)
	}
}
