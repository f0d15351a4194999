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
	// event is Drone's event name for builds that are started by API.
	event    = "custom"
	perPage  = 100 // maximum of the API
	maxPages = 2   // pages of builds that Find reads
)

var (
	_ pipeline.CI       = (*client)(nil)
	_ pipeline.Identity = (*client)(nil)
	_ pipeline.RunLogs  = (*client)(nil)
)

// Login returns the login of the token's user.
func (c *client) Login(ctx context.Context) (login string, err error) {
	err = c.call(ctx, callTimeout, func(d drone.Client) error {
		user, err := d.Self()
		if err == nil {
			login = user.Login
		}
		return err
	})
	if err == nil && login == "" {
		err = c.unexpectedResponse()
	}
	return login, err
}

// unexpectedResponse is the error for a response that Drone never sends, for example null instead of
// an object.
func (c *client) unexpectedResponse() error {
	return fmt.Errorf(
		"%s is not a Drone server: check SLIPWAY_DRONE_SERVER: %w",
		c.server, autobuild.ErrUnavailable,
	)
}

// Create starts a build. Each order has its own action parameter. Drone caches configurations by
// action and not by parameters, so two builds of one commit in the same second would share one.
//
// A failure of the builder repository affects all builds, so that they wait (ErrForbidden). A
// failure of a build's own repository or commit fails this build only (ErrNotFound).
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
	t, err := c.callRecorded(ctx, createTimeout, func(d drone.Client) (err error) {
		b, err = d.BuildCreate(r.Namespace, r.Name, o.Commit, branchParam(r, o.Ref), params)
		return err
	})
	switch {
	case err != nil && t.status >= http.StatusInternalServerError && !strings.Contains(err.Error(), seeLog):
		return 0, fmt.Errorf(
			"start a build of %s: %w; Drone returns this error after 45 s if it gets no configuration: "+
				"are DRONE_YAML_ENDPOINT and DRONE_YAML_SECRET set on its server as `slipway engines` prints "+
				"them?",
			o.Repository, err,
		)
	case err != nil:
		return 0, fmt.Errorf("start a build of %s: %w", o.Repository, err)
	case b.Number == 0: // the response is null
		return 0, fmt.Errorf(
			"the Drone server created no build of %s: its configuration did not come from our config extension "+
				"(DRONE_YAML_ENDPOINT) and is not for event %s, or the user who activated the repository there "+
				"is inactive: %w",
			o.Repository, event, autobuild.ErrForbidden,
		)
	case b.Status == drone.StatusError:
		return 0, fmt.Errorf(
			"the Drone server does not run build %d of %s: %s: %w",
			b.Number, o.Repository, b.Error, autobuild.ErrForbidden,
		)
	}
	return b.Number, nil
}

// branchParam returns the value that Drone expects as the branch of a build.
func branchParam(r *drone.Repo, ref autobuild.Ref) string {
	switch ref.Kind {
	case autobuild.Branch:
		return ref.Name
	case autobuild.Tag:
		return ref.Full()
	}
	return r.Branch
}

// Find searches the newest maxPages*perPage builds. Errors are those of pipeline.CI.
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
		err := c.call(ctx, callTimeout, func(d drone.Client) (err error) {
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
				return c.found(ctx, repository, b)
			}
		}
		if len(all) < perPage {
			break
		}
	}
	return pipeline.Run{}, fmt.Errorf("%s has no build of this attempt: %w", repository, autobuild.ErrNotFound)
}

// found returns a build of a list. A list has no stages, which tell the cause of an end.
func (c *client) found(ctx context.Context, repository string, b *drone.Build) (pipeline.Run, error) {
	if mayHaveTimedOut(b) {
		return c.Run(ctx, repository, b.Number)
	}
	return c.runOf(ctx, repository, b)
}

// Run returns a build by its number. Errors are those of pipeline.CI.
func (c *client) Run(ctx context.Context, repository string, number int64) (pipeline.Run, error) {
	b, err := c.build(ctx, repository, number)
	if err != nil {
		return pipeline.Run{}, err
	}
	return c.runOf(ctx, repository, b)
}

func (c *client) build(ctx context.Context, repository string, number int64) (b *drone.Build, err error) {
	owner, name, err := split(repository)
	if err != nil {
		return nil, err
	}
	err = c.call(ctx, callTimeout, func(d drone.Client) (err error) {
		b, err = d.Build(owner, name, int(number))
		return err
	})
	if err == nil && b.Number != number {
		return nil, c.unexpectedResponse()
	}
	return b, err
}

// runOf returns a build with its status. Only for a build that Drone may have ended itself, it requests the
// repository, which has the timeout.
func (c *client) runOf(ctx context.Context, repository string, b *drone.Build) (pipeline.Run, error) {
	limit := pipeline.Timeout{CI: "Drone", Repository: repository, Ours: c.buildTimeout}
	if mayHaveTimedOut(b) {
		r, err := c.repo(ctx, repository)
		switch {
		case err == nil:
			limit = c.timeoutOf(r)
		case !errors.Is(err, autobuild.ErrNotFound): // it may be deleted while Drone has the build
			return pipeline.Run{}, err
		}
	}
	return pipeline.Run{
		Number: b.Number,
		Status: statusOf(b, limit),
		URL:    fmt.Sprintf("%s/%s/%d", c.server, repository, b.Number),
	}, nil
}

// Cancel stops a build. Drone reports no error if the build is finished.
func (c *client) Cancel(ctx context.Context, repository string, number int64) error {
	owner, name, err := split(repository)
	if err != nil {
		return err
	}
	return c.call(ctx, callTimeout, func(d drone.Client) error { return d.BuildCancel(owner, name, int(number)) })
}
