package drone_test

import (
	"context"
	"testing"
	"time"

	godrone "github.com/drone/drone-go/drone"

	"slipway/config/secret"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/drone/dronetest"
	"slipway/plugin/engine/enginetest"
	"slipway/plugin/engine/pipeline"
)

// probeEnv returns an env whose steps run the runner, with an unreachable builder.
func probeEnv(t *testing.T) (e *env, builder *dronetest.Repository) {
	t.Helper()
	program, err := enginetest.Link(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	probes := pipeline.NewProbes(drone.Name, secret.New("key"), time.Now)
	e = newEnv(t, drone.Options{
		Repository: "acme/builder", Probes: probes,
		Step: pipeline.Step{
			Image:    program,
			ProbeURL: enginetest.ServeProbes(t, probes),
			Builder:  "unix:///nowhere.sock",
		},
	})
	return e, e.server.AddRepository("acme/builder", "main")
}

// Each wrong setting or missing program of Drone is reported with its fix.
func TestAProbeNamesTheFix(t *testing.T) {
	all := secrets()
	for name, c := range map[string]struct {
		change   func(e *env, builder *dronetest.Repository, ext dronetest.Extensions)
		well     int
		wantText []string
	}{
		"no builder": {
			func(*env, *dronetest.Repository, dronetest.Extensions) {},
			1,
			[]string{
				"the builder: ", "unix:///nowhere.sock", "SLIPWAY_DRONE_BUILDER=unix:///nowhere.sock must be reachable",
			},
		},
		"no config extension": {func(e *env, _ *dronetest.Repository, ext dronetest.Extensions) {
			ext.Config = dronetest.Extension{}
			e.server.SetExtensions(ext)
		}, 0, []string{"DRONE_YAML_ENDPOINT"}},
		"config extension with another secret": {func(e *env, _ *dronetest.Repository, ext dronetest.Extensions) {
			ext.Config.Secret = secret.New("other")
			e.server.SetExtensions(ext)
		}, 0, []string{"DRONE_YAML_SECRET"}},
		"the repository's own pipeline": {func(e *env, builder *dronetest.Repository, ext dronetest.Extensions) {
			ext.Config = dronetest.Extension{}
			e.server.SetExtensions(ext)
			e.server.SetConfig(builder, "kind: pipeline\ntype: exec\nname: own\nsteps:\n- name: test\n  "+
				"commands:\n  - echo their own\n")
		}, 0, []string{"without output of our step", "their own", "DRONE_YAML_ENDPOINT"}},
		"no secret extension": {func(e *env, _ *dronetest.Repository, ext dronetest.Extensions) {
			ext.Secret = dronetest.Extension{}
			e.server.SetExtensions(ext)
		}, 0, []string{"SLIPWAY_RUNNER_TOKEN is not set", "DRONE_SECRET_PLUGIN_ENDPOINT"}},
		"secret extension with another secret": {func(e *env, _ *dronetest.Repository, ext dronetest.Extensions) {
			ext.Secret.Secret = all["config"]
			e.server.SetExtensions(ext)
		}, 0, []string{"DRONE_SECRET_PLUGIN_TOKEN"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, builder := probeEnv(t)
			c.change(e, builder, extensions(e.gateway, all))
			enginetest.WantProblem(t, e.Probe(t.Context(), ""), c.well, c.wantText...)
		})
	}
}

func TestAProbeThatNoRunnerTakesIsCancelled(t *testing.T) {
	e, builder := probeEnv(t)
	e.server.Hold()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	enginetest.WantProblem(
		t, e.Probe(ctx, ""), 0, "did not start", "is a runner of type exec for linux/amd64 connected",
	)
	if builds := e.server.Builds(builder); len(builds) != 1 || builds[0].Status != godrone.StatusKilled {
		t.Errorf("builds: got %+v, want one cancelled build", builds)
	}
}
