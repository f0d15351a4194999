package attacktest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipway/runner/sandbox/layers"
)

// The first domain unpacks the layers of an image, and a further one uses them.
func TestDomainsShareTheLayersOfPublicImages(t *testing.T) {
	e := newEnv(t)
	w := world{env: e, key: "shared-layers"}
	b := build{dockerfile: w.dockerfile("cp /etc/note /got")}
	for _, domain := range []string{"a", "b"} {
		if _, err := b.run(t.Context(), e.address(t, domain)); err != nil {
			t.Fatal(err)
		}
	}
	e.waitForLog(t, "the layers of an image are shared")
	got, err := b.run(t.Context(), e.address(t, "c"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got, "public") {
		t.Errorf("result from a shared layer: got %q, want public", got)
	}
	pool := layers.Pool{Dir: filepath.Join(e.dir, "layers")}
	linked := map[string]int{}
	states, err := filepath.Glob(filepath.Join(e.dir, "*", "state"))
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range states {
		for _, target := range layers.Links(state) {
			linked[target]++
			if !pool.Has(target) {
				t.Errorf("got a link to %s, want one to a layer of the pool", target)
			}
		}
	}
	if len(linked) != 1 {
		t.Errorf("layers that the third domain uses: got %v, want one", linked)
	}

	// A builder can convert a layer that it has not unpacked itself.
	converted := build{
		dockerfile: "FROM " + e.base + "\nRUN touch /got\n",
		image:      e.cache + ":converted",
	}
	if _, err := converted.run(t.Context(), e.address(t, "c")); err != nil {
		t.Errorf("convert the layers of an image: got %v, want no error", err)
	}
}

// The pool has only layers that everyone may read.
func TestLayersOfPrivateImagesAreNotShared(t *testing.T) {
	e := newEnv(t)
	w := world{env: e, key: "private-layers"}
	b := build{
		dockerfile: w.dockerfileFrom(e.private.repository+"@"+e.private.digest, "cp /etc/note /got"),
		login:      e.private.login,
	}
	for _, domain := range []string{"a", "b"} {
		if _, err := b.run(t.Context(), e.address(t, domain)); err != nil {
			t.Fatal(err)
		}
	}
	e.waitForLog(t, "cannot share the layers of an image")
	entries, err := layers.Pool{Dir: filepath.Join(e.dir, "layers")}.Entries()
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 0 {
		t.Errorf("shared layers: got %v, want none", entries)
	}
}

// Builders cannot change the layers that others use, even as root.
func TestBuildersCannotWriteSharedLayers(t *testing.T) {
	e := newEnv(t)
	e.address(t, "a")
	pid, err := os.ReadFile(lockOf(t, e.dir))
	if err != nil {
		t.Fatal(err)
	}
	mounts := mountsOfChildren(t, strings.TrimSpace(string(pid)))
	want := " " + filepath.Join(e.dir, "layers") + " ro,"
	if !strings.Contains(mounts, want) {
		t.Errorf("mounts of the builder: got\n%s\nwant one with %q", mounts, want)
	}
}

// A person may delete the directory of the layers. Builders then begin anew in place of failing.
func TestAStateWithoutItsLayersIsDeleted(t *testing.T) {
	e := newEnv(t)
	w := world{env: e, key: "lost-layers"}
	b := build{dockerfile: w.dockerfile("cp /etc/note /got")}
	for _, domain := range []string{"a", "b"} {
		if _, err := b.run(t.Context(), e.address(t, domain)); err != nil {
			t.Fatal(err)
		}
	}
	e.waitForLog(t, "the layers of an image are shared")
	if _, err := b.run(t.Context(), e.address(t, "c")); err != nil {
		t.Fatal(err)
	}
	e.restart(t)
	if err := os.RemoveAll(filepath.Join(e.dir, "layers")); err != nil {
		t.Fatal(err)
	}
	if got, err := b.run(t.Context(), e.address(t, "c")); err != nil || !strings.Contains(got, "public") {
		t.Errorf("got %q and %v, want a build with an empty cache", got, err)
	}
}

func (e *env) waitForLog(t testing.TB, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, entry := range e.log.AllEntries() {
			if entry.Message == text {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			for _, entry := range e.log.AllEntries() {
				t.Log(entry.Message, entry.Data)
			}
			t.Fatalf("the log does not contain %q", text)
		}
	}
}

// lockOf returns the lock file of the only domain below a directory. It contains the builder's process
// ID.
func lockOf(t *testing.T, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*", "state", "builder.lock"))
	if err != nil || len(found) != 1 {
		t.Fatalf("lock files: got %v and %v, want one", found, err)
	}
	return found[0]
}

// mountsOfChildren returns the mounts of a process's children.
func mountsOfChildren(t *testing.T, pid string) string {
	t.Helper()
	children, err := filepath.Glob("/proc/" + pid + "/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var mounts strings.Builder
	for _, file := range children {
		pids, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, child := range strings.Fields(string(pids)) {
			text, err := os.ReadFile("/proc/" + child + "/mountinfo")
			if err != nil {
				t.Fatal(err)
			}
			mounts.Write(text)
		}
	}
	return mounts.String()
}
