package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"slipway/runner/logins"
	"slipway/runner/registry"
	"slipway/runner/settings"
)

// checkLogins tries the logins that no image needs, as base images and caches do: a wrong
// password would show as a failed build. Those that lie in a config.json may be for anything.
func (r *standalone) checkLogins(ctx context.Context) error {
	var problems []error
	for _, l := range r.s.Logins {
		if l.Anonymous() || l.Stored || r.pushesBy(l) {
			continue
		}
		err := r.registry.CheckLogin(ctx, l.Host, loginOf(l))
		var refused *registry.UnauthorizedError
		switch {
		case errors.As(err, &refused):
			problems = append(
				problems,
				fmt.Errorf("the login of %s is not right: %s does not know it: %w", l.Origin, l.Host, refused.Err),
			)
		case err != nil && ctx.Err() == nil:
			r.log.line("note: the login of %s was not tried: %v", l.Origin, firstLine(err.Error()))
		}
	}
	return errors.Join(problems...)
}

// pushesBy reports whether an image is pushed by a login, which that finds out, then.
func (r *standalone) pushesBy(l settings.Login) bool {
	return slices.ContainsFunc(r.s.Images, func(image string) bool { return r.s.LoginFor(image).Host == l.Host })
}

// blame names the settings when a registry refused the credential for an image.
func (r *standalone) blame(image string, err error) error {
	var refused *registry.UnauthorizedError
	if !errors.As(err, &refused) {
		return err
	}
	l := r.s.LoginFor(image)
	if !l.Anonymous() {
		return fmt.Errorf("the login of %s is not right, or may not push there: %w", l.Origin, err)
	}
	if len(r.s.Images) == 1 {
		return fmt.Errorf("PLUGIN_USERNAME and PLUGIN_PASSWORD are not set, and the registry asks for them: %w", err)
	}
	return fmt.Errorf(
		"no setting has a login for %s, and the registry asks for one; give it in PLUGIN_LOGINS (setting logins): %w",
		registryOf(image),
		err,
	)
}

// blameRead names the settings when a registry refused a build what its Dockerfile begins from.
func (r *standalone) blameRead(err error) error {
	image := logins.DeniedImage(err)
	if image == "" {
		return err
	}
	if l := r.s.LoginFor(image); !l.Anonymous() {
		return fmt.Errorf("%w; the login of %s is not right, or may not read there", err, l.Origin)
	}
	return fmt.Errorf(
		"%w; no setting has a login for %s: give it in PLUGIN_LOGINS (setting logins) or PLUGIN_BASE_IMAGE_REGISTRY, _USERNAME and _PASSWORD, if there is such an image",
		err,
		registryOf(image),
	)
}

func (r *standalone) loginFor(image string) registry.Login { return loginOf(r.s.LoginFor(image)) }

func loginOf(l settings.Login) registry.Login {
	return registry.Login{Username: l.Username, Password: l.Password, Insecure: l.Insecure}
}

// registryOf is the host of an image's name.
func registryOf(image string) string {
	host, _, _ := strings.Cut(image, "/")
	return host
}
