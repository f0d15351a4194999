package disk_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/runner/sandbox/disk"
	"slipway/runner/sandbox/sandboxtest"
)

// unlimited is a limit that no directory exceeds.
func unlimited() disk.Amount { return disk.Amount{Bytes: math.MaxInt64, Files: math.MaxInt64} }

func TestMeasureCountsBlocksAndFiles(t *testing.T) {
	dir := t.TempDir()
	must.Succeed(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700))
	must.Succeed(t, os.WriteFile(filepath.Join(dir, "a", "data"), make([]byte, mebi), 0o600))
	must.Succeed(t, os.Link(filepath.Join(dir, "a", "data"), filepath.Join(dir, "a", "b", "again")))
	must.Succeed(t, os.Symlink("/", filepath.Join(dir, "root")))
	sparse := create(t, filepath.Join(dir, "sparse"))
	must.Succeed(t, sparse.Truncate(1<<40))
	reserved := create(t, filepath.Join(dir, "reserved"))
	must.Succeed(t, unix.Fallocate(int(reserved.Fd()), 0, 0, 2*mebi))
	got := must.Get[disk.Amount](t)(disk.Measure(t.Context(), dir, unlimited()))
	if got.Bytes < 3*mebi || got.Bytes > 3*mebi+64<<10 {
		t.Errorf("bytes: got %d, want 3 MiB and the directories", got.Bytes)
	}
	if got.Files != 6 {
		t.Errorf("files: got %d, want a, b, data, root, sparse and reserved", got.Files)
	}
}

// A hostile directory must not keep the measurement busy.
func TestMeasureStopsAtTheLimit(t *testing.T) {
	dir := t.TempDir()
	for i := range 100 {
		must.Succeed(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), make([]byte, 100<<10), 0o600))
	}
	for name, limit := range map[string]disk.Amount{
		"bytes": {Bytes: mebi, Files: 1000}, "files": {Bytes: 1 << 40, Files: 10},
	} {
		got := must.Get[disk.Amount](t)(disk.Measure(t.Context(), dir, limit))
		if got.Files < 11 || got.Files > 20 {
			t.Errorf("limit of %s: got %d files counted, want about 11", name, got.Files)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := disk.Measure(ctx, dir, unlimited()); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: got %v, want %v", err, context.Canceled)
	}
}

func TestMeasureStaysOnItsFileSystem(t *testing.T) {
	dir := ownFileSystem(t, 64*mebi)
	other := filepath.Join(dir, "other")
	must.Succeed(t, os.Mkdir(other, 0o700))
	must.Succeed(t, unix.Mount("tmpfs", other, "tmpfs", 0, ""))
	defer func() { must.Succeed(t, unix.Unmount(other, 0)) }()
	must.Succeed(t, os.WriteFile(filepath.Join(other, "data"), make([]byte, mebi), 0o600))
	got := must.Get[disk.Amount](t)(disk.Measure(t.Context(), dir, unlimited()))
	if got.Bytes >= mebi {
		t.Errorf("got %d bytes, want none of another file system", got.Bytes)
	}
}

// A path that is too long for the kernel hides files from the measurement.
func TestADirectoryThatIsTooDeepIsOverItsLimit(t *testing.T) {
	dir := sandboxtest.Dir(t)
	deep := must.Get[*os.Root](t)(os.OpenRoot(dir))
	name := strings.Repeat("d", 250)
	for range 20 {
		must.Succeed(t, deep.Mkdir(name, 0o700))
		next := must.Get[*os.Root](t)(deep.OpenRoot(name))
		deep.Close()
		deep = next
	}
	deep.Close()
	err := disk.Watch{Dir: dir, Limit: 1 << 40, Reserve: 0}.Run(t.Context())
	var over *disk.OverError
	if !errors.As(err, &over) {
		t.Errorf("got %v, want an OverError", err)
	}
}
