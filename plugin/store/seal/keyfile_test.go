package seal_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"slipway/config/must"
	"slipway/plugin/store/seal"
)

// A first start that was killed leaves a file with a key. The next start removes it, and no file of a process that runs
// or of another program.
func TestUnfinishedKeyFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{".key-123", ".key-456", ".key-old", "key-789"} {
		must.Succeed(t, os.WriteFile(path(name), []byte("a key"), 0o600))
	}
	running := must.Get[*os.File](t)(os.Open(path(".key-456")))
	defer running.Close()
	must.Succeed(t, unix.Flock(int(running.Fd()), unix.LOCK_EX))
	check := func(name string, want bool) {
		t.Helper()
		if _, err := os.Stat(path(name)); (err == nil) != want {
			t.Errorf("%s: got error %v, want the file %v", name, err, want)
		}
	}
	_, err := seal.LoadOrCreate(path("key"), false)
	if err == nil {
		t.Error("a key file that does not exist: got no error, want one")
	}
	check(".key-123", true)
	_, err = seal.LoadOrCreate(path("key"), true)
	must.Succeed(t, err)
	check(".key-123", false)
	check(".key-456", true)
	check(".key-old", true)
	check("key-789", true)
	must.Succeed(t, running.Close())
	_, err = seal.LoadOrCreate(path("key"), true) // the key exists: the process was killed after the link
	must.Succeed(t, err)
	check(".key-456", false)
	left := must.Get[[]os.DirEntry](t)(os.ReadDir(dir))
	if len(left) != 3 {
		t.Errorf("files: got %v, want the key and two of other programs", left)
	}
}
