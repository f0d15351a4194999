package service

import (
	"testing"

	"slipway/config/discard"
	"slipway/runner/sandbox/sandboxtest"
)

// A service without hooks has made no group, and Close makes none only to remove it.
func TestCloseOfUnusedSandboxesMakesNoGroup(t *testing.T) {
	s := NewHostSandboxes(t.Context(), SandboxOptions{Dir: sandboxtest.Dir(t), Log: discard.Logger()})
	s.Close()
	if s.made.Load() != nil {
		t.Error("groups after Close: got some, want none")
	}
}
