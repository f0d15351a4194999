package woodpecker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

const (
	perPage  = 50 // maximum of the API
	maxPages = 2  // pages of pipelines that Find reads

	createAttempts = 4 // attempts to start one pipeline if the server returns 500
	retryDelay     = 200 * time.Millisecond
)

var (
	_ pipeline.CI       = (*client)(nil)
	_ pipeline.Identity = (*client)(nil)
	_ pipeline.RunLogs  = (*client)(nil)
)

// Login returns the login of the token's user.
func (c *client) Login(ctx context.Context) (string, error) {
	var user struct {
		Login string `json:"login"`
	}
	if err := c.get(ctx, "/api/user", &user); err != nil {
		return "", err
	}
	if user.Login == "" {
		return "", fmt.Errorf("%s is not a Woodpecker server: check SLIPWAY_WOODPECKER_SERVER", c.server)
	}
	return user.Login, nil
}

// Create starts a pipeline on the head of a branch, because the API accepts no commit. The runner
// fetches the build's own commit. Create uses the default branch for a tag, and for a build whose
// branch was deleted. Errors are those of pipeline.CI.
func (c *client) Create(ctx context.Context, o pipeline.Order) (int64, error) {
	r, err := c.activeRepo(ctx, o.Repository)
	if err != nil {
		return 0, asInstanceError(o, err)
	}
	if o.Commit == "" {
		if err := c.setExtensions(ctx, r); err != nil {
			return 0, asInstanceError(o, err)
		}
	}
	branch := r.DefaultBranch
	if o.Ref.Kind == autobuild.Branch {
		branch = o.Ref.Name
	}
	number, err := c.createWithRetry(ctx, r, branch, o.Params)
	return number, asInstanceError(o, err)
}

// createWithRetry starts a pipeline, and retries on HTTP 500 if no pipeline was created. Woodpecker
// returns 500 both for an unknown branch and for a busy SQLite, which happens if several pipelines
// start at once.
func (c *client) createWithRetry(ctx context.Context, r repo, branch string, p pipeline.Params) (int64, error) {
	for try := 1; ; try++ {
		number, err := c.create(ctx, r, branch, p)
		var serverErr *serverError
		if !errors.As(err, &serverErr) || serverErr.status != http.StatusInternalServerError || try == createAttempts {
			return number, err
		}
		found, findErr := c.Find(ctx, r.FullName, p)
		if findErr == nil {
			return found.Number, nil
		}
		if !errors.Is(findErr, autobuild.ErrNotFound) {
			return 0, err
		}
		branch = r.DefaultBranch
		select {
		// The random part separates the retries of calls that failed together.
		case <-time.After(retryDelay + rand.N(retryDelay)): //nolint:gosec // a pause is no secret
		case <-ctx.Done():
			return 0, err
		}
	}
}

// asInstanceError maps an error of the builder repository to ErrForbidden. It affects every build,
// so the builds wait until it is fixed and do not fail.
func asInstanceError(o pipeline.Order, err error) error {
	if o.Commit == "" && errors.Is(err, autobuild.ErrNotFound) {
		return fmt.Errorf("the builder repository: %w (%w)", err, autobuild.ErrForbidden)
	}
	return err
}

func (c *client) create(ctx context.Context, r repo, branch string, p pipeline.Params) (int64, error) {
	a, err := c.call(ctx, forgeTimeout, http.MethodPost, fmt.Sprintf("/api/repos/%d/pipelines", r.ID), struct {
		Branch    string            `json:"branch"`
		Variables map[string]string `json:"variables"`
	}{branch, p.Map()})
	switch {
	case err != nil:
		return 0, err
	case a.status == http.StatusNotFound: // of a repository that the server returned a moment ago
		return 0, fmt.Errorf(
			"our user on the Woodpecker server may not start pipelines of %s: give it write access at Bitbucket: %w",
			r.FullName, autobuild.ErrNotFound,
		)
	case a.status == http.StatusNoContent && a.filtered:
		return 0, fmt.Errorf("the Woodpecker server has no pipeline to run, %s (%w)", noConfig, autobuild.ErrForbidden)
	case a.status == http.StatusNoContent:
		return 0, fmt.Errorf(
			"the Woodpecker server could not load the pipeline's configuration: %s (%w)",
			c.failureReason(ctx, r, p), autobuild.ErrUnavailable,
		)
	}
	var started run
	if err := a.decode(&started); err != nil {
		return 0, fmt.Errorf("start a pipeline of %s: %w", r.FullName, err)
	}
	if started.Status == "error" {
		return 0, fmt.Errorf(
			"the Woodpecker server does not run pipeline %d of %s: %s (%w)", started.Number, r.FullName,
			strings.Join(started.faults(), "; "), autobuild.ErrForbidden,
		)
	}
	if started.isForeign() {
		return 0, c.stopForeign(ctx, r, started.Number)
	}
	return started.Number, nil
}

