package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// tools holds the paths of the programs.
type tools struct {
	slipway, buildctl, buildkitd, registry string

	buildah string // empty = it is not installed
}

// The modules of other projects: the BuildKit version that Slipway uses, and the most common registry
// server.
const (
	buildkitModule = "github.com/moby/buildkit v0.34.2"
	registryModule = "github.com/distribution/distribution/v3 v3.1.2"
)

// buildTools builds the programs. It builds those of other projects only if they do not exist yet.
func buildTools(ctx context.Context, work string) (tools, error) {
	bin := filepath.Join(work, "programs")
	at := func(name string) string { return filepath.Join(bin, name) }
	t := tools{slipway: at("slipway"), buildctl: at("buildctl"), buildkitd: at("buildkitd"), registry: at("registry")}
	t.buildah, _ = exec.LookPath("buildah") // empty if it is absent
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return t, err
	}
	// A separate module, so that ./... of Slipway's module does not match sources in the builders' caches.
	if err := write(work, map[string]string{"go.mod": "module bench\n"}); err != nil {
		return t, err
	}
	if err := command(
		ctx,
		".",
		"go",
		"build",
		"-trimpath",
		"-ldflags",
		"-s -w",
		"-o",
		bin,
		"./runner/slipway",
		"./runner/slipway-builder",
	); err != nil {
		return t, err
	}
	buildkit, _, _ := strings.Cut(buildkitModule, " ")
	registry, _, _ := strings.Cut(registryModule, " ")
	if err := buildOthers(ctx, bin, registryModule, registry+"/cmd/registry"); err != nil {
		return t, err
	}
	return t, buildOthers(ctx, bin, buildkitModule, buildkit+"/cmd/buildctl", buildkit+"/cmd/buildkitd")
}

// buildOthers builds commands of a module inside a temporary module, because `go install` rejects
// modules with replace directives.
func buildOthers(ctx context.Context, bin, module string, packages ...string) error {
	var imports []string
	exist := true
	for _, p := range packages {
		_, err := os.Stat(filepath.Join(bin, filepath.Base(p)))
		exist = exist && err == nil
		imports = append(imports, fmt.Sprintf("import _ %q\n", p))
	}
	if exist {
		return nil
	}
	fmt.Fprintln(os.Stderr, "builds", strings.Join(packages, " and "), "(some minutes, once)")
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	files := map[string]string{
		"go.mod":   "module tools\n\ngo 1.26.0\n\nrequire " + module + "\n",
		"tools.go": "//go:build tools\n\npackage tools\n\n" + strings.Join(imports, ""),
	}
	if err := write(dir, files); err != nil {
		return err
	}
	if err := command(ctx, dir, "go", "mod", "tidy"); err != nil {
		return err
	}
	return command(
		ctx,
		dir,
		"go",
		append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", bin}, packages...)...)
}

// command runs a program with CGO_ENABLED=0. The error contains the program's output.
func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, &out)
	}
	return nil
}

// write writes files below a directory.
func write(dir string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
