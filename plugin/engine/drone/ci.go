package drone

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
		err = c.strange()
	}
	return login, err
}

// strange is the error of an answer that Drone would not give, as null where something was asked for.
func (c *client) strange() error {
	return fmt.Errorf("%s does not answer as Drone does: check SLIPWAY_DRONE_SERVER: %w", c.server, autobuild.ErrUnavailable)
}

// Create starts a build. Its action is its own: Drone remembers configurations by it, and not
// by parameters, so that two builds of one commit in one second would get the same.
//
// A fault of the builder repository is one of all builds, which wait for it (ErrForbidden); one
// of a build's own repository or commit is that build's (ErrNotFound).
// https://docs.drone.io/api/builds/build_create/
func (c *client) Create(ctx context.Context, o pipeline.Order) (int64, error) {
	number, err := c.create(ctx, o)
	switch {
	case o.Commit == "" && errors.Is(err, autobuild.ErrNotFound):
		err = fmt.Errorf("builder repository: %s: %w", err.Error(), autobuild.ErrForbidden)
	case o.Commit != "" && errors.Is(err, errDenied):
		err = fmt.Errorf("%s: %s: %w", o.Repository, err.Error(), autobuild.ErrNotFound)
	}
	return number, err
}

func (c *client) create(ctx context.Context, o pipeline.Order) (int64, error) {
	r, err := c.activeRepo(ctx, o.Repository)
	if err != nil {
		return 0, err
	}
	params := o.Params.Map()
	params["action"] = fmt.Sprintf("slipway-%s-%d", o.Params.BuildID, o.Params.Attempt)
	var b *drone.Build
	carried, err := c.carry(ctx, createTime, func(d drone.Client) (err error) {
		b, err = d.BuildCreate(r.Namespace, r.Name, o.Commit, branchOf(r, o.Ref), params)
		return err
	})
	switch {
	case err != nil && carried.status >= http.StatusInternalServerError && !strings.Contains(err.Error(), seeLog):
		return 0, fmt.Errorf("start a build of %s: %w; Drone answers so, after 45 s, where nobody gave it a configuration: are DRONE_YAML_ENDPOINT and DRONE_YAML_SECRET set on its server as `slipway engines` prints them?", o.Repository, err)
	case err != nil:
		return 0, fmt.Errorf("start a build of %s: %w", o.Repository, err)
	case b.Number == 0: // the answer is null
		return 0, fmt.Errorf("the Drone server made no build of %s: its configuration did not come from our config extension (DRONE_YAML_ENDPOINT) and is not for event %s, or the user who activated the repository there is inactive: %w", o.Repository, event, autobuild.ErrForbidden)
	case b.Status == drone.StatusError:
		return 0, fmt.Errorf("the Drone server does not run build %d of %s: %s: %w", b.Number, o.Repository, b.Error, autobuild.ErrForbidden)
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
			if b == nil {
				continue
			}
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
	if err == nil && b.Number != number {
		return nil, c.strange()
	}
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
