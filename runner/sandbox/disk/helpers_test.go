package disk_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipway/runner/sandbox/sandboxtest"
)

// ownFileSystem returns a directory whose free space no other program changes.
func ownFileSystem(t *testing.T, bytes int64) string {
	t.Helper()
	sandboxtest.NeedRoot(t)
	dir := sandboxtest.Dir(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("mode=0755,size=%d", bytes)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func free(t *testing.T, dir string) int64 {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize
}

func create(t *testing.T, name string) *os.File {
	t.Helper()
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// makeFiles makes empty files until one fails.
func makeFiles(dir string, count int) (made int, err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, err
	}
	for made = range count {
		file, err := os.Create(filepath.Join(dir, fmt.Sprint(made)))
		if err != nil {
			return made, err
		}
		file.Close()
	}
	return made, nil
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// loopMounts returns the mounts of loop devices in this mount namespace.
func loopMounts(t *testing.T) (mounts []string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, " /dev/loop") {
			mounts = append(mounts, line)
		}
	}
	return mounts
}

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
