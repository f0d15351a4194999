package drone

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/drone/drone-go/drone"

	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

const (
	// event is what Drone calls builds that are started by API.
	event    = "custom"
	perPage  = 100 // the most that the API gives
	maxPages = 2   // that a build is looked for on
)

var (
	_ pipeline.CI       = (*client)(nil)
	_ pipeline.Identity = (*client)(nil)
	_ pipeline.RunLogs  = (*client)(nil)
)

// Login returns the name of the token's user.
func (c *client) Login(ctx context.Context) (login string, err error) {
	err = c.call(ctx, answerTime, func(d drone.Client) error {
		user, err := d.Self()
		if err == nil {
			login = user.Login
		}
		return err
	})
	if err == nil && login == "" {
		err = fmt.Errorf("%s answers, but not as Drone does: check SLIPWAY_DRONE_SERVER", c.server)
	}
	return login, err
}

// Create starts a build. Its action is its own: Drone remembers configurations by it, and not
// by parameters, so that two builds of one commit in one second would get the same.
// https://docs.drone.io/api/builds/build_create/
func (c *client) Create(ctx context.Context, o pipeline.Order) (int64, error) {
	r, err := c.activeRepo(ctx, o.Repository)
	if err != nil {
		return 0, err
	}
	params := o.Params.Map()
	params["action"] = fmt.Sprintf("slipway-%s-%d", o.Params.BuildID, o.Params.Attempt)
	var b *drone.Build
	err = c.call(ctx, createTime, func(d drone.Client) (err error) {
		b, err = d.BuildCreate(r.Namespace, r.Name, o.Commit, branchOf(r, o.Ref), params)
		return err
	})
	switch {
	case errors.Is(err, autobuild.ErrUnavailable):
		return 0, fmt.Errorf("%w; after 45 s this means that it found no configuration: is DRONE_YAML_ENDPOINT set on its server as the engine's page says?", err)
	case err != nil:
		return 0, fmt.Errorf("start a build of %s: %w", o.Repository, err)
	case b.Number == 0: // the answer is null
		return 0, fmt.Errorf("Drone took the build of %s for none: its configuration did not come of our config extension (DRONE_YAML_ENDPOINT) or is not for event %s: %w", o.Repository, event, autobuild.ErrForbidden)
	case b.Status == drone.StatusError:
		return 0, fmt.Errorf("Drone does not run build %d of %s: %s (%w)", b.Number, o.Repository, b.Error, autobuild.ErrForbidden)
	}
	return b.Number, nil
}

// branchOf is what Drone takes for the branch of a build.
func branchOf(r *drone.Repo, ref autobuild.Ref) string {
	switch ref.Kind {
	case autobuild.Branch:
		return ref.Name
	case autobuild.Tag:
		return ref.Full()
	}
	return r.Branch
}

// Find looks through the newest builds.
func (c *client) Find(ctx context.Context, repository string, p pipeline.Params) (pipeline.Run, error) {
	owner, name, err := split(repository)
	if err != nil {
		return pipeline.Run{}, err
	}
	login, err := c.Login(ctx)
	if err != nil {
		return pipeline.Run{}, err
	}
	for page := 1; page <= maxPages; page++ {
		var all []*drone.Build
		err := c.call(ctx, answerTime, func(d drone.Client) (err error) {
			all, err = d.BuildList(owner, name, drone.ListOptions{Page: page, Size: perPage})
			return err
		})
		if err != nil {
			return pipeline.Run{}, err
		}
		for _, b := range all {
			theirs, ok := pipeline.ReadParams(b.Params)
			if ok && b.Event == event && b.Trigger == login && theirs.Of(p.BuildID, p.Attempt) {
				return c.runOf(repository, b), nil
			}
		}
		if len(all) < perPage {
			break
		}
	}
	return pipeline.Run{}, fmt.Errorf("no build of %s is this attempt's: %w", repository, autobuild.ErrNotFound)
}

