package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Names of the base images in the registry.
const (
	shellImage = "library/busybox"
	goImage    = "library/golang"
)

// seed pushes the base images: a static shell, and this machine's Go on top of it.
func (e *env) seed(ctx context.Context) error {
	shell, err := e.shellLayer(ctx)
	if err != nil {
		return err
	}
	base, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.DockerManifestSchema2), shell)
	if err != nil {
		return err
	}
	base, err = configure(base, "PATH=/usr/local/go/bin:/bin")
	if err != nil {
		return err
	}
	golang, err := e.goLayer(ctx)
	if err != nil {
		return err
	}
	withGo, err := mutate.AppendLayers(base, golang)
	if err != nil {
		return err
	}
	return errors.Join(e.put(ctx, shellImage, base), e.put(ctx, goImage, withGo))
}

// shellLayer returns a layer with busybox, and links to it for all its commands.
func (e *env) shellLayer(ctx context.Context) (v1.Layer, error) {
	const busybox = "/bin/busybox"
	root := filepath.Join(e.dir, "shell")
	bin := filepath.Join(root, "bin")
	program, err := os.ReadFile(busybox)
	if err != nil {
		return nil, fmt.Errorf("a static busybox is needed (Debian: apt-get install busybox-static): %w", err)
	}
	if err := errors.Join(os.MkdirAll(bin, 0o755), os.MkdirAll(filepath.Join(root, "tmp"), 0o777)); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(bin, "busybox"), program, 0o755); err != nil { //nolint:gosec // a program
		return nil, err
	}
	names, err := exec.CommandContext(ctx, busybox, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("busybox --list: %w", err)
	}
	for _, applet := range strings.Fields(string(names)) {
		if applet == "busybox" {
			continue
		}
		if err := os.Symlink("busybox", filepath.Join(bin, applet)); err != nil {
			return nil, err
		}
	}
	return e.layer(ctx, "shell.tar", root, ".")
}

// goLayer returns a layer with this machine's Go, without its tests and documents.
func (e *env) goLayer(ctx context.Context) (v1.Layer, error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	dir := strings.TrimSpace(string(root))
	return e.layer(
		ctx,
		"go.tar",
		filepath.Dir(dir),
		filepath.Base(dir),
		"--exclude="+filepath.Base(
			dir,
		)+"/test",
		"--exclude="+filepath.Base(dir)+"/doc",
		"--exclude="+filepath.Base(dir)+"/api",
		"--transform=s,^"+filepath.Base(dir)+",usr/local/go,",
	)
}

// layer packs a directory with tar and returns it as a layer.
func (e *env) layer(ctx context.Context, file, dir, what string, more ...string) (v1.Layer, error) {
	path := filepath.Join(e.dir, file)
	args := append(
		[]string{"--sort=name", "--mtime=@0", "--numeric-owner", "--owner=0", "--group=0", "-C", dir, "-cf", path},
		more...)
	if err := command(ctx, ".", "tar", append(args, what)...); err != nil {
		return nil, err
	}
	return tarball.LayerFromFile(path, tarball.WithCompressionLevel(1))
}

func configure(img v1.Image, environ ...string) (v1.Image, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", goarch()
	config.Config.Env, config.Config.Cmd = environ, []string{"sh"}
	return mutate.ConfigFile(img, config)
}

func (e *env) put(ctx context.Context, repository string, img v1.Image) error {
	ref, err := name.ParseReference(e.registry + "/" + repository + ":latest")
	if err != nil {
		return err
	}
	return remote.Write(ref, img, remote.WithContext(ctx))
}
