package embedded_test

import (
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
	"slipway/plugin/engine/enginetest"
)

func TestMain(m *testing.M) { demotest.Main(m) }

func TestConformance(t *testing.T) {
	demotest.RequireTools(t)
	enginetest.Run(t, enginetest.Factory{
		Env: func(testing.TB) (localenv.Options, *enginetest.CI) {
			return localenv.Options{Environment: []string{"SLIPWAY_BUILDER_NETWORK=none"}}, nil
		},
		Limit: "SLIPWAY_CONCURRENCY",
		Alone: func(t testing.TB, url string) (autobuild.Engine, autobuild.Pipeline) {
			// The service runs in this process, so each runner shows whether it was started once.
			e := newEngine(t.(*testing.T), "/proc/self/exe", nil)
			t.Cleanup(e.Close)
			return e, autobuild.Pipeline{
				BuildID:     "twice",
				Number:      7,
				Attempt:     1,
				URL:         url + "/twice",
				Token:       secret.New("token"),
				CacheDomain: "twice",
			}
		},
	})
}
