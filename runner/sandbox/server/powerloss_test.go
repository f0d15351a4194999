package server

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/moby/buildkit/util/db/boltutil"
	"github.com/moby/buildkit/worker/base"
	"github.com/sirupsen/logrus"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/runner/sandbox/crashsafe"
	"slipway/runner/sandbox/sandboxtest"
)

// losePower returns a mounted copy of a file system without the writes that are not on its disk.
// https://github.com/torvalds/linux/blob/master/include/uapi/linux/ext4.h
func losePower(t *testing.T, image, dir string) string {
	t.Helper()
	const shutdown, noLogFlush = 0x8004587d, 2
	root := must.Get[*os.File](t)(os.Open(dir))
	must.Succeed(t, unix.IoctlSetPointerInt(int(root.Fd()), shutdown, noLogFlush))
	must.Succeed(t, root.Close())
	rest := filepath.Join(t.TempDir(), "disk.img")
	runCommand(t, "cp", "--sparse=always", image, rest)
	return mountImage(t, rest)
}

func mountImage(t *testing.T, image string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	runCommand(t, "mount", "-o", "loop", image, dir)
	t.Cleanup(func() { must.Succeed(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

func makeImage(t *testing.T) (image string) {
	t.Helper()
	sandboxtest.NeedRoot(t)
	sandboxtest.Need(t, "mkfs.ext4", "e2fsprogs")
	sandboxtest.Need(t, "mount", "mount")
	image = filepath.Join(t.TempDir(), "disk.img")
	must.Succeed(t, os.WriteFile(image, nil, 0o600))
	must.Succeed(t, os.Truncate(image, 64<<20))
	runCommand(t, "mkfs.ext4", "-q", "-F", "-O", "has_journal", image)
	return image
}

func runCommand(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: got %v, want no error:\n%s", name, err, out)
	}
}

// A caches holds the databases of a state that the server opens.
type caches struct {
	base.WorkerOpt
	history *boltutil.DB
	open    closers
}

func openCaches(t *testing.T, state string) *caches {
	t.Helper()
	c := &caches{}
	root := filepath.Join(state, "runc-overlayfs")
	name, snapshotter := chooseSnapshotter(state)
	must.Succeed(t, os.MkdirAll(root, 0o700))
	c.WorkerOpt = must.Get[base.WorkerOpt](t)(openStores(root, root, name, snapshotter, &c.open))
	c.open.add(c.MetadataStore.Close)
	_, history, err := openRecords(state, &c.open)
	must.Succeed(t, err)
	c.history = history
	return c
}

// A closed state survives a loss of power, although its databases are not synced at each commit.
func TestAClosedStateSurvivesAPowerLoss(t *testing.T) {
	image := makeImage(t)
	dir := mountImage(t, image)
	state := useState(t, dir)
	before := openCaches(t, dir)
	before.store(t)
	must.Succeed(t, before.open.close())
	end := ending{log: logrus.New(), state: state, clean: true}
	end.closeState()

	dir = losePower(t, image, dir)
	if reason := must.Get[string](t)(crashsafe.Check(dir, machine("boot 2"))); reason != "" {
		t.Errorf("reason to discard the state: got %q, want none", reason)
	}
	after := openCaches(t, dir)
	after.check(t)
	must.Succeed(t, after.open.close())
}

// The record of a state in use survives a loss of power, so that no builder uses the incomplete state.
func TestAStateInUseIsDiscardedAfterAPowerLoss(t *testing.T) {
	image := makeImage(t)
	dir := mountImage(t, image)
	useState(t, dir)
	before := openCaches(t, dir)
	before.store(t)

	dir = losePower(t, image, dir)
	_ = before.open.close()              // its disk is gone
	const want = "crashed or lost power" // not that the record is absent
	if reason := must.Get[string](t)(crashsafe.Check(dir, machine("boot 2"))); !strings.Contains(reason, want) {
		t.Errorf("reason to discard the state: got %q, want %q in it", reason, want)
	}
}

func machine(boot string) crashsafe.Machine { return crashsafe.Machine{Boot: boot, ID: "machine"} }

func useState(t *testing.T, dir string) *crashsafe.State {
	t.Helper()
	return must.Get[*crashsafe.State](t)(crashsafe.Open(dir, machine("boot 1"), func(reason string) {
		t.Errorf("a new state is discarded: %s", reason)
	}))
}

// store writes to each database that is not synced at each commit, and that Slipway opens.
func (c *caches) store(t *testing.T) {
	t.Helper()
	_ = must.Get[leases.Lease](t)(c.LeaseManager.Create(t.Context(), leases.WithID("kept")))
	must.Succeed(t, c.Snapshotter.Prepare(t.Context(), "kept", ""))
	must.Succeed(t, c.history.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("kept"))
		return err
	}))
}

// check checks that the databases have what store wrote.
func (c *caches) check(t *testing.T) {
	t.Helper()
	if found := must.Get[[]leases.Lease](t)(c.LeaseManager.List(t.Context())); len(found) != 1 {
		t.Errorf("leases: got %v, want the one that was stored", found)
	}
	if _, err := c.Snapshotter.Stat(t.Context(), "kept"); err != nil {
		t.Errorf("snapshot: got %v, want the one that was stored", err)
	}
	must.Succeed(t, c.history.View(func(tx *bolt.Tx) error {
		if tx.Bucket([]byte("kept")) == nil {
			t.Error("history: got none, want the one that was stored")
		}
		return nil
	}))
}
