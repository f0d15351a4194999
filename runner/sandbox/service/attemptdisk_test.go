package service_test

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipway/config/buildservice"
	"slipway/config/must"
	"slipway/config/secret"
	"slipway/runner/sandbox/sandboxtest"
	"slipway/runner/sandbox/service"
)

// fillToken begins the token of a runner that fills its disk.
const fillToken = "fill:"

// fillDisk fills the disk of a runner, deletes the file, and returns the limit that the service reports. A
// directory has no limit of its own, so the service stops the runner.
func fillDisk() string {
	control, err := buildservice.OpenControl(os.Getenv)
	if err != nil {
		return err.Error()
	}
	name := filepath.Join(os.Getenv("SLIPWAY_WORKDIR"), "large")
	before, err := control.Limit(context.Background())
	if err != nil {
		return err.Error()
	}
	stopped, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	fillErr := fill(stopped, name)
	<-time.After(100 * time.Millisecond) // on a larger disk, the last percent takes as long
	_ = os.Remove(name)
	after, err := control.Limit(context.Background())
	if err != nil {
		return err.Error()
	}
	return "before " + before + "\nfill " + fillErr.Error() + "\nafter " + after
}

// fill writes 500 MB/s to a file until an error, or until ctx ends.
func fill(ctx context.Context, name string) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer file.Close()
	data := make([]byte, 1<<20)
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	for ctx.Err() == nil {
		<-pace.C
		if _, err := file.Write(data); err != nil {
			return unix.ENOSPC
		}
	}
	return ctx.Err()
}

// git deletes its files before it ends. So the reason must not depend on the free space at the end.
func TestTheServiceReportsADiskThatWasFull(t *testing.T) {
	needRoot(t)
	got := runFiller(t, func(o *service.Options) { o.DiskBytes = 64 << 20 })
	want := "before \nfill no space left on device\nafter the disk of the build is full, limit 67.11 MB: SLIPWAY_BUILD_DISK"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Without rights to mount, the directory of an attempt is on the disk of the machine.
func TestTheServiceStopsARunnerThatFillsTheDiskOfTheMachine(t *testing.T) {
	if !sandboxtest.Rootless(t) {
		return
	}
	for name, c := range map[string]struct {
		watch int64
		want  string
	}{
		"limit": {128 << 20, "the disk of the build is full, limit 134.2 MB: SLIPWAY_BUILD_DISK"},
		"reserve": {1 << 40, "the disk of the build is full: the machine has less than 1.074 GB of free space: " +
			"SLIPWAY_BUILD_DISK"},
	} {
		t.Run(name, func(t *testing.T) {
			got := runFiller(t, func(o *service.Options) {
				o.WatchBytes = c.watch
				must.Succeed(t, os.MkdirAll(o.Dir, 0o711))
				must.Succeed(t, unix.Mount("tmpfs", o.Dir, "tmpfs", 0, "size=3g,mode=0711"))
				t.Cleanup(func() { must.Succeed(t, unix.Unmount(o.Dir, unix.MNT_DETACH)) })
			})
			if want := "before \nfill context canceled\nafter " + c.want; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// runFiller runs fillDisk in a runner, and returns its result.
func runFiller(t *testing.T, change func(*service.Options)) string {
	t.Helper()
	e := newEnv(t, "", func(o *service.Options) {
		o.Program, o.Grace = "/proc/self/exe", 20*time.Second
		change(o)
	})
	r := run("b1-1")
	r.Token = secret.New(fillToken + filepath.Join(e.dir, "answers"))
	a := must.Get[*buildservice.Attempt](t)(e.client.Start(t.Context(), r))
	a.Wait()
	return strings.TrimSpace(e.read(t, "answers"))
}
