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

// A Project is another repository of the workspace acme, with Alice's checkout of it. Tests that
// share an environment use one each.
type Project struct {
	*Checkout
	Repository *bitbuckettest.Repository
	Image      string // image name of its automated build, without a tag

	env *Env
}

// NewProject creates a private repository with these files on the branch main.
func (env *Env) NewProject(ctx context.Context, slug string, files map[string]string) (*Project, error) {
	r, err := env.Bitbucket.AddRepository(env.App.Workspace, slug, bitbuckettest.Private)
	if err != nil {
		return nil, err
	}
	p := &Project{Repository: r, Image: env.Registry + "/" + r.FullName(), env: env}
	if p.Checkout, err = env.checkout(ctx, r); err != nil {
		return nil, err
	}
	if _, err := p.Commit(ctx, "Start", files); err != nil {
		return nil, err
	}
	if _, err = p.Push(ctx, "main"); err != nil {
		return nil, err
	}
	if env.options.NewRepository != nil {
		return p, env.options.NewRepository(ctx, r)
	}
	return p, nil
}

// Automate creates an automated build of the project through the pages.
func (p *Project) Automate(ctx context.Context, b *Browser, rules ...Rule) error {
	return p.AutomateWith(ctx, b, nil, rules...)
}

// AutomateWith is like Automate, with environment variables for build hooks and tests.
func (p *Project) AutomateWith(
	ctx context.Context, b *Browser, environment map[string]secret.Secret, rules ...Rule,
) error {
	values := url.Values{"image": {p.Image}}
	for i, name := range slices.Sorted(maps.Keys(environment)) {
		at := fmt.Sprintf("environment[%d].", i)
		values.Set(at+"name", name)
		values.Set(at+"value", environment[name].Reveal())
	}
	return p.env.automate(ctx, b, p.Repository, rules, values)
}

// Builds returns the project's builds, newest first, without stages.
func (p *Project) Builds(ctx context.Context) ([]autobuild.Build, error) {
	return p.Wait(ctx, 0, func([]autobuild.Build) bool { return true })
}

// Wait waits until the project has at least n builds and met returns true for all of them, newest
// first. It returns an error if ctx ends first.
func (p *Project) Wait(ctx context.Context, n int, met func([]autobuild.Build) bool) ([]autobuild.Build, error) {
	return p.env.waitBuilds(ctx, func(b autobuild.Build) bool { return b.Repository.ID == p.Repository.UUID }, n, met)
}

// WaitState waits until there are n builds and the newest is in one of the states. It returns that
// build, or an error if ctx ends first.
func (p *Project) WaitState(ctx context.Context, n int, states ...autobuild.State) (autobuild.Build, error) {
	builds, err := p.Wait(ctx, n, func(builds []autobuild.Build) bool {
		return slices.Contains(states, builds[0].State)
	})
	if err != nil {
		return autobuild.Build{}, err
	}
	return builds[0], nil
}

// Final returns the final states of a build.
func Final() []autobuild.State {
	return []autobuild.State{autobuild.Succeeded, autobuild.Failed, autobuild.Cancelled, autobuild.Errored}
}

// checkout returns an empty checkout of a repository, with Alice's credentials.
func (env *Env) checkout(ctx context.Context, r *bitbuckettest.Repository) (*Checkout, error) {
	dir, err := os.MkdirTemp(env.Dir, "checkout-")
	if err != nil {
		return nil, err
	}
	return NewCheckout(ctx, dir, r.CloneURL(), env.Alice.Name, env.Password)
}

// maxBuilds is more than the number of builds in any environment.
const maxBuilds = 10_000

// waitBuilds is WaitBuilds for the builds that match.
func (env *Env) waitBuilds(
	ctx context.Context, match func(autobuild.Build) bool, n int, met func([]autobuild.Build) bool,
) ([]autobuild.Build, error) {
	s, err := env.Gateway.Store(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var builds []autobuild.Build
	err = Wait(ctx, func() (bool, error) {
		all, err := s.Builds(ctx, autobuild.BuildFilter{Limit: maxBuilds})
		builds = slices.DeleteFunc(all, func(b autobuild.Build) bool { return !match(b) })
		return err == nil && len(builds) >= n && met(builds), err
	})
	if err != nil {
		return builds, fmt.Errorf("wait for %d builds: got %s: %w", n, describe(builds), err)
	}
	return builds, nil
}
