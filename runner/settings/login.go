package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"slipway/config"
	"slipway/config/secret"
	"slipway/runner/registry"
	"slipway/runner/spec"
)

// hubHost is Docker Hub as the names of images spell it.
const hubHost = "docker.io"

// A Login is who the step is to one registry, whether it pushes there or reads base images and
// caches. Without user name and password it is anonymous, and says how to speak to it; with a
// password alone, that is an identity token (OAuth 2's refresh token).
type Login struct {
	spec.RegistryCredential
	Origin string // the settings that it came from, as an error names them
	Stored bool   // in a config.json, which may hold logins that the step does not need
}

// Anonymous reports whether the registry is not told who asks.
func (l Login) Anonymous() bool { return l.Username == "" && l.Password.IsZero() }

// loginSecretNames are the variables with passwords in them.
func loginSecretNames() []string {
	return []string{
		passwordName,
		"DOCKER_PASSWORD",
		"PLUGIN_ACCESS_TOKEN",
		accessToken,
		"PLUGIN_LOGINS",
		"PLUGIN_CONFIG",
		"DOCKER_PLUGIN_CONFIG",
		"PLUGIN_BASE_IMAGE_PASSWORD",
		"PLUGIN_DOCKER_PASSWORD",
		"DOCKER_BASE_IMAGE_PASSWORD",
	}
}

// readLogins reads all that say who the step is to registries. Where several name one
// registry, username and password go first, as with Docker's plugins; then logins, the base
// image's, and config.
func (p *Plugin) readLogins(raw config.PluginLogin, insecure string, given map[string]string) error {
	l, err := p.parseLogins(raw, insecure, given)
	return errors.Join(err, p.useLogins(l), p.checkFits(l.Named))
}

// StepLogins are the logins that a step's settings give, before the image is known.
type StepLogins struct {
	Main       Login // by user name and password; its Host follows from Named or from the image
	Named      string
	Several    []Login
	Base       Login // for base images
	Configured []Login
	Insecure   string   // PLUGIN_INSECURE
	Notes      []string // on settings that do nothing
}

// parseLogins reads the login settings. Its errors show no secret.
func (p *Plugin) parseLogins(raw config.PluginLogin, insecure string, given map[string]string) (StepLogins, error) {
	if raw.Email != "" {
		p.warn("PLUGIN_EMAIL does nothing here: registries do not ask for it")
	}
	l := StepLogins{Insecure: insecure}
	var errs [5]error
	l.Several, errs[0] = p.loginList(raw.Logins)
	l.Base, errs[1] = p.baseLogin(given)
	l.Configured, errs[2] = p.configLogins(given)
	l.Named, errs[3] = p.mainRegistry(given)
	l.Main, errs[4] = p.mainLogin(given)
	return l, errors.Join(errs[:]...)
}

// useLogins adds the logins, now that the images are known.
func (p *Plugin) useLogins(l StepLogins) error {
	if l.Main.Host = l.Named; l.Named == "" {
		l.Main.Host = p.impliedRegistry(slices.Concat(l.Several, l.Configured))
	}
	plain := l.Named // where insecure says no more than true
	for _, one := range slices.Concat([]Login{l.Main}, l.Several) {
		if plain == "" && !one.Anonymous() {
			plain = one.Host
		}
	}
	for _, one := range slices.Concat([]Login{l.Main}, l.Several, []Login{l.Base}, l.Configured) {
		p.addLogin(one)
	}
	return p.readInsecure(l.Insecure, plain)
}

// For returns the logins of a step that builds an image, and notes on those that it does not use. The
// login for base images is pull-only. The error is about PLUGIN_INSECURE, whatever the image.
func (l StepLogins) For(image string) (all []spec.RegistryCredential, notes []string, err error) {
	p := Plugin{Images: []string{image}, Warnings: slices.Clone(l.Notes)}
	l.Base.PullOnly = true
	err = p.useLogins(l)
	if given := l.Main; !given.Anonymous() && p.LoginFor(image).Anonymous() {
		p.warn(
			"the login of %s is for %s, and the image is %s: nothing is pushed with it",
			given.Origin,
			l.Named,
			image,
		)
	}
	return p.Registries(), p.Warnings, err
}

