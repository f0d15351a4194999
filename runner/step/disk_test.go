package step_test

import (
	"errors"
	"strings"
	"testing"
)

func TestAFullDiskIsToldWithWhatGivesRoom(t *testing.T) {
	e := newEnv(t)
	e.Builder.BuildError = errors.New("failed to copy files: no space left on device")
	_, err := e.run("PLUGIN_TAGS=1.2")
	if want := "the disk of the builder at unix:///run/test/builder.sock is full: free some"; err == nil ||
		!strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}
