package step_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"slipway/config/identity"
	"slipway/runner/hints"
	"slipway/runner/publish"
	"slipway/runner/runnertest"
	"slipway/runner/settings"
	"slipway/runner/step"
)

// A "# check=" comment above an instruction made the search for hints panic after the push.
func TestACheckCommentFailsNoStep(t *testing.T) {
	e := newEnv(t)
	e.Builder.Ran = []hints.Step{{Name: "[1/2] COPY a b", Cached: true}, {Name: "[2/2] RUN make", Took: time.Minute}}
	dir := runnertest.Workspace(t, map[string]string{
		"Dockerfile": "FROM scratch\n# check=skip=JSONArgsRecommended\nCMD mycommand\n",
	})
	log, err := e.run("CI_WORKSPACE=" + dir)
	if err != nil {
		t.Fatalf("step: got error %v, want nil\n%s", err, log)
	}
	runnertest.CheckLacks(t, "the log", log, "panic")
	if e.Registry.Tag("latest") == "" {
		t.Error("tag latest: got no image, want one")
	}
}

// A panic of any stage after the push is a line of the log.
func TestAPanicAfterThePushFailsNoStep(t *testing.T) {
	for stage, text := range map[string]string{
		"summary":      "\n  digest",
		"result files": "\x1b]1338;", // the card
	} {
		t.Run(stage, func(t *testing.T) {
			e := newEnv(t)
			s, err := settings.ReadPlugin(fixed{
				"PLUGIN_REPO=" + e.Registry.Image(), "PLUGIN_BUILDER=" + runnertest.BuilderAddress,
				"DRONE_CARD_PATH=/dev/stdout",
				"CI_WORKSPACE=" + runnertest.Workspace(t, map[string]string{"Dockerfile": "FROM scratch\n"}),
			})
			if err != nil {
				t.Fatal(err)
			}
			out := &panicWriter{at: strings.TrimPrefix(text, "\n")}
			err = step.Run(t.Context(), step.Options{
				Settings: s, Output: out, Backoff: runnertest.NoBackoff,
				Dial: func(context.Context, string, identity.Identity) (publish.Builder, error) {
					return e.Builder, nil
				},
			})
			if err != nil {
				t.Errorf("step: got error %v, want nil", err)
			}
			if !out.panicked {
				t.Errorf("output: got no %q, want it", text)
			}
			runnertest.CheckHas(t, "the log", out.String(), "note: "+stage+": panic: ")
			if e.Registry.Tag("latest") == "" {
				t.Error("tag latest: got no image, want one")
			}
		})
	}
}

// A panicWriter panics once, when a text is written.
type panicWriter struct {
	bytes.Buffer
	at       string
	panicked bool
}

func (w *panicWriter) Write(p []byte) (int, error) {
	if !w.panicked && bytes.Contains(p, []byte(w.at)) {
		w.panicked = true
		panic("a broken log")
	}
	return w.Buffer.Write(p)
}
