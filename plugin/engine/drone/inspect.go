package drone

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/drone/drone-go/drone"

	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

// Inspect checks the server with read-only requests.
func (e *Engine) Inspect(ctx context.Context) []pipeline.Finding {
	all := []pipeline.Finding{e.inspectVersion(ctx), e.inspectEdition(ctx), e.inspectToken(ctx)}
	if e.o.Repository != "" {
		all = append(all, e.inspectRepository(ctx)...)
	}
	return append(all,
		e.requestLog.Finding("config", "is DRONE_YAML_ENDPOINT set on the server?"),
		e.requestLog.Finding("secret", "is DRONE_SECRET_PLUGIN_ENDPOINT set on the runners?"),
		e.requestLog.Finding("webhook", "without DRONE_WEBHOOK_ENDPOINT the gateway polls, which also works"))
}

// inspectVersion also compares the clocks, because signatures are valid for minutes only.
func (e *Engine) inspectVersion(ctx context.Context) pipeline.Finding {
	f := pipeline.Finding{Subject: "server"}
	version, date, err := e.version(ctx)
	if err != nil {
		f.Problem = err.Error()
		return f
	}
	clockProblem := pipeline.ClockProblem(date, e.o.Now())
	switch {
	case pipeline.Older(version, 2, 28):
		f.Problem = fmt.Sprintf("version %s is too old: upgrade to 2.28 or later", version)
	case clockProblem != "":
		f.Problem = clockProblem
	default:
		f.Good = fmt.Sprintf("Drone %s at %s, its clock is right", version, e.o.Server)
	}
	return f
}

// version requests the server's version and time; drone-go has no method for it.
// https://docs.drone.io/api/overview/
func (e *Engine) version(ctx context.Context) (version string, date time.Time, err error) {
	var reply struct {
		Version string `json:"version"`
	}
	t, err := e.client.get(ctx, "/version", &reply)
	if err != nil {
		return "", time.Time{}, err
	}
	if reply.Version == "" {
		return "", time.Time{}, e.client.unexpectedResponse()
	}
	date, _ = http.ParseTime(t.date) // date is zero if the server sends no time
	return reply.Version, date, nil
}

// inspectEdition detects Drone's open-source build, which has neither extensions nor runners. That
// build returns 501 to /api/system/stats, an address for administrators.
func (e *Engine) inspectEdition(ctx context.Context) pipeline.Finding {
	f := pipeline.Finding{Subject: "edition"}
	var about struct {
		License struct {
			Kind    string    `json:"kind"`
			Expires time.Time `json:"expire_at"`
		} `json:"license"`
	}
	_, err := e.client.get(ctx, "/varz", &about)
	if err != nil && !errors.Is(err, autobuild.ErrNotFound) { // a proxy before Drone may return 404
		f.Problem = err.Error()
		return f
	}
	stats, _ := e.client.get(ctx, "/api/system/stats", &struct{}{}) // only its status matters
	license := about.License
	switch {
	case stats.status == http.StatusNotImplemented, license.Kind == "foss":
		f.Problem = "it is Drone's open-source build, which has no extensions and no runners: run the " +
			"image drone/drone:2"
	case !license.Expires.IsZero() && license.Expires.Before(e.o.Now()):
		f.Problem = fmt.Sprintf(
			"Drone's license expired on %s: renew it, or Drone may refuse builds",
			license.Expires.Format(time.DateOnly),
		)
	case license.Kind == "trial":
		f.Good = "has extensions; Drone's trial license allows 5000 builds with Bitbucket and has terms of use; " +
			"a license of your own has no such limit"
	case !license.Expires.IsZero():
		f.Good = fmt.Sprintf("has extensions; Drone's license is valid until %s", license.Expires.Format(time.DateOnly))
	case err != nil:
		f.Good = "unknown; the open-source build has no extensions and does not work"
	default:
		f.Good = "has extensions, and its license does not expire"
	}
	return f
}

func (e *Engine) inspectToken(ctx context.Context) pipeline.Finding {
	f := pipeline.Finding{Subject: "token"}
	var user *drone.User
	err := e.client.call(ctx, callTimeout, func(d drone.Client) (err error) {
		user, err = d.Self()
		return err
	})
	switch {
	case err != nil:
		f.Problem = err.Error()
	case user.Login == "":
		f.Problem = e.client.unexpectedResponse().Error()
	case user.Admin:
		f.Good = "is " + user.Login + "'s, an administrator of Drone"
	default:
		f.Good = "is " + user.Login + "'s; this user needs write access at Bitbucket to each repository that runs pipelines"
	}
	return f
}

// inspectRepository checks the builder repository, and its timeout once it is active.
func (e *Engine) inspectRepository(ctx context.Context) []pipeline.Finding {
	f := pipeline.Finding{Subject: "builder repository"}
	r, err := e.client.syncedRepo(ctx, e.o.Repository)
	switch {
	case err != nil:
		f.Problem = err.Error()
		return []pipeline.Finding{f}
	case !r.Active:
		f.Good = r.Slug + " is not active; the first build activates it"
		return []pipeline.Finding{f}
	case r.Branch == "":
		f.Problem = r.Slug + " has no default branch: push a commit to it at Bitbucket, and press Sync on Drone"
	default:
		f.Good = fmt.Sprintf("%s is active, builds run on %s", r.Slug, r.Branch)
	}
	return []pipeline.Finding{f, e.inspectTimeout(r)}
}

func (e *Engine) inspectTimeout(r *drone.Repo) pipeline.Finding {
	limit := e.client.timeoutOf(r)
	if limit.TooShort() {
		return pipeline.Finding{Subject: "timeout", Problem: limit.Problem(), Fixable: true}
	}
	return pipeline.Finding{
		Subject: "timeout",
		Good:    fmt.Sprintf("%s allows %d minutes, a build takes at most %s", r.Slug, r.Timeout, limit.Ours),
	}
}

// Fix changes the settings of the builder repository that Inspect finds wrong, which is its timeout. Drone
// ignores the timeout of a user that is no administrator of Drone.
// https://docs.drone.io/api/repos/repo_update/
func (e *Engine) Fix(ctx context.Context) error {
	if e.o.Repository == "" {
		return fmt.Errorf("no builder repository is set (SLIPWAY_DRONE_REPOSITORY): %w", autobuild.ErrConflict)
	}
	r, err := e.client.activeRepo(ctx, e.o.Repository)
	if err != nil {
		return err
	}
	limit := e.client.timeoutOf(r)
	if !limit.TooShort() {
		return nil
	}
	minutes := limit.Minutes()
	err = e.client.call(ctx, callTimeout, func(d drone.Client) (err error) {
		r, err = d.RepoUpdate(r.Namespace, r.Name, &drone.RepoPatch{Timeout: &minutes})
		return err
	})
	if err != nil {
		return fmt.Errorf("change the timeout of %s on Drone: %w", e.o.Repository, err)
	}
	if r.Timeout != minutes {
		return fmt.Errorf(
			"the Drone server did not change the timeout of %s: make our user an administrator of Drone, or set it "+
				"there to %d minutes: %w",
			e.o.Repository,
			minutes,
			autobuild.ErrForbidden,
		)
	}
	return nil
}
