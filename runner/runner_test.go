package runner_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/runner"
	"slipway/runner/spec"
)

func dockerfile(text string) map[string]string {
	return map[string]string{"svc/Dockerfile": text, "greeting": "hello"}
}

func TestAPushBecomesAnImageUnderEveryTag(t *testing.T) {
	w := newWorld(t)
	b := w.must(w.push(dockerfile("FROM scratch\n")), autobuild.Succeeded, "")
	for _, tag := range []string{"1.2", "1", "latest"} {
		if got := w.tag(tag); got == "" || got != b.Digest {
			t.Errorf("tag %s is at %q, the build's digest is %q", tag, got, b.Digest)
		}
	}
	if b.Size != 42 || len(b.Stages) != 3 {
		t.Fatalf("build %+v", b)
	}
	for i, want := range []autobuild.Stage{{Name: "fetch"}, {Name: "build", Detail: "2 of 3 steps cached"}, {Name: "push", Detail: "1.2, 1, latest"}} {
		got := b.Stages[i]
		if got.Name != want.Name || got.Detail != want.Detail || got.StartedAt.IsZero() || got.FinishedAt.IsZero() {
			t.Errorf("stage %+v, want %+v", got, want)
		}
	}
	r := w.builder.requests[0]
	if filepath.Base(r.Context) != "src" || !strings.HasSuffix(r.Dockerfile, "/src/svc/Dockerfile") || r.NoCache ||
		r.Image != w.image() ||
		!w.builder.closed {
		t.Errorf("asked the builder for %+v", r)
	}
	log := w.log(b)
	for _, want := range []string{"Slipway build 1, attempt 1", "acme/app", b.Commit.Hash[:12] + " of refs/heads/main", "#1 building", "=== push", "succeeded: " + b.Digest} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is missing in the log:\n%s", want, log)
		}
	}
}

func TestTestOnlyBuildsPublishNothing(t *testing.T) {
	w := newWorld(t)
	w.edit = func(s *spec.Spec) { s.Publish, s.Tags = false, nil }
	files := dockerfile("FROM scratch\n")
	files[hook("pre_push")] = "#!/bin/sh\nexit 1\n"
	files[hook("test")] = "#!/bin/sh\necho tested $IMAGE_NAME\n"
	b := w.must(w.push(files), autobuild.Succeeded, "")
	if got := w.tag("latest"); got != "" {
		t.Errorf("latest was pushed: %s", got)
	}
	if log := w.log(
		b,
	); !strings.Contains(log, "not published") ||
		!strings.Contains(log, "tested "+w.image()+":"+b.Commit.Hash[:12]) {
		t.Errorf("the log:\n%s", log)
	}
}

// F1: attempt 2 finds that attempt 1 had pushed everything before it died.
func TestTagsPushedByAnEarlierAttemptCount(t *testing.T) {
	w := newWorld(t)
	digest := w.put("1.2", "built before")
	for _, tag := range []string{"1", "latest"} {
		w.put(tag, "built before")
	}
	w.edit = func(s *spec.Spec) { s.BuiltDigest = digest }
	b := w.must(w.push(dockerfile("FROM scratch\n")), autobuild.Succeeded, "")
	if b.Digest != digest || len(w.builder.requests) != 0 {
		t.Errorf("digest %s, want %s; built %d times", b.Digest, digest, len(w.builder.requests))
	}
	w.put("1", "something else")
	b = w.must(w.push(dockerfile("FROM other\n")), autobuild.Succeeded, "")
	if len(w.builder.requests) != 1 || w.tag("1") != b.Digest || b.Digest == digest {
		t.Errorf("one tag elsewhere: digest %s, built %d times", b.Digest, len(w.builder.requests))
	}
}

func TestTheRepositoryIsToBlame(t *testing.T) {
	blamed(t, map[string]mishap{
		"the Dockerfile": {
			prepare: func(w *world) {
				w.builder.buildError = &runner.DockerfileError{
					Excerpt: ">>> RUN false",
					Err:     errors.New("line 2: exit code 1"),
				}
			},
			state: autobuild.Failed, reason: autobuild.ReasonBuild, detail: "line 2",
		},
		"memory": {
			prepare: func(w *world) {
				w.builder.buildError = &runner.DockerfileError{OOM: true, Err: errors.New("exit code 137")}
			},
			state: autobuild.Failed, reason: autobuild.ReasonOOM, detail: "137",
		},
		"no Dockerfile": {
			files: map[string]string{
				"svc/README": "",
			},
			state:  autobuild.Failed,
			reason: autobuild.ReasonConfig,
			detail: "svc/Dockerfile",
		},
		"no folder": {
			files: map[string]string{
				"README": "",
			},
			state:  autobuild.Failed,
			reason: autobuild.ReasonConfig,
			detail: `"svc" does not exist`,
		},
		"no context": {
			prepare: func(w *world) { w.edit = func(s *spec.Spec) { s.Context = "nowhere" } },
			state:   autobuild.Failed, reason: autobuild.ReasonConfig, detail: "nowhere",
		},
		"an illegal spec": {
			prepare: func(w *world) { w.edit = func(s *spec.Spec) { s.Dockerfile = "../x" } },
			state:   autobuild.Failed, reason: autobuild.ReasonConfig, detail: "dockerfile",
		},
		"the environment": {
			files:   map[string]string{"svc/Dockerfile": "", hook("pre_build"): "#!/bin/sh\n"},
			prepare: func(w *world) { w.edit = func(s *spec.Spec) { s.Environment["LD_PRELOAD"] = secret.New("x") } },
			state:   autobuild.Failed, reason: autobuild.ReasonConfig, detail: "LD_PRELOAD",
		},
		"a forced push": {
			prepare: func(w *world) { w.edit = func(s *spec.Spec) { s.Source.Commit = strings.Repeat("1", 40) } },
			state:   autobuild.Failed, reason: autobuild.ReasonCommitGone, detail: "forced push",
		},
	})
}

