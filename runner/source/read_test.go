package source_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/runner/source"
)

func TestReadFileAcceptsWorkspacePathsAndAbsolutePaths(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
	for path, text := range map[string]string{filepath.Join(dir, "in"): "12345678", outside: "out"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"./in": "12345678", outside: "out"} {
		if got, err := source.ReadFile(dir, path, 8); err != nil || string(got) != want {
			t.Errorf("ReadFile(%s): got %q, error %v, want %q", path, got, err, want)
		}
	}
	for path, want := range map[string]string{"link": "leads out of", "../outside": "is not a path within", "absent": "set its path relative to the workspace " + dir, "/no/such/file": "cannot be read"} {
		_, err := source.ReadFile(dir, path, 8)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ReadFile(%s): got error %v, want %q in it", path, err, want)
		}
	}
	if _, err := source.ReadFile(dir, "absent", 8); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("file that does not exist: got error %v, want %v", err, fs.ErrNotExist)
	}
	if got, err := source.ReadFile(dir, "in", 7); err == nil {
		t.Errorf("file over the limit: got %q, want an error", got)
	}
}
