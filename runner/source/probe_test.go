package source_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"slipway/runner/source"
)

// The git that tests run with is a mended one (2.50.1 and later, or a distribution's).
func TestO4ProbePassesOnAMendedGit(t *testing.T) {
	if err := source.ProbeSubmodules(t.Context()); err != nil {
		t.Error(err)
	}
}

// A git that runs what the clone brings is found out, whatever its version says.
func TestO4ProbeFindsAnUnsafeGit(t *testing.T) {
	real, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	// What CVE-2025-48384 does: the checkout of the submodule runs its post-checkout.
	script := "#!/bin/sh\n" + real + ` "$@" || exit; [ "$1" = clone ] || exit 0; exec sh inner/post-checkout` + "\n"
	if err := os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	if err := source.ProbeSubmodules(t.Context()); !errors.Is(err, source.ErrUnsafeGit) {
		t.Errorf("got %v, want ErrUnsafeGit", err)
	}
}

func TestProbeTellsOfABrokenGit(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "git"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	if err := source.ProbeSubmodules(t.Context()); err == nil || errors.Is(err, source.ErrUnsafeGit) {
		t.Errorf("got %v, want the failure of git itself", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := source.ProbeSubmodules(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's end", err)
	}
}