func TestTheSurroundingsAreToBlame(t *testing.T) {
	blamed(t, map[string]mishap{
		"the builder": {
			prepare: func(w *world) { w.builder.buildError = errors.New("no space left on device") },
			state:   autobuild.Errored, reason: autobuild.ReasonInfrastructure, detail: "no space",
		},
		"no builder": {
			prepare: func(w *world) { w.builder.dialError = errors.New("builder at unix:///x does not answer") },
			state:   autobuild.Errored,
			reason:  autobuild.ReasonInfrastructure,
			detail:  "does not answer; check PLUGIN_BUILDER",
		},
		"the git credential": {
			prepare: func(w *world) { w.account.err = autobuild.ErrUnauthorized },
			state:   autobuild.Errored, reason: autobuild.ReasonInfrastructure, detail: "link the account again",
		},
		"the upload": {
			prepare: func(w *world) { w.builder.pushError = errors.New("connection reset") },
			state:   autobuild.Errored, reason: autobuild.ReasonInfrastructure, detail: "connection reset",
		},
		"the registry credential": {
			prepare: func(w *world) {
				w.registry.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
					if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/latest") {
						rw.WriteHeader(http.StatusForbidden)
						return
					}
					next.ServeHTTP(rw, r)
				})
			},
			state: autobuild.Errored, reason: autobuild.ReasonConfig, detail: "1 of 3 tags were not pushed",
		},
		"Slipway": {
			prepare: func(w *world) { w.builder.inside = func(context.Context) error { panic("boom") } },
			state:   autobuild.Errored, reason: autobuild.ReasonInfrastructure, detail: "fault of Slipway",
		},
	})
}

// Who named no builder reads which is missing, and how to name one.
func TestNoBuilderCanBeStartedHere(t *testing.T) {
	w := newWorld(t)
	b := w.push(dockerfile("FROM scratch\n"))
	o := w.options(b, w.start(b))
	o.Settings.Builder, o.Environ = "", append(os.Environ(), "SLIPWAY_BUILDER_RUNTIME=no-such-runtime")
	w.check(b, runner.Run(t.Context(), o), autobuild.Errored, autobuild.ReasonInfrastructure)
	a, err := w.store.Attempt(t.Context(), b.ID, 1)
	for _, want := range []string{"no builder can run here", "no-such-runtime is not installed", "PLUGIN_BUILDER", "SLIPWAY_BUILDER"} {
		if err != nil || !strings.Contains(a.Detail, want) || !strings.Contains(w.log(b), want) {
			t.Errorf("detail %q does not say %q, error %v; log:\n%s", a.Detail, want, err, w.log(b))
		}
	}
}

// A mishap is what makes a build end badly, and what is said of it.
type mishap struct {
	files   map[string]string // of the repository; nil = a Dockerfile that builds
	prepare func(w *world)
	state   autobuild.State
	reason  autobuild.Reason
	detail  string
}

func blamed(t *testing.T, mishaps map[string]mishap) {
	t.Helper()
	for name, tt := range mishaps {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if tt.files == nil {
				tt.files = dockerfile("FROM scratch\n")
			}
			if tt.prepare != nil {
				tt.prepare(w)
			}
			b := w.push(tt.files)
			w.must(b, tt.state, tt.reason)
			a, err := w.store.Attempt(t.Context(), b.ID, 1)
			if err != nil || !strings.Contains(a.Detail, tt.detail) || !strings.Contains(w.log(b), tt.detail) {
				t.Errorf("detail %q does not say %q, error %v; log:\n%s", a.Detail, tt.detail, err, w.log(b))
			}
		})
	}
}

// S5: no secret of the spec shows in the log, whoever prints it.
func TestS5SecretsAreMaskedInTheLog(t *testing.T) {
	w := newWorld(t)
	files := dockerfile("FROM scratch\n")
	files[hook("pre_build")] = "#!/bin/sh\necho token $NPM_TOKEN; printf %s \"$NPM_TOKEN\" | base64\n"
	b := w.must(w.push(files), autobuild.Succeeded, "")
	if log := w.log(
		b,
	); strings.Contains(log, "npm-canary") || strings.Contains(log, "bnBtLWNhbmFyeQ") ||
		!strings.Contains(log, "token **********") {
		t.Errorf("the log:\n%s", log)
	}
}

