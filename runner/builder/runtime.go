package builder

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// FindRuntime looks for runc. crun is refused up to 1.8.1, Debian 12's: it does not know
// an option that BuildKit passes, and every RUN step would fail.
func FindRuntime(ctx context.Context, name string) (string, error) {
	if name == "" {
		name = "runc"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("OCI runtime %s is not installed (Debian: apt-get install runc): %w", name, err)
	}
	if filepath.Base(path) != "crun" {
		return path, nil
	}
	help, _ := exec.CommandContext(ctx, path, "run", "--help").CombinedOutput() //nolint:gosec // the operator's setting
	if !bytes.Contains(help, []byte("--keep")) {
		return "", fmt.Errorf("OCI runtime %s is too old: it has no `run --keep`, use runc", path)
	}
	return path, nil
}
