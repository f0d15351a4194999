package embedded_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	logrustest "github.com/sirupsen/logrus/hooks/test"

	"slipway/config/discard"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/embedded"
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

func newEngine(t *testing.T, o embedded.Options) *embedded.Engine {
	t.Helper()
	if o.Log == nil {
		o.Log = discard.Logger()
	}
	if o.Address == nil {
		o.Address = func(context.Context, string) (string, error) { return "unix:///builder.sock", nil }
	}
	if o.WorkDir == "" {
		o.WorkDir = filepath.Join(t.TempDir(), "work")
	}
	e := embedded.New(o)
	t.Cleanup(e.Close)
	return e
}

func state(t *testing.T, e *embedded.Engine, build string) autobuild.PipelineState {
	t.Helper()
	s, err := e.State(t.Context(), autobuild.Attempt{BuildID: build, Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// until waits for a condition.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-deadline.C:
			t.Fatalf("%s: got none within the time limit, want one", what)
		case <-tick.C:
		}
	}
}

func TestStartIsIdempotent(t *testing.T) {
	out := filepath.Join(t.TempDir(), "starts")
	e := newEngine(
		t,
		embedded.Options{
			Executable: script(t, `echo "$SLIPWAY_RUNNER_URL $SLIPWAY_RUNNER_HOOKS" >> `+out+`; exec sleep 60`),
			Grace:      50 * time.Millisecond,
		},
	)
	p := autobuild.Pipeline{
		BuildID: "b1",
		Number:  1,
		Attempt: 1,
		URL:     "http://gateway/runner/v1/builds/b1",
		Token:   secret.New("hush"),
		Hooks:   true,
	}
	first, err := e.Start(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	second, err := e.Start(t.Context(), p)
	if err != nil || second != first {
		t.Fatalf("second start: got %q, error %v, want %q as at first", second, err, first)
	}
	until(t, "the child's start", func() bool { data, _ := os.ReadFile(out); return len(data) > 0 })
	if data, _ := os.ReadFile(out); strings.Count(string(data), "\n") != 1 ||
		!strings.Contains(string(data), "builds/b1 off") {
		t.Errorf("starts: got %q, want one, with hooks off because the child is not isolated", data)
	}
	if s := state(t, e, "b1"); s != autobuild.PipelineRunning {
		t.Errorf("state: got %s, want running", s)
	}
}

// The builder may start more slowly than a runner may be silent. A pipeline that waits for it is
// queued and not gone.
func TestAPipelineThatWaitsForTheBuilderIsQueued(t *testing.T) {
	asked, response := make(chan struct{}), make(chan struct{})
	e := newEngine(t, embedded.Options{
		Executable: script(t, `exec sleep 60`), Grace: 50 * time.Millisecond,
		Address: func(context.Context, string) (string, error) {
			close(asked)
			<-response
			return "", errors.New("no builder")
		},
	})
	started := make(chan error, 1)
	go func() {
		_, err := e.Start(t.Context(), autobuild.Pipeline{BuildID: "b1", Attempt: 1})
		started <- err
	}()
	<-asked
	if s := state(t, e, "b1"); s != autobuild.PipelineQueued {
		t.Errorf("state while the builder starts: got %s, want queued", s)
	}
	close(response)
	if err := <-started; !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("Start: got %v, want ErrUnavailable", err)
	}
	if s := state(t, e, "b1"); s != autobuild.PipelineGone {
		t.Errorf("state after a failed start: got %s, want gone", s)
	}
}

func TestCancelKillsAChildThatDoesNotStop(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	e := newEngine(
		t,
		embedded.Options{
			Executable: script(t, `trap '' TERM; echo $$ > `+pid+`; sleep 60; sleep 60`),
			Grace:      50 * time.Millisecond,
		},
	)
	if _, err := e.Start(t.Context(), autobuild.Pipeline{BuildID: "b1", Attempt: 1}); err != nil {
		t.Fatal(err)
	}
	until(t, "the child's start", func() bool { data, _ := os.ReadFile(pid); return len(data) > 0 })
	for range 2 { // again is harmless
		if err := e.Cancel(t.Context(), autobuild.Attempt{BuildID: "b1", Number: 1}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the child's end", func() bool { return state(t, e, "b1") == autobuild.PipelineGone })
}

func TestCancelOfAnUnknownPipelineIsNoError(t *testing.T) {
	e := newEngine(t, embedded.Options{Executable: "/bin/true"})
	if err := e.Cancel(t.Context(), autobuild.Attempt{BuildID: "never", Number: 1}); err != nil {
		t.Error(err)
	}
	if s := state(t, e, "never"); s != autobuild.PipelineGone {
		t.Errorf("state: got %s, want gone", s)
	}
}

func TestStartErrorsAreUnavailable(t *testing.T) {
	boom := errors.New("no runc")
	for name, o := range map[string]embedded.Options{
		"no builder": {Executable: "/bin/true", Address: func(context.Context, string) (string, error) { return "", boom }},
		"no program": {Executable: "/no/such/program"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, o)
			_, err := e.Start(t.Context(), autobuild.Pipeline{BuildID: "b1", Attempt: 1})
			if !errors.Is(err, autobuild.ErrUnavailable) {
				t.Errorf("start: got error %v, want ErrUnavailable", err)
			}
			if s := state(t, e, "b1"); s != autobuild.PipelineGone {
				t.Errorf("state: got %s, want gone", s)
			}
		})
	}
}

