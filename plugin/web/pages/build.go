package pages

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages/loghtml"
	"slipway/plugin/web/session"
)

type buildPage struct {
	autobuild.Build
	Automated  autobuild.AutomatedBuild // zero if it was deleted
	Rule       autobuild.Rule
	CommitURL  string
	Steps      []buildStep
	Pull       string // docker pull command; empty if no image was pushed
	Attempts   []attemptRow
	Shown      autobuild.Attempt // the attempt with the shown log; zero if there is no attempt
	Pipeline   string            // link to the attempt's pipeline on its CI; empty if there is none
	Report     autobuild.Report
	Log        logView
	Took       string
	Cancelable bool
	Retryable  bool   // failed, ended with an error or cancelled
	Skew       string // how the version of the build step differs from the gateway's; empty means it does not
	Moving     bool   // the page may change soon, so it refreshes itself
}

// reportWait is how long after its end a build's page refreshes itself until the commit status is
// posted. After longer delays, such as outages of Bitbucket, the user has to reload the page.
const reportWait = 10 * time.Minute

// needsRefresh reports whether a build is active, or its final commit status is not posted yet.
func needsRefresh(now time.Time, b autobuild.Build, r autobuild.Report) bool {
	return !b.State.Final() || reportedStep(b, r).Status == "waiting" && now.Sub(b.FinishedAt) < reportWait
}

type attemptRow struct {
	autobuild.Attempt
	Took     string
	Pipeline string
	Shown    bool
}

// showBuild shows one build with its stages, its result and its log.
func (p *Pages) showBuild(c *gin.Context) error {
	ctx := c.Request.Context()
	b, err := p.findBuild(c)
	if err != nil {
		return err
	}
	content := buildPage{Build: b, Took: buildTime(b), Cancelable: !b.State.Final(), Pull: pullCommand(b),
		Retryable: b.CheckRetry() == nil}
	content.Automated, err = zeroIfNotFound(p.view(c).AutomatedBuild(ctx, b.AutomatedBuildID))
	if err != nil {
		return fmt.Errorf("automated build of build %d: %w", b.Number, err)
	}
	content.Rule = ruleOf(content.Automated, b.RuleID)
	content.Report, err = zeroIfNotFound(p.Store.Reported(ctx, b.ID))
	if err != nil {
		return fmt.Errorf("report of build %d: %w", b.Number, err)
	}
	provider, err := zeroIfNotFound(p.Store.Provider(ctx, b.Repository.ProviderID))
	if err != nil {
		return fmt.Errorf("provider of build %d: %w", b.Number, err)
	}
	content.CommitURL = commitURL(provider, b.Repository, b.Commit.Hash)
	content.Steps, content.Moving = buildSteps(p.Now(), b, content.Report), needsRefresh(p.Now(), b, content.Report)
	if err := p.loadAttempts(c, &content); err != nil {
		return err
	}
	return p.show(c, http.StatusOK, "build", frame{
		Title:   fmt.Sprintf("Build %d", b.Number),
		Nav:     "builds",
		Crumbs:  buildCrumbs(b, content.Automated),
		Content: content,
	})
}

func buildCrumbs(b autobuild.Build, a autobuild.AutomatedBuild) []crumb {
	if a.ID == "" {
		return []crumb{{"Builds", "/builds"}, {b.Repository.FullName, ""}}
	}
	return []crumb{{"Automated builds", "/automated-builds"}, {b.Repository.FullName, "/automated-builds/" + a.ID}}
}

// loadAttempts fills in the attempts, and the log of the requested or the newest attempt.
func (p *Pages) loadAttempts(c *gin.Context, content *buildPage) error {
	all, err := p.Store.Attempts(c.Request.Context(), content.ID)
	if err != nil {
		return fmt.Errorf("attempts of build %d: %w", content.Number, err)
	}
	content.Shown = requestedAttempt(all, c.Query("attempt"))
	content.Pipeline = p.pipelineLink(content.Build, content.Shown)
	for _, a := range all {
		row := attemptRow{
			Attempt:  a,
			Pipeline: p.pipelineLink(content.Build, a),
			Shown:    a.Number == content.Shown.Number,
		}
		if !a.ClaimedAt.IsZero() && !a.FinishedAt.IsZero() {
			row.Took = duration(a.FinishedAt.Sub(a.ClaimedAt))
		}
		content.Attempts = append(content.Attempts, row)
	}
	if !content.Shown.ClaimedAt.Before(p.started) { // an earlier step may have had the version of an earlier gateway
		content.Skew = versionSkew(p.Version, content.Shown.RunnerVersion)
	}
	if content.Shown.Number == 0 || c.GetHeader("X-Part") == "build-head" {
		return nil // the script refreshes only the head, every two seconds, so the log is not read
	}
	content.Log, err = p.renderLog(c.Request.Context(), content.Shown)
	return err
}

// versionSkew describes a build step of another version than the gateway's. It returns "" for the same version,
// and for an attempt without a known one.
func versionSkew(own, step string) string {
	if step == "" || step == own {
		return ""
	}
	return fmt.Sprintf(
		"The build step has version %s, and the gateway has %s. Use the step’s image of the same version.",
		step,
		own,
	)
}

