package runner_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAFullDiskIsToldWithWhatGivesRoom(t *testing.T) {
	w := newWorld(t)
	w.builder.buildError = errors.New("failed to copy files: no space left on device")
	_, err := w.alone("PLUGIN_TAGS=1.2")
	if want := "the disk of the builder at unix:///of-the-world.sock is full: free some"; err == nil ||
		!strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

func TestAFullDiskOfTheStepIsToldWithWhatGivesRoom(t *testing.T) {
	needBuildKit(t)
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a small disk is mounted, which needs root")
	}
	dir := workspace(
		t,
		map[string]string{"Dockerfile": "FROM scratch\nCOPY large /\n", "large": strings.Repeat("x", 90<<20)},
	)
	cmd := step(t, dir, "PLUGIN_REPO=acme/app", "PLUGIN_DRY_RUN=true")
	disk := variable(cmd.Env, "TMPDIR")
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=72m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	out, err := cmd.CombinedOutput()
	if want := "give it room below TMPDIR (" + disk + ") or on a volume of its own (setting state, PLUGIN_STATE)"; err == nil ||
		!strings.Contains(string(out), want) {
		t.Errorf("%v, want %q\n%s", err, want, out)
	}
}
