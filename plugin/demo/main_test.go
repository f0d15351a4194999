package demo_test

import (
	"testing"

	"slipway/plugin/demo"
	"slipway/plugin/demo/demotest"
)

func TestMain(m *testing.M) { demotest.Main(m, demo.Command()) }

// quick are settings that the worlds of these tests share: no network for RUN steps, which
// none of them needs, and room for a few builds.
func quick(further ...string) []string {
	return append([]string{"SLIPWAY_BUILDER_NETWORK=none", "SLIPWAY_CONCURRENCY=4"}, further...)
}
