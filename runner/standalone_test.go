package runner_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"

	"slipway/config/identity"
	"slipway/runner"
	"slipway/runner/settings"
)

// workspace is a checked-out repository.
func workspace(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range files {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// alone runs the step without a gateway on the world's registry and builder.
func (w *world) alone(environ ...string) (log string, err error) {
	w.t.Helper()
	return w.aloneIn(w.t.Context(), environ...)
}

func (w *world) aloneIn(ctx context.Context, environ ...string) (log string, err error) {
	w.t.Helper()
	s, err := settings.ReadPlugin(fixed(append([]string{
		"PLUGIN_REPO=" + w.image(),
		"PLUGIN_BUILDER=unix:///of-the-world.sock",
		"CI_WORKSPACE=" + workspace(
			w.t,
			map[string]string{"Dockerfile": "FROM scratch\n", "app/Dockerfile": "FROM app\n"},
		),
	}, environ...)))
	if err != nil {
		w.t.Fatal(err)
	}
	var out bytes.Buffer
	err = runner.RunStandalone(ctx, runner.StandaloneOptions{
		Settings: s, Version: "test", Output: &out, StatusTime: w.statusTime,
		Dial: func(ctx context.Context, _ string, _ identity.Identity) (runner.Builder, error) {
			if open := w.builder.opening; open != nil {
				return w.builder, open(ctx)
			}
			return w.builder, w.builder.dialError
		},
		Backoff: func() backoff.BackOff { return backoff.NewConstantBackOff(time.Millisecond) },
	})
	return out.String(), err
}

// fixed is an environment.
type fixed []string

func (e fixed) Environ() []string     { return e }
func (e fixed) Unsetenv(string) error { return nil }

func TestStandalonePushesEveryTag(t *testing.T) {
	w := newWorld(t)
	log, err := w.alone(
		"PLUGIN_TAGS=1.2,latest",
		"PLUGIN_TARGET=release",
		"PLUGIN_BUILD_ARGS=A=b",
		"PLUGIN_NO_CACHE=true",
		"PLUGIN_CONTEXT=./app/",
	)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	digest := w.tag("1.2")
	if digest == "" || w.tag("latest") != digest {
		t.Errorf("1.2 is at %q, latest at %q", digest, w.tag("latest"))
	}
	for _, want := range []string{"1.2, latest (PLUGIN_TAGS)", "Dockerfile  Dockerfile (default)", "pushed  1.2, latest", digest, "42B compressed", "time"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
	r := w.builder.requests[0]
	if r.Target != "release" || r.BuildArgs["A"] != "b" || !r.NoCache || filepath.Base(r.Context) != "app" ||
		filepath.Base(filepath.Dir(r.Dockerfile)) == "app" {
		t.Errorf("asked for %+v", r)
	}
	if !w.builder.closed {
		t.Error("the builder was not left")
	}
}

func TestStandaloneDryRunAsksNoRegistry(t *testing.T) {
	w := newWorld(t)
	w.registry.set(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { t.Errorf("%s %s", r.Method, r.URL) })
	log, err := w.alone("PLUGIN_DRY_RUN=true")
	if err != nil || !strings.Contains(log, "none: PLUGIN_DRY_RUN is set") || !strings.Contains(log, "sha256:") {
		t.Errorf("%v\n%s", err, log)
	}
}

func TestStandaloneRetriesATag(t *testing.T) {
	w := newWorld(t)
	failures := 2
	w.registry.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if failures > 0 && r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/latest") {
			failures--
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(rw, r)
	})
	log, err := w.alone()
	if err != nil || w.tag("latest") == "" || strings.Count(log, "; attempt ") != 2 {
		t.Errorf("%v, latest at %q\n%s", err, w.tag("latest"), log)
	}
}

func TestStandaloneOneTagThatFailsKeepsNoneBack(t *testing.T) {
	w := newWorld(t)
	w.registry.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/1.2") {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		next.ServeHTTP(rw, r)
	})
	log, err := w.alone("PLUGIN_TAGS=1.2,latest")
	if err == nil || !strings.Contains(err.Error(), "1 of 2 tags were not pushed") ||
		!strings.Contains(log, "tag 1.2 was not pushed") {
		t.Errorf("got %v\n%s", err, log)
	}
	if w.tag("1.2") != "" || w.tag("latest") == "" {
		t.Errorf("1.2 is at %q, latest at %q", w.tag("1.2"), w.tag("latest"))
	}
}

// asks is a registry that wants a password.
func asks(user, password string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			rw.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(rw, r)
	}
}

