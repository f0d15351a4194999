package embedded_test

import (
	"context"
	"io"
	"testing"

	"github.com/sirupsen/logrus"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/world"
	"slipway/plugin/demo/world/worldtest"
	"slipway/plugin/engine/embedded"
	"slipway/plugin/engine/enginetest"
)

func TestMain(m *testing.M) { worldtest.Main(m) }

func TestConformance(t *testing.T) {
	worldtest.NeedMachine(t)
	enginetest.Run(t, enginetest.Factory{
		World: func(testing.TB) world.Options {
			return world.Options{Environment: []string{"SLIPWAY_BUILDER_NETWORK=none"}}
		},
		Engine: func(t testing.TB) autobuild.Engine {
			log := logrus.New()
			log.SetOutput(io.Discard)
			e := embedded.New(embedded.Options{
				Executable: "/proc/self/exe", WorkDir: t.TempDir(), Log: log,
				Address: func(context.Context) (string, error) { return "unix:///nobody-listens", nil },
			})
			t.Cleanup(e.Close)
			return e
		},
		KillRunner: func(ctx context.Context, w *world.World, a autobuild.Attempt) error { return w.KillRunner(ctx, a) },
	})
}
