package buildkit_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipway/runner/buildkit"
)

// O6: unsafe requests of a Dockerfile or a client are rejected.
func TestO6Refused(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	run := shellStage + "RUN true\n"
	cases := map[string]struct {
		dockerfile string
		args       map[string]string
		line       int
		want       string // in the error; empty = it builds
	}{
		"no line":       {dockerfile: run},
		"1":             {dockerfile: "# syntax=docker/dockerfile:1\n" + run},
		"1.4":           {dockerfile: "# syntax=docker/dockerfile:1.4\n" + run},
		"with its host": {dockerfile: "# syntax = docker.io/docker/dockerfile:1.7.0\n" + run},
		"pinned": {
			dockerfile: "# syntax=docker/dockerfile:1.7@sha256:" + strings.Repeat("a", 64) + "\n" + run,
		},
		"labs":            {dockerfile: "# syntax=docker/dockerfile:1-labs\n" + run},
		"newer than ours": {dockerfile: "# syntax=docker/dockerfile:1.999\n" + run},
		"newer than ours, with a new instruction": {
			dockerfile: "# syntax=docker/dockerfile:1.999\n" + run + "NEW x\n",
			line:       7,
			want:       "unknown instruction: NEW: docker/dockerfile:1.999 is served by the built-in frontend",
		},
		"version 2": {dockerfile: "# syntax=docker/dockerfile:2\n" + run, line: 1, want: "not allowed"},
		"evil": {
			dockerfile: "# escape=`\n# syntax=evil/x\n" + run,
			line:       2,
			want:       "frontend evil/x is not allowed",
		},
		"evil in the other forms": {
			dockerfile: "// syntax=evil/x\n" + run,
			line:       1,
			want:       "frontend evil/x is not allowed",
		},
		"evil by build argument": {
			dockerfile: run,
			args:       map[string]string{"BUILDKIT_SYNTAX": "evil/x"},
			want:       "frontend evil/x is not allowed",
		},
		"ours by build argument": {dockerfile: run, args: map[string]string{"BUILDKIT_SYNTAX": "docker/dockerfile:1"}},
		"insecure RUN": {
			dockerfile: shellStage + "RUN --security=insecure true\n",
			want:       "security.insecure",
		},
		"host network": {dockerfile: shellStage + "RUN --network=host true\n", want: "network.host"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := request(withShell(t, write(t, map[string]string{"Dockerfile": c.dockerfile})))
			r.BuildArgs = c.args
			_, err := client.Build(t.Context(), r)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var fault *buildkit.BuildError
			if !errors.As(err, &fault) {
				t.Fatalf("Build: got error %T %v, want a BuildError", err, err)
			}
			if !strings.Contains(fault.Error(), c.want) {
				t.Errorf("Build: got error %q, want %q in it", fault, c.want)
			}
			if fault.Line != c.line {
				t.Errorf("got line %d, want %d", fault.Line, c.line)
			}
		})
	}
}

// The builder pulls and runs a frontend that the operator allows.
func TestO6AllowedFrontendRuns(t *testing.T) {
	needBuildKit(t)
	host := serveRegistry(t)
	client := start(t, t.TempDir(), "--frontend", host+"/acme/frontend").dial(t)
	front := request(
		withShell(
			t,
			write(t, map[string]string{"Dockerfile": shellStage + "ENTRYPOINT [\"/bin/sh\", \"-c\", \"exit 3\"]\n"}),
		),
	)
	front.Image = host + "/acme/frontend"
	image := build(t, client, front)
	if err := client.Push(t.Context(), front, image.Digest); err != nil {
		t.Fatal(err)
	}
	line := "# syntax=" + front.Image + "@" + image.Digest + "\n"
	_, err := client.Build(t.Context(), request(write(t, map[string]string{"Dockerfile": line + "FROM scratch\n"})))
	if err == nil || !strings.Contains(err.Error(), "exit code: 3") {
		t.Errorf("Build: got error %v, want the frontend's own exit code", err)
	}
	_, err = client.Build(
		t.Context(),
		request(write(t, map[string]string{"Dockerfile": "# syntax=" + host + "/acme/other\nFROM scratch\n"})),
	)
	if err == nil || !strings.Contains(err.Error(), "is not allowed") {
		t.Errorf(`frontend that is not allowed: got error %v, want "is not allowed" in it`, err)
	}
}

