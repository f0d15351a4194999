package drone

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/drone/drone-go/drone"

	"slipway/plugin/autobuild"
)

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
	switch {
	case errors.Is(err, autobuild.ErrNotFound):
		return nil, fmt.Errorf("the Drone server knows no repository %s: give its user access at Bitbucket, and press Sync on Drone: %w", fullName, autobuild.ErrNotFound)
	case err == nil && r.Name == "":
		return nil, c.strange()
	}
	return r, err
}

// activeRepo is repo for one that may have to be found and activated first: by one call at a
// time, for Drone lets only one of two succeed.
func (c *client) activeRepo(ctx context.Context, fullName string) (*drone.Repo, error) {
	r, err := c.repo(ctx, fullName)
	if err == nil && r.Active || err != nil && !errors.Is(err, autobuild.ErrNotFound) {
		return r, err
	}
	select {
	case c.activating <- struct{}{}:
		defer func() { <-c.activating }()
	case <-ctx.Done():
		return nil, fmt.Errorf("activate %s on Drone: %w (%w)", fullName, ctx.Err(), autobuild.ErrUnavailable)
	}
	r, err = c.synced(ctx, fullName)
	if err != nil || r.Active {
		return r, err
	}
	return c.activate(ctx, r.Namespace, r.Name)
}

// synced finds a repository, and has Drone read its list of them anew where that lacks it.
func (c *client) synced(ctx context.Context, fullName string) (*drone.Repo, error) {
	r, err := c.repo(ctx, fullName)
	if !errors.Is(err, autobuild.ErrNotFound) {
		return r, err
	}
	if err := c.call(ctx, createTime, func(d drone.Client) error { _, err := d.RepoListSync(); return err }); err != nil {
		return nil, fmt.Errorf("sync Drone's repositories: %w", err)
	}
	return c.repo(ctx, fullName)
}

// activate makes a webhook of Drone's own at Bitbucket, too, by which it runs the repository's
// own pipelines. Somebody else may be quicker. https://docs.drone.io/api/repos/repo_enable/
func (c *client) activate(ctx context.Context, owner, name string) (*drone.Repo, error) {
	fullName := owner + "/" + name
	var r *drone.Repo
	carried, err := c.carry(ctx, createTime, func(d drone.Client) (err error) {
		r, err = d.RepoEnable(owner, name)
		return err
	})
	if carried.status == http.StatusInternalServerError { // of Drone itself, which just answered
		if r, again := c.repo(ctx, fullName); again == nil && r.Active {
			return r, nil
		}
		return nil, fmt.Errorf("the Drone server could not add its webhook to %s (%s): %w: %w", fullName, err.Error(), errDenied, autobuild.ErrForbidden)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("activate %s on Drone: %w", fullName, err)
	case r.Name == "":
		return nil, c.strange()
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
