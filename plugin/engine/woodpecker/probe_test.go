package woodpecker_test

import (
	"context"
	"testing"
	"time"

	"slipway/plugin/engine/enginetest"
	"slipway/plugin/engine/pipeline"
)

// probeBench is a bench whose steps run the runner, with a builder at no address. Its agent
// takes what comes.
func probeBench(t *testing.T) *bench {
	t.Helper()
	program, err := enginetest.Link(t.TempDir())
	must(t, err)
	b := newBenchWith(t, "acme/builder", "exec "+program+" runner", pipeline.Step{
		Image: "slipway", ProbeURL: enginetest.ServeProbes(t, probes()), Builder: "unix:///nowhere.sock",
	})
	b.server.Release()
	return b
}

// Each thing that may be set up wrongly on Woodpecker, or be away, is told with what mends it.
func TestAProbeSaysWhatToMend(t *testing.T) {
	for name, c := range map[string]struct {
		change func(b *bench)
		well   int
		says   []string
	}{
		"no builder": {
			func(*bench) {},
			1, []string{"the builder: ", "unix:///nowhere.sock", "SLIPWAY_WOODPECKER_BUILDER=unix:///nowhere.sock must be in reach"},
		},
		"no config extension": {
			func(b *bench) { b.server.SetExtensions("", b.extensions+"secret") },
			0, []string{"WOODPECKER_CONFIG_EXTENSION_ENDPOINT", "WOODPECKER_EXTENSIONS_ALLOWED_HOSTS"},
		},
		"config extension that is refused": {
			func(b *bench) { b.clock.add(time.Hour) },
			0, []string{"config", "clock"},
		},
		"the repository's own pipeline": {func(b *bench) {
			b.server.SetExtensions("", b.extensions+"secret")
			b.server.SetConfig(b.builder, "steps:\n- name: test\n  image: x\n  commands: [echo their own]\n")
		}, 0, []string{"ran the repository's own workflow", "WOODPECKER_CONFIG_EXTENSION_ENDPOINT"}},
		"no secret extension": {
			func(b *bench) { b.server.SetExtensions(b.extensions+"config", "") },
			0, []string{`secret "slipway_runner_token" not found`, "WOODPECKER_SECRET_EXTENSION_ENDPOINT"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := probeBench(t)
			c.change(b)
			enginetest.WantProblem(t, b.Probe(t.Context(), ""), c.well, c.says...)
		})
	}
}

func TestAProbeThatNoAgentTakesIsCancelled(t *testing.T) {
	b := probeBench(t)
	b.server.Hold()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	enginetest.WantProblem(t, b.Probe(ctx, ""), 0, "was taken by nobody", "is an agent connected")
	if all := b.of(b.builder); len(all) != 1 || all[0].Status != "canceled" {
		t.Errorf("pipelines %+v, want one that was cancelled", all)
	}
}
