package attempt

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

	"slipway/config/text"
	"slipway/runner/buildlog"
	"slipway/runner/report"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

// maxBuilds bounds the builds of one step. The rules and retries of one push make fewer.
const maxBuilds = 300

// errStopped is the error of a step that got SIGTERM.
var errStopped = errors.New("the step was stopped before it finished (SIGTERM)")

// A PipelineRequest requests the builds that a gateway has for a pipeline of the repository's own.
// Settings is required.
type PipelineRequest struct {
	Settings settings.PipelineRequest
	Run      Options       // options of each build; its Settings are made here
	Patience time.Duration // time limit for the first build, because the push's webhook may be late; default 2 min
	Pace     func() backoff.BackOff
}

// A pipeline is the state of one call of RunForPipeline. The stages of a build are in buildAndPush.
type pipeline struct {
	o       PipelineRequest
	log     buildlog.Log
	client  *report.Client
	request spec.PipelineRequest
}

// buildErrors are the errors of builds by number, each of its last attempt; nil = it succeeded.
type buildErrors map[int64]error

// RunForPipeline runs the builds of the CI's commit and ref that the gateway hands out, one after the
// other, until none is left. It returns nil without a build if the gateway knows the push and has nothing to
// build. It returns an error if a build did not succeed, or if the gateway does not receive the push within
// Patience.
func RunForPipeline(ctx context.Context, o PipelineRequest) error {
	o = o.withDefaults()
	s := o.Settings
	p := &pipeline{o: o, log: buildlog.New(o.Run.Output, o.Run.Now)}
	p.client = report.New(report.Options{
		URL:     s.Gateway + "/runner/v1/automated/" + s.AutomatedBuild,
		Token:   s.Token,
		Version: o.Run.Version,
		Now:     o.Run.Now,
		Backoff: o.Run.Backoff,
	})
	p.request = spec.PipelineRequest{Commit: s.Commit, Ref: s.Ref, Pipeline: s.Pipeline}
	if p.request.Pipeline == "" {
		p.request.Pipeline = "pipeline " + rand.Text()
	}
	p.log.Line("Slipway %s, as a step under the gateway %s", o.Run.Version, s.Gateway)
	if !strings.HasPrefix(s.Ref, "refs/heads/") && !strings.HasPrefix(s.Ref, "refs/tags/") {
		p.log.Line("nothing to build: %s is neither a branch nor a tag", s.Ref)
		return nil
	}
	return p.buildAll(ctx)
}

// buildAll builds until nothing is left.
func (p *pipeline) buildAll(ctx context.Context) error {
	ends := buildErrors{}
	for range maxBuilds {
		reply, err := p.next(ctx, len(ends) == 0)
		if failed := ends.joined(); err != nil && failed != nil {
			return failed // its error is more useful than the reason for the missing build
		}
		if err != nil {
			return err
		}
		if reply.Build == 0 {
			p.log.Line("%s", reply.Reason)
			return ends.joined()
		}
		p.log.Line("build %d", reply.Build)
		err = Run(ctx, p.options(reply))
		ends[reply.Build] = err
		if err != nil {
			p.log.Line("build %d: %s", reply.Build, text.OneLine(err.Error(), maxDetail))
		}
		if ctx.Err() != nil {
			return errStopped
		}
	}
	return fmt.Errorf("the gateway had more than %d builds for this pipeline", maxBuilds)
}

// options returns the options of a build that the gateway handed out.
func (p *pipeline) options(reply spec.PipelineReply) Options {
	s, run := p.o.Settings, p.o.Run
	run.Settings.URL = s.Gateway + "/runner/v1/builds/" + reply.BuildID
	run.Settings.Token = reply.Token
	run.Settings.Hooks = s.Hooks
	run.Settings.Builder = s.Builder
	run.Settings.BuilderTLS = s.BuilderTLS
	run.StepLogins = &s.Logins
	return run
}

// joined returns one error for all builds that did not succeed; nil = all did.
func (b buildErrors) joined() error {
	var all []error
	for number, err := range b {
		if err != nil {
			all = append(all, fmt.Errorf("build %d: %w", number, err))
		}
	}
	return errors.Join(all...)
}

// next requests a build until the gateway returns one, reports that there is none for sure, or Patience
// ends. For the first build the gateway may not have received the push yet.
func (p *pipeline) next(ctx context.Context, first bool) (spec.PipelineReply, error) {
	patient, cancel := context.WithTimeout(ctx, p.o.Patience)
	defer cancel()
	pace, logged := p.o.Pace(), ""
	for {
		reply, err := p.client.RequestBuild(ctx, p.request)
		if errors.Is(err, report.ErrUnauthorized) {
			return reply, fmt.Errorf(
				"the gateway does not accept PLUGIN_TOKEN for the automated build %s (PLUGIN_AUTOMATED_BUILD): "+
					"create a token on its page and store it as a secret of the CI",
				p.o.Settings.AutomatedBuild,
			)
		}
		var refused *report.StatusError
		unknown := errors.As(err, &refused) && refused.Status == http.StatusNotFound
		if !unknown && (err != nil || reply.Build != 0 || !reply.Unsure || !first) {
			return reply, err
		}
		reason := reply.Reason
		if unknown {
			reason = refused.Message
		}
		if reason != logged {
			logged = reason
			p.log.Line("waiting: %s", reason)
		}
		select {
		case <-time.After(pace.NextBackOff()):
		case <-patient.Done():
			if ctx.Err() != nil {
				return spec.PipelineReply{}, errStopped
			}
			if unknown {
				err = fmt.Errorf("waited %s: %s", p.o.Patience, reason)
			}
			return reply, err
		}
	}
}

func (o PipelineRequest) withDefaults() PipelineRequest {
	o.Run = o.Run.withDefaults()
	if o.Run.Output == nil {
		o.Run.Output = io.Discard
	}
	if o.Patience == 0 {
		o.Patience = 2 * time.Minute
	}
	if o.Pace == nil {
		o.Pace = func() backoff.BackOff {
			b := backoff.NewExponentialBackOff()
			b.InitialInterval = time.Second
			b.MaxInterval = 5 * time.Second
			return b
		}
	}
	return o
}
