package step_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"slipway/runner/buildkit"
)

func TestQuietShowsTheBuildersLinesOfAFailedBuildAlone(t *testing.T) {
	e := newEnv(t)
	for _, quiet := range []string{"false", "true"} {
		log, err := e.run("PLUGIN_QUIET=" + quiet)
		if err != nil || strings.Contains(log, "#1 building") != (quiet == "false") ||
			!strings.Contains(log, "digest") {
			t.Errorf("quiet %s: %v\n%s", quiet, err, log)
		}
	}
	e.Builder.BuildError = &buildkit.BuildError{Excerpt: "Dockerfile:1", Err: errors.New("exit code 1")}
	log, err := e.run("PLUGIN_QUIET=true")
	if before, after, found := strings.Cut(
		log,
		"#1 building\n",
	); err == nil || !found || strings.Contains(before, "Dockerfile:1") ||
		!strings.Contains(after, "Dockerfile:1") {
		t.Errorf("a build that failed: %v\n%s", err, log)
	}
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
	if !strings.Contains(log, "#2 the last line") || strings.Contains(log, "#1 building") || len(log) > 100<<10 {
		t.Errorf("a log of %d bytes", len(log))
	}
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "xxx") && len(line) != 1<<10+1 {
			t.Errorf("a line of %d bytes was cut", len(line))
		}
	}
}

// A build that is told to stop is not waited for: its lines may come while the last ones are
// shown. (The race detector tells.)
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
	if log, err := e.run("PLUGIN_QUIET=true"); err == nil || !strings.Contains(log, "#1 building") {
		t.Errorf("%v\n%s", err, log)
	}
	<-left
}

func TestDebugShowsEverySetting(t *testing.T) {
	e := newEnv(t)
	log, err := e.run("PLUGIN_DEBUG=true", "PLUGIN_USERNAME=ci", "PLUGIN_PASSWORD=canary")
	if err != nil || !strings.Contains(log, "dockerfile                   Dockerfile (default)") ||
		strings.Contains(log, "canary") {
		t.Errorf("%v\n%s", err, log)
	}
}

func TestNoPushSaysWhichSettingAsksForIt(t *testing.T) {
	e := newEnv(t)
	if log, err := e.run(
		"PLUGIN_NO_PUSH=true",
	); err != nil || !strings.Contains(log, "none: PLUGIN_NO_PUSH is set") ||
		e.Registry.Tag("latest") != "" {
		t.Errorf("%v\n%s", err, log)
	}
}