// An older build does not move a tag after a newer one.
func TestSupersededBuildsPushNothing(t *testing.T) {
	w := newWorld(t)
	older := w.push(dockerfile("FROM older\n"))
	newer := w.must(w.push(dockerfile("FROM newer\n")), autobuild.Succeeded, "")
	got := w.must(older, autobuild.Cancelled, autobuild.ReasonSuperseded)
	if got.Detail != "build 2 is newer" || w.tag("latest") != newer.Digest {
		t.Errorf("detail %q, latest is at %s, want %s", got.Detail, w.tag("latest"), newer.Digest)
	}
}

// A build that is older by the time its upload is over does not move a tag either: a permit
// says how it stands at one moment, and an upload may last long.
func TestABuildSupersededWhileItUploadsMovesNoTag(t *testing.T) {
	w := newWorld(t)
	older := w.push(dockerfile("FROM older\n"))
	newer := w.push(dockerfile("FROM newer\n"))
	w.builder.uploading = func() { newer = w.must(newer, autobuild.Succeeded, "") }
	w.must(older, autobuild.Cancelled, autobuild.ReasonSuperseded)
	if got := w.tag("latest"); got != newer.Digest {
		t.Errorf("latest is at %s, want the newer build's %s", got, newer.Digest)
	}
}

// Nor between two tries for a tag: while a registry fails, a newer build may get through.
func TestABuildSupersededBetweenTriesMovesNoTag(t *testing.T) {
	w := newWorld(t)
	older := w.push(dockerfile("FROM older\n"))
	newer := w.push(dockerfile("FROM newer\n"))
	var tries atomic.Int32
	w.registry.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/latest") && tries.Add(1) == 1 {
			newer = w.must(newer, autobuild.Succeeded, "")
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(rw, r)
	})
	w.must(older, autobuild.Cancelled, autobuild.ReasonSuperseded)
	if got := w.tag("latest"); got != newer.Digest || tries.Load() != 2 {
		t.Errorf("latest is at %s after %d tries, want the newer build's %s after 2", got, tries.Load(), newer.Digest)
	}
}

// waitInside lets a test act while the builder works.
func waitInside(w *world) (inside chan struct{}) {
	inside = make(chan struct{})
	w.builder.inside = func(ctx context.Context) error {
		close(inside)
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return inside
}

// B14: a tag's push fails twice, then works.
func TestB14TagsAreRetried(t *testing.T) {
	w := newWorld(t)
	var puts atomic.Int32
	w.registry.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/1.2") && puts.Add(1) <= 2 {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(rw, r)
	})
	b := w.must(w.push(dockerfile("FROM scratch\n")), autobuild.Succeeded, "")
	if w.tag("1.2") != b.Digest || !strings.Contains(w.log(b), "attempt 3") {
		t.Errorf("1.2 at %s; log:\n%s", w.tag("1.2"), w.log(b))
	}
}

// F16: a registry that does not take one tag, however often it is tried, costs that tag only:
// the others are moved, the log names it, and the next attempt moves it, too.
func TestF16ATagThatIsNeverTakenIsToldByItsName(t *testing.T) {
	w := newWorld(t)
	old := w.put("1", "older")
	w.registry.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/1") {
			rw.WriteHeader(http.StatusBadGateway)
			return
		}
		next.ServeHTTP(rw, r)
	})
	b := w.push(dockerfile("FROM scratch\n"))
	err := w.run(t.Context(), b)
	attempts, storeErr := w.store.Attempts(t.Context(), b.ID)
	if storeErr != nil || err == nil || attempts[0].State != autobuild.Errored ||
		attempts[0].Reason != autobuild.ReasonInfrastructure {
		t.Fatalf("%v, %v: %+v", err, storeErr, attempts)
	}
	if log := w.log(
		b,
	); !strings.Contains(attempts[0].Detail, "1 of 3 tags were not pushed") || !strings.Contains(log, "tag 1 was not pushed") ||
		!strings.Contains(log, ":1.2\n") {
		t.Errorf("%s\n%s", attempts[0].Detail, log)
	}
	if w.tag("1") != old || w.tag("1.2") == "" || w.tag("1.2") != w.tag("latest") {
		t.Errorf("1 is at %s, 1.2 at %s, latest at %s", w.tag("1"), w.tag("1.2"), w.tag("latest"))
	}
	w.registry.set(nil)
	done := w.must(b, autobuild.Succeeded, "")
	for _, tag := range []string{"1.2", "1", "latest"} {
		if w.tag(tag) != done.Digest {
			t.Errorf("%s is at %s after the retry, the image is %s", tag, w.tag(tag), done.Digest)
		}
	}
}
