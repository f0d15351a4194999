// Package attempt is the build step under a gateway. It claims one attempt of a build, fetches the
// commit, and builds its Dockerfile with Docker Hub's build hooks around it. Then it tests, requests the
// permit, pushes every tag and reports the result.
package attempt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"time"

	"github.com/cenkalti/backoff/v5"

	"slipway/config/buildservice"
	"slipway/config/identity"
	"slipway/config/secret"
	"slipway/runner/buildkit"
	"slipway/runner/buildlog"
	"slipway/runner/logins"
	"slipway/runner/publish"
	"slipway/runner/report"
	"slipway/runner/sandbox"
	"slipway/runner/sandbox/confine"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

// Options configure Run. Settings is required.
type Options struct {
	Settings settings.Settings
	Version  string
	Environ  []string  // the runner's environment; nil = the process's. Children get only the variables that they need
	Output   io.Writer // also receives the build's log; nil = discard
	// BuilderProgram is the path of the program that is started as a builder; empty = this program.
	BuilderProgram string
	Dial           func(ctx context.Context, address string, id identity.Identity) (publish.Builder, error)
	// DialThrough connects to the builder of the builder service.
	DialThrough func(ctx context.Context, open func(context.Context) (net.Conn, error)) (publish.Builder, error)
	// Confine returns the isolation of build hooks if no builder service started the runner; nil = that of
	// package confine.
	Confine func() (HookRunner, error)
	// Control requests resources from the builder service that started the runner; nil = another program
	// started it.
	Control Control
	Now     func() time.Time
	Grace   time.Duration // time for a build hook to end after a stop; default 3 s
	Backoff func() backoff.BackOff
	// StepLogins are the logins of a step in the repository's own pipeline; nil = an engine of the
	// gateway started the runner.
	StepLogins *settings.StepLogins
	// Failpoint is called before and after each operation that another process sees, for tests that
	// kill the runner there. nil = nothing is called.
	Failpoint func(operation string, done bool)
}

// A Control requests the resources of this attempt from the builder service. *buildservice.Control is
// one.
type Control interface {
	// Builder connects to the builder of the attempt's trust domain.
	Builder(ctx context.Context) (net.Conn, error)
	// Sandbox makes the sandbox for build hooks, and connects to its process 1.
	Sandbox(ctx context.Context, s buildservice.Sandbox) (*net.UnixConn, error)
	// Listener returns the listener of one of the sandbox's sites.
	Listener(ctx context.Context, site int) (net.Listener, error)
	// Limit returns the limit that the attempt met, with its setting; "" = none.
	Limit(ctx context.Context) (string, error)
}

const (
	// closeTimeout bounds the time for which the end of the log is sent after the work.
	closeTimeout = time.Minute
	// defaultGrace is less than the time that CIs grant before they kill the step.
	defaultGrace = 3 * time.Second
)

// Run runs one attempt and reports its result. It returns a *ResultError if the attempt did not
// succeed, and report.ErrOver if the gateway has ended it. When ctx ends, for example by SIGTERM, the attempt
// ends as cancelled.
func Run(ctx context.Context, o Options) error {
	o = o.withDefaults()
	client := report.New(report.Options{
		URL: o.Settings.URL, Token: o.Settings.Token, Version: o.Version, Now: o.Now, Backoff: o.Backoff,
	})
	var s spec.Spec
	err := o.atFailpoint("claim", func() (err error) {
		s, err = client.Claim(ctx)
		return err
	})
	if err != nil {
		return finishUnclaimed(ctx, client, err)
	}
	result, err := o.runSession(ctx, client, s)
	if err != nil {
		return err
	}
	if err := o.atFailpoint("finish", func() error { return client.Finish(ctx, result) }); err != nil {
		return err
	}
	if result.State != spec.Succeeded {
		return &ResultError{Result: result}
	}
	return nil
}

// finishUnclaimed ends an attempt for which the gateway has no spec. Its message has the reason.
func finishUnclaimed(ctx context.Context, client *report.Client, err error) error {
	var refused *report.StatusError
	if !errors.As(err, &refused) {
		return err
	}
	result := spec.Result{State: spec.Error, Reason: reasonConfig, Detail: refused.Message}
	if err := client.Finish(ctx, result); err != nil {
		return err
	}
	return &ResultError{Result: result}
}

