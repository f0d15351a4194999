package woodpecker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

const (
	perPage  = 50 // the most that the API gives
	maxPages = 2  // that a pipeline is looked for on
)

var (
	_ pipeline.CI       = (*client)(nil)
	_ pipeline.Identity = (*client)(nil)
	_ pipeline.RunLogs  = (*client)(nil)
)

// Login returns the name of the token's user.
func (c *client) Login(ctx context.Context) (string, error) {
	var user struct {
		Login string `json:"login"`
	}
	if err := c.get(ctx, "/api/user", &user); err != nil {
		return "", err
	}
	if user.Login == "" {
		return "", fmt.Errorf("%s answers, but not as Woodpecker does: check SLIPWAY_WOODPECKER_SERVER", c.server)
	}
	return user.Login, nil
}

// Create starts a pipeline on the head of a branch, which is all that the API takes; the
// runner fetches the build's own commit. A tag has no branch, and the build's may be gone: the
// default branch does for both.
func (c *client) Create(ctx context.Context, o pipeline.Order) (int64, error) {
	r, err := c.activeRepo(ctx, o.Repository)
	if err != nil {
		return 0, err
	}
	branch := r.DefaultBranch
	if o.Ref.Kind == autobuild.Branch {
		branch = o.Ref.Name
	}
	number, err := c.create(ctx, r, branch, o.Params)
	if !errors.Is(err, autobuild.ErrUnavailable) || branch == r.DefaultBranch || ctx.Err() != nil {
		return number, err
	}
	if found, findErr := c.Find(ctx, o.Repository, o.Params); findErr == nil {
		return found.Number, nil
	}
	return c.create(ctx, r, r.DefaultBranch, o.Params)
}

func (c *client) create(ctx context.Context, r repo, branch string, p pipeline.Params) (int64, error) {
	a, err := c.call(ctx, http.MethodPost, fmt.Sprintf("/api/repos/%d/pipelines", r.ID), struct {
		Branch    string            `json:"branch"`
		Variables map[string]string `json:"variables"`
	}{branch, p.Map()})
	switch {
	case err != nil:
		return 0, err
	case a.status == http.StatusNoContent && a.filtered:
		return 0, fmt.Errorf("Woodpecker has no pipeline to run: its config extension did not answer with ours; set WOODPECKER_CONFIG_EXTENSION_ENDPOINT on its server as the engine's page says (%w)", autobuild.ErrForbidden)
	case a.status == http.StatusNoContent:
		return 0, fmt.Errorf("Woodpecker could not load the pipeline's configuration: %s (%w)", c.newestFault(ctx, r), autobuild.ErrUnavailable)
	}
	var started run
	if err := a.decode(&started); err != nil {
		return 0, fmt.Errorf("start a pipeline of %s: %w", r.FullName, err)
	}
	if started.Status == "error" {
		return 0, fmt.Errorf("Woodpecker does not run pipeline %d of %s: %s (%w)", started.Number, r.FullName, strings.Join(started.faults(), "; "), autobuild.ErrForbidden)
	}
	return started.Number, nil
}

// newestFault says why the newest pipeline failed: the answer to its start does not.
func (c *client) newestFault(ctx context.Context, r repo) string {
	var newest []run
	if err := c.get(ctx, fmt.Sprintf("/api/repos/%d/pipelines?event=%s&perPage=1", r.ID, event), &newest); err != nil {
		return err.Error()
	}
	if len(newest) == 0 || len(newest[0].faults()) == 0 {
		return "it does not say why"
	}
	return strings.Join(newest[0].faults(), "; ")
}

// Find looks through the newest pipelines that were started by API.
func (c *client) Find(ctx context.Context, repository string, p pipeline.Params) (pipeline.Run, error) {
	r, err := c.repo(ctx, repository)
	if err != nil {
		return pipeline.Run{}, err
	}
	login, err := c.Login(ctx)
	if err != nil {
		return pipeline.Run{}, err
	}
	for page := 1; page <= maxPages; page++ {
		var all []run
		if err := c.get(ctx, fmt.Sprintf("/api/repos/%d/pipelines?event=%s&page=%d&perPage=%d", r.ID, event, page, perPage), &all); err != nil {
			return pipeline.Run{}, err
		}
		for _, one := range all {
			if one.of(login, p) {
				return c.runOf(r, one), nil
			}
		}
		if len(all) < perPage {
			break
		}
	}
	return pipeline.Run{}, autobuild.ErrNotFound
}