func TestDockerfileFaults(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	host := serveRegistry(t)
	cases := map[string]struct {
		dockerfile, file string
		want             string
		line, code       int
		step             string
	}{
		"command fails": {
			dockerfile: shellStage + "RUN echo no-good; exit 7\n",
			want:       "exit code: 7",
			line:       5,
			code:       7,
			step:       "RUN echo no-good",
		},
		"parse error":     {dockerfile: "FROM scratch\nCOPI a b\n", want: "unknown instruction: COPI", line: 2},
		"file is missing": {dockerfile: "FROM scratch\n\nCOPY absent /\n", want: "COPY absent: no such file", line: 3},
		"base is missing": {dockerfile: "FROM " + host + "/no/such:image\n", want: "not found", line: 1},
		"no such file": {
			file:       "Containerfile",
			dockerfile: "FROM scratch\n",
			want:       "no Dockerfile Containerfile",
		},
		"empty": {dockerfile: "\n", want: "file with no instructions", line: 1},
		"a right": {
			dockerfile: shellStage + "RUN --network=host true\n",
			want:       "the right network.host (--network=host)",
		},
		"another right":    {dockerfile: shellStage + "RUN --security=insecure true\n", want: "(--security=insecure)"},
		"unknown platform": {dockerfile: "FROM --platform=$x scratch\n", want: "platform", line: 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := request(withShell(t, write(t, map[string]string{"Dockerfile": c.dockerfile})))
			if c.file != "" {
				r.Dockerfile = filepath.Join(r.Context, c.file)
			}
			var log bytes.Buffer
			r.Progress = &log
			_, err := client.Build(t.Context(), r)
			var fault *buildkit.BuildError
			if !errors.As(err, &fault) {
				t.Fatalf("Build: got error %T %v, want a BuildError", err, err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("Build: got error %q, want %q in it", err, c.want)
			}
			if fault.Line != c.line {
				t.Errorf("got line %d, want %d", fault.Line, c.line)
			}
			if fault.ExitCode != c.code {
				t.Errorf("got exit code %d, want %d", fault.ExitCode, c.code)
			}
			if !strings.Contains(fault.Step, c.step) {
				t.Errorf("got step %q, want %q in it", fault.Step, c.step)
			}
			if c.line > 0 && !strings.Contains(fault.Excerpt, ">>>") {
				t.Errorf("got excerpt %q, want a marked line", fault.Excerpt)
			}
			if c.code != 0 && !strings.Contains(log.String(), "no-good") {
				t.Errorf("log: got:\n%s\nwant the command's output in it", &log)
			}
		})
	}
}

// A failing registry is not an error of the Dockerfile, so the build can be retried.
func TestAFailingRegistryIsNoDockerfileError(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(broken.Close)
	for name, image := range map[string]string{
		"refused": "127.0.0.1:1/acme/base:1",
		"503":     strings.TrimPrefix(broken.URL, "http://") + "/acme/base:1",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.Build(
				t.Context(),
				request(write(t, map[string]string{"Dockerfile": "FROM " + image + "\n"})),
			)
			var fault *buildkit.BuildError
			if err == nil || errors.As(err, &fault) {
				t.Errorf("Build: got error %v, want one that is no BuildError", err)
			}
		})
	}
}

// ADD cannot read more of the machine than RUN can, under any name of the machine. The Dockerfile is
// the cause, so a retry does not help.
func TestADDMayNotReadTheMachine(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	inside := httptest.NewServer(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			t.Error("ADD of a service on loopback: got a request, want none")
		}),
	)
	t.Cleanup(inside.Close)
	_, port, err := net.SplitHostPort(inside.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "0.0.0.0", "169.254.169.254"} {
		_, err := client.Build(
			t.Context(),
			request(
				write(
					t,
					map[string]string{"Dockerfile": "FROM scratch\nADD http://" + host + ":" + port + "/secret /s\n"},
				),
			),
		)
		var fault *buildkit.BuildError
		if !errors.As(err, &fault) {
			t.Errorf("%s: got %T %v, want a BuildError", host, err, err)
			continue
		}
		if want := "ADD may not fetch from "; !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %q, want it to begin with %q", host, err, want)
		}
		if want := "address not allowed"; !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, want %q in it", host, err, want)
		}
		if !strings.Contains(fault.Step, host) {
			t.Errorf("%s: got step %q, want the host in it", host, fault.Step)
		}
	}
}

// soon is the time limit for calls that return at once, on a loaded machine too.
const soon = 10 * time.Second

func TestCancelStopsTheBuildAtOnce(t *testing.T) {
	needBuildKit(t)
	client := start(t, t.TempDir()).dial(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("superseded")
	var asked time.Time
	r := request(
		withShell(t, write(t, map[string]string{"Dockerfile": shellStage + "RUN echo it-runs; busybox sleep 100\n"})),
	)
	r.Progress = onText("it-runs", func() { asked = time.Now(); cancel(cause) })
	_, err := client.Build(ctx, r)
	if took := time.Since(asked); took > soon {
		t.Errorf("Build: got its end after %s, want %s at most", took, soon)
	}
	if !errors.Is(err, cause) {
		t.Errorf("Build: got error %v, want the cause %v", err, cause)
	}
	build(t, client, request(withShell(t, write(t, map[string]string{"Dockerfile": shellStage + "RUN true\n"}))))
}

// onText returns a writer that calls act once, after text was written.
func onText(text string, act func()) *trigger { return &trigger{text: text, act: act} }

type trigger struct {
	text string
	act  func()
	seen bytes.Buffer
	done bool
}

func (w *trigger) Write(b []byte) (int, error) {
	w.seen.Write(b)
	for _, line := range strings.Split(w.seen.String(), "\n") {
		// The step's name contains the text too. A line of output begins with a time.
		if !w.done && strings.Contains(line, w.text) && !strings.Contains(line, "RUN") {
			w.done = true
			w.act()
		}
	}
	return len(b), nil
}