// requestedAttempt returns the attempt with the number in a query, else the newest attempt. It is
// zero if there are no attempts.
func requestedAttempt(all []autobuild.Attempt, query string) autobuild.Attempt {
	number, err := strconv.Atoi(query)
	for _, a := range slices.Backward(all) {
		if err != nil || a.Number == number {
			return a
		}
	}
	return autobuild.Attempt{}
}

// A logView is a log on a page.
type logView struct {
	Groups  []loghtml.Group
	Skipped int   // number of lines at the start that are not shown
	Offset  int64 // number of bytes read; the stream continues here
	Live    bool
}

// A buildStep is one step of a build with its duration: received, queued, a stage, or reported.
type buildStep struct {
	Name, Detail, Took string
	Status             string // done, active, failed, skipped or waiting
}

// buildSteps returns the steps of a build in order.
func buildSteps(now time.Time, b autobuild.Build, r autobuild.Report) []buildStep {
	received := buildStep{Name: "received", Took: duration(b.CreatedAt.Sub(b.ReceivedAt)), Status: "done"}
	all := []buildStep{received, queuedStep(now, b)}
	known := map[string]bool{}
	for i, s := range b.Stages {
		known[s.Name] = true
		all = append(all, stageStep(now, b, s, i == len(b.Stages)-1))
	}
	if !b.State.Final() {
		for _, name := range []string{"fetch", "build", "push"} {
			if !known[name] {
				all = append(all, buildStep{Name: name, Status: "waiting"})
			}
		}
	}
	return append(all, reportedStep(b, r))
}

func queuedStep(now time.Time, b autobuild.Build) buildStep {
	s := buildStep{Name: "queued", Status: "done"}
	switch {
	case !b.StartedAt.IsZero():
		s.Took = duration(b.StartedAt.Sub(b.CreatedAt))
	case b.State.Final():
		s.Took, s.Status = duration(b.FinishedAt.Sub(b.CreatedAt)), "skipped"
	default:
		s.Took, s.Status = duration(now.Sub(b.CreatedAt)), "active"
	}
	return s
}

func stageStep(now time.Time, b autobuild.Build, s autobuild.Stage, last bool) buildStep {
	out := buildStep{Name: s.Name, Detail: s.Detail, Status: "done"}
	end := s.FinishedAt
	if end.IsZero() {
		end, out.Status = now, "active"
		if b.State.Final() {
			end = b.FinishedAt
		}
	}
	if last && b.State.Final() && b.State != autobuild.Succeeded {
		out.Status = "failed"
	}
	out.Took = duration(end.Sub(s.StartedAt))
	return out
}

func reportedStep(b autobuild.Build, r autobuild.Report) buildStep {
	s := buildStep{Name: "reported", Status: "waiting"}
	posted := b.State.Final() && r.State == b.State && r.Attempt == b.Attempt
	switch {
	case posted && r.Problem != "":
		s.Status, s.Detail = "failed", "rejected by Bitbucket"
	case posted:
		s.Status, s.Detail, s.Took = "done", string(autobuild.StatusOf(b.State)), duration(r.At.Sub(b.FinishedAt))
	}
	return s
}

// pullCommand returns the docker pull command of the first tag. It is empty if no image was pushed.
func pullCommand(b autobuild.Build) string {
	if b.State != autobuild.Succeeded || !b.Publish || len(b.Tags) == 0 {
		return ""
	}
	return "docker pull " + b.Image + ":" + b.Tags[0]
}

func ruleOf(a autobuild.AutomatedBuild, id string) autobuild.Rule {
	for _, r := range a.Rules {
		if r.ID == id {
			return r
		}
	}
	return autobuild.Rule{}
}

// cancelBuild cancels a build. A second click finds it cancelled, which is no error.
func (p *Pages) cancelBuild(c *gin.Context) error {
	already := func(b autobuild.Build) bool { return b.State == autobuild.Cancelled }
	return p.act(c, p.Control.Cancel, already, "cancelled")
}

// retryBuild queues a build again. A second click finds it queued, which is no error.
func (p *Pages) retryBuild(c *gin.Context) error {
	already := func(b autobuild.Build) bool { return !b.State.Final() }
	return p.act(c, p.Control.Retry, already, "retried")
}

// act calls do for the build in the path, as the signed-in user, unless the build is already as requested.
func (p *Pages) act(
	c *gin.Context,
	do func(ctx context.Context, buildID, by string) (autobuild.Build, error),
	already func(autobuild.Build) bool,
	notice string,
) error {
	b, err := p.findBuild(c)
	if err != nil {
		return err
	}
	user, _ := session.User(c)
	if !already(b) {
		if _, err := do(c.Request.Context(), b.ID, user.Name); err != nil {
			return fmt.Errorf("build %d: %w", b.Number, err)
		}
	}
	return redirectDone(c, fmt.Sprintf("/builds/%d", b.Number), notice)
}
