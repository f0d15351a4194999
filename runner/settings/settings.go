// Package settings reads what a runner is told by its environment. A gateway's engine sets
// SLIPWAY_RUNNER_URL and SLIPWAY_RUNNER_TOKEN, and the rest of the work is claimed there
// (Read). In a pipeline of the user's own PLUGIN_* say all of it, and where each value came
// from is remembered, so that the log can say it (ReadPlugin).
package settings

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"

	"slipway/config"
	"slipway/config/secret"
)

// tokenName is the variable that holds a secret.
const tokenName = "SLIPWAY_RUNNER_TOKEN"

// Settings are those of a runner that a gateway's engine started.
type Settings struct {
	URL     string // of the runner protocol for this build, without a trailing slash
	Token   secret.Secret
	Builder string
	Hooks   bool
	Workdir string // absolute; empty = make one
}

// An Environment is where settings are read from and secrets are removed from. OS is the
// process's own.
type Environment interface {
	Environ() []string
	Unsetenv(name string) error
}

// Read reads and checks the settings and then takes the token out of the environment, so
// that no child inherits it. Its error names every setting that is wrong and how to mend it.
func Read(e Environment) (Settings, error) {
	raw, err := env.ParseAsWithOptions[config.Runner](env.Options{Environment: env.ToMap(e.Environ())})
	if err != nil {
		return Settings{}, fmt.Errorf("settings: %w", err)
	}
	if err := e.Unsetenv(tokenName); err != nil {
		return Settings{}, fmt.Errorf("take %s out of the environment: %w", tokenName, err)
	}
	return check(raw)
}

func check(raw config.Runner) (Settings, error) {
	hooks, hooksErr := onOff(raw.Hooks)
	err := errors.Join(checkURL(raw.URL), checkToken(raw.Token), checkBuilder("SLIPWAY_BUILDER", raw.Builder), hooksErr, checkWorkdir(raw.Workdir))
	if err != nil {
		return Settings{}, err
	}
	return Settings{URL: strings.TrimRight(raw.URL, "/"), Token: raw.Token, Builder: raw.Builder, Hooks: hooks, Workdir: raw.Workdir}, nil
}

func checkURL(value string) error {
	if value == "" {
		return errors.New("SLIPWAY_RUNNER_URL is not set: the runner gets its work from a gateway, whose engine sets it; without a gateway, set PLUGIN_REPO")
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return errors.New("SLIPWAY_RUNNER_URL is no http or https address")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("SLIPWAY_RUNNER_URL must have no user, query or fragment")
	}
	return nil
}

func checkToken(token secret.Secret) error {
	if token.IsZero() {
		return errors.New(tokenName + " is not set: the gateway's engine sets it for each attempt")
	}
	if strings.ContainsAny(token.Reveal(), " \t\r\n\x00") {
		return errors.New(tokenName + " holds white space: it was not handed over whole")
	}
	return nil
}

func checkBuilder(name, value string) error {
	u, err := url.Parse(value)
	if value == "" || err != nil || !slices.Contains([]string{"unix", "tcp"}, u.Scheme) || u.Host+u.Path == "" {
		return fmt.Errorf("%s is %q: give the builder's address, as unix:///run/slipway/builder.sock or tcp://host:port", name, value)
	}
	return nil
}

func onOff(value string) (bool, error) {
	switch value {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, fmt.Errorf("SLIPWAY_RUNNER_HOOKS is %q: use on or off", value)
}

func checkWorkdir(value string) error {
	if value != "" && !filepath.IsAbs(value) {
		return fmt.Errorf("SLIPWAY_WORKDIR is %q: give an absolute path", value)
	}
	return nil
}
