package attacktest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// newRepository makes a bare repository with the file note, and returns its commit.
func newRepository(ctx context.Context, dir, note string) (string, error) {
	work := dir + ".work"
	if err := os.Mkdir(work, 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(work, "note"), []byte(note), 0o644); err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"init", "-q", work},
		{"-C", work, "add", "note"},
		{"-C", work, "-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-q", "-m", "x"},
		{"clone", "-q", "--bare", work, dir},
		{"-C", dir, "config", "uploadpack.allowAnySHA1InWant", "true"},
	} {
		if _, err := git(ctx, args...); err != nil {
			return "", err
		}
	}
	return git(ctx, "-C", dir, "rev-parse", "HEAD")
}

// serveGit returns a handler that serves the repositories in a directory.
func serveGit(ctx context.Context, dir string) (http.Handler, error) {
	programs, err := git(ctx, "--exec-path")
	if err != nil {
		return nil, err
	}
	return &cgi.Handler{
		Path: filepath.Join(programs, "git-http-backend"),
		Env: []string{
			"GIT_PROJECT_ROOT=" + dir,
			"GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		},
	}, nil
}

func git(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
