package step

import (
	"context"
	"errors"
	"fmt"

	"slipway/config/grammar"
	"slipway/runner/buildkit"
	"slipway/runner/cosign"
	"slipway/runner/publish"
)

// A sender sends the step's image to a repository by its digest. It returns the sent image.
type sender interface {
	send(ctx context.Context, image, mountFrom string) error
	current() buildkit.Image
	// moved reports whether a tag, by its name alone, points at the image already.
	moved(tag string) bool
}

// push publishes the image by its digest first, everywhere, and then each tag. So no tag ever points at a
// missing image. If one registry fails, no repository's tags are newer than another's. With builderTag,
// the step's own builder has moved the first tag at the end of its push.
func (r run) push(ctx context.Context, key *cosign.Key, s sender) (done outcome, err error) {
	if !r.publishes() {
		return outcome{}, nil
	}
	pushTime, err := r.log.Run("push", func() error {
		if err := r.upload(ctx, s); err != nil {
			return err
		}
		if err := r.sign(ctx, key, s.current().Digest); err != nil {
			return err
		}
		done.pushed, err = r.moveTags(ctx, s)
		return err
	})
	done.stages = []stage{{"push", pushTime}}
	return done, err
}

// upload sends the image to every repository.
func (r run) upload(ctx context.Context, s sender) error {
	var repositories []publish.Repository
	for _, image := range r.s.Images {
		account := grammar.ImageHost(image) + " " + r.s.LoginFor(image).Host
		repositories = append(repositories, publish.Repository{Image: image, Account: account})
	}
	return publish.Upload(ctx, repositories, func(ctx context.Context, image, mountFrom string) error {
		return r.explainPushError(image, s.send(ctx, image, mountFrom))
	})
}

// sign signs the uploaded image before any tag points at it. A cluster that runs only signed images must
// never find a tag at an image without a signature. A nil key signs nothing.
func (r run) sign(ctx context.Context, key *cosign.Key, digest string) error {
	if key == nil {
		return nil
	}
	for _, image := range r.s.Images {
		err := cosign.Attach(ctx, r.registry, image, digest, key, r.s.Sign.Annotations, r.loginFor(image))
		if err != nil {
			return fmt.Errorf("the image was not signed, so no tag was pushed: %w", r.explainPushError(image, err))
		}
		r.log.Line("signed %s@%s", image, digest)
	}
	return nil
}

// moveTags points every tag of every repository at the image.
func (r run) moveTags(ctx context.Context, s sender) (pushed []string, err error) {
	var tags []publish.Tag
	for _, image := range r.s.Images {
		for _, tag := range r.s.TagsFor(image) {
			tags = append(tags, publish.Tag{Image: image, Name: tag, Login: r.loginFor(image)})
		}
	}
	manifest := publish.ManifestOf(s.current())
	results, err := publish.MoveTags(ctx, tags, func(ctx context.Context, t publish.Tag) error {
		if s.moved(t.Name) {
			return nil
		}
		return r.explainPushError(t.Image, r.registry.Tag(ctx, t.Image, manifest, t.Name, t.Login))
	}, r.log)
	for _, one := range results {
		if one.Err == nil {
			pushed = append(pushed, one.Tag.String())
		}
	}
	return pushed, err
}

// signingKey returns the key that signs the image, so that a key that cannot be used fails the step
// before a build. It returns nil if nothing is signed.
func (r run) signingKey() (*cosign.Key, error) {
	if r.s.Sign.Key.IsZero() || !r.publishes() {
		return nil, nil //nolint:nilnil // nothing is signed
	}
	key, err := cosign.ParseKey(r.s.Sign.Key, r.s.Sign.Password)
	switch {
	case errors.Is(err, cosign.ErrPassword) && r.s.Sign.Password.IsZero():
		return nil, errors.New("PLUGIN_COSIGN_PASSWORD is not set, and PLUGIN_COSIGN_PRIVATE_KEY is encrypted")
	case errors.Is(err, cosign.ErrPassword):
		return nil, fmt.Errorf("PLUGIN_COSIGN_PASSWORD %w in PLUGIN_COSIGN_PRIVATE_KEY", err)
	case err != nil:
		return nil, fmt.Errorf("PLUGIN_COSIGN_PRIVATE_KEY %w", err)
	}
	return key, nil
}

// prepare does all checks that need no registry. It also logs in at a registry whose login needs a
// request of its own. It returns the run with all logins.
func (r run) prepare(ctx context.Context) (*cosign.Key, run, error) {
	if err := r.checkFiles(); err != nil {
		return nil, r, err
	}
	key, err := r.signingKey()
	if err != nil {
		return nil, r, err
	}
	r, err = r.logIn(ctx)
	return key, r, err
}

// A buildSender sends an image that a builder has built.
type buildSender struct {
	run     run
	builder publish.Builder
	request buildkit.Request
	image   buildkit.Image
}

var _ sender = (*buildSender)(nil)

func (s *buildSender) current() buildkit.Image { return s.image }

func (s *buildSender) moved(tag string) bool { return s.image.Pushed && tag == s.request.Tag }

// send makes sure that one repository has the image by its digest.
func (s *buildSender) send(ctx context.Context, image, mountFrom string) error {
	if s.image.Pushed && image == s.request.Image {
		has, err := s.registryHas(ctx)
		if has || err != nil {
			return err
		}
		if err := s.buildWhole(ctx); err != nil {
			return err
		}
	}
	request := s.request
	request.Image, request.MountFrom = image, mountFrom
	return s.builder.Push(ctx, request, s.image.Digest)
}

// registryHas reports whether the registry that this step reaches has the image that the builder pushed.
// A builder in another network may reach another registry by that name.
func (s *buildSender) registryHas(ctx context.Context) (bool, error) {
	if s.run.s.Builder == "" {
		return true, nil
	}
	image := s.request.Image
	return s.run.registry.Has(ctx, image, s.image.Digest, s.run.loginFor(image))
}

// buildWhole builds again, from the builder's cache, with the layers that the builder did not need to push.
func (s *buildSender) buildWhole(ctx context.Context) error {
	if s.request.Whole {
		return nil
	}
	request := s.request
	request.Publish, request.NoCache = false, false
	again, err := s.builder.Build(ctx, request)
	if err != nil {
		return err
	}
	s.image.Digest = again.Digest
	s.image.Manifest = again.Manifest
	s.image.Size = again.Size
	s.image.Pushed = false
	return nil
}
