package runner

import (
	"context"
	"fmt"

	"slipway/config/identity"
	"slipway/config/secret"
	"slipway/runner/buildhooks"
	"slipway/runner/sandbox"
	"slipway/runner/spec"
)

// build makes the image, by the Dockerfile or by the repository's hooks/build, and has its
// digest written down at the gateway before anything is pushed.
func (j *job) build(ctx context.Context) error {
	return j.during(spec.StageBuild, func() (string, error) {
		if err := j.hook(ctx, buildhooks.PreBuild); err != nil {
			return "", err
		}
		way := j.buildDockerfile
		if j.hooks.Has(buildhooks.Build) {
			way = j.buildByHook
		}
		var detail string
		err := j.o.step("build", func() (err error) {
			detail, err = way(ctx)
			return err
		})
		if err != nil {
			return "", err
		}
		if err := j.hook(ctx, buildhooks.PostBuild); err != nil {
			return "", err
		}
		if j.image.Digest == "" {
			return detail, nil
		}
		j.log.line("built %s", j.image.Digest)
		return detail, j.o.step("record digest", func() error { return j.session.Built(ctx, j.image.Digest) })
	})
}

func (j *job) buildDockerfile(ctx context.Context) (detail string, err error) {
	if j.request, err = j.imageRequest(); err != nil {
		return "", err
	}
	if err := j.dial(ctx); err != nil {
		return "", err
	}
	if j.image, err = buildImage(ctx, j.builder, j.request, j.log); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d of %d steps cached", j.image.Cached, j.image.Steps), nil
}

// imageRequest finds where the Dockerfile and the context really are: hooks before the
// build may have made them.
func (j *job) imageRequest() (ImageRequest, error) {
	dockerfile, err := j.tree.File(j.spec.Dockerfile)
	if err != nil {
		return ImageRequest{}, fmt.Errorf("the Dockerfile %w; correct the rule's Dockerfile or context", err)
	}
	folder, err := j.tree.Directory(j.spec.Context)
	if err != nil {
		return ImageRequest{}, fmt.Errorf("the build context %w; correct the rule's context", err)
	}
	return ImageRequest{
		Context:    folder,
		Dockerfile: dockerfile,
		BuildArgs:  j.spec.BuildArgs,
		Platforms:  j.spec.Platforms,
		NoCache:    !j.spec.Caching,
		Image:      j.spec.Image,
		Registries: j.logins.Build,
		Progress:   j.log,
		SharedKey:  j.spec.Source.URL,
	}, nil
}

// dial connects to the builder that was named, or to one that it starts.
func (j *job) dial(ctx context.Context) (err error) {
	address, named := j.o.Settings.Builder, true
	if address == "" {
		named = false
		address, j.stopBuilder, err = sandbox.StartLocal(ctx, sandbox.LocalBuilder{
			Registries: j.logins.Build,
			Environ:    j.o.Environ,
			Output:     j.log,
			Program:    j.o.BuilderProgram,
			Context:    j.request.Context,
		})
		if err != nil {
			return err
		}
	}
	who, err := j.o.whoWeAre(j.spec.BuilderTLS)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sandbox.DialTimeout)
	defer cancel()
	if j.builder, err = j.o.Dial(ctx, address, who); err != nil && named {
		return badName(err)
	}
	return err
}

// badName is the error of a builder that was named.
func badName(err error) error {
	return fmt.Errorf(
		"%w; check PLUGIN_BUILDER or SLIPWAY_BUILDER, or leave it out to start a builder in the step",
		err,
	)
}

// whoWeAre is who the step is to its builder: whom it was told, else whom the gateway says.
func (o Options) whoWeAre(given secret.Secret) (identity.Identity, error) {
	if !o.Settings.BuilderTLS.IsZero() {
		return o.Settings.BuilderTLS, nil
	}
	who, err := identity.Parse(given)
	if err != nil {
		return who, fmt.Errorf("the builder's certificate that the gateway gave: %w", err)
	}
	return who, nil
}

// buildByHook runs the repository's hooks/build. It may push, so the permit is asked first.
// What it made must be found: in the registry, or by the repository's own hooks/push.
func (j *job) buildByHook(ctx context.Context) (detail string, err error) {
	if !j.spec.Publish || j.hooks.Has(buildhooks.Push) {
		return "by hooks/build", j.hook(ctx, buildhooks.Build)
	}
	if err := j.askPermit(ctx); err != nil {
		return "", err
	}
	if err := j.giveCredentials(); err != nil {
		return "", err
	}
	before, err := j.digestOf(ctx, j.spec.Tags[0])
	if err != nil {
		return "", err
	}
	if err := j.hook(ctx, buildhooks.Build); err != nil {
		return "", err
	}
	after, err := j.digestOf(ctx, j.spec.Tags[0])
	if err != nil {
		return "", err
	}
	if after == "" || (after == before && after != j.spec.BuiltDigest) {
		return "", failed(
			reasonHook,
			fmt.Errorf(
				"hooks/build ended well but did not push %s (IMAGE_NAME): let it push the image, or add hooks/push",
				buildhooks.ImageName(j.spec),
			),
		)
	}
	j.image = Image{Digest: after}
	return "by hooks/build", nil
}
