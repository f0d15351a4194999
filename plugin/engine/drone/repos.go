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

// repo returns a repository. It returns ErrNotFound if Drone does not know it.
func (c *client) repo(ctx context.Context, fullName string) (r *drone.Repo, err error) {
	owner, name, err := split(fullName)
	if err != nil {
		return nil, err
	}
	err = c.call(ctx, callTimeout, func(d drone.Client) (err error) {
		r, err = d.Repo(owner, name)
		return err
	})
	switch {
	case errors.Is(err, autobuild.ErrNotFound):
		return nil, fmt.Errorf(
			"the Drone server does not have the repository %s: give its user access at Bitbucket, and press Sync on Drone: %w",
			fullName,
			autobuild.ErrNotFound,
		)
	case err == nil && r.Name == "":
		return nil, c.unexpectedResponse()
	}
	return r, err
}

// activeRepo returns a repository, and first finds and activates it if necessary. One call at a
// time does so, because Drone lets only one of two concurrent activations succeed.
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
	r, err = c.syncedRepo(ctx, fullName)
	if err != nil || r.Active {
		return r, err
	}
	return c.activate(ctx, r.Namespace, r.Name)
}

// syncedRepo returns a repository. If Drone does not know it, syncedRepo first makes Drone reload
// its list of repositories.
func (c *client) syncedRepo(ctx context.Context, fullName string) (*drone.Repo, error) {
	r, err := c.repo(ctx, fullName)
	if !errors.Is(err, autobuild.ErrNotFound) {
		return r, err
	}
	err = c.call(ctx, createTimeout, func(d drone.Client) error {
		_, err := d.RepoListSync()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sync Drone's repositories: %w", err)
	}
	return c.repo(ctx, fullName)
}

// activate activates a repository. Drone then creates its own webhook at Bitbucket, by which it
// runs the repository's own pipelines. A user may activate the repository at the same time.
// https://docs.drone.io/api/repos/repo_enable/
func (c *client) activate(ctx context.Context, owner, name string) (*drone.Repo, error) {
	fullName := owner + "/" + name
	var r *drone.Repo
	t, err := c.callRecorded(ctx, createTimeout, func(d drone.Client) (err error) {
		r, err = d.RepoEnable(owner, name)
		return err
	})
	if t.status == http.StatusInternalServerError { // an error of Drone itself
		if r, again := c.repo(ctx, fullName); again == nil && r.Active {
			return r, nil
		}
		return nil, fmt.Errorf(
			"the Drone server could not add its webhook to %s (%s): %w: %w",
			fullName, err.Error(), errDenied, autobuild.ErrForbidden,
		)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("activate %s on Drone: %w", fullName, err)
	case r.Name == "":
		return nil, c.unexpectedResponse()
	}
	return r, nil
}

// safeNamePattern matches names that need no escaping in a path: drone-go does not escape names.
const safeNamePattern = `^[A-Za-z0-9_.~-]+$`

func split(fullName string) (owner, name string, err error) {
	owner, name, _ = strings.Cut(fullName, "/")
	pattern := regexp.MustCompile(safeNamePattern)
	if !pattern.MatchString(owner) || !pattern.MatchString(name) || strings.Trim(owner, ".") == "" ||
		strings.Trim(name, ".") == "" {
		return "", "", fmt.Errorf("%q is not a repository name: %w", fullName, autobuild.ErrNotFound)
	}
	return owner, name, nil
}
