package idmap_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"slipway/runner/sandbox/idmap"
	"slipway/runner/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

func TestOwned(t *testing.T) {
	ids := idmap.IDs{First: 100, Count: 50}
	for owner, want := range map[int]string{
		7:    "7:100:1 101:101:49",
		1000: "1000:100:1 101:101:49",
		100:  "100:100:50",
		101:  "101:100:1 100:101:1 102:102:48",
		120:  "120:100:1 100:120:1 101:101:19 121:121:29",
		149:  "149:100:1 100:149:1 101:101:48",
	} {
		var got []string
		for _, m := range ids.Owned(owner) {
			got = append(got, fmt.Sprintf("%d:%d:%d", m.ContainerID, m.HostID, m.Size))
		}
		if diff := cmp.Diff(want, strings.Join(got, " ")); diff != "" {
			t.Errorf("owner %d: (-want +got)\n%s", owner, diff)
		}
	}
}

func TestRangesDoNotOverlap(t *testing.T) {
	ranges := idmap.NewRanges()
	seen := map[int]bool{}
	var last func()
	for {
		ids, release, err := ranges.Acquire()
		if err != nil {
			break
		}
		if seen[ids.First] {
			t.Fatalf("got range %d twice, want each once", ids.First)
		}
		seen[ids.First] = true
		if ids.First%65536 != 0 || ids.Count != 65536 {
			t.Fatalf("got %+v, want a whole range", ids)
		}
		last = release
	}
	if len(seen) < 4000 {
		t.Errorf("got %d ranges, want at least 4000", len(seen))
	}
	last()
	if _, _, err := ranges.Acquire(); err != nil {
		t.Errorf("after a release: got %v, want a range", err)
	}
}

func TestARangeIsNotReusedAtOnce(t *testing.T) {
	ranges := idmap.NewRanges()
	first, release, err := ranges.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	release()
	second, _, err := ranges.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	if first == second {
		t.Errorf("got range %+v twice, want another one", first)
	}
}

func TestMountMapsOwners(t *testing.T) {
	sandboxtest.NeedRoot(t)
	dir := sandboxtest.Dir(t)
	source, target := filepath.Join(dir, "source"), filepath.Join(dir, "target")
	for _, path := range []string{source, target} {
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(source, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	ids := idmap.IDs{First: 300_000, Count: idmap.Count}
	namespace, err := idmap.Namespace(ids.Owned(1000))
	if err != nil {
		t.Fatal(err)
	}
	defer namespace.Close()
	o := idmap.Options{Namespace: namespace, Checked: true, Owner: 1000}
	if err := idmap.Mount(source, target, o); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	info, err := os.Stat(target)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Sys().(*syscall.Stat_t).Uid; got != 300_000 {
		t.Errorf("owner of a mapped directory: got %d, want 300000", got)
	}
	if err := os.Symlink(source, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		source string
		owner  int
	}{
		"another owner": {source, 1001},
		"a link":        {filepath.Join(dir, "link"), 1000},
		"nothing":       {filepath.Join(dir, "absent"), 1000},
	} {
		o.Owner = tc.owner
		if err := idmap.Mount(tc.source, target, o); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}

// Containers have an overlay as their root, and the kernel maps no IDs of overlays.
func TestAnOverlayCannotBeMapped(t *testing.T) {
	sandboxtest.NeedRoot(t)
	dir := sandboxtest.Dir(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	for _, name := range []string{"lower", "upper", "work", "overlay", "target"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data := fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", dir, dir, dir)
	if err := unix.Mount("overlay", filepath.Join(dir, "overlay"), "overlay", 0, data); err != nil {
		t.Fatal(err)
	}
	namespace, err := idmap.Namespace(idmap.Shared().Mappings())
	if err != nil {
		t.Fatal(err)
	}
	defer namespace.Close()
	o := idmap.Options{Namespace: namespace}
	err = idmap.Mount(filepath.Join(dir, "overlay"), filepath.Join(dir, "target"), o)
	if !errors.Is(err, idmap.ErrNotSupported) {
		t.Errorf("got %v, want %v", err, idmap.ErrNotSupported)
	}
}
