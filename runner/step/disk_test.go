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