// runSession works while a session reports: the gateway sees the log and may cancel.
func (o Options) runSession(ctx context.Context, client *report.Client, s spec.Spec) (spec.Result, error) {
	dir, remove, err := sandbox.MakeTempDir(o.Settings.Workdir)
	if err != nil {
		return resultOf(ctx, fmt.Errorf("make the work directory: %w", err)), nil
	}
	defer remove()
	stepLogins, notes, err := o.stepLogins(s.Image)
	if err != nil {
		return resultOf(ctx, failed(reasonConfig, err)), nil
	}
	redactor := secret.NewRedactor(secretsOf(s, o.Settings, stepLogins)...)
	work, session, err := client.Begin(ctx, dir, redactor, o.Output)
	if err != nil {
		return resultOf(ctx, err), nil
	}
	work, stop := context.WithTimeoutCause(work, s.Timeout, errTimeout)
	defer stop()
	j := &job{
		o:        o,
		spec:     s,
		client:   client,
		session:  session,
		dir:      dir,
		log:      buildlog.New(session, o.Now),
		logins:   logins.Of(s, stepLogins),
		redactor: redactor,
	}
	j.shared = cmp.Or(o.Settings.Workspace, dir)
	for _, note := range notes {
		j.log.Line("note: %s", note)
	}
	j.guard = registryGuard(o.Settings, s.Image)
	j.registry = publish.NewRegistryClient(publish.RegistryOptions{
		Version: o.Version, Backoff: publish.NewBackoff(o.Backoff), Guard: j.guard, Log: j.log,
	})
	result := j.run(work)
	if errors.Is(context.Cause(work), report.ErrOver) {
		return result, errors.Join(report.ErrOver, closeSession(ctx, session))
	}
	j.logEnd(result)
	if err := closeSession(ctx, session); errors.Is(err, report.ErrOver) {
		return result, err
	}
	return result, nil
}

// closeSession sends the rest of the log. It has a timeout of its own, because ctx may have ended.
func closeSession(ctx context.Context, s *report.Session) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return s.Close(ctx)
}

// run builds and returns the result, also of a panic.
func (j *job) run(ctx context.Context) (result spec.Result) {
	defer func() {
		if p := recover(); p != nil {
			j.log.Line("internal error: %v\n%s", p, debug.Stack())
			err := fmt.Errorf("internal error: %v: this is a bug in Slipway", p)
			result = resultOf(ctx, j.redactor.MaskError(err))
		}
	}()
	done, err := j.validateAndBuild(ctx)
	result = resultOf(ctx, j.redactor.MaskError(err))
	result.Digest = done.image.Digest
	result.Size = done.image.Size
	result.Tags = done.tags
	result.ExtraTags = done.extraTags
	return result
}

// validateAndBuild checks the spec and builds. It adds the fix to the errors of registries and limits.
func (j *job) validateAndBuild(ctx context.Context) (outcome, error) {
	if err := j.spec.Validate(); err != nil {
		return outcome{}, failed(reasonConfig, fmt.Errorf("the spec of the gateway is invalid: %w", err))
	}
	done, err := j.buildAndPush(ctx)
	if !buildkit.CommandFailed(err) {
		err = j.logins.Explain(err)
	}
	return done, j.explainLimit(ctx, err)
}

// atFailpoint runs an operation between the two calls of its failpoint. The second call is left out if
// the operation fails.
func (o Options) atFailpoint(operation string, run func() error) error {
	o.Failpoint(operation, false)
	if err := run(); err != nil {
		return err
	}
	o.Failpoint(operation, true)
	return nil
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Dial == nil {
		o.Dial = publish.Dial
	}
	if o.DialThrough == nil {
		o.DialThrough = publish.DialThrough
	}
	if o.Confine == nil {
		o.Confine = func() (HookRunner, error) { return confine.New(confine.Options{}) }
	}
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if o.Failpoint == nil {
		o.Failpoint = func(string, bool) {}
	}
	if o.Grace == 0 {
		o.Grace = defaultGrace
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

// secretsOf returns the secrets that the log and the result mask.
func secretsOf(s spec.Spec, own settings.Settings, step *logins.Step) []secret.Secret {
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
