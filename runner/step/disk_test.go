package step_test

import (
	"errors"
	"testing"

	"slipway/runner/runnertest"
)

func TestTheErrorOfAFullDiskNamesTheFix(t *testing.T) {
	e := newEnv(t)
	e.Builder.BuildError = errors.New("failed to copy files: no space left on device")
	_, err := e.run("PLUGIN_TAGS=1.2")
	want := "the disk of the builder at unix:///run/test/builder.sock is full: free space"
	if err == nil {
		t.Fatal("step: got no error, want one")
	}
	runnertest.CheckHas(t, "the error", err.Error(), want)
}

// The step's own builder shares its memory with the step, so the error of a killed command names the step's limit.
func TestAKilledCommandOfTheStepsOwnBuilderNamesTheFix(t *testing.T) {
	needBuilds(t)
	last, log := runRUN(t, shellStage+"RUN sh -c 'kill -9 $$'; exit $?\n", "SLIPWAY_BUILDER_NETWORK=none")
	checkLine(t, last, log, "Dockerfile line 5: the command was killed (SIGKILL, exit code 137)",
		": give the step more memory in the CI")
}