func TestCloseRefusesFurtherStarts(t *testing.T) {
	e := newEngine(t, embedded.Options{Executable: "/bin/true"})
	e.Close()
	_, err := e.Start(t.Context(), autobuild.Pipeline{BuildID: "b1", Attempt: 1})
	if !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("start: got error %v, want ErrUnavailable", err)
	}
}

// The gateway's log contains the output of a runner only if the runner failed.
func TestOnlyTheOutputOfFailedRunnersIsLogged(t *testing.T) {
	for exit, quoted := range map[string]bool{"0": false, "3": true} {
		t.Run("exit "+exit, func(t *testing.T) {
			log, hook := logrustest.NewNullLogger()
			e := newEngine(t, embedded.Options{Executable: script(t, `echo last words; exit `+exit), Log: log})
			if _, err := e.Start(t.Context(), autobuild.Pipeline{BuildID: "b1", Attempt: 1}); err != nil {
				t.Fatal(err)
			}
			until(t, "the child's end", func() bool { return state(t, e, "b1") == autobuild.PipelineGone })
			ended := hook.LastEntry()
			if out, _ := ended.Data["output"].(string); ended.Message != "runner ended" ||
				(out == "last words") != quoted {
				t.Errorf(
					`log line: got %q with the output %q, want "runner ended" with the last words only if they are quoted`,
					ended.Message,
					out,
				)
			}
		})
	}
}

func TestWorkDirectoryIsClearedAway(t *testing.T) {
	work := filepath.Join(t.TempDir(), "work")
	e := newEngine(t, embedded.Options{Executable: script(t, `touch left-behind`), WorkDir: work})
	if _, err := e.Start(t.Context(), autobuild.Pipeline{BuildID: "b1", Attempt: 1}); err != nil {
		t.Fatal(err)
	}
	until(t, "the child's end", func() bool { return state(t, e, "b1") == autobuild.PipelineGone })
	left, err := os.ReadDir(work)
	if err != nil || len(left) != 0 {
		t.Errorf("files left: got %v, error %v, want none", left, err)
	}
}

// Runners of a root gateway have their own uid, a clean environment and their own processes. The
// descendants of a runner end with it.
func TestConfinedChildren(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: children of their own users need root, which is absent")
	}
	shared := t.TempDir()
	for d := shared; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SLIPWAY_CANARY", "must not be inherited")
	work, err := os.MkdirTemp("/tmp", "slipway-work-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(work) })
	if err := os.Chmod(work, 0o711); err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, embedded.Options{
		Executable: script(
			t,
			`{ id -u; id -g; env; echo "pid $$"; } > `+shared+`/$SLIPWAY_RUNNER_TOKEN; sleep 300 & exec sleep 300`,
		),
		WorkDir: work, FirstUID: 64000, FirstGID: 64000, Grace: 50 * time.Millisecond,
	})
	for _, build := range []string{"b1", "b2"} {
		p := autobuild.Pipeline{BuildID: build, Attempt: 1, Token: secret.New(build), Hooks: true}
		if _, err := e.Start(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	read := func(build string) string { data, _ := os.ReadFile(filepath.Join(shared, build)); return string(data) }
	until(
		t, "both children",
		func() bool { return strings.Contains(read("b1"), "pid") && strings.Contains(read("b2"), "pid") },
	)
	for build, uid := range map[string]string{"b1": "64000\n64000\n", "b2": "64001\n64000\n"} {
		got := read(build)
		if !strings.HasPrefix(got, uid) {
			t.Errorf("user of %s: got %.12q, want %q", build, got, uid)
		}
		if strings.Contains(got, "CANARY") {
			t.Errorf("environment of %s: got the gateway's, want another one:\n%s", build, got)
		}
		if !strings.Contains(got, "pid 1\n") || !strings.Contains(got, "SLIPWAY_RUNNER_HOOKS=unconfined") {
			t.Errorf("hooks of %s: got the builder's process namespace or none, want their own:\n%s", build, got)
		}
	}
	if err := e.Cancel(t.Context(), autobuild.Attempt{BuildID: "b1", Number: 1}); err != nil {
		t.Fatal(err)
	}
	until(t, "the end of b1", func() bool { return state(t, e, "b1") == autobuild.PipelineGone })
	if s := state(t, e, "b2"); s != autobuild.PipelineRunning {
		t.Errorf("state of b2 after b1 was cancelled: got %s, want running", s)
	}
}
