package crashtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
	"slipway/runner/sandbox/disk"
)

// The sizes of the test below, in bytes.
const (
	buildersDisk = 3 << 30  // disk of all builds
	reserve      = 1 << 30  // free space that the disks of builds leave
	oneBuild     = 64 << 20 // SLIPWAY_BUILD_DISK and more
)

// F5: while other files fill the disk of builds, builds wait for their cache or their own disk, and name the disk and
// its setting. When the disk has room again, they and the next push are built, without a restart.
func TestF5AFullDiskOfTheBuilderDelaysBuilds(t *testing.T) {
	demotest.RequireTools(t)
	t.Parallel()
	o := localenv.Options{Child: true, Environment: []string{
		"SLIPWAY_BUILDER_NETWORK=none", "SLIPWAY_BUILD_DISK=60MB", "SLIPWAY_BUILDER_DISK=512MB",
	}}
	o.BeforeGateway = mountBuilds
	env := demotest.StartSignedIn(t, o)
	builds := filepath.Join(env.Gateway.Data, "builder")
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())

	leave(t, builds, reserve+2*oneBuild) // not enough for the cache
	commit := p.Commit("cache", env.Dockerfile("cache"))
	p.Push("main")
	// The text of the check that follows the attempt begins so, that of the attempt does not.
	b := waitForDetail(p, 1, "start the builder: ")
	if b.State != autobuild.Queued || b.Reason != autobuild.ReasonSpace {
		t.Errorf("build without a cache: got %s (%s), want %s (%s)",
			b.State, b.Reason, autobuild.Queued, autobuild.ReasonSpace)
	}
	if b.Attempt != 1 {
		t.Errorf("attempts of the build without a cache: got %d, want 1", b.Attempt)
	}
	checkNames(t, b.Detail, builds, "SLIPWAY_BUILDER_DISK")
	env.Must(os.Remove(filepath.Join(builds, "fill")))
	checkBuilt(p, 1, commit, "cache")

	leave(t, builds, reserve)
	commit = p.Commit("waits", env.Dockerfile("waits"))
	p.Push("main")
	b = waitForDetail(p, 2, "free space there")
	if b.State != autobuild.Queued {
		t.Errorf("state of the build without a disk: got %s, want %s", b.State, autobuild.Queued)
	}
	checkNames(t, b.Detail, builds, "SLIPWAY_BUILD_DISK")
	env.Must(os.Remove(filepath.Join(builds, "fill")))
	checkBuilt(p, 2, commit, "waits")
	commit = p.Commit("next", env.Dockerfile("next"))
	p.Push("main")
	checkBuilt(p, 3, commit, "next")
}

// waitForDetail waits until the newest of some builds has a text in its detail.
func waitForDetail(p *demotest.Project, builds int, text string) (b autobuild.Build) {
	p.Env.WaitUntil("the build names the disk", func() (bool, error) {
		all, err := p.Builds(p.Env.Context)
		if err != nil || len(all) < builds {
			return false, err
		}
		b = all[0]
		return strings.Contains(b.Detail, text), nil
	})
	return b
}

// mountBuilds mounts a small disk on the directory of the gateway's builds. Its file is sparse, so it takes only the
// space of its content.
func mountBuilds(ctx context.Context, env *localenv.Env) ([]string, error) {
	builds := filepath.Join(env.Gateway.Data, "builder")
	if err := os.MkdirAll(builds, 0o711); err != nil {
		return nil, err
	}
	image := filepath.Join(env.Dir, "builds.img")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(image, buildersDisk); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-m", "0", "-E", "lazy_itable_init=1", image},
		{"mount", "-o", "loop,noinit_itable", image, builds},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", args[0], err, out)
		}
	}
	env.OnClose(func() { _ = syscall.Unmount(builds, syscall.MNT_DETACH) }) // the gateway has ended
	return nil, errors.Join(os.Remove(filepath.Join(builds, "lost+found")), os.Chmod(builds, 0o711))
}

// leave fills the disk of a directory until it has this free space.
func leave(t *testing.T, dir string, bytes int64) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(dir, "fill"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	usage, err := disk.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Fallocate(int(file.Fd()), 0, 0, info.Size()+usage.FreeBytes-bytes); err != nil {
		t.Fatalf("fill the disk: %v", err)
	}
}

// checkNames checks that a message has a directory and a setting.
func checkNames(t *testing.T, message, dir, setting string) {
	t.Helper()
	if !strings.Contains(message, dir) || !strings.Contains(message, "("+setting+")") {
		t.Errorf("message: got %q, want %s and (%s) in it", message, dir, setting)
	}
}
