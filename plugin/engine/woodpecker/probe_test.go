package woodpecker_test

import (
	"context"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/engine/enginetest"
	"slipway/plugin/engine/pipeline"
)

// probeEnv returns an env whose steps run the runner, with an unreachable builder. Its agent takes
// pipelines at once.
func probeEnv(t *testing.T) *env {
	t.Helper()
	program, err := enginetest.Link(t.TempDir())
	must.Succeed(t, err)
	e := newEnvWith(t, "acme/builder", "exec "+program+" runner", pipeline.Step{
		Image: "slipway", ProbeURL: enginetest.ServeProbes(t, probes()), Builder: "unix:///nowhere.sock",
	})
	e.server.Release()
	return e
}

// Each wrong setting or missing program of Woodpecker is reported with its fix.
func TestAProbeNamesTheFix(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(e *env)
		well     int
		wantText []string
	}{
		"no builder": {
			func(*env) {},
			1,
			[]string{
				"the builder: ", "unix:///nowhere.sock",
				"SLIPWAY_WOODPECKER_BUILDER=unix:///nowhere.sock must be reachable",
			},
		},
		"no config extension": {
			func(e *env) { e.server.SetExtensions("", e.extensions+"secret") },
			0, []string{"WOODPECKER_CONFIG_EXTENSION_ENDPOINT", "WOODPECKER_EXTENSIONS_ALLOWED_HOSTS"},
		},
		"config extension that is refused": {
			func(e *env) { e.clock.add(time.Hour) },
			0, []string{"config", "clock"},
		},
		"the repository's own pipeline": {func(e *env) {
			e.server.SetExtensions("", e.extensions+"secret")
			e.server.SetConfig(e.builder, "steps:\n- name: test\n  image: x\n  commands: [echo their own]\n")
		}, 0, []string{"ran the repository's own workflow", "WOODPECKER_CONFIG_EXTENSION_ENDPOINT"}},
		"no secret extension": {
			func(e *env) { e.server.SetExtensions(e.extensions+"config", "") },
			0, []string{`secret "slipway_runner_token" not found`, "WOODPECKER_SECRET_EXTENSION_ENDPOINT"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := probeEnv(t)
			c.change(e)
			enginetest.WantProblem(t, e.Probe(t.Context(), ""), c.well, c.wantText...)
		})
	}
}

func TestAProbeThatNoAgentTakesIsCancelled(t *testing.T) {
	e := probeEnv(t)
	e.server.Hold()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	enginetest.WantProblem(t, e.Probe(ctx, ""), 0, "did not start", "is an agent connected")
	if all := e.of(e.builder); len(all) != 1 || all[0].Status != "canceled" {
		t.Errorf("pipelines: got %+v, want one cancelled pipeline", all)
	}
}
