package step

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"slipway/config/grammar"
	"slipway/config/safe"
	"slipway/config/text"
	"slipway/runner/publish"
	"slipway/runner/registry"
	"slipway/runner/settings"
)

// A preflight checks the step's logins at their registries while the step goes on: a registry may
// respond slowly.
type preflight struct {
	cancel     context.CancelFunc
	loginsDone chan struct{} // closed when loginErr is set
	loginErr   error         // error of logins that push no image
	done       chan struct{} // closed when err is set
	err        error
}

// startPreflight starts both checks, one after the other. Cancel must follow.
func startPreflight(ctx context.Context, logins, images func(context.Context) error) *preflight {
	ctx, cancel := context.WithCancel(ctx)
	p := &preflight{cancel: cancel, loginsDone: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.loginErr = safe.Do(func() error { return logins(ctx) })
		close(p.loginsDone)
		p.err = errors.Join(p.loginErr, safe.Do(func() error { return images(ctx) }))
	}()
	return p
}

// WaitLogins waits for the check of logins that push no image: no later push checks them.
func (p *preflight) WaitLogins() error {
	<-p.loginsDone
	return p.loginErr
}

// Wait waits for all checks.
func (p *preflight) Wait() error {
	<-p.done
	return p.err
}

// Cancel ends the checks and waits for their end.
func (p *preflight) Cancel() {
	p.cancel()
	<-p.done
}

// Run runs work and cancels it if a check fails. It returns the error of the checks if there is one by
// then, and that of the work otherwise. A successful push proves the login, so work that has
// pushed the image does not wait for the checks.
func (p *preflight) Run(ctx context.Context, work func(context.Context) (pushed bool, err error)) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		if err := p.Wait(); err != nil {
			stop(err)
		}
	}()
	pushed, err := work(ctx)
	switch {
	case err != nil:
		return p.failure(err)
	case pushed:
		p.cancel()
		return nil
	}
	return p.Wait()
}

// failure returns the error of the checks, if there is one by now, or else err.
func (p *preflight) failure(err error) error {
	select {
	case <-p.done:
		if p.err != nil {
			return p.err
		}
	default:
	}
	return err
}

// checkLogins tries the logins that push no image, for example those of base images and caches. Otherwise a
// wrong password would show as a failed build. It leaves out those of a config.json, which may be for other
// steps.
func (r run) checkLogins(ctx context.Context) error {
	var problems []error
	for _, l := range r.s.Logins {
		if l.Anonymous() || l.Stored || r.pushesWith(l) {
			continue
		}
		err := r.registry.CheckLogin(ctx, l.Host, loginOf(l))
		var refused *registry.UnauthorizedError
		switch {
		case errors.As(err, &refused):
			problems = append(problems, fmt.Errorf(
				"the login of %s is wrong: %s does not accept it: check user name and password: %s",
				l.Origin,
				l.Host,
				registry.Words(refused.Err),
			))
		case err != nil && ctx.Err() == nil:
			p := r.place(grammar.ImageHost(l.Host), l.Origin)
			p.API = true
			err = withFix(err, p)
			r.log.Line("note: the login of %s was not checked: %v", l.Origin, text.FirstLine(err.Error()))
		}
	}
	return errors.Join(problems...)
}

// pushesWith reports whether an image is pushed with a login; checkImages checks it then.
func (r run) pushesWith(l settings.Login) bool {
	return slices.ContainsFunc(r.s.Images, func(image string) bool { return r.s.LoginFor(image).Host == l.Host })
}

// checkTries is the number of requests to a registry that does not answer a push check.
const checkTries = 3

// checkImages checks that every repository may be pushed to.
func (r run) checkImages(ctx context.Context) error {
	if !r.publishes() {
		return nil
	}
	var problems []error
	for _, image := range r.s.Images {
		problems = append(problems, r.checkImage(ctx, image))
	}
	return errors.Join(problems...)
}

func (r run) checkImage(ctx context.Context, image string) error {
	var refused *registry.UnauthorizedError
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := r.registry.Check(ctx, image, r.loginFor(image))
		if errors.As(err, &refused) || errors.Is(err, registry.ErrNotFound) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(r.checkBackoff()), backoff.WithMaxTries(checkTries), backoff.WithNotify(r.log.Retry))
	if err == nil || refused != nil {
		return r.explainPushError(image, err)
	}
	if r.s.ECR.On && grammar.ImageHost(image) == r.s.ECR.Host && errors.Is(err, registry.ErrNotFound) {
		return noECRRepository(strings.TrimPrefix(image, r.s.ECR.Host+"/"), err)
	}
	err = fmt.Errorf("%s: the registry of %s cannot be used: %w", r.s.Origins["PLUGIN_REPO"], image, err)
	if registry.KindOf(err) == registry.KindOther {
		return fmt.Errorf("%w: check the name, the network of this step, and PLUGIN_INSECURE", err)
	}
	return withFix(err, r.pushPlace(image))
}

// checkBackoff returns the pauses between the tries of a check.
func (r run) checkBackoff() backoff.BackOff {
	if own := publish.NewBackoff(r.o.Backoff); own != nil {
		return own
	}
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = time.Second
	return b
}
