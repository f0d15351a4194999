package demo_test

import (
	"testing"

	"slipway/plugin/demo"
	"slipway/plugin/demo/demotest"
)

func TestMain(m *testing.M) { demotest.Main(m, demo.Command()) }

// commonSettings returns the settings that these tests share: RUN steps need no network, and a few
// builds run at once.
func commonSettings(more ...string) []string {
	return append([]string{"SLIPWAY_BUILDER_NETWORK=none", "SLIPWAY_CONCURRENCY=4"}, more...)
}