// Run returns one build.
func (c *client) Run(ctx context.Context, repository string, number int64) (pipeline.Run, error) {
	b, err := c.build(ctx, repository, number)
	if err != nil {
		return pipeline.Run{}, err
	}
	return c.runOf(repository, b), nil
}

func (c *client) build(ctx context.Context, repository string, number int64) (b *drone.Build, err error) {
	owner, name, err := split(repository)
	if err != nil {
		return nil, err
	}
	err = c.call(ctx, answerTime, func(d drone.Client) (err error) {
		b, err = d.Build(owner, name, int(number))
		return err
	})
	return b, err
}

func (c *client) runOf(repository string, b *drone.Build) pipeline.Run {
	return pipeline.Run{Number: b.Number, State: stateOf(b.Status), URL: fmt.Sprintf("%s/%s/%d", c.server, repository, b.Number)}
}

// stateOf says in our words where a build is.
// https://docs.drone.io/api/overview/
func stateOf(status string) autobuild.PipelineState {
	switch status {
	case drone.StatusPending, drone.StatusBlocked, drone.StatusWaiting:
		return autobuild.PipelineQueued
	case drone.StatusRunning:
		return autobuild.PipelineRunning
	case drone.StatusKilled, drone.StatusDeclined:
		return autobuild.PipelineCancelled
	}
	return autobuild.PipelineGone // success, failure, error, skipped
}

// Cancel stops a build; one that is over is no error of Drone's either.
func (c *client) Cancel(ctx context.Context, repository string, number int64) error {
	owner, name, err := split(repository)
	if err != nil {
		return err
	}
	return c.call(ctx, answerTime, func(d drone.Client) error { return d.BuildCancel(owner, name, int(number)) })
}

// repo finds a repository; ErrNotFound when Drone has none.
func (c *client) repo(ctx context.Context, fullName string) (r *drone.Repo, err error) {
	owner, name, err := split(fullName)
	if err != nil {
		return nil, err
	}
	err = c.call(ctx, answerTime, func(d drone.Client) (err error) {
		r, err = d.Repo(owner, name)
		return err
	})
	if errors.Is(err, autobuild.ErrNotFound) {
		return nil, fmt.Errorf("Drone knows no repository %s: give its user access at Bitbucket, and press Sync there: %w", fullName, autobuild.ErrNotFound)
	}
	return r, err
}

// activeRepo is repo for one that may have to be found and activated first. That makes a
// webhook of Drone's own at Bitbucket, by which it runs the repository's own pipelines.
// https://docs.drone.io/api/repos/repo_enable/
func (c *client) activeRepo(ctx context.Context, fullName string) (*drone.Repo, error) {
	r, err := c.repo(ctx, fullName)
	if errors.Is(err, autobuild.ErrNotFound) {
		if err := c.call(ctx, createTime, func(d drone.Client) error { _, err := d.RepoListSync(); return err }); err != nil {
			return nil, fmt.Errorf("sync Drone's repositories: %w", err)
		}
		r, err = c.repo(ctx, fullName)
	}
	if err != nil || r.Active {
		return r, err
	}
	err = c.call(ctx, createTime, func(d drone.Client) (err error) {
		r, err = d.RepoEnable(r.Namespace, r.Name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("activate %s on Drone: %w", fullName, err)
	}
	return r, nil
}

// safeName is what stands in a path as it is: drone-go escapes nothing.
const safeName = `^[A-Za-z0-9_.~-]+$`

func split(fullName string) (owner, name string, err error) {
	owner, name, _ = strings.Cut(fullName, "/")
	safe := regexp.MustCompile(safeName)
	if !safe.MatchString(owner) || !safe.MatchString(name) || strings.Trim(owner, ".") == "" || strings.Trim(name, ".") == "" {
		return "", "", fmt.Errorf("%q is no repository's name: %w", fullName, autobuild.ErrNotFound)
	}
	return owner, name, nil
}
