package testfiles_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/runner/testfiles"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	must.Succeed(t, os.Mkdir(filepath.Join(dir, "folder.test.yml"), 0o700))
	for _, name := range []string{"docker-compose.test.yml", "docker-compose.yml", "api-test.yml", "test.yml.txt"} {
		must.Succeed(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	got, err := testfiles.Find(dir)
	must.Succeed(t, err)
	if diff := cmp.Diff([]string{"api-test.yml", "docker-compose.test.yml"}, got); diff != "" {
		t.Errorf("test files (-want +got):\n%s", diff)
	}
	if _, err := testfiles.Find(filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error of an absent directory: got %v, want fs.ErrNotExist", err)
	}
}