// noConfig is the cause and fix if a pipeline does not run our workflow.
const noConfig = "because its config extension did not return ours: allow this gateway on its server with " +
	"WOODPECKER_EXTENSIONS_ALLOWED_HOSTS, and make Woodpecker's user an administrator of the builder repository " +
	"or set WOODPECKER_CONFIG_EXTENSION_ENDPOINT on the server"

// stopForeign cancels a pipeline of ours that runs the repository's own workflow.
func (c *client) stopForeign(ctx context.Context, r repo, number int64) error {
	err := fmt.Errorf(
		"the Woodpecker server ran the repository's own workflow, %s (%w)", noConfig, autobuild.ErrForbidden,
	)
	if cancelErr := c.cancel(context.WithoutCancel(ctx), r, number); cancelErr != nil {
		return fmt.Errorf("%w; the pipeline still runs: %w", err, cancelErr)
	}
	return err
}

// failureReason returns the reason why a pipeline was not created. The response to the start does
// not contain it.
func (c *client) failureReason(ctx context.Context, r repo, p pipeline.Params) string {
	newest, err := c.page(ctx, r, 1)
	if err != nil {
		return err.Error()
	}
	for _, found := range newest {
		if params, _ := pipeline.ReadParams(found.Variables); params == p && len(found.faults()) > 0 {
			return strings.Join(found.faults(), "; ")
		}
	}
	return "it gives no reason"
}

// Find searches the newest pipelines that were started by API. It ignores pipelines that Woodpecker
// failed to create, although they have a number.
func (c *client) Find(ctx context.Context, repository string, p pipeline.Params) (pipeline.Run, error) {
	r, err := c.repo(ctx, repository)
	if err != nil {
		return pipeline.Run{}, err
	}
	login, err := c.Login(ctx)
	if err != nil {
		return pipeline.Run{}, err
	}
	for number := 1; number <= maxPages; number++ {
		all, err := c.page(ctx, r, number)
		if err != nil {
			return pipeline.Run{}, err
		}
		for _, found := range all {
			if found.of(login, p) && !found.neverStarted() {
				return c.runOf(r, found), nil
			}
		}
		if len(all) < perPage {
			break
		}
	}
	return pipeline.Run{}, autobuild.ErrNotFound
}

// page returns a page of the pipelines that were started by API, newest first. number begins at 1.
func (c *client) page(ctx context.Context, r repo, number int) (all []run, err error) {
	err = c.get(
		ctx, fmt.Sprintf("/api/repos/%d/pipelines?event=%s&page=%d&perPage=%d", r.ID, event, number, perPage),
		&all,
	)
	return all, err
}

// Run returns a pipeline by its number. Errors are those of pipeline.CI.
func (c *client) Run(ctx context.Context, repository string, number int64) (pipeline.Run, error) {
	r, found, err := c.run(ctx, repository, number)
	if err != nil {
		return pipeline.Run{}, err
	}
	return c.runOf(r, found), nil
}

func (c *client) run(ctx context.Context, repository string, number int64) (r repo, found run, err error) {
	if r, err = c.repo(ctx, repository); err != nil {
		return repo{}, run{}, err
	}
	err = c.get(ctx, fmt.Sprintf("/api/repos/%d/pipelines/%d", r.ID, number), &found)
	return r, found, err
}

func (c *client) runOf(r repo, found run) pipeline.Run {
	return pipeline.Run{
		Number: found.Number,
		Status: statusOf(found, c.timeoutOf(r)),
		URL:    fmt.Sprintf("%s/repos/%d/pipeline/%d", c.server, r.ID, found.Number),
	}
}

// Cancel stops a pipeline. Errors are those of pipeline.CI.
func (c *client) Cancel(ctx context.Context, repository string, number int64) error {
	r, err := c.repo(ctx, repository)
	if err != nil {
		return err
	}
	return c.cancel(ctx, r, number)
}

// cancel stops a pipeline. Woodpecker returns 400 if the pipeline is finished.
func (c *client) cancel(ctx context.Context, r repo, number int64) error {
	a, err := c.call(
		ctx, callTimeout, http.MethodPost, fmt.Sprintf("/api/repos/%d/pipelines/%d/cancel", r.ID, number),
		nil,
	)
	if err != nil {
		return err
	}
	switch a.status {
	case http.StatusOK, http.StatusNoContent, http.StatusBadRequest:
		return nil
	case http.StatusNotFound:
		return fmt.Errorf(
			"the Woodpecker server has no pipeline %d of %s that its user may cancel: %w",
			number, r.FullName, autobuild.ErrNotFound,
		)
	}
	return fmt.Errorf(
		"cancel pipeline %d of %s: Woodpecker returned %d %s", number, r.FullName, a.status, a.errorText(),
	)
}
