package attempt

import (
	"context"
	"fmt"

	"slipway/config/identity"
	"slipway/config/secret"
	"slipway/runner/buildhooks"
	"slipway/runner/buildkit"
	"slipway/runner/publish"
	"slipway/runner/sandbox"
	"slipway/runner/spec"
)

// build makes the image, by the Dockerfile or by the repository's hooks/build. The gateway stores the
// digest before anything is pushed. The returned value is valid also with an error.
func (j *job) build(ctx context.Context, c checkout, builder *builderConnection) (b built, err error) {
	err = j.runStage(spec.StageBuild, func() (detail string, err error) {
		if err := j.runHooks(ctx, c, buildhooks.DockerConfig{}, buildhooks.PreBuild); err != nil {
			return "", err
		}
		err = j.o.atFailpoint("build", func() (err error) {
			if c.hooks.Has(buildhooks.Build) {
				detail = "by hooks/build"
				b, err = j.buildByHook(ctx, c)
				return err
			}
			b, err = j.buildDockerfile(ctx, c, builder)
			detail = fmt.Sprintf("%d of %d steps cached", b.image.Cached, b.image.Steps)
			return err
		})
		if err != nil {
			return "", err
		}
		if err := j.runHooks(ctx, c, b.hookLogins, buildhooks.PostBuild); err != nil {
			return "", err
		}
		if b.image.Digest == "" {
			return detail, nil
		}
		j.log.Line("built %s", b.image.Digest)
		return detail, j.o.atFailpoint("record digest", func() error { return j.session.Built(ctx, b.image.Digest) })
	})
	return b, err
}

func (j *job) buildDockerfile(ctx context.Context, c checkout, builder *builderConnection) (b built, err error) {
	if b.request, err = j.buildRequest(c.tree); err != nil {
		return built{}, err
	}
	if err := j.checkPointers(ctx, b.request); err != nil {
		return built{}, err
	}
	if err := builder.open(ctx, b.request.Context); err != nil {
		return built{}, err
	}
	b.image, err = publish.Build(ctx, builder.Builder, b.request, j.log)
	if builder.stop != nil {
		publish.ExplainKilled(err)
	}
	return b, err
}

// buildRequest resolves the paths of the Dockerfile and the context. Hooks before the build may have made
// them.
func (j *job) buildRequest(tree interface {
	Dockerfile(path string) (string, error)
	Directory(path string) (string, error)
}) (buildkit.Request, error) {
	dockerfile, err := tree.Dockerfile(j.spec.Dockerfile)
	if err != nil {
		return buildkit.Request{}, fmt.Errorf("the Dockerfile %w; correct the rule's Dockerfile or context", err)
	}
	folder, err := tree.Directory(j.spec.Context)
	if err != nil {
		return buildkit.Request{}, fmt.Errorf("the build context %w; correct the rule's context", err)
	}
	return buildkit.Request{
		Context:    folder,
		Dockerfile: dockerfile,
		BuildArgs:  j.spec.BuildArgs,
		Platforms:  j.spec.Platforms,
		NoCache:    !j.spec.Caching,
		Image:      j.spec.Image,
		Registries: j.logins.Build,
		Progress:   j.log,
		SharedKey:  j.spec.Source.URL,
		Guard:      j.guard,
	}, nil
}

// A builderConnection is a connection to a builder, which is nil before open: an attempt whose hooks/build
// makes the image needs none.
type builderConnection struct {
	publish.Builder
	job  *job
	stop func() // ends the builder that was started for this attempt; nil = none was
}

// open connects to the builder that a setting names. Without such a setting it connects to the builder of
// the builder service, and without that service it starts a builder.
func (b *builderConnection) open(ctx context.Context, contextDir string) (err error) {
	o := b.job.o
	address := o.Settings.Builder
	switch {
	case address == "" && o.Control != nil:
		b.Builder, err = o.DialThrough(ctx, o.Control.Builder)
		return err
	case address == "":
		address, b.stop, err = sandbox.StartLocal(ctx, sandbox.LocalBuilder{
			Registries: b.job.logins.Build,
			Environ:    o.Environ,
			Output:     b.job.log,
			Program:    o.BuilderProgram,
			Context:    contextDir,
		})
		if err != nil {
			return err
		}
	}
	login, err := o.clientIdentity(b.job.spec.BuilderTLS)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sandbox.DialTimeout)
	defer cancel()
	b.Builder, err = o.Dial(ctx, address, login)
	if err != nil && o.Settings.Builder != "" {
		return explainDialError(err)
	}
	return err
}

// close closes the connection and ends the builder that open started.
func (b *builderConnection) close() {
	if b.Builder != nil {
		_ = b.Close() // the image has been pushed, or is not needed
	}
	if b.stop != nil {
		b.stop()
	}
}

// explainDialError names the settings of a builder that does not answer.
func explainDialError(err error) error {
	return fmt.Errorf(
		"%w; check PLUGIN_BUILDER or SLIPWAY_BUILDER, or leave it out to start a builder in the step",
		err,
	)
}

// clientIdentity returns the runner's identity at the builder: the identity of the settings, or else
// the one that the gateway gave.
func (o Options) clientIdentity(given secret.Secret) (identity.Identity, error) {
	if !o.Settings.BuilderTLS.IsZero() {
		return o.Settings.BuilderTLS, nil
	}
	login, err := identity.Parse(given)
	if err != nil {
		return login, fmt.Errorf("the builder's certificate from the gateway: %w", err)
	}
	return login, nil
}

// buildByHook runs the repository's hooks/build. The hook may push, so it needs the permit first. The image
// must be in the registry afterwards, unless the repository has a hooks/push.
func (j *job) buildByHook(ctx context.Context, c checkout) (built, error) {
	if !j.spec.Publish || c.hooks.Has(buildhooks.Push) {
		return built{}, j.runHooks(ctx, c, buildhooks.DockerConfig{}, buildhooks.Build)
	}
	if err := j.askPermit(ctx, ""); err != nil {
		return built{}, err
	}
	hookLogins, err := j.writeHookLogins(c)
	if err != nil {
		return built{}, err
	}
	before, err := j.digestOf(ctx, j.spec.Tags[0])
	if err != nil {
		return built{}, err
	}
	if err := j.runHooks(ctx, c, hookLogins, buildhooks.Build); err != nil {
		return built{}, err
	}
	after, err := j.digestOf(ctx, j.spec.Tags[0])
	if err != nil {
		return built{}, err
	}
	if after == "" || (after == before && after != j.spec.BuiltDigest) {
		return built{}, failed(reasonHook, fmt.Errorf(
			"hooks/build succeeded but did not push %s (IMAGE_NAME): push the image in hooks/build, or add hooks/push",
			buildhooks.ImageName(j.spec),
		))
	}
	return built{image: buildkit.Image{Digest: after}, hookLogins: hookLogins}, nil
}
