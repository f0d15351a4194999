package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Names of the variants.
const (
	variantBuildctl  = "buildctl"
	variantPerStep   = "buildkitd per step"
	variantConnected = "step on buildkitd"
	variantBuilder   = "step on builder"
	variantKept      = "step with state"
	variantCache     = "step with cache"
	variantBuildah   = "buildah"
)

// A variant is one of the compared ways to build and push.
type variant struct {
	name string
	// server starts a server that runs while builds are timed; nil = the variant needs none.
	server func(e *env, ctx context.Context, state, socket string) (*server, error)
	build  func(ctx context.Context, p *place) (time.Duration, error)
}

func variants() []variant {
	return []variant{
		{variantBuildctl, (*env).daemon, buildctl},
		{variantConnected, (*env).daemon, stepConnected},
		{variantBuilder, (*env).builder, stepConnected},
		{variantPerStep, nil, buildctlPerStep},
		{variantKept, nil, stepKept},
		{variantCache, nil, stepCached},
		{variantBuildah, nil, buildah},
	}
}

func variantNames() (names []string) {
	for _, v := range variants() {
		names = append(names, v.name)
	}
	return names
}

// A place holds the context, the state and the image of one variant for one row. Nothing is shared
// with other variants.
type place struct {
	variant variant
	e       *env
	row     row
	context string // directory
	dir     string // directory of the context, the state and the socket
	run     int    // number of cold builds; each has its own state and image name
	builds  int    // number of changes of the context
	server  *server
}

// openPlace clones the original context of a row, and starts the variant's server. number is the
// index of the variant.
func (e *env) openPlace(ctx context.Context, r row, original string, v variant, number int) (*place, error) {
	p := &place{variant: v, e: e, row: r, dir: filepath.Join(e.dir, fmt.Sprintf("%s-%d", r.name, number))}
	p.context = filepath.Join(p.dir, "context")
	if err := clone(original, p.context); err != nil {
		return nil, err
	}
	return p, p.renew(ctx)
}

func (p *place) state() string   { return filepath.Join(p.dir, fmt.Sprintf("state-%d", p.run)) }
func (p *place) socket() string  { return filepath.Join(p.dir, "s.sock") }
func (p *place) address() string { return "unix://" + p.socket() }
func (p *place) image() string {
	return fmt.Sprintf("%s/%s-%d", p.e.registry, filepath.Base(p.dir), p.run)
}

// renew removes the state, selects a new image name, restarts the server, and changes the context.
func (p *place) renew(ctx context.Context) (err error) {
	p.close()
	if err := os.RemoveAll(p.state()); err != nil {
		return err
	}
	p.run++
	if p.variant.server != nil {
		p.server, err = p.variant.server(p.e, ctx, p.state(), p.socket())
		if err != nil {
			return err
		}
	}
	return p.change()
}

func (p *place) change() error {
	p.builds++
	return p.row.change(p.context, fmt.Sprintf("%s %d", p.variant.name, p.builds))
}

func (p *place) close() {
	if p.server != nil {
		p.server.stop()
		p.server = nil
	}
}

// buildctl builds and pushes with BuildKit's own client and its defaults.
func buildctl(ctx context.Context, p *place) (time.Duration, error) {
	return p.e.timed(
		ctx,
		nil,
		p.e.tools.buildctl,
		"--addr",
		p.address(),
		"build",
		"--progress",
		"plain",
		"--frontend",
		"dockerfile.v0",
		"--local",
		"context="+p.context,
		"--local",
		"dockerfile="+p.context,
		"--output",
		"type=image,name="+p.image()+":latest,push=true",
	)
}

// step runs `slipway runner` with its defaults, except for labels. They are off because buildctl adds
// none, and because the label with the time would change the image in every build.
func (p *place) step(ctx context.Context, environ ...string) (time.Duration, error) {
	return p.e.timed(ctx, append([]string{
		"PLUGIN_REPO=" + p.image(),
		"PLUGIN_AUTO_LABEL=false",
		"CI_WORKSPACE=" + p.context,
		"SLIPWAY_BUILDER_NETWORK=none",
	}, environ...), p.e.tools.slipway, "runner")
}

func stepConnected(ctx context.Context, p *place) (time.Duration, error) {
	return p.step(ctx, "PLUGIN_BUILDER="+p.address())
}

func stepKept(ctx context.Context, p *place) (time.Duration, error) {
	return p.step(ctx, "PLUGIN_STATE="+p.state())
}

func stepCached(ctx context.Context, p *place) (time.Duration, error) {
	return p.step(ctx, "PLUGIN_STATE=off", "PLUGIN_CACHE=registry="+p.image()+"-cache:main")
}

// buildctlPerStep starts a buildkitd, builds with buildctl, and stops the buildkitd. The state stays.
func buildctlPerStep(ctx context.Context, p *place) (took time.Duration, err error) {
	started := time.Now()
	server, err := p.e.daemon(ctx, p.state(), p.socket())
	if err != nil {
		return 0, err
	}
	_, err = buildctl(ctx, p)
	server.stop()
	return time.Since(started), errors.Join(err)
}

// buildah builds with a cache of layers in overlay storage, and pushes. It starts RUN steps without a container, which
// is its fastest isolation.
func buildah(ctx context.Context, p *place) (time.Duration, error) {
	common := []string{
		"--root",
		filepath.Join(p.state(), "root"),
		"--runroot",
		filepath.Join(p.state(), "run"),
		"--storage-driver",
		"overlay",
	}
	image := p.image() + ":latest"
	build := []string{
		"bud",
		"--quiet",
		"--layers",
		"--isolation",
		"chroot",
		"--tls-verify=false",
		"--tag",
		image,
		p.context,
	}
	took, err := p.e.timed(ctx, nil, p.e.tools.buildah, append(common, build...)...)
	if err != nil {
		return 0, err
	}
	pushed, err := p.e.timed(
		ctx,
		nil,
		p.e.tools.buildah,
		append(common, "push", "--quiet", "--tls-verify=false", image)...)
	return took + pushed, err
}
