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
	perPage  = 50 // the most that the API gives
	maxPages = 2  // that a pipeline is looked for on

	startTries = 4 // of one start that the server answers with 500
	startPause = 200 * time.Millisecond
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
		return 0, ofAll(o, err)
	}
	branch := r.DefaultBranch
	if o.Ref.Kind == autobuild.Branch {
		branch = o.Ref.Name
	}
	number, err := c.insist(ctx, r, branch, o.Params)
	return number, ofAll(o, err)
}

// insist starts a pipeline again where the server answered 500 and none came of it: so it says
// that there is no such branch, and that its own database failed it, as SQLite does where
// several start at once.
func (c *client) insist(ctx context.Context, r repo, branch string, p pipeline.Params) (int64, error) {
	for try := 1; ; try++ {
		number, err := c.create(ctx, r, branch, p)
		var answered *serverError
		if !errors.As(err, &answered) || answered.status != http.StatusInternalServerError || try == startTries {
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
		// Several that failed together try again apart.
		case <-time.After(startPause + rand.N(startPause)): //nolint:gosec // a pause is no secret
		case <-ctx.Done():
			return 0, err
		}
	}
}

// ofAll marks what is wrong with the builder repository as wrong for every build: they wait
// until it is mended, which is what ErrForbidden means, and are not to blame.
func ofAll(o pipeline.Order, err error) error {
	if o.Commit == "" && errors.Is(err, autobuild.ErrNotFound) {
		return fmt.Errorf("the builder repository: %w (%w)", err, autobuild.ErrForbidden)
	}
	return err
}

func (c *client) create(ctx context.Context, r repo, branch string, p pipeline.Params) (int64, error) {
	a, err := c.call(ctx, forgeTime, http.MethodPost, fmt.Sprintf("/api/repos/%d/pipelines", r.ID), struct {
		Branch    string            `json:"branch"`
		Variables map[string]string `json:"variables"`
	}{branch, p.Map()})
	switch {
	case err != nil:
		return 0, err
	case a.status == http.StatusNotFound: // of one that it showed a moment ago
		return 0, fmt.Errorf("our user on the Woodpecker server may not start pipelines of %s: give it write access at Bitbucket: %w", r.FullName, autobuild.ErrNotFound)
	case a.status == http.StatusNoContent && a.filtered:
		return 0, fmt.Errorf("the Woodpecker server has no pipeline to run, %s (%w)", noConfig, autobuild.ErrForbidden)
	case a.status == http.StatusNoContent:
		return 0, fmt.Errorf("the Woodpecker server could not load the pipeline's configuration: %s (%w)", c.whyNot(ctx, r, p), autobuild.ErrUnavailable)
	}
	var started run
	if err := a.decode(&started); err != nil {
		return 0, fmt.Errorf("start a pipeline of %s: %w", r.FullName, err)
	}
	if started.Status == "error" {
		return 0, fmt.Errorf("the Woodpecker server does not run pipeline %d of %s: %s (%w)", started.Number, r.FullName, strings.Join(started.faults(), "; "), autobuild.ErrForbidden)
	}
	if started.isNotOurs() {
		return 0, c.stopStranger(ctx, r, started.Number)
	}
	return started.Number, nil
}

// noConfig is what it means that a pipeline has not our workflow.
const noConfig = "for its config extension did not answer with ours: set WOODPECKER_CONFIG_EXTENSION_ENDPOINT on its server, and let it ask this gateway with WOODPECKER_EXTENSIONS_ALLOWED_HOSTS"

// stopStranger cancels a pipeline of ours that runs the repository's own workflow.
func (c *client) stopStranger(ctx context.Context, r repo, number int64) error {
	err := fmt.Errorf("the Woodpecker server ran the repository's own workflow, %s (%w)", noConfig, autobuild.ErrForbidden)
	if cancelErr := c.cancel(context.WithoutCancel(ctx), r, number); cancelErr != nil {
		return fmt.Errorf("%w; and it runs on: %w", err, cancelErr)
	}
	return err
}

// whyNot says why a pipeline was not made, which the answer to its start does not.
func (c *client) whyNot(ctx context.Context, r repo, p pipeline.Params) string {
	newest, err := c.page(ctx, r, 1)
	if err != nil {
		return err.Error()
	}
	for _, one := range newest {
		if theirs, _ := pipeline.ReadParams(one.Variables); theirs == p && len(one.faults()) > 0 {
			return strings.Join(one.faults(), "; ")
		}
	}
	return "it does not say why"
}

// Find looks through the newest pipelines that were started by API. What Woodpecker could not
// make is no pipeline, though it has a number.
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
		for _, one := range all {
			if one.of(login, p) && !one.neverBegan() {
				return c.runOf(r, one), nil
			}
		}
		if len(all) < perPage {
			break
		}
	}
	return pipeline.Run{}, autobuild.ErrNotFound
}

// page lists pipelines that were started by API, newest first.
func (c *client) page(ctx context.Context, r repo, number int) (all []run, err error) {
	err = c.get(ctx, fmt.Sprintf("/api/repos/%d/pipelines?event=%s&page=%d&perPage=%d", r.ID, event, number, perPage), &all)
	return all, err
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

// Cancel stops a pipeline.
func (c *client) Cancel(ctx context.Context, repository string, number int64) error {
	r, err := c.repo(ctx, repository)
	if err != nil {
		return err
	}
	return c.cancel(ctx, r, number)
}

// cancel stops a pipeline. Woodpecker answers 400 for one that is over.
func (c *client) cancel(ctx context.Context, r repo, number int64) error {
	a, err := c.call(ctx, answerTime, http.MethodPost, fmt.Sprintf("/api/repos/%d/pipelines/%d/cancel", r.ID, number), nil)
	if err != nil {
		return err
	}
	switch a.status {
	case http.StatusOK, http.StatusNoContent, http.StatusBadRequest:
		return nil
	case http.StatusNotFound:
		return fmt.Errorf("the Woodpecker server has no pipeline %d of %s that its user may cancel: %w", number, r.FullName, autobuild.ErrNotFound)
	}
	return fmt.Errorf("cancel pipeline %d of %s: Woodpecker answered %d %s", number, r.FullName, a.status, a.words())
}
