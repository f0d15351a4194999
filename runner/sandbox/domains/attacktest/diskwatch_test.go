package attacktest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/runner/buildkit"
	"slipway/runner/sandbox/sandboxtest"
)

// watchedAttacks are steps that take more than a watched domain may have, or than the machine can spare.
var watchedAttacks = map[string]string{
	"one large file": "RUN busybox fallocate -l 2200M /x && sleep 100",
	"a fast writer":  "RUN busybox dd if=/dev/zero of=/x bs=1M; sleep 100",
	"a slow writer":  "RUN busybox dd if=/dev/zero of=/x bs=1M count=300 && sleep 100",
	"many files":     "RUN i=0; while echo >/tmp/$i; do i=$((i+1)); done; sleep 100",
	"a cache mount":  "RUN --mount=type=cache,target=/c busybox dd if=/dev/zero of=/c/x bs=1M count=300 && sleep 100",
}

// An ordinary user cannot mount disks, so a builder watches its state. A build that exceeds the limit is stopped
// before the machine's disk is full. A build of another domain that runs meanwhile goes on.
func TestAWatchedBuildCannotFillTheDiskOfTheMachine(t *testing.T) {
	if !sandboxtest.Rootless(t) {
		return
	}
	e := newWatchedEnv(t)
	const fits = "RUN echo %s && busybox dd if=/dev/zero of=/x bs=1M count=50"
	for name, attack := range watchedAttacks {
		t.Run(name, func(t *testing.T) {
			for _, domain := range []string{"attacker", "victim"} {
				if err := e.run(t, domain, "RUN echo before"); err != nil {
					t.Fatal(err)
				}
			}
			victim := make(chan error, 1)
			go func() { victim <- e.run(t, "victim", "RUN echo "+name+"; sleep 3") }()
			err := e.run(t, "attacker", attack)
			if err == nil {
				t.Fatal("the attack: got no error, want one")
			}
			for _, want := range []string{": " + buildkit.DiskFull, "SLIPWAY_BUILDER_DISK"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error: got %q, want %q in it", err, want)
				}
			}
			if err := <-victim; err != nil {
				t.Errorf("a running build of another domain: got %v, want no error", err)
			}
			if got := e.free(t); got < e.reserve {
				t.Errorf("free space of the machine: got %d after the attack, want at least %d", got, e.reserve)
			}
			for _, domain := range []string{"attacker", "victim"} {
				if err := e.run(t, domain, fmt.Sprintf(fits, name)); err != nil {
					t.Errorf("the next build of the %s: got %v, want no error", domain, err)
				}
			}
		})
	}
}

// Another program that fills the machine's disk ends a build, whose error says so. It is none of the Dockerfile.
// The builder does not restart, the next build fails at once, and builds work again after the disk has space.
func TestAnotherProgramThatFillsTheDiskIsNamed(t *testing.T) {
	if !sandboxtest.Rootless(t) {
		return
	}
	e := newWatchedEnv(t)
	if err := e.run(t, "victim", "RUN echo before"); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(e.dir, "foreign")
	var filled error
	fill := sync.OnceFunc(func() { // below half of the reserve, but not below the part at which builders are killed
		filled = exec.Command("fallocate", "-l", strconv.FormatInt(e.free(t)-e.reserve*3/8, 10), foreign).Run()
	})
	during := build{dockerfile: "FROM " + e.base + "\nRUN echo during; sleep 60\n", onStep: func(name string) {
		if strings.Contains(name, "echo during") {
			fill()
		}
	}}
	_, err := during.run(t.Context(), e.address(t, "victim"))
	must.Succeed(t, filled)
	if want := "other programs fill the disk of "; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error: got %v, want %q in it", err, want)
	}
	if err != nil && strings.Contains(err.Error(), buildkit.DiskFull) {
		t.Errorf("error: got %q, want none of the build itself", err)
	}
	if err := e.run(t, "victim", "RUN echo full"); err == nil || !strings.Contains(err.Error(), "free space there") {
		t.Errorf("the next build: got error %v, want one that names the disk", err)
	}
	must.Succeed(t, os.Remove(foreign))
	if err := e.run(t, "victim", "RUN echo after"); err != nil {
		t.Errorf("a build after the disk has space: got %v, want no error", err)
	}
}

// newWatchedEnv returns a world whose supervisor has a file system of its own, and whose domains have no disks.
func newWatchedEnv(t *testing.T) *env {
	t.Helper()
	e := newEnv(t)
	e.supervisor.Close()
	if err := unix.Mount("tmpfs", e.dir, "tmpfs", 0, "size=3g,nr_inodes=200000"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.supervisor.Close()
		if err := unix.Unmount(e.dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	e.diskBytes, e.watchBytes, e.reserve = 0, 128*mebi, 1<<30
	e.start(t)
	return e
}
