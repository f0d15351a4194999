package step_test

import (
	"testing"
	"time"

	"slipway/runner/hints"
	"slipway/runner/runnertest"
)

func TestDryRunSettingPrintsThePush(t *testing.T) {
	e := newEnv(t)
	log, err := e.run("PLUGIN_DRY_RUN=true", "PLUGIN_TAGS=1.2,latest")
	for _, want := range []string{"dry_run                      true (PLUGIN_DRY_RUN)", "cached  2 of 3 steps", "would push " + e.Registry.Image() + ":latest"} {
		if err != nil {
			t.Errorf("step: %v\n%s", err, log)
			continue
		}
		runnertest.CheckHas(t, "the log", log, want)
	}
}

func TestStepPrintsHints(t *testing.T) {
	e := newEnv(t)
	e.Builder.Ran = []hints.Step{
		{Name: "[1/2] FROM a", Cached: true},
		{Name: "[2/2] RUN npm ci", Took: 9 * time.Second},
	}
	dir := runnertest.Workspace(t, map[string]string{"web/Dockerfile": "FROM a\nRUN npm ci\n"})
	log, err := e.run("CI_WORKSPACE="+dir, "PLUGIN_DOCKERFILE=web/Dockerfile")
	want := "  hint    web/Dockerfile:2: RUN ran again for 9s; with --mount=type=cache on /root/.npm"
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	runnertest.CheckHas(t, "the log", log, want)
}