// addLogin leaves out a login of a registry that has one.
func (p *Plugin) addLogin(l Login) {
	if l.Anonymous() {
		return
	}
	for _, other := range p.Logins {
		if other.Host == l.Host {
			p.warn("the login of %s is not used: that of %s is for %s, too", l.Origin, other.Origin, l.Host)
			return
		}
	}
	p.Logins = append(p.Logins, l)
}

// mainRegistry is the registry that user name and password are for; empty = not said.
func (p *Plugin) mainRegistry(given map[string]string) (string, error) {
	value, origin := first(given, "", registryName, "DOCKER_REGISTRY")
	p.Origins[registryName] = origin
	if value == "" {
		return "", nil
	}
	host, err := registry.ParseHost(value)
	if err != nil {
		return "", fmt.Errorf("%s: %w", origin, err)
	}
	return host, nil
}

// impliedRegistry is the one that user name and password are for where no setting says it:
// that of an image for which no other setting has a login, and Docker Hub before others, which
// is what Docker's plugins take it for.
func (p *Plugin) impliedRegistry(others []Login) string {
	implied := ""
	for _, image := range p.Images {
		credentials := Plugin{Logins: others}.Registries()
		if registry.Match(image, credentials) < 0 && (implied == "" || hostOf(image) == hubHost) {
			implied = hostOf(image)
		}
	}
	if implied == "" {
		return hubHost
	}
	return implied
}

// mainLogin reads user name and password, or an access token in place of them. Its Host is yet
// to be found.
func (p *Plugin) mainLogin(given map[string]string) (Login, error) {
	user, userOrigin := first(given, "", userName, "DOCKER_USERNAME")
	password, passwordOrigin := first(given, "", passwordName, "DOCKER_PASSWORD")
	p.Origins[userName], p.Origins[passwordName] = userOrigin, passwordOrigin
	if token, origin := p.accessToken(given); password == "" && token != "" {
		if user != "" {
			p.warn("%s is not used, %s is: the user of an access token is %s", userOrigin, origin, googleUser)
		}
		return credential(googleUser, token, origin), nil
	}
	return p.pair(
		credential(user, password, userOrigin+" and "+passwordOrigin),
		userName,
		userOrigin,
		passwordName,
		passwordOrigin,
	)
}

// pair refuses half a login: what it is for would be anonymous. A CI keeps secrets from pull
// requests, and a dry run needs none to push.
func (p *Plugin) pair(l Login, userSetting, userOrigin, passwordSetting, passwordOrigin string) (Login, error) {
	missing, there := "", ""
	switch {
	case l.Anonymous() || l.Username != "" && !l.Password.IsZero():
		return l, nil
	case l.Username == "":
		missing, there = userSetting, passwordOrigin
	default:
		missing, there = passwordSetting, userOrigin
	}
	if p.DryRun {
		p.warn("nobody is logged in by %s: %s is not set", there, missing)
		return Login{}, nil
	}
	return Login{}, fmt.Errorf(
		"%s is not set, %s is: give both; a CI keeps secrets from pull requests and from steps that do not name them",
		missing,
		there,
	)
}

// checkFits refuses a registry where no image is, while an image has no login: it would be
// pushed elsewhere, by nobody. What is not pushed may be named as it likes.
func (p *Plugin) checkFits(named string) error {
	if named == "" || p.DryRun {
		return nil
	}
	for _, image := range p.Images {
		if image == named || strings.HasPrefix(image, named+"/") {
			return nil
		}
	}
	for _, image := range p.Images {
		if p.LoginFor(image).Anonymous() {
			return fmt.Errorf(
				"%s is %s, and PLUGIN_REPO is %s, which is not there: begin PLUGIN_REPO with the registry, or give %s a login in PLUGIN_LOGINS",
				p.Origins[registryName],
				named,
				image,
				hostOf(image),
			)
		}
	}
	return nil
}

func credential(user, password, origin string) Login {
	return Login{
		RegistryCredential: spec.RegistryCredential{
			Credential: spec.Credential{Username: user, Password: secret.New(password)},
		},
		Origin: origin,
	}
}
