package step_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/runner/buildkit"
	"slipway/runner/runnertest"
)

func TestStepPushesEveryTag(t *testing.T) {
	e := newEnv(t)
	log, err := e.run(
		"PLUGIN_TAGS=1.2,latest",
		"PLUGIN_TARGET=release",
		"PLUGIN_BUILD_ARGS=A=b",
		"PLUGIN_NO_CACHE=true",
		"PLUGIN_CONTEXT=./app/",
	)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	digest := e.Registry.Tag("1.2")
	if digest == "" {
		t.Error("digest: got none, want one")
	}
	if got := e.Registry.Tag("latest"); got != digest {
		t.Errorf("tag latest: got %v, want %v", got, digest)
	}
	for _, want := range []string{"1.2, latest (PLUGIN_TAGS)", "Dockerfile  Dockerfile (default)", "pushed  1.2, latest", digest, "42B compressed", "time"} {
		if !strings.Contains(log, want) {
			t.Errorf("log: got:\n%s\nwant %q in it", log, want)
		}
	}
	r := e.Builder.Requests[0]
	if r.Target != "release" {
		t.Errorf("target: got %q, want %q", r.Target, "release")
	}
	if r.BuildArgs["A"] != "b" {
		t.Errorf("build argument A: got %q, want %q", r.BuildArgs["A"], "b")
	}
	if !r.NoCache {
		t.Error("build without cache: got false, want true")
	}
	if got := filepath.Base(r.Context); got != "app" {
		t.Errorf("folder of the context: got %q, want %q", got, "app")
	}
	if filepath.Base(filepath.Dir(r.Dockerfile)) == "app" {
		t.Errorf("Dockerfile: got %s, want that of the workspace", r.Dockerfile)
	}
	if !e.Builder.Closed {
		t.Error("builder after the run: got it open, want it closed")
	}
}

func TestStepDryRunAsksNoRegistry(t *testing.T) {
	e := newEnv(t)
	e.Registry.Intercept(
		func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
			t.Errorf("request to the registry: got %s %s, want none", r.Method, r.URL)
		},
	)
	log, err := e.run("PLUGIN_DRY_RUN=true")
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	runnertest.CheckHas(t, "the log", log, "none: PLUGIN_DRY_RUN is set")
	runnertest.CheckLacks(t, "the log", log, "digest")
	if !e.Builder.Last().NoExport {
		t.Error("build without export: got false, want true")
	}
}

// A file that describes the image needs the image, also in a dry run.
func TestWhichDryRunMakesAnImage(t *testing.T) {
	for _, c := range []struct {
		environ  []string
		noExport bool
	}{
		{[]string{"PLUGIN_DRY_RUN=true", "PLUGIN_DIGEST_FILE=digest"}, false},
		{[]string{"PLUGIN_DRY_RUN=true", "PLUGIN_METADATA_FILE=out.json"}, false},
		{[]string{"PLUGIN_DRY_RUN=true", "PLUGIN_OUTPUT=type=oci,dest=image.tar"}, false},
		{[]string{"PLUGIN_DRY_RUN=true", "PLUGIN_OUTPUT=type=tar,dest=files.tar"}, true},
		{[]string{"PLUGIN_OUTPUT=type=cacheonly"}, true},
		{[]string{"PLUGIN_DRY_RUN=true", "PLUGIN_ARTIFACT_FILE=out.json"}, true},
		{nil, false},
	} {
		e := newEnv(t)
		if log, err := e.run(c.environ...); err != nil {
			t.Errorf("%q: step: %v\n%s", c.environ, err, log)
			continue
		}
		if got := e.Builder.Last().NoExport; got != c.noExport {
			t.Errorf("%q: build without export: got %t, want %t", c.environ, got, c.noExport)
		}
	}
}

func TestStepRetriesATag(t *testing.T) {
	e := newEnv(t)
	failures := 2
	e.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if failures > 0 && r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/latest") {
			failures--
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(rw, r)
	})
	log, err := e.run()
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	if e.Registry.Tag("latest") == "" {
		t.Error("tag latest: got no image, want one")
	}
	if got := strings.Count(log, "; attempt "); got != 2 {
		t.Errorf("retries in the log: got %d, want 2", got)
	}
}

func TestStepPushesTheOtherTagsIfOneFails(t *testing.T) {
	e := newEnv(t)
	e.Registry.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/1.2") {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		next.ServeHTTP(rw, r)
	})
	log, err := e.run("PLUGIN_TAGS=1.2,latest")
	if err == nil {
		t.Fatalf("step: got no error, want one\n%s", log)
	}
	runnertest.CheckHas(t, "the error", err.Error(), "1 of 2 tags were not pushed")
	runnertest.CheckHas(t, "the log", log, "tag 1.2 was not pushed")
	if got := e.Registry.Tag("1.2"); got != "" {
		t.Errorf("tag 1.2: got %q, want %q", got, "")
	}
	if e.Registry.Tag("latest") == "" {
		t.Error("tag latest: got no image, want one")
	}
}

