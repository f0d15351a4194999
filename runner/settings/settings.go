// Package settings reads what a runner is told by its environment. A gateway's engine sets
// SLIPWAY_RUNNER_URL and SLIPWAY_RUNNER_TOKEN, and the rest of the work is claimed there
// (Read). In a pipeline of the user's own PLUGIN_* say all of it, and where each value came
// from is remembered, so that the log can say it (ReadPlugin).
package settings

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/caarlos0/env/v11"

	"slipway/config"
	"slipway/config/identity"
	"slipway/config/secret"
	"slipway/runner/spec"
)

// The variables that hold secrets.
const (
	tokenName = "SLIPWAY_RUNNER_TOKEN"
	tlsName   = "SLIPWAY_BUILDER_TLS"
)

// pluginName is the other name of a setting: what a CI makes of a plugin step's settings, as
// runner_url. Steps that are plugins and nothing else may be given privilege.
func pluginName(name string) string {
	switch name {
	case "SLIPWAY_RUNNER_URL", tokenName, "SLIPWAY_RUNNER_HOOKS", "SLIPWAY_BUILDER", tlsName:
		return pluginPrefix + strings.TrimPrefix(name, "SLIPWAY_")
	}
	return ""
}

// Settings are those of a runner that a gateway's engine started.
type Settings struct {
	URL     string // of the runner protocol for this build, without a trailing slash
	Token   secret.Secret
	Builder string // empty = start one
	// BuilderTLS is who the step is to that builder; nobody = whom the gateway says.
	BuilderTLS identity.Identity
	Hooks      bool
	Workdir    string // absolute; empty = make one
}

// Probe reports whether the step is to say whether it could build, and build nothing.
func (s Settings) Probe() bool { return strings.HasSuffix(s.URL, spec.ProbePath) }

// GitProxy returns the address of the build's repository at the gateway's git proxy, which belongs
// to URL by the runner protocol (package spec). It fails if URL is not of a build.
func (s Settings) GitProxy() (string, error) {
	gateway, build, ok := strings.Cut(s.URL, buildsPath)
	if !ok || build == "" || strings.ContainsAny(build, "/?#") {
		return "", fmt.Errorf(
			"find the gateway's git proxy: %q does not end in %s{id}: check SLIPWAY_RUNNER_URL",
			s.URL,
			buildsPath,
		)
	}
	return gateway + "/git/" + build, nil
}

// buildsPath stands before a build's id in the addresses of the runner protocol.
const buildsPath = "/runner/v1/builds/"

// An Environment is where settings are read from and secrets are removed from. OS is the
// process's own.
type Environment interface {
	Environ() []string
	Unsetenv(name string) error
}

// Read reads and checks the settings and then takes the secrets out of the environment, so
// that no child inherits them. Each may come by its plugin name too; SLIPWAY_… goes before. Its
// error names every setting that is wrong and how to mend it.
func Read(e Environment) (Settings, error) {
	given := env.ToMap(e.Environ())
	meant, names := maps.Clone(given), map[string]string{}
	for _, s := range config.RunnerSettings() {
		names[s.Name] = s.Name
		if other := pluginName(s.Name); given[s.Name] == "" && hasName(given, other) {
			meant[s.Name], names[s.Name] = given[other], other
		}
	}
	raw, err := env.ParseAsWithOptions[config.Runner](env.Options{Environment: meant})
	if err != nil {
		return Settings{}, fmt.Errorf("settings: %w", err)
	}
	if err := takeOut(e, given, tokenName, pluginName(tokenName), tlsName, pluginName(tlsName)); err != nil {
		return Settings{}, err
	}
	return check(raw, names)
}

// takeOut removes secrets from the environment.
func takeOut(e Environment, given map[string]string, names ...string) error {
	for _, name := range names {
		if !hasName(given, name) {
			continue
		}
		if err := e.Unsetenv(name); err != nil {
			return fmt.Errorf("take %s out of the environment: %w", name, err)
		}
	}
	return nil
}

func hasName(given map[string]string, name string) bool {
	_, ok := given[name]
	return ok
}

// check has the name that each setting came by.
func check(raw config.Runner, names map[string]string) (Settings, error) {
	hooks, hooksErr := onOff(names["SLIPWAY_RUNNER_HOOKS"], raw.Hooks)
	err := errors.Join(
		checkURL(
			names["SLIPWAY_RUNNER_URL"],
			raw.URL,
		),
		checkToken(names[tokenName], raw.Token),
		hooksErr,
		checkWorkdir(raw.Workdir),
	)
	who, tlsErr := readIdentity(names[tlsName], raw.TLS)
	err = errors.Join(err, tlsErr)
	if raw.Builder != "" {
		err = errors.Join(err, checkBuilder(names["SLIPWAY_BUILDER"], raw.Builder, who))
	}
	if err != nil {
		return Settings{}, err
	}
	return Settings{
		URL:        strings.TrimRight(raw.URL, "/"),
		Token:      raw.Token,
		Builder:    raw.Builder,
		BuilderTLS: who,
		Hooks:      hooks,
		Workdir:    raw.Workdir,
	}, nil
}

func checkURL(name, value string) error {
	if value == "" {
		return errors.New(
			name + " is not set: the runner gets its work from a gateway, whose engine sets it; without a gateway, set PLUGIN_REPO",
		)
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return errors.New(name + " is no http or https address")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New(name + " must have no user, query or fragment")
	}
	return nil
}

func checkToken(name string, token secret.Secret) error {
	if token.IsZero() {
		return errors.New(
			name + " is not set: the gateway's engine sets it for each attempt; on a CI the gateway hands it over as the secret " +
				"slipway_runner_token, if the CI's secret extension is set up (Slipway's docs/drone.md and docs/woodpecker.md say how) and the build still wants this pipeline",
		)
	}
	if strings.ContainsAny(token.Reveal(), " \t\r\n\x00") {
		return errors.New(name + " holds white space: it was not handed over whole")
	}
	return nil
}

func readIdentity(name string, value secret.Secret) (identity.Identity, error) {
	who, err := identity.Read(value)
	if err != nil {
		return identity.Identity{}, fmt.Errorf("%s: %w", name, err)
	}
	return who, nil
}

// checkBuilder leaves it to the claim to say who the step is.
func checkBuilder(name, value string, who identity.Identity) error {
	if err := identity.CheckAddress(value, who); err != nil && !errors.Is(err, identity.ErrNeeded) {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func onOff(name, value string) (bool, error) {
	switch value {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, fmt.Errorf("%s is %q: use on or off", name, value)
}

func checkWorkdir(value string) error {
	if value != "" && !filepath.IsAbs(value) {
		return fmt.Errorf("SLIPWAY_WORKDIR is %q: give an absolute path", value)
	}
	return nil
}
