package runner

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"slipway/runner/report"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

// maxJoined bounds the builds of one step: more than rules and attempts that one push makes.
const maxJoined = 300

// JoinOptions make a run of the builds that a gateway has for a pipeline of the user's own.
// Settings is required.
type JoinOptions struct {
	Settings settings.Join
	Run      Options       // of each build; its Settings are made here
	Patience time.Duration // how long a build may take to be there: the push's webhook may be late; default 2 min
	Pace     func() backoff.BackOff
}

// A joining is a step under way.
type joining struct {
	o      JoinOptions
	log    logger
	client *report.Client
	asks   spec.JoinRequest
	ends   map[int64]error // how each build ended in its last attempt
}

// RunJoined builds what the gateway has for the CI's commit and ref, one build after the other
// until none is left. Nothing to build is no error where the gateway knows the push; a build
// that did not succeed is, and so is a push that the gateway does not get to know in time.
func RunJoined(ctx context.Context, o JoinOptions) error {
	o = o.complete()
	s := o.Settings
	j := &joining{o: o, log: logger{o.Run.Output, o.Run.Now}, ends: map[int64]error{}}
	j.client = report.New(report.Options{
		URL:     s.Gateway + "/runner/v1/automated/" + s.AutomatedBuild,
		Token:   s.Token,
		Version: o.Run.Version,
		Now:     o.Run.Now,
		Backoff: o.Run.Backoff,
	})
	j.asks = spec.JoinRequest{Commit: s.Commit, Ref: s.Ref, Pipeline: s.Pipeline}
	if j.asks.Pipeline == "" {
		j.asks.Pipeline = "pipeline " + rand.Text()
	}
	j.log.line("Slipway %s, as a step under the gateway %s", o.Run.Version, s.Gateway)
	if !strings.HasPrefix(s.Ref, "refs/heads/") && !strings.HasPrefix(s.Ref, "refs/tags/") {
		j.log.line("nothing to build: %s is neither a branch nor a tag", s.Ref)
		return nil
	}
	return j.all(ctx)
}

// all builds until nothing is left.
func (j *joining) all(ctx context.Context) error {
	for range maxJoined {
		reply, err := j.next(ctx)
		if built := j.failed(); err != nil && built != nil {
			return built // it says more than why there is nothing after it
		}
		if err != nil {
			return err
		}
		if reply.Build == 0 {
			j.log.line("%s", reply.Reason)
			return j.failed()
		}
		j.log.line("build %d", reply.Build)
		run := j.o.Run
		run.Settings.URL = j.o.Settings.Gateway + "/runner/v1/builds/" + reply.BuildID
		run.Settings.Token, run.Settings.Hooks = reply.Token, j.o.Settings.Hooks
		run.Settings.Builder, run.Settings.BuilderTLS = j.o.Settings.Builder, j.o.Settings.BuilderTLS
		run.StepLogins = &j.o.Settings.Logins
		err = Run(ctx, run)
		if j.ends[reply.Build] = err; err != nil {
			j.log.line("build %d: %s", reply.Build, oneLine(err))
		}
		if ctx.Err() != nil {
			return errStopped
		}
	}
	return fmt.Errorf("the gateway had more than %d builds for this pipeline", maxJoined)
}

// failed is what keeps the step from ending well: the builds that did not.
func (j *joining) failed() error {
	var all []error
	for number, err := range j.ends {
		if err != nil {
			all = append(all, fmt.Errorf("build %d: %w", number, err))
		}
	}
	return errors.Join(all...)
}

// next asks for a build until there is one, or it is sure that there is none, or patience ends.
func (j *joining) next(ctx context.Context) (reply spec.JoinReply, err error) {
	patient, cancel := context.WithTimeout(ctx, j.o.Patience)
	defer cancel()
	pace, waiting := j.o.Pace(), ""
	for {
		reply, err = j.client.Join(ctx, j.asks)
		if errors.Is(err, report.ErrUnauthorized) {
			return reply, fmt.Errorf(
				"the gateway does not take PLUGIN_TOKEN for the automated build %s (PLUGIN_AUTOMATED_BUILD): make a token on its page, and keep it as the CI's secret",
				j.o.Settings.AutomatedBuild,
			)
		}
		var refused *report.StatusError
		none := errors.As(err, &refused) && refused.Status == http.StatusNotFound
		if !none && (err != nil || reply.Build != 0 || !reply.Unsure || len(j.ends) > 0) {
			return reply, err
		}
		why := reply.Reason
		if none {
			why = refused.Message
		}
		if why != waiting {
			waiting = why
			j.log.line("waiting: %s", why)
		}
		select {
		case <-time.After(pace.NextBackOff()):
		case <-patient.Done():
			if ctx.Err() != nil {
				return spec.JoinReply{}, errStopped
			}
			if none {
				err = fmt.Errorf("waited %s: %s", j.o.Patience, why)
			}
			return reply, err
		}
	}
}

func (o JoinOptions) complete() JoinOptions {
	o.Run = o.Run.complete()
	if o.Run.Output == nil {
		o.Run.Output = io.Discard
	}
	if o.Patience == 0 {
		o.Patience = 2 * time.Minute
	}
	if o.Pace == nil {
		o.Pace = func() backoff.BackOff {
			b := backoff.NewExponentialBackOff()
			b.InitialInterval, b.MaxInterval = time.Second, 5*time.Second
			return b
		}
	}
	return o
}
