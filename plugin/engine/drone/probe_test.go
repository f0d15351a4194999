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

// probeBench is a bench whose steps run the runner, with a builder at no address.
func probeBench(t *testing.T) (b *bench, builder *dronetest.Repository) {
	t.Helper()
	program, err := enginetest.Link(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	probes := pipeline.NewProbes(drone.Name, secret.New("key"), time.Now)
	b = newBench(t, drone.Options{
		Repository: "acme/builder", Probes: probes,
		Step: pipeline.Step{Image: program, ProbeURL: enginetest.ServeProbes(t, probes), Builder: "unix:///nowhere.sock"},
	})
	return b, b.server.AddRepository("acme/builder", "main")
}

// Each thing that may be set up wrongly on Drone, or be away, is told with what mends it.
func TestAProbeSaysWhatToMend(t *testing.T) {
	all := secrets()
	for name, c := range map[string]struct {
		change func(b *bench, builder *dronetest.Repository, e dronetest.Extensions)
		well   int
		says   []string
	}{
		"no builder": {
			func(*bench, *dronetest.Repository, dronetest.Extensions) {},
			1, []string{"the builder: ", "unix:///nowhere.sock", "SLIPWAY_DRONE_BUILDER=unix:///nowhere.sock must be in reach"},
		},
		"no config extension": {func(b *bench, _ *dronetest.Repository, e dronetest.Extensions) {
			e.Config = dronetest.Extension{}
			b.server.SetExtensions(e)
		}, 0, []string{"DRONE_YAML_ENDPOINT"}},
		"config extension with another secret": {func(b *bench, _ *dronetest.Repository, e dronetest.Extensions) {
			e.Config.Secret = secret.New("other")
			b.server.SetExtensions(e)
		}, 0, []string{"DRONE_YAML_SECRET"}},
		"the repository's own pipeline": {func(b *bench, builder *dronetest.Repository, e dronetest.Extensions) {
			e.Config = dronetest.Extension{}
			b.server.SetExtensions(e)
			b.server.SetConfig(builder, "kind: pipeline\ntype: exec\nname: own\nsteps:\n- name: test\n  commands:\n  - echo their own\n")
		}, 0, []string{"our step said nothing", "their own", "DRONE_YAML_ENDPOINT"}},
		"no secret extension": {func(b *bench, _ *dronetest.Repository, e dronetest.Extensions) {
			e.Secret = dronetest.Extension{}
			b.server.SetExtensions(e)
		}, 0, []string{"SLIPWAY_RUNNER_TOKEN is not set", "DRONE_SECRET_PLUGIN_ENDPOINT"}},
		"secret extension with another secret": {func(b *bench, _ *dronetest.Repository, e dronetest.Extensions) {
			e.Secret.Secret = all["config"]
			b.server.SetExtensions(e)
		}, 0, []string{"DRONE_SECRET_PLUGIN_TOKEN"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, builder := probeBench(t)
			c.change(b, builder, extensions(b.gateway, all))
			enginetest.WantProblem(t, b.Probe(t.Context(), ""), c.well, c.says...)
		})
	}
}

func TestAProbeThatNoRunnerTakesIsCancelled(t *testing.T) {
	b, builder := probeBench(t)
	b.server.Hold()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	enginetest.WantProblem(t, b.Probe(ctx, ""), 0, "was taken by nobody", "is a runner of type exec for linux/amd64 connected")
	if builds := b.server.Builds(builder); len(builds) != 1 || builds[0].Status != godrone.StatusKilled {
		t.Errorf("builds %+v, want one that was cancelled", builds)
	}
}
