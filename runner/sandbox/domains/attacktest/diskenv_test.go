package attacktest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"

	"slipway/runner/sandbox"
)

const mebi = 1 << 20

// newDiskEnv returns a world whose supervisor has a file system of its own, of 400 MiB. Each domain has a
// disk of 128 MiB.
func newDiskEnv(t *testing.T) *env {
	t.Helper()
	if !sandbox.Privileged() {
		t.Skip("SKIPPED: a disk needs root of the machine, which is absent")
	}
	e := newEnv(t)
	e.supervisor.Close()
	if err := unix.Mount("tmpfs", e.dir, "tmpfs", 0, fmt.Sprintf("size=%d", 400*mebi)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.supervisor.Close()
		if err := unix.Unmount(e.dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	e.diskBytes = 128 * mebi
	e.start(t)
	return e
}

// run builds in a domain, from the base image.
func (e *env) run(t *testing.T, domain, steps string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), attackTimeout)
	defer cancel()
	_, err := build{dockerfile: "FROM " + e.base + "\n" + steps + "\n"}.run(ctx, e.address(t, domain))
	return err
}

// free returns the free space of the supervisor's file system.
func (e *env) free(t *testing.T) int64 {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(e.dir, &s); err != nil {
		t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize
}

// images returns the files of all disks with their allocated bytes.
func (e *env) images(t *testing.T) map[string]int64 {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(e.dir, "*", "state", "disk-*.img"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int64{}
	for _, path := range paths {
		var s unix.Stat_t
		if err := unix.Stat(path, &s); err != nil {
			t.Fatal(err)
		}
		all[path] = s.Blocks * 512
	}
	return all
}

// newZeroLayer returns a layer with one file of zeros, which is small until it is unpacked.
func newZeroLayer(t *testing.T, size int64) v1.Layer {
	t.Helper()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	w := tar.NewWriter(zip)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "zeros", Mode: 0o644, Size: size}); err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, mebi)
	for range size / mebi {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(packed.Bytes())), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// builder returns the process of the only domain's builder.
func (e *env) builder(t *testing.T) (pid int) {
	t.Helper()
	text, err := os.ReadFile(lockOf(t, e.dir))
	if err != nil {
		t.Fatal(err)
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// kill kills the only builder. Its processes end with it.
func (e *env) kill(t *testing.T) {
	t.Helper()
	if err := unix.Kill(e.builder(t), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// waitFull waits until the disk of the only builder is full. Only the builder's children have its mount.
func (e *env) waitFull(t *testing.T) {
	t.Helper()
	children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", e.builder(t)))
	if err != nil || len(strings.Fields(string(children))) == 0 {
		t.Fatalf("children of the builder: got %q and %v, want one", children, err)
	}
	state := filepath.Dir(lockOf(t, e.dir))
	dir := filepath.Join("/proc", strings.Fields(string(children))[0], "root", state, "disk")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var s unix.Statfs_t
		if err := unix.Statfs(dir, &s); err != nil {
			t.Fatal(err)
		}
		if int64(s.Bavail)*s.Bsize < mebi {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the disk: got %d free bytes, want none", int64(s.Bavail)*s.Bsize)
		}
	}
}
