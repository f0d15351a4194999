package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Names of the ways to build.
const (
	wayBuildctl  = "buildctl"
	wayPerStep   = "buildkitd per step"
	wayConnected = "step, buildkitd"
	wayBuilder   = "step, builder"
	wayKept      = "step, state kept"
	wayCache     = "step, registry cache"
)

// A way is one way to build and push.
type way struct {
	name string
	// server starts what stands while builds are timed; nil = nothing does.
	server func(w *world, ctx context.Context, state, socket string) (*server, error)
	build  func(ctx context.Context, p *place) (time.Duration, error)
}

func ways() []way {
	return []way{
		{wayBuildctl, (*world).daemon, buildctl},
		{wayConnected, (*world).daemon, connected},
		{wayBuilder, (*world).builder, connected},
		{wayPerStep, nil, perStep},
		{wayKept, nil, kept},
		{wayCache, nil, cached},
	}
}

// A place is where a way builds a row: its context, its state and its image, which nobody shares.
type place struct {
	way     way
	w       *world
	row     row
	context string // directory
	dir     string // of all else
	run     int    // counts cold builds, each of which has a state and an image of its own
	builds  int    // counts builds that differ
	server  *server
}

func (w *world) openPlace(ctx context.Context, r row, original string, of way, number int) (*place, error) {
	p := &place{way: of, w: w, row: r, dir: filepath.Join(w.dir, fmt.Sprintf("%s-%d", r.name, number))}
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
	return fmt.Sprintf("%s/%s-%d", p.w.registry, filepath.Base(p.dir), p.run)
}

// renew forgets all that was built, and changes the context.
func (p *place) renew(ctx context.Context) (err error) {
	p.close()
	if err := os.RemoveAll(p.state()); err != nil {
		return err
	}
	p.run++
	if p.way.server != nil {
		if p.server, err = p.way.server(p.w, ctx, p.state(), p.socket()); err != nil {
			return err
		}
	}
	return p.change()
}

func (p *place) change() error {
	p.builds++
	return p.row.change(p.context, fmt.Sprintf("%s %d", p.way.name, p.builds))
}

func (p *place) close() {
	if p.server != nil {
		p.server.stop()
		p.server = nil
	}
}

// buildctl builds and pushes by BuildKit's own client, with its defaults.
func buildctl(ctx context.Context, p *place) (time.Duration, error) {
	return p.w.timed(ctx, nil, p.w.tools.buildctl, "--addr", p.address(), "build", "--progress", "plain", "--frontend", "dockerfile.v0",
		"--local", "context="+p.context, "--local", "dockerfile="+p.context, "--output", "type=image,name="+p.image()+":latest,push=true")
}

// step is `slipway runner` with its defaults, but for labels: buildctl gives none, and the one
// with the time would make of every build another image.
func (p *place) step(ctx context.Context, environ ...string) (time.Duration, error) {
	return p.w.timed(ctx, append([]string{
		"PLUGIN_REPO=" + p.image(), "PLUGIN_AUTO_LABEL=false", "CI_WORKSPACE=" + p.context, "SLIPWAY_BUILDER_NETWORK=none",
	}, environ...), p.w.tools.slipway, "runner")
}

func connected(ctx context.Context, p *place) (time.Duration, error) {
	return p.step(ctx, "PLUGIN_BUILDER="+p.address())
}

func kept(ctx context.Context, p *place) (time.Duration, error) {
	return p.step(ctx, "PLUGIN_STATE="+p.state())
}

func cached(ctx context.Context, p *place) (time.Duration, error) {
	return p.step(ctx, "PLUGIN_STATE=off", "PLUGIN_CACHE=registry="+p.image()+"-cache:main")
}

// perStep starts a buildkitd, builds by buildctl, and stops the buildkitd, which keeps its state.
func perStep(ctx context.Context, p *place) (took time.Duration, err error) {
	started := time.Now()
	server, err := p.w.daemon(ctx, p.state(), p.socket())
	if err != nil {
		return 0, err
	}
	_, err = buildctl(ctx, p)
	server.stop()
	return time.Since(started), errors.Join(err)
}
