// Package runner is the build step: it claims one attempt of a build, fetches the commit,
// builds its Dockerfile with Docker Hub's build hooks around it, tests, asks for the
// permit, pushes every tag and tells how it went. Run is the frame; job.do is the order.
package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/cenkalti/backoff/v5"

	"slipway/config/identity"
	"slipway/config/secret"
	"slipway/runner/logins"
	"slipway/runner/report"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

// Options make a run. Settings is required.
type Options struct {
	Settings settings.Settings
	Version  string
	Environ  []string  // the runner's environment; children get only what they need of it
	Output   io.Writer // the build's log is shown here too; nil = nowhere
	// BuilderProgram is the path of what starts a builder; empty = this program.
	BuilderProgram string
	Dial           func(ctx context.Context, address string, who identity.Identity) (Builder, error)
	Now            func() time.Time
	Grace          time.Duration // for build hooks to end in; default 3 s
	Backoff        func() backoff.BackOff
	// StepLogins are those of a step in the repository's own pipeline; nil = an engine of the
	// gateway started the runner.
	StepLogins *settings.StepLogins
	// Step is told of each step of the attempt, before it is taken and when it was: the places
	// where a runner may die between. nil = nobody is.
	Step func(what string, done bool)
}

// tellTime bounds how long the end of the log is sent after the work is over.
const tellTime = time.Minute

// Run runs one attempt and reports it. It returns *ResultError when the attempt did not
// succeed, and report.ErrOver when the gateway no longer wants it. When ctx ends, as by
// SIGTERM, the attempt ends as cancelled.
func Run(ctx context.Context, o Options) error {
	o = o.complete()
	client := report.New(report.Options{
		URL: o.Settings.URL, Token: o.Settings.Token, Version: o.Version, Now: o.Now, Backoff: o.Backoff,
	})
	var s spec.Spec
	err := o.step("claim", func() (err error) {
		s, err = client.Claim(ctx)
		return err
	})
	if err != nil {
		return refused(ctx, client, err)
	}
	result, err := o.attempt(ctx, client, s)
	if err != nil {
		return err
	}
	if err := o.step("finish", func() error { return client.Finish(ctx, result) }); err != nil {
		return err
	}
	if result.State != spec.Succeeded {
		return &ResultError{Result: result}
	}
	return nil
}

// refused ends an attempt whose spec could not be had: the gateway said why.
func refused(ctx context.Context, client *report.Client, err error) error {
	var answer *report.StatusError
	if !errors.As(err, &answer) {
		return err
	}
	result := spec.Result{State: spec.Error, Reason: reasonConfig, Detail: answer.Message}
	if err := client.Finish(ctx, result); err != nil {
		return err
	}
	return &ResultError{Result: result}
}

// attempt works with the session open: while it is, the gateway sees the log and may cancel.
func (o Options) attempt(ctx context.Context, client *report.Client, s spec.Spec) (spec.Result, error) {
	dir, remove, err := o.workdir()
	if err != nil {
		return judge(ctx, err), nil
	}
	defer remove()
	own, notes, err := o.stepLogins(s.Image)
	if err != nil {
		return judge(ctx, failed(reasonConfig, err)), nil
	}
	redactor := secret.NewRedactor(secrets(s, o.Settings, own)...)
	work, session, err := client.Begin(ctx, dir, redactor, o.Output)
	if err != nil {
		return judge(ctx, err), nil
	}
	work, stop := context.WithTimeoutCause(work, s.Timeout, errTimeout)
	defer stop()
	j := &job{
		o:        o,
		spec:     s,
		client:   client,
		session:  session,
		dir:      dir,
		log:      logger{session, o.Now},
		logins:   logins.Of(s, own),
		redactor: redactor,
	}
	for _, note := range notes {
		j.log.line("note: %s", note)
	}
	j.registry = registryClient(o.Version, newBackoff(o.Backoff), j.log)
	result := j.run(work)
	if errors.Is(context.Cause(work), report.ErrOver) {
		return result, errors.Join(report.ErrOver, closeSoon(ctx, session))
	}
	j.log.end(result)
	if err := closeSoon(ctx, session); errors.Is(err, report.ErrOver) {
		return result, err
	}
	return result, nil
}

// closeSoon sends the rest of the log, in a time of its own: ctx may have ended.
func closeSoon(ctx context.Context, s *report.Session) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTime)
	defer cancel()
	return s.Close(ctx)
}

// run makes a result of whatever happens, a panic included.
func (j *job) run(ctx context.Context) (result spec.Result) {
	defer func() {
		if p := recover(); p != nil {
			j.log.line("the runner broke: %v\n%s", p, debug.Stack())
			result = judge(ctx, masked(j.redactor, fmt.Errorf("the runner broke: %v; this is a fault of Slipway", p)))
		}
	}()
	err := j.spec.Validate()
	if err != nil {
		err = failed(reasonConfig, fmt.Errorf("what the gateway asks for cannot be built: %w", err))
	} else {
		err = j.logins.Explain(j.do(ctx))
	}
	result = judge(ctx, masked(j.redactor, err))
	result.Digest, result.Size, result.Tags = j.image.Digest, j.image.Size, j.tags
	return result
}

// workdir returns the directory to work in and how to leave it.
func (o Options) workdir() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp(o.Settings.Workdir, "slipway-")
	if err != nil {
		return "", nil, fmt.Errorf("make a directory to work in: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// step takes a step, and has it told.
func (o Options) step(what string, take func() error) error {
	o.Step(what, false)
	if err := take(); err != nil {
		return err
	}
	o.Step(what, true)
	return nil
}

func (o Options) complete() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Dial == nil {
		o.Dial = DialBuilder
	}
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if o.Step == nil {
		o.Step = func(string, bool) {}
	}
	if o.Grace == 0 {
		o.Grace = 3 * time.Second // less than what CIs grant before they kill the step
	}
	return o
}

// stepLogins returns the step's own logins for an image, and notes on its settings for the log. It
// returns nil if an engine of the gateway started the runner.
func (o Options) stepLogins(image string) (own *logins.Step, notes []string, err error) {
	if o.StepLogins == nil {
		return nil, nil, nil
	}
	all, notes, err := o.StepLogins.For(image)
	return &logins.Step{Credentials: all}, notes, err
}

// secrets are what the log and the result must not show.
func secrets(s spec.Spec, own settings.Settings, step *logins.Step) []secret.Secret {
	all := []secret.Secret{own.Token, own.BuilderTLS.Text(), s.BuilderTLS}
	for _, r := range s.Registries {
		all = append(all, r.Password)
	}
	if step != nil {
		for _, r := range step.Credentials {
			all = append(all, r.Password)
		}
	}
	for _, value := range s.Environment {
		all = append(all, value)
	}
	return all
}
