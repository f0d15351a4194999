// Package step is the build step of a pipeline without a gateway. It builds the image of a checked-out
// workspace by its settings and pushes it. With push_only it builds nothing and pushes an existing image.
package step

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"slipway/config/identity"
	"slipway/config/secret"
	"slipway/runner/buildkit"
	"slipway/runner/buildlog"
	"slipway/runner/commitstatus"
	"slipway/runner/publish"
	"slipway/runner/registry"
	"slipway/runner/settings"
	"slipway/runner/source"
	"slipway/runner/spec"
)

// Options configure Run. Settings is required.
type Options struct {
	Settings settings.Plugin
	Version  string
	Environ  []string  // the step's environment; nil = the process's. A builder gets only the variables that it needs
	Output   io.Writer // receives the step's log; nil = discard
	// BuilderProgram is the path of the program that is started as a builder; empty = this program.
	BuilderProgram string
	Dial           func(ctx context.Context, address string, id identity.Identity) (publish.Builder, error)
	// Transport sends the step's requests to registries; nil = the client's own.
	Transport http.RoundTripper
	Now       func() time.Time
	Backoff   func() backoff.BackOff // nil = each package's own
	PlanOnly  bool                   // print the plan and do nothing else
	// StatusTimeout bounds each report to Bitbucket; default 5 s.
	StatusTimeout time.Duration
}

// A run is a step with everything that does not change while it runs. A stage that learns more returns
// another run, as logIn does.
type run struct {
	o        Options
	s        settings.Plugin
	log      buildlog.Log
	out      *secret.Writer // the writer of log, which masks secrets
	registry *registry.Client
	certs    string // directory of registries' certificates
}

// A flow is one of the two kinds of steps.
type flow struct {
	header  []row                // rows of the log
	details []row                // rows after the logins and the notes on tags, without an origin
	verb    string               // verb of the commit status, with a space after it
	subject commitstatus.Subject // subject of the commit status
	plan    func(context.Context) error
	publish func(context.Context) (outcome, error)
}

// A row is a setting in the header of the log.
type row struct{ name, value, origin string }

// An outcome is the result of a step that succeeded.
type outcome struct {
	image  buildkit.Image
	pushed []string // tags, each with its image's name
	stages []stage
	total  time.Duration
	cached string   // number of steps from the cache, for people; empty = nothing was built
	hints  []string // advice for a faster build
}

// A stage is the time that one part of the step took.
type stage struct {
	name string
	took time.Duration
}

// errStopped is the error of a step that got SIGTERM.
var errStopped = errors.New("the step was stopped before it finished (SIGTERM)")

// Run runs the step. Its error names the setting to correct. The step ends when ctx ends, for example by
// SIGTERM.
func Run(ctx context.Context, o Options) error {
	o = o.withDefaults()
	s, err := readFiles(o.Settings)
	if err != nil {
		return err
	}
	certs, removeCerts, err := writeCertificates(s, o.Environ)
	if err != nil {
		return err
	}
	defer removeCerts()
	if len(s.Certificates) > 0 {
		o.Environ = append(slices.Clip(o.Environ), certsSetting+"="+certs)
	}
	out := secret.NewRedactor(s.Secrets()...).NewWriter(o.Output)
	defer func() { _ = out.Close() }() // a log that cannot be written must not fail the build
	r := run{o: o, s: s, out: out, log: buildlog.New(out, o.Now), certs: certs}
	r.registry = publish.NewRegistryClient(publish.RegistryOptions{
		Version: o.Version, Backoff: publish.NewBackoff(o.Backoff), Certs: certs, Transport: o.Transport, Log: r.log,
	})
	f := r.flow()
	r.printHeader(f)
	if o.PlanOnly || s.DryRun || s.Log.Debug {
		r.printSettings()
	}
	if s.Skip != "" {
		r.log.Line("\nskipped: %s", s.Skip)
		return nil
	}
	if o.PlanOnly {
		return r.printPlan(ctx, f)
	}
	return r.runFlow(ctx, f)
}

// flow returns the step's kind.
func (r run) flow() flow {
	if r.s.Copy.On {
		return r.copyFlow()
	}
	return r.buildFlow()
}

// runFlow publishes the image, and reports the status to Bitbucket meanwhile.
func (r run) runFlow(ctx context.Context, f flow) error {
	status := r.startStatus(ctx, f)
	done, err := f.publish(ctx)
	if err != nil && ctx.Err() != nil {
		err = errStopped
	}
	line := ""
	r.afterPush("status of the commit", func() error {
		line = status.finish(ctx, done, r.out.Redactor().MaskError(err))
		return nil
	})
	if err != nil {
		if line != "" {
			r.log.Line("\nstatus of the commit: %s", line)
		}
		return err
	}
	r.afterPush("summary", func() error {
		r.printSummary(done, line)
		return nil
	})
	return nil
}

// maxSecret is the largest secret that BuildKit accepts, in bytes.
const maxSecret = 500 << 10

// readFiles returns the settings with the secrets that are in files. It comes before the first line of the
// log, which masks them.
func readFiles(s settings.Plugin) (settings.Plugin, error) {
	s.Build.Secrets = slices.Clone(s.Build.Secrets)
	for i, one := range s.Build.Secrets {
		if one.File == "" {
			continue
		}
		value, err := source.ReadFile(s.Workspace, one.File, maxSecret)
		if err != nil {
			return s, fmt.Errorf(
				"the file of the build secret %s (setting secrets_from_file, secrets or secret) %w",
				one.ID,
				err,
			)
		}
		s.Build.Secrets[i] = spec.BuildSecret{ID: one.ID, Value: secret.New(string(value))}
	}
	if !s.Sign.InFile {
		return s, nil
	}
	key, err := source.ReadFile(s.Workspace, s.Sign.Key.Reveal(), maxSecret)
	if err != nil {
		// The error shows no path: the value may be a key in another form, and is a secret then.
		return s, errors.New(
			"PLUGIN_COSIGN_PRIVATE_KEY is neither a key in PEM, which begins with -----BEGIN, " +
				"nor the path of a readable file, absolute or relative to the workspace",
		)
	}
	s.Sign.Key = secret.New(string(key))
	s.Sign.InFile = false
	return s, nil
}

// publishes reports whether the image is pushed.
func (r run) publishes() bool { return !r.s.DryRun && len(r.s.Tags) > 0 }

// since returns the time since started.
func (r run) since(started time.Time) time.Duration { return r.o.Now().Sub(started) }

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Dial == nil {
		o.Dial = publish.Dial
	}
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if o.Output == nil {
		o.Output = io.Discard
	}
	if o.StatusTimeout == 0 {
		o.StatusTimeout = statusTimeout
	}
	o.Environ = slices.Concat(o.Environ, localBuilderEnviron(o.Settings.LocalBuilder))
	return o
}
