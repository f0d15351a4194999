package attacktest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"slipway/runner/buildkit"
)

// diskAttacks are steps that take more than a disk has.
var diskAttacks = map[string]string{
	"one large file":            "RUN busybox fallocate -l 10G /x",
	"a fast writer":             "RUN busybox dd if=/dev/zero of=/x bs=1M",
	"a writer that cleans up":   "RUN busybox dd if=/dev/zero of=/x bs=1M || { sleep 1; busybox rm /x; exit 1; }",
	"a cache mount":             "RUN --mount=type=cache,target=/c busybox dd if=/dev/zero of=/c/x bs=1M",
	"a million files":           "RUN i=0; while echo >/tmp/$i; do i=$((i+1)); done; exit 1",
	"a step that goes on":       "RUN busybox dd if=/dev/zero of=/x bs=1M || true\nRUN echo 1 >/1 && cp /bin/busybox /2",
	"a large COPY":              "RUN busybox dd if=/dev/zero of=/x bs=1M count=60\nFROM scratch\nCOPY --from=0 /x /1\nCOPY --from=0 /x /2",
	"layers that fit only once": "RUN busybox dd if=/dev/zero of=/x bs=1M count=70\nRUN busybox dd if=/dev/zero of=/y bs=1M count=70",
}

// A build that runs out of space fails with the limit. The machine keeps its space, builds of another
// domain go on, and the next build of the same domain needs no help.
func TestABuildCannotFillTheDiskOfTheMachine(t *testing.T) {
	e := newDiskEnv(t)
	const fits = "RUN echo %s && busybox dd if=/dev/zero of=/x bs=1M count=50"
	for name, attack := range diskAttacks {
		t.Run(name, func(t *testing.T) {
			if err := e.run(t, "attacker", "RUN echo before"); err != nil {
				t.Fatal(err)
			}
			before := e.free(t)
			err := e.run(t, "attacker", attack)
			if err == nil {
				t.Fatal("the attack: got no error, want one")
			}
			for _, want := range []string{buildkit.DiskFull, "SLIPWAY_BUILDER_DISK"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error: got %q, want %q in it", err, want)
				}
			}
			if got := e.free(t); got < before-4*mebi {
				t.Errorf("free space of the machine: got %d after the attack, want about %d as before", got, before)
			}
			if err := e.run(t, "victim", fmt.Sprintf(fits, name)); err != nil {
				t.Errorf("a build of another domain: got %v, want no error", err)
			}
			if err := e.run(t, "attacker", fmt.Sprintf(fits, name)); err != nil {
				t.Errorf("the next build of the domain: got %v, want no error", err)
			}
		})
	}
}

func TestALargeBaseImageCannotFillTheDiskOfTheMachine(t *testing.T) {
	e := newDiskEnv(t)
	image := e.base[:len(e.base)-1] + "huge"
	huge, err := mutate.AppendLayers(newImage(t, readShell(t), "public"), newZeroLayer(t, 300*mebi))
	if err != nil {
		t.Fatal(err)
	}
	push(t, image, huge, authn.Anonymous)
	if err := e.run(t, "a", "RUN echo before"); err != nil {
		t.Fatal(err)
	}
	before := e.free(t)
	err = e.run(t, "a", "FROM "+image+"\nRUN echo 1")
	if err == nil || !strings.Contains(err.Error(), buildkit.DiskFull) {
		t.Errorf("a huge image: got error %v, want %q in it", err, buildkit.DiskFull)
	}
	if got := e.free(t); got < before-4*mebi {
		t.Errorf("free space of the machine: got %d, want about %d as before", got, before)
	}
	if err := e.run(t, "a", "RUN busybox dd if=/dev/zero of=/x bs=1M count=50"); err != nil {
		t.Errorf("the next build: got %v, want no error", err)
	}
}

// A builder that ends gives the free space back, and its cache survives.
func TestADiskOfAnIdleBuilderHasOnlyItsContent(t *testing.T) {
	e := newDiskEnv(t)
	steps := "RUN busybox dd if=/dev/zero of=/x bs=1M count=30 && cat /proc/sys/kernel/random/uuid >/got"
	first, err := build{dockerfile: "FROM " + e.base + "\n" + steps}.run(t.Context(), e.address(t, "a"))
	if err != nil {
		t.Fatal(err)
	}
	for path, bytes := range e.images(t) {
		if bytes < e.diskBytes {
			t.Errorf("disk %s of a running builder: got %d bytes, want all %d", path, bytes, e.diskBytes)
		}
	}
	for range 2 {
		e.restart(t)
		images := e.images(t)
		if len(images) != 1 {
			t.Errorf("got disks %v, want one", images)
		}
		for path, bytes := range images {
			if bytes > 60*mebi || bytes < 30*mebi {
				t.Errorf("disk %s of no builder: got %d bytes, want 30 to 60 MiB", path, bytes)
			}
		}
		again, err := build{dockerfile: "FROM " + e.base + "\n" + steps}.run(t.Context(), e.address(t, "a"))
		if err != nil {
			t.Fatal(err)
		}
		if again != first {
			t.Errorf("got result %q, want %q from the cache", again, first)
		}
	}
}

// A killed builder leaves a full disk without leaving a mount, and the next one works.
func TestABuilderThatIsKilledOnAFullDiskStartsAgain(t *testing.T) {
	e := newDiskEnv(t)
	if err := e.run(t, "a", "RUN busybox dd if=/dev/zero of=/x bs=1M count=50"); err != nil {
		t.Fatal(err)
	}
	started, full := notifyOn("never ends")
	done := make(chan error, 1)
	b := build{
		dockerfile: "FROM " + e.base + "\nRUN busybox dd if=/dev/zero of=/x bs=1M; sleep 1000 # never ends",
		onStep:     started,
	}
	go func() {
		_, err := b.run(t.Context(), e.address(t, "a"))
		done <- err
	}()
	if err := await(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	e.waitFull(t)
	e.kill(t)
	if err := <-done; err == nil {
		t.Error("the build of a killed builder: got no error, want one")
	}
	if err := e.run(t, "a", "RUN busybox dd if=/dev/zero of=/y bs=1M count=60"); err != nil {
		t.Errorf("the next build: got %v, want no error", err)
	}
}

// After a crash of the machine, a disk may be damaged. So the cache starts again.
func TestADiskThatWasNotUnmountedIsReplaced(t *testing.T) {
	e := newDiskEnv(t)
	if err := e.run(t, "a", "RUN echo 1"); err != nil {
		t.Fatal(err)
	}
	e.supervisor.Close()
	for path := range e.images(t) {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt([]byte{0}, 1024+0x3a); err != nil { // s_state: not unmounted
			t.Fatal(err)
		}
		file.Close()
	}
	e.start(t)
	if err := e.run(t, "a", "RUN echo 1"); err != nil {
		t.Errorf("the next build: got %v, want no error", err)
	}
	e.waitForLog(t, "the cache of a domain is deleted")
}