func TestStandaloneRefusedCredential(t *testing.T) {
	w := newWorld(t)
	w.registry.set(asks("ci", "right"))
	w.builder.inside = untilStopped
	for want, environ := range map[string][]string{
		"PLUGIN_USERNAME and PLUGIN_PASSWORD are not set":               nil,
		"the login of PLUGIN_USERNAME and PLUGIN_PASSWORD is not right": {"PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=canary"},
	} {
		log, err := w.alone(environ...)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(log+err.Error(), "canary") {
			t.Errorf("got %v, want %q\n%s", err, want, log)
		}
	}
}

// untilStopped is a build that goes on until it is told to end.
func untilStopped(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestStandaloneFaultsNameTheSetting(t *testing.T) {
	outside := workspace(t, map[string]string{"secret": ""})
	linked := workspace(t, map[string]string{"file": ""})
	for link, to := range map[string]string{"Dockerfile": filepath.Join(outside, "secret"), "out": outside} {
		if err := os.Symlink(to, filepath.Join(linked, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		world   *world
		environ []string
		want    string
	}{
		{"no Dockerfile", newWorld(t), []string{"PLUGIN_DOCKERFILE=docker/Dockerfile"}, `PLUGIN_DOCKERFILE: the Dockerfile "docker/Dockerfile" does not exist`},
		{"a directory", newWorld(t), []string{"PLUGIN_DOCKERFILE=app"}, `PLUGIN_DOCKERFILE: the Dockerfile "app" is not a file`},
		{"no context", newWorld(t), []string{"PLUGIN_CONTEXT=web"}, `PLUGIN_CONTEXT: the build context "web" does not exist`},
		{"a path above", newWorld(t), []string{"PLUGIN_CONTEXT=app/../.."}, `PLUGIN_CONTEXT: the build context ".." is not a path within`},
		{"a link out", newWorld(t), []string{"DRONE_WORKSPACE=" + linked}, `PLUGIN_DOCKERFILE: the Dockerfile "Dockerfile" leads out`},
		{"a directory link out", newWorld(t), []string{"DRONE_WORKSPACE=" + linked, "PLUGIN_DOCKERFILE=file", "PLUGIN_CONTEXT=out"}, `PLUGIN_CONTEXT: the build context "out" leads out`},
		{"no workspace", newWorld(t), []string{"DRONE_WORKSPACE=/no/such/workspace"}, "/no/such/workspace (DRONE_WORKSPACE) is no directory"},
		{"no registry", newWorld(t), []string{"PLUGIN_REPO=127.0.0.1:1/acme/app"}, "PLUGIN_REPO: the registry of 127.0.0.1:1/acme/app cannot be used"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log, err := c.world.alone(c.environ...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q\n%s", err, c.want, log)
			}
		})
	}
}

func TestStandaloneFailuresOfTheBuilder(t *testing.T) {
	w := newWorld(t)
	w.builder.dialError = errors.New("nobody there")
	if _, err := w.alone(); err == nil || !strings.Contains(err.Error(), "nobody there; check PLUGIN_BUILDER") {
		t.Errorf("got %v", err)
	}
	w = newWorld(t)
	w.builder.buildError = &runner.DockerfileError{Excerpt: ">>> RUN false", Err: errors.New("exit code 1")}
	if log, err := w.alone(); err == nil || !strings.Contains(err.Error(), "build of Dockerfile: exit code 1") ||
		!strings.Contains(log, ">>> RUN false") {
		t.Errorf("got %v\n%s", err, log)
	}
	w = newWorld(t)
	w.builder.pushError = errors.New("disk full")
	if _, err := w.alone(); err == nil || !strings.Contains(err.Error(), "disk full") || w.tag("latest") != "" {
		t.Errorf("got %v, latest at %q", err, w.tag("latest"))
	}
}

func TestStandaloneStopsWhenTold(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.builder.inside = func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() }
	err := runner.RunStandalone(ctx, runner.StandaloneOptions{
		Settings: settings.Plugin{
			Workspace: workspace(
				t,
				map[string]string{"Dockerfile": ""},
			),
			Images:     []string{w.image()},
			Tags:       []string{"latest"},
			Dockerfile: "Dockerfile",
			Context:    ".",
			Builder:    "unix:///of-the-world.sock",
		},
		Dial: func(context.Context, string, identity.Identity) (runner.Builder, error) { return w.builder, nil },
	})
	if err == nil || !strings.Contains(err.Error(), "told to stop") || w.tag("latest") != "" || !w.builder.closed {
		t.Errorf("got %v, latest at %q", err, w.tag("latest"))
	}
}
