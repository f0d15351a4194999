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

// Inspect looks at the server as the engine uses it, without changing anything there.
func (e *Engine) Inspect(ctx context.Context) []pipeline.Finding {
	all := []pipeline.Finding{e.inspectVersion(ctx), e.inspectEdition(ctx), e.inspectToken(ctx)}
	if e.o.Repository != "" {
		all = append(all, e.inspectRepository(ctx))
	}
	return append(all,
		e.seen.Finding("config", "is DRONE_YAML_ENDPOINT set on the server?"),
		e.seen.Finding("secret", "is DRONE_SECRET_PLUGIN_ENDPOINT set on the runners?"),
		e.seen.Finding("webhook", "without DRONE_WEBHOOK_ENDPOINT the gateway polls, which is well too"))
}

// inspectVersion also compares the clocks: signatures count for minutes only.
func (e *Engine) inspectVersion(ctx context.Context) pipeline.Finding {
	f := pipeline.Finding{Subject: "server"}
	version, date, err := e.version(ctx)
	if err != nil {
		f.Problem = err.Error()
		return f
	}
	skewed := pipeline.ClockProblem(date, e.o.Now())
	switch {
	case pipeline.Older(version, 2, 28):
		f.Problem = fmt.Sprintf("it is version %s, and 2.28 is needed: upgrade it", version)
	case skewed != "":
		f.Problem = skewed
	default:
		f.Good = fmt.Sprintf("Drone %s at %s, its clock agrees", version, e.o.Server)
	}
	return f
}

// version asks what drone-go has no call for. https://docs.drone.io/api/overview/
func (e *Engine) version(ctx context.Context) (version string, date time.Time, err error) {
	var told struct {
		Version string `json:"version"`
	}
	carried, err := e.client.get(ctx, "/version", &told)
	if err != nil {
		return "", time.Time{}, err
	}
	if told.Version == "" {
		return "", time.Time{}, e.client.strange()
	}
	date, _ = http.ParseTime(carried.date) // one that tells no time is not compared
	return told.Version, date, nil
}

// inspectEdition tells the open-source build, which has neither extensions nor runners, by what
// else it leaves out: /api/system/stats is for administrators, and 501 there.
func (e *Engine) inspectEdition(ctx context.Context) pipeline.Finding {
	f := pipeline.Finding{Subject: "edition"}
	var about struct {
		License struct {
			Kind    string    `json:"kind"`
			Expires time.Time `json:"expire_at"`
		} `json:"license"`
	}
	_, err := e.client.get(ctx, "/varz", &about)
	if err != nil && !errors.Is(err, autobuild.ErrNotFound) { // which something before it may say
		f.Problem = err.Error()
		return f
	}
	stats, _ := e.client.get(ctx, "/api/system/stats", &struct{}{}) // its status says it
	licence := about.License
	switch {
	case stats.status == http.StatusNotImplemented, licence.Kind == "foss":
		f.Problem = "it is Drone's open-source build, which asks no extension and has no runners: run the image drone/drone:2"
	case !licence.Expires.IsZero() && licence.Expires.Before(e.o.Now()):
		f.Problem = fmt.Sprintf("Drone's licence ended on %s: renew it, or it may refuse builds", licence.Expires.Format(time.DateOnly))
	case licence.Kind == "trial":
		f.Good = "has extensions; Drone's trial licence is for 5000 builds with Bitbucket, and its terms say for whom: a licence of one's own lifts that"
	case !licence.Expires.IsZero():
		f.Good = fmt.Sprintf("has extensions; Drone's licence is good until %s", licence.Expires.Format(time.DateOnly))
	case err != nil:
		f.Good = "is not told; the open-source build has no extensions and would not do"
	default:
		f.Good = "has extensions, and its licence does not end"
	}
	return f
}

func (e *Engine) inspectToken(ctx context.Context) pipeline.Finding {
	f := pipeline.Finding{Subject: "token"}
	var user *drone.User
	err := e.client.call(ctx, answerTime, func(d drone.Client) (err error) {
		user, err = d.Self()
		return err
	})
	switch {
	case err != nil:
		f.Problem = err.Error()
	case user.Login == "":
		f.Problem = e.client.strange().Error()
	case user.Admin:
		f.Good = "is " + user.Login + "'s, an administrator of Drone"
	default:
		f.Good = "is " + user.Login + "'s, who needs write access at Bitbucket to each repository that runs pipelines"
	}
	return f
}

func (e *Engine) inspectRepository(ctx context.Context) pipeline.Finding {
	f := pipeline.Finding{Subject: "builder repository"}
	r, err := e.client.synced(ctx, e.o.Repository)
	switch {
	case err != nil:
		f.Problem = err.Error()
	case !r.Active:
		f.Good = r.Slug + " is not active, and will be with the first build"
	case r.Branch == "":
		f.Problem = r.Slug + " has no default branch: give it one commit at Bitbucket, and press Sync on Drone"
	default:
		f.Good = fmt.Sprintf("%s is active, builds run on %s", r.Slug, r.Branch)
	}
	return f
}
