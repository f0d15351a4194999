package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// FindRuntime returns the path of the OCI runtime; name "" = runc. It rejects crun up to 1.8.1, the
// version of Debian 12: this crun lacks an option that BuildKit uses, so every RUN step would fail.
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