// Run returns one pipeline.
func (c *client) Run(ctx context.Context, repository string, number int64) (pipeline.Run, error) {
	r, one, err := c.run(ctx, repository, number)
	if err != nil {
		return pipeline.Run{}, err
	}
	return c.runOf(r, one), nil
}

func (c *client) run(ctx context.Context, repository string, number int64) (r repo, one run, err error) {
	if r, err = c.repo(ctx, repository); err != nil {
		return repo{}, run{}, err
	}
	err = c.get(ctx, fmt.Sprintf("/api/repos/%d/pipelines/%d", r.ID, number), &one)
	return r, one, err
}

func (c *client) runOf(r repo, one run) pipeline.Run {
	return pipeline.Run{Number: one.Number, State: one.state(), URL: fmt.Sprintf("%s/repos/%d/pipeline/%d", c.server, r.ID, one.Number)}
}

// Cancel stops a pipeline. Woodpecker answers 400 for one that is over.
func (c *client) Cancel(ctx context.Context, repository string, number int64) error {
	r, err := c.repo(ctx, repository)
	if err != nil {
		return err
	}
	a, err := c.call(ctx, http.MethodPost, fmt.Sprintf("/api/repos/%d/pipelines/%d/cancel", r.ID, number), nil)
	if err != nil {
		return err
	}
	switch a.status {
	case http.StatusOK, http.StatusNoContent, http.StatusBadRequest, http.StatusNotFound:
		return nil
	}
	return fmt.Errorf("cancel pipeline %d of %s: Woodpecker answered %d %s", number, repository, a.status, a.words())
}

// repo looks a repository up; ErrNotFound when Woodpecker has none, also one that it knows of
// and nobody activated.
func (c *client) repo(ctx context.Context, fullName string) (repo, error) {
	owner, name, ok := strings.Cut(fullName, "/")
	if !ok {
		return repo{}, fmt.Errorf("%q is no repository's name: %w", fullName, autobuild.ErrNotFound)
	}
	var r repo
	err := c.get(ctx, "/api/repos/lookup/"+url.PathEscape(owner)+"/"+url.PathEscape(name), &r)
	if err == nil && !r.Active {
		err = autobuild.ErrNotFound
	}
	if errors.Is(err, autobuild.ErrNotFound) {
		return repo{}, fmt.Errorf("Woodpecker has no active repository %s: %w", fullName, err)
	}
	return r, err
}

// activeRepo is repo for one that may have to be activated first. That makes a webhook of
// Woodpecker's own at Bitbucket, by which it runs the repository's own pipelines.
func (c *client) activeRepo(ctx context.Context, fullName string) (repo, error) {
	r, err := c.repo(ctx, fullName)
	if !errors.Is(err, autobuild.ErrNotFound) {
		return r, err
	}
	var all []repo
	if err := c.get(ctx, "/api/user/repos?all=true", &all); err != nil {
		return repo{}, err
	}
	for _, known := range all {
		if known.FullName == fullName {
			return c.activate(ctx, known)
		}
	}
	return repo{}, fmt.Errorf("Woodpecker's user sees no repository %s: give it access at Bitbucket: %w", fullName, autobuild.ErrNotFound)
}

func (c *client) activate(ctx context.Context, known repo) (repo, error) {
	a, err := c.call(ctx, http.MethodPost, "/api/repos?forge_remote_id="+url.QueryEscape(known.ForgeRemoteID), nil)
	if errors.Is(err, autobuild.ErrForbidden) {
		return repo{}, fmt.Errorf("activate %s: our user on Woodpecker must be an administrator of the repository at Bitbucket, or activate it by hand: %w", known.FullName, autobuild.ErrNotFound)
	}
	if err != nil {
		return repo{}, fmt.Errorf("activate %s: %w", known.FullName, err)
	}
	if a.status == http.StatusConflict { // somebody else was first
		return c.repo(ctx, known.FullName)
	}
	var r repo
	if err := json.Unmarshal(a.body, &r); err != nil || a.status != http.StatusOK {
		return repo{}, fmt.Errorf("activate %s: Woodpecker answered %d %s", known.FullName, a.status, a.words())
	}
	return r, nil
}
