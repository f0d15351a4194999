package buildkit_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipway/config/identity"
	"slipway/runner/buildkit"
	"slipway/runner/sandbox"
)

func TestChildBuildsAndStops(t *testing.T) {
	needBuildKit(t)
	dir := t.TempDir()
	var out syncBuffer
	child, err := sandbox.StartChild(t.Context(), sandbox.ChildOptions{
		Dir:                dir,
		InsecureRegistries: []string{"registry.invalid"},
		Environ:            append(os.Environ(), "SLIPWAY_BUILDER_NETWORK=none"),
		Output:             &out,
	})
	if err != nil {
		t.Fatalf("run the child: %v\n%s", err, &out)
	}
	client, err := buildkit.Dial(t.Context(), child.Address, identity.Identity{})
	if err != nil {
		t.Fatal(err)
	}
	build(t, client, request(write(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "a"})))
	_ = client.Close()
	started := time.Now()
	child.Stop()
	// The race detector adds a second to the end of each of the three processes.
	if took := time.Since(started); took > 6*time.Second {
		t.Errorf("stop of the child: got %s, want 6s at most", took)
	}
	if left := processes(t, dir); len(left) != 0 {
		t.Errorf("got processes %v after the stop, want none", left)
	}
	for line := range strings.Lines(out.String()) {
		if !strings.Contains(line, "GOCOVERDIR") { // only the test binary prints this warning
			t.Errorf("got output %q, want none", line)
		}
	}
}

func TestChildThatCannotStart(t *testing.T) {
	needBuildKit(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "state"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var out syncBuffer
	_, err := sandbox.StartChild(t.Context(), sandbox.ChildOptions{Dir: dir, Environ: os.Environ(), Output: &out})
	if err == nil || !strings.Contains(out.String(), "not a directory") {
		t.Errorf("got error %v and output %q, want the child's error in the output", err, &out)
	}
	if testing.CoverMode() == "" && !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("got error %v, want the last line of the child's output", err)
	}
}

func TestChildIsNotAwaitedAfterTheEnd(t *testing.T) {
	needBuildKit(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := sandbox.StartChild(ctx, sandbox.ChildOptions{Dir: t.TempDir(), Environ: os.Environ()})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled child: got error %v, want %v", err, context.Canceled)
	}
}

func TestChildWithoutARuntime(t *testing.T) {
	started := time.Now()
	_, err := sandbox.StartChild(
		t.Context(),
		sandbox.ChildOptions{Dir: t.TempDir(), Environ: []string{"SLIPWAY_BUILDER_RUNTIME=no-such-runtime"}},
	)
	if err == nil || !strings.Contains(err.Error(), "no builder can run here") {
		t.Errorf(`child: got error %v, want "no builder can run here" in it`, err)
	}
	if took := time.Since(started); took > soon {
		t.Errorf("time before the error: got %s, want %s at most", took, soon)
	}
}

func TestChildWithoutNetworkLogsTheReason(t *testing.T) {
	needBuildKit(t)
	var out syncBuffer
	_, err := sandbox.StartChild(t.Context(), sandbox.ChildOptions{
		Dir: t.TempDir(), Environ: append(os.Environ(), "SLIPWAY_BUILDER_NETWORK=vpn"), Output: &out,
	})
	if err == nil || !strings.Contains(out.String(), `builder: network "vpn" is unknown`) {
		t.Errorf("got error %v and output %q, want the reason in them", err, &out)
	}
}
