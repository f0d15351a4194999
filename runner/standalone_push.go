package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"slipway/runner/registry"
	"slipway/runner/spec"
)

// checkTries is how often a registry that does not answer is asked before the build.
const checkTries = 3

// checkRegistry makes sure that the credential may push the image.
func (r *standalone) checkRegistry(ctx context.Context) error {
	if !r.publishes() {
		return nil
	}
	client := r.registry()
	var refused *registry.UnauthorizedError
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := client.Check(ctx, r.s.Image, r.login())
		if errors.As(err, &refused) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(r.backoff()), backoff.WithMaxTries(checkTries), backoff.WithNotify(r.log.again))
	if err == nil || refused != nil {
		return r.blame(err)
	}
	if r.s.ECR.On && errors.Is(err, registry.ErrNotFound) {
		return noRepository(r.s.ECR.Repository, err)
	}
	return fmt.Errorf("PLUGIN_REPO: the registry of %s cannot be used; check the name, the network of this step, "+
		"and PLUGIN_INSECURE where the registry speaks plain HTTP: %w", r.s.Image, err)
}

// push publishes: the image by its digest first, then each tag, so that no tag ever points
// at what is not there.
func (r *standalone) push(ctx context.Context) error {
	if !r.publishes() {
		return nil
	}
	return r.during("push", &r.took.push, func() error {
		if err := r.builder.Push(ctx, r.request, r.image.Digest); err != nil {
			return r.blame(err)
		}
		if err := r.sign(ctx); err != nil {
			return err
		}
		return r.moveTags(ctx)
	})
}

// moveTags points every tag at the image. One that fails does not keep the others back.
func (r *standalone) moveTags(ctx context.Context) error {
	client := r.registry()
	var problems []error
	for _, tag := range r.s.Tags {
		if err := client.Tag(ctx, r.s.Image, r.image.Digest, tag, r.login()); err != nil {
			r.log.line("tag %s was not pushed: %v", tag, err)
			problems = append(problems, err)
			continue
		}
		r.log.line("pushed %s:%s", r.s.Image, tag)
		r.pushed = append(r.pushed, tag)
	}
	if problems == nil {
		return nil
	}
	return fmt.Errorf("%d of %d tags were not pushed: %w", len(problems), len(r.s.Tags), r.blame(errors.Join(problems...)))
}

// blame names the settings when the registry refused the credential.
func (r *standalone) blame(err error) error {
	var refused *registry.UnauthorizedError
	switch {
	case !errors.As(err, &refused):
		return err
	case r.s.Login.Username == "":
		return fmt.Errorf("PLUGIN_USERNAME and PLUGIN_PASSWORD are not set, and the registry asks for them: %w", err)
	}
	return fmt.Errorf("PLUGIN_USERNAME or PLUGIN_PASSWORD is not right, or may not push there: %w", err)
}

func (r *standalone) login() registry.Login {
	l := r.s.Login
	return registry.Login{Username: l.Username, Password: l.Password, Insecure: l.Insecure}
}

// registries is the credential in the form in which the builder takes it.
func (r *standalone) registries() []spec.RegistryCredential {
	return []spec.RegistryCredential{r.s.Login}
}

func (r *standalone) registry() *registry.Client {
	return registryClient(r.o.Version, newBackoff(r.o.Backoff), r.log)
}

func (r *standalone) backoff() backoff.BackOff {
	if own := newBackoff(r.o.Backoff); own != nil {
		return own
	}
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = time.Second
	return b
}
