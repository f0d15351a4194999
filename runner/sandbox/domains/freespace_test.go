package domains_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/runner/sandbox/disk"
	"slipway/runner/sandbox/domains"
)

const mebi = 1 << 20

// fullExt4 mounts an ext4 of 128 MiB, which needs a block for each directory and file.
func fullExt4(t *testing.T) (dir string) {
	t.Helper()
	needDisks(t)
	dir = shortDir(t)
	kept := disk.Kept{File: filepath.Join(shortDir(t), "disk.img"), Bytes: 128 * mebi}
	must.Succeed(t, kept.Allocate(t.Context()))
	must.Succeed(t, disk.MountKept(kept.File, dir))
	t.Cleanup(func() { must.Succeed(t, disk.UnmountKept(kept.File, dir)) })
	return dir
}

// leaveCache makes the state of a domain that was used some minutes ago. suffix names the file of a disk.
func leaveCache(t *testing.T, dir, id string, bytes int, minutes time.Duration) (state string) {
	t.Helper()
	sum := sha256.Sum256([]byte(id))
	domain := filepath.Join(dir, hex.EncodeToString(sum[:16]))
	state = filepath.Join(domain, "state")
	must.Succeed(t, os.MkdirAll(state, 0o700))
	must.Succeed(t, os.WriteFile(filepath.Join(state, "content"), make([]byte, bytes), 0o600))
	record := filepath.Join(domain, "domain.json")
	must.Succeed(t, os.WriteFile(record, fmt.Appendf(nil, `{"domain":%q}`, id), 0o600))
	used := time.Now().Add(-minutes * time.Minute)
	must.Succeed(t, os.Chtimes(record, used, used))
	return state
}

// fill writes files until a file system has no free byte.
func fill(t *testing.T, dir string) {
	t.Helper()
	for size := int64(mebi); size >= 512; size /= 2 {
		const flags = os.O_CREATE | os.O_APPEND | os.O_WRONLY
		f := must.Get[*os.File](t)(os.OpenFile(filepath.Join(dir, "others"), flags, 0o600))
		_, err := io.Copy(f, io.LimitReader(zeros{}, 1<<30))
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("fill the disk: got %v, want %v", err, unix.ENOSPC)
		}
		must.Succeed(t, f.Close())
	}
	for i := range 10_000 { // blocks that only directories can use
		if errors.Is(os.Mkdir(filepath.Join(dir, fmt.Sprintf("d%d", i)), 0o700), unix.ENOSPC) {
			return
		}
	}
	t.Fatal("fill the disk: got space for 10,000 directories, want none")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// roomLayouts runs a test with the options of a domain with a disk, and of one that is watched. Both need 60 MiB of
// free space.
func roomLayouts(t *testing.T, run func(t *testing.T, dir string, layout func(*domains.Options))) {
	t.Helper()
	needBuilder(t)
	for name, layout := range map[string]func(*domains.Options){
		"with a disk": func(o *domains.Options) { o.DiskBytes, o.MinDiskBytes, o.DiskReserve = 40*mebi, 40*mebi, 20*mebi },
		"watched":     func(o *domains.Options) { o.WatchBytes, o.DiskReserve = 1<<30, 60*mebi },
	} {
		t.Run(name, func(t *testing.T) {
			dir := fullExt4(t)
			run(t, dir, func(o *domains.Options) { o.Dir = dir; layout(o) })
		})
	}
}

// A disk with 0 free bytes has no space for a new directory either.
func TestABuilderOnAFullDiskReplacesOnlyTheOldestCaches(t *testing.T) {
	roomLayouts(t, func(t *testing.T, dir string, layout func(*domains.Options)) {
		oldest, old := leaveCache(t, dir, "oldest", 35*mebi, 50), leaveCache(t, dir, "old", 35*mebi, 40)
		newer, newest := leaveCache(t, dir, "newer", 5*mebi, 30), leaveCache(t, dir, "newest", 5*mebi, 20)
		fill(t, dir)
		s, hook := newSupervisor(t, layout)
		ping(t, address(t, s, "a"))
		for _, state := range []string{oldest, old} {
			if exists(state) {
				t.Errorf("one of the oldest caches: got it kept, want it deleted")
			}
		}
		for _, state := range []string{newer, newest} {
			if !exists(state) {
				t.Errorf("one of the newest caches: got it deleted, want it kept")
			}
		}
		waitForLog(t, hook, "the cache of a domain is deleted", 2)
	})
}

// Deleted caches would free nothing that lasts.
func TestCachesStayOnADiskThatOthersFill(t *testing.T) {
	roomLayouts(t, func(t *testing.T, dir string, layout func(*domains.Options)) {
		old, newer := leaveCache(t, dir, "old", 20*mebi, 40), leaveCache(t, dir, "newer", 10*mebi, 30)
		must.Succeed(t, os.MkdirAll(filepath.Join(filepath.Dir(leaveCache(t, dir, "a", 1, 0)), "state"), 0o700))
		fill(t, dir)
		s, _ := newSupervisor(t, layout)
		_, err := s.Address(t.Context(), "a")
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("builder: got error %v, want one that wraps %v", err, unix.ENOSPC)
		}
		for _, want := range []string{dir, "caches use 31.", "and other files ", "free space there"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("builder: got error %v, want %q in it", err, want)
			}
		}
		for _, state := range []string{old, newer} {
			if !exists(state) {
				t.Errorf("a cache: got it deleted, want it kept")
			}
		}
	})
}
