package settings_test

import (
	"testing"

	"slipway/runner/settings"
)

func TestStateOfTheStepsOwnBuilder(t *testing.T) {
	type result struct {
		state  settings.State
		origin string
	}
	for _, c := range []struct {
		environ []string
		want    result
	}{
		{nil, result{origin: settings.Default}},
		{[]string{"PLUGIN_STATE=off"}, result{settings.State{Off: true}, "PLUGIN_STATE"}},
		{[]string{"PLUGIN_STATE=/cache/"}, result{settings.State{Dir: "/cache"}, "PLUGIN_STATE"}},
		{[]string{"SLIPWAY_BUILDER_STATE=/agent"}, result{settings.State{Dir: "/agent"}, "SLIPWAY_BUILDER_STATE"}},
		{[]string{"SLIPWAY_BUILDER_STATE=/agent", "PLUGIN_STATE=/cache"}, result{settings.State{Dir: "/cache"}, "PLUGIN_STATE"}},
	} {
		p, err := settings.ReadPlugin(plugin(c.environ...))
		if got := (result{p.State, p.Origins["PLUGIN_STATE"]}); err != nil || got != c.want {
			t.Errorf("%v: got %+v, error %v, want %+v", c.environ, got, err, c.want)
		}
	}
}

func TestStateThatDependsOnWhereTheStepRunsIsRefused(t *testing.T) {
	checkFaults(
		t,
		func(line string) error { _, err := settings.ReadPlugin(plugin(line)); return err },
		map[string]string{
			"PLUGIN_STATE=cache":            `PLUGIN_STATE is "cache": set the absolute path`,
			"PLUGIN_STATE=../../cache":      "PLUGIN_STATE is",
			"PLUGIN_STATE=/":                "PLUGIN_STATE is",
			"SLIPWAY_BUILDER_STATE=./state": "SLIPWAY_BUILDER_STATE is",
		},
	)
}
