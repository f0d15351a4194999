package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"slipway/config/secret"
	"slipway/runner/commitstatus"
	"slipway/runner/settings"
)

// What reporting may take of a step's time. A CI kills a step 10 s after it told it to stop,
// and the builder needs some of them.
const (
	statusTime        = 5 * time.Second
	stoppedStatusTime = 3 * time.Second
)

// A status is the report of a step at Bitbucket under way. It never fails or holds up a step:
// the start is told beside the build, and what goes wrong is one line at the end.
type status struct {
	reporter *commitstatus.Reporter
	report   commitstatus.Report
	place    commitstatus.Place
	begun    chan struct{} // closed when the start was told, or could not be; nil = nothing is reported
	giveUp   context.CancelFunc
	line     string // what the summary says of it; may be empty
}

// reportStart tells Bitbucket that the step runs, beside it.
func (r *standalone) reportStart(ctx context.Context) {
	s := &r.status
	if err := r.openStatus(); err != nil {
		s.line = "none: " + err.Error()
	}
	if s.reporter == nil {
		return
	}
	var own context.Context
	own, s.giveUp = context.WithTimeout(context.WithoutCancel(ctx), r.o.StatusTime)
	s.begun = make(chan struct{})
	go func() {
		defer close(s.begun)
		// If this fails, the end is tried all the same and has the word.
		_ = s.reporter.Post(own, s.report, commitstatus.InProgress, r.doing()+r.s.Image())
	}()
}

// openStatus decides whether and where the step reports; it makes no call. Its error is why it
// does not although somebody may expect it to.
func (r *standalone) openStatus() (err error) {
	told, s := r.s.Status, &r.status
	asked := r.s.Origins["PLUGIN_BITBUCKET_STATUS"] != settings.Default
	if told.Off {
		return nil
	}
	if s.place, err = commitstatus.Find(r.s.CI, told.URL); told.Credential.Password.IsZero() {
		if asked || told.Credential.Username != "" || err == nil {
			return errors.New(
				"PLUGIN_BITBUCKET_TOKEN is not set, nor PLUGIN_BITBUCKET_USERNAME with PLUGIN_BITBUCKET_PASSWORD; " +
					"a CI keeps secrets from pull requests and from steps that do not name them",
			)
		}
		return nil
	}
	if err != nil {
		return err
	}
	subject := commitstatus.Subject{
		Image:      r.s.Image(),
		Dockerfile: r.s.Dockerfile,
		Context:    r.s.Context,
		Target:     r.s.Target,
	}
	if r.s.Copy.On { // a status beside that of the step that builds the same image
		subject = commitstatus.Subject{Image: r.s.Image(), Target: "push only"}
	}
	if s.report, err = commitstatus.Describe(r.s.CI, subject, told.Key); err != nil {
		return err
	}
	s.reporter, err = commitstatus.New(
		commitstatus.Options{Place: s.place, Credential: told.Credential, Backoff: r.o.Backoff},
	)
	return err
}

// reportEnd tells Bitbucket how the step ended and notes what the log is to say of it.
func (r *standalone) reportEnd(ctx context.Context, failure error) {
	s := &r.status
	if s.begun != nil {
		limit := r.o.StatusTime
		if errors.Is(failure, errStopped) {
			s.giveUp()
			limit = min(limit, stoppedStatusTime)
		}
		<-s.begun // else the start might arrive after the end
		s.giveUp()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		state, description := r.verdict(failure)
		s.line = fmt.Sprintf("%s at %s/%s@%s", state, s.place.Owner, s.place.Slug, s.report.Commit[:12])
		if err := s.reporter.Post(ctx, s.report, state, description); err != nil {
			s.line = "not reported, which changes nothing else: " + oneLine(err)
		}
	}
	if failure != nil && s.line != "" {
		r.log.line("\nstatus of the commit: %s", s.line)
	}
}

// verdict is the step's end in Bitbucket's words. What the error says is masked as the log is.
func (r *standalone) verdict(failure error) (commitstatus.State, string) {
	switch {
	case errors.Is(failure, errStopped):
		return commitstatus.Stopped, "Stopped before it was done"
	case failure != nil:
		return commitstatus.Failed, oneLine(masked(secret.NewRedactor(r.s.Secrets()...), failure))
	case r.s.DryRun:
		return commitstatus.Successful, commitstatus.Built("Built, not pushed (dry run)", nil, r.image.Digest)
	}
	return commitstatus.Successful, commitstatus.Built("Pushed", r.s.Tags, r.image.Digest)
}