func TestStepRefusedCredential(t *testing.T) {
	e := newEnv(t)
	e.Registry.Intercept(runnertest.RequireLogin("ci", "right"))
	e.Builder.OnBuild = untilStopped
	for want, environ := range map[string][]string{
		"PLUGIN_USERNAME and PLUGIN_PASSWORD are not set":                                 nil,
		"the login of PLUGIN_USERNAME and PLUGIN_PASSWORD is wrong or may not push there": {"PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=canary"},
	} {
		log, err := e.run(environ...)
		if err == nil {
			t.Errorf("step: got no error, want one\n%s", log)
			continue
		}
		runnertest.CheckHas(t, "the error", err.Error(), want)
		runnertest.CheckLacks(t, "the log and the error", log+err.Error(), "canary")
	}
}

// untilStopped is a build that runs until its context ends.
func untilStopped(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestStepFaultsNameTheSetting(t *testing.T) {
	outside := runnertest.Workspace(t, map[string]string{"secret": ""})
	linked := runnertest.Workspace(t, map[string]string{"file": ""})
	for link, to := range map[string]string{"Dockerfile": filepath.Join(outside, "secret"), "out": outside} {
		if err := os.Symlink(to, filepath.Join(linked, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		environ []string
		want    string
	}{
		{"no Dockerfile", []string{"PLUGIN_DOCKERFILE=docker/Dockerfile"}, `PLUGIN_DOCKERFILE: the Dockerfile "docker/Dockerfile" does not exist`},
		{"a directory", []string{"PLUGIN_DOCKERFILE=app"}, `PLUGIN_DOCKERFILE: the Dockerfile "app" is not a file`},
		{"no context", []string{"PLUGIN_CONTEXT=web"}, `PLUGIN_CONTEXT: the build context "web" does not exist`},
		{"a path above", []string{"PLUGIN_CONTEXT=app/../.."}, `PLUGIN_CONTEXT: the build context ".." is not a path within`},
		{"a link out", []string{"DRONE_WORKSPACE=" + linked}, `PLUGIN_DOCKERFILE: the Dockerfile "Dockerfile" leads out`},
		{"a directory link out", []string{"DRONE_WORKSPACE=" + linked, "PLUGIN_DOCKERFILE=file", "PLUGIN_CONTEXT=out"}, `PLUGIN_CONTEXT: the build context "out" leads out`},
		{"a context from the network", []string{"PLUGIN_CONTEXT=https://example.com/acme/app.git"}, "PLUGIN_CONTEXT is https://example.com/acme/app.git: set a path in the workspace"},
		{"no workspace", []string{"DRONE_WORKSPACE=/no/such/workspace"}, "/no/such/workspace (DRONE_WORKSPACE) is not a directory"},
		{"no registry", []string{"PLUGIN_REPO=127.0.0.1:1/acme/app"}, "PLUGIN_REPO: the registry of 127.0.0.1:1/acme/app cannot be used"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log, err := newEnv(t).run(c.environ...)
			if err == nil {
				t.Fatalf("step: got no error, want one\n%s", log)
			}
			runnertest.CheckHas(t, "the error", err.Error(), c.want)
		})
	}
}

func TestStepFailuresOfTheBuilder(t *testing.T) {
	e := newEnv(t)
	e.Builder.DialError = errors.New("nobody there")
	_, err := e.run()
	if err == nil {
		t.Fatal("step: got no error, want one")
	}
	runnertest.CheckHas(t, "the error", err.Error(), "nobody there; check PLUGIN_BUILDER")
	e = newEnv(t)
	e.Builder.BuildError = &buildkit.BuildError{Excerpt: ">>> RUN false", Err: errors.New("exit code 1")}
	log, err := e.run()
	if err == nil {
		t.Fatalf("step: got no error, want one\n%s", log)
	}
	runnertest.CheckHas(t, "the error", err.Error(), "build of Dockerfile: exit code 1")
	runnertest.CheckHas(t, "the log", log, ">>> RUN false")
	e = newEnv(t)
	e.Builder.PushError = errors.New("disk full")
	_, err = e.run()
	if err == nil {
		t.Fatal("step: got no error, want one")
	}
	runnertest.CheckHas(t, "the error", err.Error(), "disk full")
	if got := e.Registry.Tag("latest"); got != "" {
		t.Errorf("tag latest: got %q, want %q", got, "")
	}
}

func TestStepStopsWhenItsContextEnds(t *testing.T) {
	e := newEnv(t)
	ctx, cancel := context.WithCancel(t.Context())
	e.Builder.OnBuild = func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() }
	_, err := e.runUntil(ctx)
	if err == nil {
		t.Fatal("step: got no error, want one")
	}
	runnertest.CheckHas(t, "the error", err.Error(), "was stopped")
	if got := e.Registry.Tag("latest"); got != "" {
		t.Errorf("tag latest: got %q, want %q", got, "")
	}
	if !e.Builder.Closed {
		t.Error("builder after the run: got it open, want it closed")
	}
}
