package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrUnsafeGit says that the git program here runs code out of a crafted repository.
var ErrUnsafeGit = errors.New("the git program here runs code out of crafted submodules (CVE-2025-48384); update git")

// ProbeSubmodules clones, once and locally, the repository of CVE-2025-48384: a submodule
// whose path ends in a carriage return beside a symbolic link into the hooks directory. It
// returns ErrUnsafeGit when the submodule's hook ran. What git does is asked, not its
// version: distributions mend old versions. Only where it returns nil may submodules be
// fetched at all.
// Source: https://github.com/git/git/security/advisories/GHSA-vwqx-4fm8-6qc9
func ProbeSubmodules(ctx context.Context) error {
	program, err := exec.LookPath("git")
	if err != nil {
		return fmt.Errorf("probe git: %w", err)
	}
	dir, err := os.MkdirTemp("", "slipway-probe-")
	if err != nil {
		return fmt.Errorf("probe git: %w", err)
	}
	defer os.RemoveAll(dir)
	p := probe{dir: dir, program: program}
	if err := p.build(ctx); err != nil {
		return fmt.Errorf("probe git: %w", err)
	}
	cloned := p.at("").run(ctx, []string{"clone", "--quiet", "--recurse-submodules", "outer", "clone"})
	if _, err := os.Stat(p.canary()); !errors.Is(err, fs.ErrNotExist) {
		return ErrUnsafeGit
	}
	if cloned != nil {
		return fmt.Errorf("probe git: the crafted repository proves nothing: %w", cloned)
	}
	return nil
}

type probe struct{ dir, program string }

func (p probe) canary() string { return filepath.Join(p.dir, "canary") }

// template makes every clone have a hooks directory, whatever templates git came with.
func (p probe) template() string { return filepath.Join(p.dir, "template") }

// at runs git in a directory of the probe, with hooks as git itself would have them.
func (p probe) at(name string) git {
	env := []string{
		"HOME=" + p.dir, "LC_ALL=C", "PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=file", "GIT_TEMPLATE_DIR=" + p.template(),
		"GIT_AUTHOR_NAME=probe", "GIT_AUTHOR_EMAIL=probe@localhost", "GIT_COMMITTER_NAME=probe", "GIT_COMMITTER_EMAIL=probe@localhost",
	}
	return git{program: p.program, dir: filepath.Join(p.dir, name), environ: env}
}

// build makes the submodule (inner) and the repository around it (outer).
func (p probe) build(ctx context.Context) error {
	inner, outer := p.at("inner"), p.at("outer")
	hook := "#!/bin/sh\n: > " + strconv.Quote(p.canary()) + "\n"
	modules := fmt.Sprintf("[submodule \"m\"]\n\tpath = \"m\r\"\n\turl = %s\n", strconv.Quote(inner.dir))
	for _, step := range []func() error{
		func() error { return os.MkdirAll(filepath.Join(p.template(), "hooks"), 0o700) },
		func() error { return os.Mkdir(inner.dir, 0o700) },
		func() error { return inner.run(ctx, []string{"init", "--quiet", "--template="}) },
		func() error { return os.WriteFile(filepath.Join(inner.dir, "post-checkout"), []byte(hook), 0o700) }, //nolint:gosec // G306: git must see an executable
		func() error { return inner.run(ctx, []string{"add", "post-checkout"}) },
		func() error { return inner.run(ctx, []string{"commit", "--quiet", "--message=inner"}) },
		func() error { return os.Mkdir(outer.dir, 0o700) },
		func() error { return outer.run(ctx, []string{"init", "--quiet", "--template="}) },
		func() error { return os.WriteFile(filepath.Join(outer.dir, ".gitmodules"), []byte(modules), 0o600) },
		func() error { return os.Symlink(".git/modules/m/hooks", filepath.Join(outer.dir, "m")) },
		func() error { return outer.run(ctx, []string{"add", ".gitmodules", "m"}) },
		func() error { return p.link(ctx, inner, outer) },
		func() error { return outer.run(ctx, []string{"commit", "--quiet", "--message=outer"}) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// link records the inner repository's commit as a submodule at the path "m\r".
func (p probe) link(ctx context.Context, inner, outer git) error {
	cmd := exec.CommandContext(ctx, inner.program, "rev-parse", "--verify", "HEAD") //nolint:gosec // git, found on the path
	cmd.Dir, cmd.Env = inner.dir, inner.environ
	hash, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("git rev-parse: %w", err)
	}
	return outer.run(ctx, []string{"update-index", "--add", "--cacheinfo", "160000," + strings.TrimSpace(string(hash)) + ",m\r"})
}
