package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"slipway/config/durable"
	"slipway/config/must"
)

func TestWriteFileReplacesTheContentAndTheMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must.Succeed(t, os.WriteFile(path, []byte("an old and longer text"), 0o644))
	must.Succeed(t, os.WriteFile(path+".new", []byte("left by a crash"), 0o644))
	must.Succeed(t, durable.WriteFile(path, []byte("new"), 0o600))
	if got := string(must.Get[[]byte](t)(os.ReadFile(path))); got != "new" {
		t.Errorf("content: got %q, want %q", got, "new")
	}
	if got := must.Get[fs.FileInfo](t)(os.Stat(path)).Mode().Perm(); got != 0o600 {
		t.Errorf("mode: got %04o, want 0600", got)
	}
	if names := must.Get[[]string](t)(filepath.Glob(path + "*")); len(names) != 1 {
		t.Errorf("files: got %v, want only %s", names, path)
	}
}

func TestWriteFileKeepsTheOldContentIfItFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must.Succeed(t, os.WriteFile(path, []byte("old"), 0o600))
	must.Succeed(t, os.MkdirAll(filepath.Join(path+".new", "busy"), 0o700)) // in the way of the new file
	if err := durable.WriteFile(path, []byte("new"), 0o600); err == nil {
		t.Error("got no error, want one")
	}
	if got := string(must.Get[[]byte](t)(os.ReadFile(path))); got != "old" {
		t.Errorf("content: got %q, want %q", got, "old")
	}
}

func TestErrorsOfAMissingDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "absent")
	if err := durable.WriteFile(filepath.Join(dir, "file"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("WriteFile: got %v, want %v", err, fs.ErrNotExist)
	}
	if err := durable.SyncDir(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SyncDir: got %v, want %v", err, fs.ErrNotExist)
	}
}

// fsync(2) of a directory in /proc returns EINVAL.
func TestADirectoryThatCannotBeSyncedIsNoError(t *testing.T) {
	must.Succeed(t, durable.SyncDir("/proc"))
}
