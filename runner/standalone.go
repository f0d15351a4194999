package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"slipway/config/identity"
	"slipway/config/secret"
	"slipway/runner/cosign"
	"slipway/runner/registry"
	"slipway/runner/sandbox"
	"slipway/runner/settings"
	"slipway/runner/source"
)

// StandaloneOptions make a run without a gateway. Settings is required.
type StandaloneOptions struct {
	Settings settings.Plugin
	Version  string
	Environ  []string  // the step's; the builder that it starts gets only what it needs of it
	Output   io.Writer // of the step's log; nil = nowhere
	// BuilderProgram is the path of what starts a builder; empty = this program.
	BuilderProgram string
	Dial           func(ctx context.Context, address string, who identity.Identity) (Builder, error)
	Now            func() time.Time
	Backoff        func() backoff.BackOff // nil = each package's own
	PlanOnly       bool                   // say what the step would do, and do none of it
	// StatusTime bounds each report to Bitbucket; 0 = 5 s.
	StatusTime time.Duration
}

// A standalone is a run without a gateway under way.
type standalone struct {
	o        StandaloneOptions
	s        settings.Plugin
	log      logger
	hide     func(...secret.Secret) // from the log, besides those of the settings
	request  ImageRequest
	registry *registry.Client
	builder  Builder
	image    Image
	key      *cosign.Key // nil = nothing is signed
	pushed   []string    // tags, with the image's name before each
	status   status
	took     struct{ all, build, push time.Duration }
}

// errStopped is the end of a step that was told to stop.
var errStopped = errors.New("the step was told to stop before it was done (SIGTERM)")

// RunStandalone builds and pushes the image of a checked-out workspace, as the step of a
// pipeline that no gateway knows of. Its error names the setting that would mend it. When
// ctx ends, as by SIGTERM, so does the step.
func RunStandalone(ctx context.Context, o StandaloneOptions) error {
	o = o.complete()
	o.Environ = slices.Concat(o.Environ, ownBuilderEnviron(o.Settings.OwnBuilder))
	if err := readSecretFiles(&o.Settings); err != nil {
		return err
	}
	if err := readSigningKey(&o.Settings); err != nil {
		return err
	}
	out := secret.NewRedactor(o.Settings.Secrets()...).NewWriter(o.Output)
	defer func() { _ = out.Close() }() // a log that cannot be written must not fail the build
	r := &standalone{o: o, s: o.Settings, log: logger{out, o.Now}, hide: out.Hide}
	r.registry = registryClient(o.Version, newBackoff(o.Backoff), r.log)
	r.header()
	if o.PlanOnly || r.s.DryRun || r.s.Log.Debug {
		r.settings()
	}
	if r.s.Skip != "" {
		r.log.line("\nskipped: %s", r.s.Skip)
		return nil
	}
	if o.PlanOnly {
		return r.plan(ctx)
	}
	err := r.do(ctx)
	if err != nil && ctx.Err() != nil {
		err = errStopped
	}
	r.reportEnd(ctx, err)
	if err == nil {
		r.summary()
	}
	return err
}

// do is the order of the step. What is wrong is found before the time for a build is spent, or, as
// what a registry says, soon after it has begun.
func (r *standalone) do(ctx context.Context) (err error) {
	started := r.o.Now()
	r.reportStart(ctx)
	r.date(ctx)
	if r.request, err = r.imageRequest(); err != nil {
		return err
	}
	if err := r.checkFiles(); err != nil {
		return err
	}
	if err := r.openKey(); err != nil {
		return err
	}
	if err := r.logIn(ctx); err != nil {
		return err
	}
	asked := r.ask(ctx)
	defer asked.leave()
	hangUp, err := r.openBuilder(ctx)
	if err != nil {
		return err
	}
	defer hangUp()
	if err := asked.others(); err != nil {
		return err
	}
	err = r.during(r.making(), &r.took.build, func() error { return asked.unlessRefused(ctx, r.build) })
	if err != nil {
		return err
	}
	if err := r.push(ctx); err != nil {
		return err
	}
	r.took.all = r.o.Now().Sub(started)
	return r.writeFiles()
}

// publishes reports whether the image is pushed.
func (r *standalone) publishes() bool { return !r.s.DryRun && len(r.s.Tags) > 0 }

