package source_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cenkalti/backoff/v5"

	"slipway/runner/source"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func options(t *testing.T) source.Options {
	t.Helper()
	dir := t.TempDir()
	return source.Options{
		Dir: filepath.Join(dir, "src"), Home: dir, Environ: os.Environ(), Attempts: 3, Backoff: &backoff.ZeroBackOff{},
	}
}
