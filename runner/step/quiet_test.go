package step_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"slipway/runner/buildkit"
	"slipway/runner/runnertest"
)

func TestQuietShowsTheBuildersLinesOfAFailedBuildAlone(t *testing.T) {
	e := newEnv(t)
	for _, quiet := range []string{"false", "true"} {
		log, err := e.run("PLUGIN_QUIET=" + quiet)
		if err != nil {
			t.Errorf("step: %v\n%s", err, log)
			continue
		}
		if got := strings.Contains(log, "#1 building"); got != (quiet == "false") {
			t.Errorf("builder lines in the log: got %t, want %t", got, (quiet == "false"))
		}
		runnertest.CheckHas(t, "the log", log, "digest")
	}
	e.Builder.BuildError = &buildkit.BuildError{Excerpt: "Dockerfile:1", Err: errors.New("exit code 1")}
	log, err := e.run("PLUGIN_QUIET=true")
	before, after, found := strings.Cut(log, "#1 building\n")
	if err == nil {
		t.Fatalf("step: got no error, want one\n%s", log)
	}
	if !found {
		t.Fatalf("log: got:\n%s\nwant the builder's lines in it", log)
	}
	runnertest.CheckLacks(t, "before", before, "Dockerfile:1")
	runnertest.CheckHas(t, "after", after, "Dockerfile:1")
}

func TestQuietKeepsTheLastLinesOfALongBuild(t *testing.T) {
	e := newEnv(t)
	e.Builder.OnBuild = func(context.Context) error {
		progress := e.Builder.Last().Progress
		for range 1 << 10 {
			if _, err := progress.Write([]byte(strings.Repeat("x", 1<<10) + "\n")); err != nil {
				return err
			}
		}
		_, err := progress.Write([]byte("#2 the last line\n"))
		return err
	}
	e.Builder.BuildError = errors.New("broken")
	log, _ := e.run("PLUGIN_QUIET=true")
	runnertest.CheckHas(t, "the log", log, "#2 the last line")
	runnertest.CheckLacks(t, "the log", log, "#1 building")
	if len(log) > 100<<10 {
		t.Errorf("log: got %d bytes, want %d at most", len(log), 100<<10)
	}
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "xxx") && len(line) != 1<<10+1 {
			t.Errorf("long line of the log: got %d bytes, want %d", len(line), 1<<10+1)
		}
	}
}

// The step does not wait for a cancelled build. So a line may come while the step prints the last lines.
// The race detector checks this.
func TestQuietTakesLinesOfABuildThatWasLeft(t *testing.T) {
	e := newEnv(t)
	left := make(chan struct{})
	e.Builder.OnBuild = func(context.Context) error {
		progress := e.Builder.Requests[0].Progress
		go func() {
			defer close(left)
			for range 1 << 10 {
				_, _ = progress.Write([]byte("a late line\n"))
			}
		}()
		return context.Canceled
	}
	log, err := e.run("PLUGIN_QUIET=true")
	if err == nil {
		t.Fatalf("step: got no error, want one\n%s", log)
	}
	runnertest.CheckHas(t, "the log", log, "#1 building")
	<-left
}

func TestDebugShowsEverySetting(t *testing.T) {
	e := newEnv(t)
	log, err := e.run("PLUGIN_DEBUG=true", "PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=canary")
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	runnertest.CheckHas(t, "the log", log, "dockerfile                   Dockerfile (default)")
	runnertest.CheckLacks(t, "the log", log, "canary")
}

func TestNoPushNamesItsSetting(t *testing.T) {
	e := newEnv(t)
	log, err := e.run("PLUGIN_NO_PUSH=true")
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	runnertest.CheckHas(t, "the log", log, "none: PLUGIN_NO_PUSH is set")
	if got := e.Registry.Tag("latest"); got != "" {
		t.Errorf("tag latest: got %q, want %q", got, "")
	}
}