// imageRequest finds where the Dockerfile and the context really are.
func (r *standalone) imageRequest() (ImageRequest, error) {
	if r.s.Copy.On {
		return ImageRequest{Image: r.s.Image(), Registries: r.s.Registries(), Progress: r.log}, nil
	}
	top, err := filepath.Abs(r.s.Workspace)
	if err != nil {
		return ImageRequest{}, fmt.Errorf("workspace %s: %w", r.s.Workspace, err)
	}
	if info, err := os.Stat(top); err != nil || !info.IsDir() {
		return ImageRequest{}, fmt.Errorf(
			"the workspace %s (%s) is no directory: run the step where the repository is checked out",
			top,
			r.s.Origins["workspace"],
		)
	}
	tree := source.Tree{Dir: top}
	dockerfile, err := tree.File(filepath.Clean(r.s.Dockerfile))
	if err != nil {
		return ImageRequest{}, fmt.Errorf(
			"PLUGIN_DOCKERFILE: the Dockerfile %w; give its path from the workspace %s",
			err,
			top,
		)
	}
	folder, err := tree.Directory(filepath.Clean(r.s.Context))
	if err != nil {
		return ImageRequest{}, fmt.Errorf(
			"PLUGIN_CONTEXT: the build context %w; give its path from the workspace %s",
			err,
			top,
		)
	}
	options, err := r.buildOptions(top)
	if err != nil {
		return ImageRequest{}, err
	}
	return ImageRequest{
		Context:    folder,
		Dockerfile: dockerfile,
		Target:     r.s.Target,
		BuildArgs:  r.s.BuildArgs,
		Platforms:  r.s.Platforms,
		NoCache:    r.s.NoCache,
		Image:      r.s.Image(),
		Publish:    r.publishes() && builderPushes(r.s.Builder, r.s.Image()),
		Tag:        r.firstTag(options.CacheTo),
		Whole:      len(r.s.Images) > 1,
		Registries: r.s.Registries(),
		Progress:   r.log,
		SharedKey:  r.s.Image(),
		Options:    options,
	}, nil
}

// openBuilder connects to the builder that was named, or to one that it starts.
func (r *standalone) openBuilder(ctx context.Context) (hangUp func(), err error) {
	if r.s.Copy.On {
		r.builder = &copier{r: r}
		return func() { _ = r.builder.Close() }, nil // what it unpacked is in the system's temporary directory
	}
	address, stop := r.s.Builder, func() {}
	if address == "" {
		if address, stop, err = sandbox.StartLocal(ctx, r.ownBuilder()); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, sandbox.DialTimeout)
	defer cancel()
	if r.builder, err = r.o.Dial(ctx, address, r.s.BuilderTLS); err != nil {
		stop()
		return nil, fmt.Errorf(
			"%w; check %s, or leave it out to start a builder here",
			err,
			r.s.Origins["PLUGIN_BUILDER"],
		)
	}
	if r.s.Log.Quiet {
		r.builder = quiet{r.builder}
	}
	return func() {
		_ = r.builder.Close() // what it built is pushed by now, or is not wanted
		stop()
	}, nil
}

// build reports, too, whether the image is where all of it is to go: by the step's own builder, which
// speaks to the registry that the step does.
func (r *standalone) build(ctx context.Context) (pushed bool, err error) {
	if r.image, err = buildImage(ctx, r.builder, r.request, r.log); err != nil {
		if r.s.Copy.On {
			return false, err
		}
		return false, fmt.Errorf("build of %s: %w", r.s.Dockerfile, r.explainBuild(err))
	}
	return r.image.Pushed && r.s.Builder == "" && len(r.s.Images) == 1, nil
}

// during runs a stage and notes its time.
func (r *standalone) during(stage string, took *time.Duration, work func() error) error {
	started := r.o.Now()
	r.log.stage(stage)
	if err := work(); err != nil {
		return err
	}
	*took = r.o.Now().Sub(started)
	r.log.stageEnd(stage, "", *took)
	return nil
}

func (o StandaloneOptions) complete() StandaloneOptions {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Dial == nil {
		o.Dial = DialBuilder
	}
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if o.Output == nil {
		o.Output = io.Discard
	}
	if o.StatusTime == 0 {
		o.StatusTime = statusTime
	}
	return o
}
