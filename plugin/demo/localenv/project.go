package localenv

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
)

// A Project is a further repository of the workspace acme with Alice's checkout of it.
// Tests that share a world take one each.
type Project struct {
	*Checkout
	Repository *bitbuckettest.Repository
	Image      string // what its automated build pushes to, without a tag

	env *Env
}

// NewProject makes a private repository whose branch main has files.
func (w *Env) NewProject(ctx context.Context, slug string, files map[string]string) (*Project, error) {
	r, err := w.Bitbucket.AddRepository(w.App.Workspace, slug, bitbuckettest.Private)
	if err != nil {
		return nil, err
	}
	p := &Project{Repository: r, Image: w.Registry + "/" + r.FullName(), env: w}
	if p.Checkout, err = w.checkout(ctx, r); err != nil {
		return nil, err
	}
	if _, err := p.Commit(ctx, "Start", files); err != nil {
		return nil, err
	}
	if _, err = p.Push(ctx, "main"); err != nil {
		return nil, err
	}
	if w.options.NewRepository != nil {
		return p, w.options.NewRepository(ctx, r)
	}
	return p, nil
}

// Automate makes an automated build of the project through the pages.
func (p *Project) Automate(ctx context.Context, b *Browser, rules ...Rule) error {
	return p.AutomateWith(ctx, b, nil, rules...)
}

// AutomateWith is Automate with environment variables for build hooks and tests.
func (p *Project) AutomateWith(
	ctx context.Context,
	b *Browser,
	environment map[string]secret.Secret,
	rules ...Rule,
) error {
	values := url.Values{"image": {p.Image}}
	for i, name := range slices.Sorted(maps.Keys(environment)) {
		at := fmt.Sprintf("environment[%d].", i)
		values[at+"name"], values[at+"value"] = []string{name}, []string{environment[name].Reveal()}
	}
	return p.env.automate(ctx, b, p.Repository, rules, values)
}

// Builds lists the project's builds, newest first, without stages.
func (p *Project) Builds(ctx context.Context) ([]autobuild.Build, error) {
	return p.Wait(ctx, 0, func([]autobuild.Build) bool { return true })
}

// Wait returns when the project has at least n builds and met is true of all of them
// together, newest first, or ctx ends.
func (p *Project) Wait(ctx context.Context, n int, met func([]autobuild.Build) bool) ([]autobuild.Build, error) {
	return p.env.waitBuilds(ctx, func(b autobuild.Build) bool { return b.Repository.ID == p.Repository.UUID }, n, met)
}

// WaitState returns the newest build once it is in one of the states, or ctx ends.
func (p *Project) WaitState(ctx context.Context, n int, states ...autobuild.State) (autobuild.Build, error) {
	builds, err := p.Wait(
		ctx,
		n,
		func(builds []autobuild.Build) bool { return slices.Contains(states, builds[0].State) },
	)
	if err != nil {
		return autobuild.Build{}, err
	}
	return builds[0], nil
}

// Final are the states that nothing follows.
func Final() []autobuild.State {
	return []autobuild.State{autobuild.Succeeded, autobuild.Failed, autobuild.Cancelled, autobuild.Errored}
}

// checkout returns a clone of a repository with nothing in it, Alice's.
func (w *Env) checkout(ctx context.Context, r *bitbuckettest.Repository) (*Checkout, error) {
	dir, err := os.MkdirTemp(w.Dir, "checkout-")
	if err != nil {
		return nil, err
	}
	return NewCheckout(ctx, dir, r.CloneURL(), w.Alice.Name, w.Password)
}

// maxBuilds is more than any world makes.
const maxBuilds = 10_000

func (w *Env) waitBuilds(
	ctx context.Context,
	of func(autobuild.Build) bool,
	n int,
	met func([]autobuild.Build) bool,
) ([]autobuild.Build, error) {
	s, err := w.Gateway.Store(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var builds []autobuild.Build
	err = wait(ctx, func() (bool, error) {
		all, err := s.Builds(ctx, autobuild.BuildFilter{Limit: maxBuilds})
		builds = slices.DeleteFunc(all, func(b autobuild.Build) bool { return !of(b) })
		return err == nil && len(builds) >= n && met(builds), err
	})
	if err != nil {
		return builds, fmt.Errorf("wait for %d builds, have %s: %w", n, describe(builds), err)
	}
	return builds, nil
}
