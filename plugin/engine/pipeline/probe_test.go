package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

func remedies() pipeline.Remedies {
	return pipeline.Remedies{
		Agent:   "hint-agent",
		Config:  "hint-config",
		Image:   "hint-image",
		Secret:  "hint-secret",
		Builder: "hint-builder",
	}
}

// Each outcome of a pipeline gives one finding with its remedy.
func TestProbeFindings(t *testing.T) {
	for name, c := range map[string]struct {
		state     autobuild.PipelineState
		detail    string
		printed   []string
		createErr error
		good      int      // findings
		contains  []string // substrings of the last finding
		cancelled bool
	}{
		"all well": {
			state: autobuild.PipelineGone,
			printed: []string{
				"+ exec slipway runner", "slipway: well: the gateway", "slipway: well: the builder",
				"slipway: this step can build",
			},
			good: 3, contains: []string{"the builder"},
		},
		"not taken": {
			state:    autobuild.PipelineQueued,
			contains: []string{"acme/builder#1", "did not start", "hint-agent"}, cancelled: true,
		},
		"not over": {
			state: autobuild.PipelineRunning, printed: []string{"Pulling"},
			contains: []string{"did not end", "Pulling", "hint-image"}, cancelled: true,
		},
		"cancelled": {state: autobuild.PipelineCancelled, contains: []string{"was cancelled on the CI"}},
		"ended by the CI": {
			state: autobuild.PipelineTimedOut, detail: "the timeout of acme/builder",
			contains: []string{"did not run our step to its end: the timeout of acme/builder"},
		},
		"silent": {
			state: autobuild.PipelineGone, printed: []string{"make test", "ok"},
			contains: []string{"without output", "ok", "hint-image", "hint-config"},
		},
		"no token": {
			state:    autobuild.PipelineGone,
			printed:  []string{"slipway: PLUGIN_RUNNER_TOKEN is not set: the secret slipway_runner_token"},
			contains: []string{"PLUGIN_RUNNER_TOKEN", "hint-secret"},
		},
		"no gateway": {
			state:    autobuild.PipelineGone,
			printed:  []string{"slipway: the gateway: refused; set SLIPWAY_URL"},
			contains: []string{"the gateway: refused; set SLIPWAY_URL"},
		},
		"no builder": {
			state:   autobuild.PipelineGone,
			printed: []string{"slipway: well: the gateway", "slipway: the builder: none", "CI: exit code 1"},
			good:    1, contains: []string{"the builder: none", "hint-builder"},
		},
		"no secret to compile with": {
			createErr: fmt.Errorf("secret slipway_runner_token not found: %w", autobuild.ErrForbidden),
			contains:  []string{"not found", "hint-secret"},
		},
		"inactive": {
			createErr: fmt.Errorf("inactive: %w", autobuild.ErrForbidden), contains: []string{"inactive"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, "acme/builder")
			e.ci.state, e.ci.detail, e.ci.printed, e.ci.createErr = c.state, c.detail, c.printed, c.createErr
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			found := e.Probe(ctx, "acme/app")
			good := 0
			for _, f := range found {
				if f.Problem == "" {
					good++
				}
			}
			last := found[len(found)-1]
			if good != c.good || len(found)-good > 1 {
				t.Errorf("good findings: got %d, want %d: %+v", good, c.good, found)
			}
			for _, want := range c.contains {
				if !strings.Contains(last.Good+last.Problem, want) {
					t.Errorf("last finding: got %+v, want it to contain %q", last, want)
				}
			}
			if got := slices.Equal(e.ci.cancelled, []int64{1}); got != c.cancelled {
				t.Errorf("cancelled pipelines: got %v, want pipeline 1 cancelled %t", e.ci.cancelled, c.cancelled)
			}
		})
	}
}

func TestAProbeRunsInTheRepositoryOfBuilds(t *testing.T) {
	for builder, want := range map[string]string{"acme/builder": "acme/builder", "": "acme/app"} {
		e := newEnv(t, builder)
		e.ci.state, e.ci.printed = autobuild.PipelineGone, []string{"slipway: this step can build"}
		e.Probe(t.Context(), "acme/app")
		if len(e.ci.orders) != 1 {
			t.Fatalf("orders: got %+v, want one", e.ci.orders)
		}
		if got := e.ci.orders[0]; got.Repository != want || got.Commit != "" {
			t.Errorf("order: got %+v, want %s on its default branch", got, want)
		}
	}
	e := newEnv(t, "")
	if found := e.Probe(t.Context(), ""); len(found) != 1 || !strings.Contains(found[0].Good, "skipped") {
		t.Errorf("without a repository: got %+v, want it skipped", found)
	}
	if len(e.ci.orders) != 0 {
		t.Errorf("orders without a repository: got %+v, want none", e.ci.orders)
	}
}

func TestAProbeReportsAnUnreachableCI(t *testing.T) {
	e := newEnv(t, "acme/builder")
	e.ci.err = errors.New("connection refused")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if found := e.Probe(ctx, ""); len(found) != 1 || !strings.Contains(found[0].Problem, "connection refused") {
		t.Errorf(`findings: got %+v, want one with "connection refused"`, found)
	}
}
