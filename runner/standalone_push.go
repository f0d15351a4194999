package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"slipway/runner/registry"
)

// checkTries is how often a registry that does not answer is asked whether it takes a push.
const checkTries = 3

// checkImages makes sure that the image may be pushed wherever it goes.
func (r *standalone) checkImages(ctx context.Context) error {
	if !r.publishes() {
		return nil
	}
	var problems []error
	for _, image := range r.s.Images {
		problems = append(problems, r.checkImage(ctx, image))
	}
	return errors.Join(problems...)
}

func (r *standalone) checkImage(ctx context.Context, image string) error {
	client := r.registry
	var refused *registry.UnauthorizedError
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := client.Check(ctx, image, r.loginFor(image))
		if errors.As(err, &refused) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(r.backoff()), backoff.WithMaxTries(checkTries), backoff.WithNotify(r.log.again))
	if err == nil || refused != nil {
		return r.blame(image, err)
	}
	if r.s.ECR.On && registryOf(image) == r.s.ECR.Host && errors.Is(err, registry.ErrNotFound) {
		return noRepository(strings.TrimPrefix(image, r.s.ECR.Host+"/"), err)
	}
	return fmt.Errorf("PLUGIN_REPO: the registry of %s cannot be used; check the name, the network of this step, "+
		"and PLUGIN_INSECURE where the registry speaks plain HTTP: %w", image, err)
}

// push publishes: the image by its digest first, everywhere, and then each tag, so that no tag
// ever points at what is not there, and none is newer than another because of a registry that
// did not take the image. Where firstTag says so, a builder of the step's own has moved the
// first tag as the last thing that it pushed.
func (r *standalone) push(ctx context.Context) error {
	if !r.publishes() {
		return nil
	}
	return r.during("push", &r.took.push, func() error {
		if err := r.upload(ctx); err != nil {
			return err
		}
		if err := r.sign(ctx); err != nil {
			return err
		}
		return r.moveTags(ctx)
	})
}

// moveTags points every tag at the image. One that fails does not keep the others back.
func (r *standalone) moveTags(ctx context.Context) error {
	client := r.registry
	var problems []error
	for _, image := range r.s.Images {
		for _, tag := range r.s.Tags {
			name := image + ":" + tag
			if r.image.Pushed && tag == r.request.Tag {
				r.log.line("pushed %s", name)
				r.pushed = append(r.pushed, name)
				continue
			}
			if err := client.Tag(ctx, image, r.image.manifest(), tag, r.loginFor(image)); err != nil {
				r.log.line("tag %s was not pushed: %v", r.shown(name), err)
				problems = append(problems, fmt.Errorf("%s: %w", r.shown(name), r.blame(image, err)))
				continue
			}
			r.log.line("pushed %s", name)
			r.pushed = append(r.pushed, name)
		}
	}
	if problems == nil {
		return nil
	}
	return fmt.Errorf(
		"%d of %d tags were not pushed: %w; %s",
		len(problems),
		len(r.s.Tags)*len(r.s.Images),
		errors.Join(problems...),
		r.wasPushed(),
	)
}

// shown is a tag as people know it: by its image's name, too, where there are several.
func (r *standalone) shown(name string) string {
	if len(r.s.Images) == 1 {
		return strings.TrimPrefix(name, r.s.Image()+":")
	}
	return name
}

func (r *standalone) wasPushed() string {
	if len(r.pushed) == 0 {
		return "none was"
	}
	shown := make([]string, len(r.pushed))
	for i, name := range r.pushed {
		shown[i] = r.shown(name)
	}
	return "pushed: " + strings.Join(shown, ", ")
}

func (r *standalone) backoff() backoff.BackOff {
	if own := newBackoff(r.o.Backoff); own != nil {
		return own
	}
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = time.Second
	return b
}
