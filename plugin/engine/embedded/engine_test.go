package embedded_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logrustest "github.com/sirupsen/logrus/hooks/test"

	"slipway/config/buildservice"
	"slipway/config/discard"
	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/embedded"
	"slipway/runner/sandbox/service"
)

// script writes a shell script in place of the slipway binary.
func script(t *testing.T, body string) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "slipway")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// newEngine returns an engine on a builder service in this process, whose runners execute a program.
func newEngine(t *testing.T, program string, log logrus.FieldLogger) *embedded.Engine {
	t.Helper()
	s, err := service.New(service.Options{
		Program:   program,
		Dir:       t.TempDir(),
		Builders:  noBuilders{},
		Sandboxes: service.NoSandboxes{Why: "none in this test"},
		Grace:     50 * time.Millisecond,
		Log:       discard.Logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "service.sock")
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return engineOn(t, buildservice.Client{Socket: path}, log)
}

// noBuilders is a machine without builders.
type noBuilders struct{}

func (noBuilders) Dial(context.Context, string) (net.Conn, error) {
	return nil, errors.New("no builders in this test")
}

func engineOn(t *testing.T, runners embedded.Runners, log logrus.FieldLogger) *embedded.Engine {
	t.Helper()
	if log == nil {
		log = discard.Logger()
	}
	e := embedded.New(embedded.Options{Runners: runners, Log: log})
	t.Cleanup(e.Close)
	return e
}

// pipeline returns the first attempt of a build.
func pipeline(build string) autobuild.Pipeline {
	return autobuild.Pipeline{
		BuildID:     build,
		Number:      1,
		Attempt:     1,
		URL:         "http://gateway/runner/v1/builds/" + build,
		Token:       secret.New("hush"),
		Hooks:       true,
		CacheDomain: build,
	}
}

// A startFunc starts runners.
type startFunc func() error

func (f startFunc) Start(context.Context, buildservice.Run) (*buildservice.Attempt, error) {
	return nil, f()
}

func (f startFunc) CheckSpace(context.Context, string) (string, error) { return "", f() }

func state(t *testing.T, e *embedded.Engine, build string) autobuild.PipelineState {
	t.Helper()
	s, err := e.State(t.Context(), autobuild.Attempt{BuildID: build, Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	return s.State
}

func TestStartIsIdempotent(t *testing.T) {
	out := filepath.Join(t.TempDir(), "starts")
	e := newEngine(t, script(t, `echo "$SLIPWAY_RUNNER_URL $SLIPWAY_RUNNER_HOOKS" >> `+out+`; exec sleep 60`), nil)
	first, err := e.Start(t.Context(), pipeline("b1"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := e.Start(t.Context(), pipeline("b1"))
	if err != nil {
		t.Fatalf("second start: %v", err)
	}
	if second != first {
		t.Errorf("second start: got pipeline %q, want %q as at first", second, first)
	}
	must.Eventually(t, "the runner has started", func() bool { data, _ := os.ReadFile(out); return len(data) > 0 })
	if data, _ := os.ReadFile(out); string(data) != "http://gateway/runner/v1/builds/b1 on\n" {
		t.Errorf("starts: got %q, want one with hooks on", data)
	}
	if s := state(t, e, "b1"); s != autobuild.PipelineRunning {
		t.Errorf("state: got %s, want running", s)
	}
}

// The service may start more slowly than a runner may be silent. A pipeline that waits for it is queued
// and not gone.
func TestAPipelineThatWaitsForTheServiceIsQueued(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	e := engineOn(t, startFunc(func() error {
		close(asked)
		<-answer
		return errors.New("no service")
	}), nil)
	started := make(chan error, 1)
	go func() {
		_, err := e.Start(t.Context(), pipeline("b1"))
		started <- err
	}()
	<-asked
	if s := state(t, e, "b1"); s != autobuild.PipelineQueued {
		t.Errorf("state while the service starts: got %s, want queued", s)
	}
	close(answer)
	if err := <-started; !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("Start: got %v, want ErrUnavailable", err)
	}
	if s := state(t, e, "b1"); s != autobuild.PipelineGone {
		t.Errorf("state after a failed start: got %s, want gone", s)
	}
}

func TestCancelKillsARunnerThatDoesNotStop(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	e := newEngine(t, script(t, `trap '' TERM; echo $$ > `+pid+`; sleep 60; sleep 60`), nil)
	if _, err := e.Start(t.Context(), pipeline("b1")); err != nil {
		t.Fatal(err)
	}
	must.Eventually(t, "the runner has started", func() bool { data, _ := os.ReadFile(pid); return len(data) > 0 })
	for range 2 { // again is harmless
		if err := e.Cancel(t.Context(), autobuild.Attempt{BuildID: "b1", Number: 1}); err != nil {
			t.Fatal(err)
		}
	}
	must.Eventually(t, "the runner has ended", func() bool { return state(t, e, "b1") == autobuild.PipelineGone })
}

func TestCancelOfAnUnknownPipelineIsNoError(t *testing.T) {
	e := newEngine(t, "/bin/true", nil)
	if err := e.Cancel(t.Context(), autobuild.Attempt{BuildID: "never", Number: 1}); err != nil {
		t.Error(err)
	}
	if s := state(t, e, "never"); s != autobuild.PipelineGone {
		t.Errorf("state: got %s, want gone", s)
	}
}

func TestStartErrorsAreUnavailable(t *testing.T) {
	for name, e := range map[string]*embedded.Engine{
		"no service":        engineOn(t, startFunc(func() error { return errors.New("no runc") }), nil),
		"no program":        newEngine(t, "/no/such/program", nil),
		"no socket":         engineOn(t, buildservice.Client{Socket: filepath.Join(t.TempDir(), "none")}, nil),
		"service is closed": engineOn(t, closedService(t), nil),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := e.Start(t.Context(), pipeline("b1"))
			if !errors.Is(err, autobuild.ErrUnavailable) {
				t.Errorf("got error %v, want ErrUnavailable", err)
			}
			if s := state(t, e, "b1"); s != autobuild.PipelineGone {
				t.Errorf("state: got %s, want gone", s)
			}
		})
	}
}

func closedService(t *testing.T) *embedded.Service {
	t.Helper()
	s := embedded.NewService(embedded.ServiceOptions{
		Executable: "/bin/true", Dir: t.TempDir(), Log: discard.Logger(),
	})
	s.Close()
	return s
}

func TestCloseRefusesFurtherStarts(t *testing.T) {
	e := newEngine(t, script(t, `exec sleep 60`), nil)
	e.Close()
	_, err := e.Start(t.Context(), pipeline("b1"))
	if !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("got error %v, want ErrUnavailable", err)
	}
}

// The gateway's log contains the output of a runner only if the runner failed.
func TestOnlyTheOutputOfFailedRunnersIsLogged(t *testing.T) {
	for exit, want := range map[string]string{"0": "", "3": "last words"} {
		t.Run("exit "+exit, func(t *testing.T) {
			log, hook := logrustest.NewNullLogger()
			e := newEngine(t, script(t, `echo last words; exit `+exit), log)
			if _, err := e.Start(t.Context(), pipeline("b1")); err != nil {
				t.Fatal(err)
			}
			must.Eventually(
				t,
				"the runner has ended",
				func() bool { return state(t, e, "b1") == autobuild.PipelineGone },
			)
			ended := hook.LastEntry()
			if ended.Message != "runner ended" {
				t.Errorf("last log line: got %q, want runner ended", ended.Message)
			}
			if got, _ := ended.Data["output"].(string); got != want {
				t.Errorf("output in the log: got %q, want %q", got, want)
			}
		})
	}
}
