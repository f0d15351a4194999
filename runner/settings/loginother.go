package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"slipway/runner/registry"
)

const (
	accessToken = "ACCESS_TOKEN"
	// googleUser is who a bearer of an OAuth 2 token is to Google's registries.
	// Source: https://cloud.google.com/artifact-registry/docs/docker/authentication#token
	googleUser = "oauth2accesstoken"
)

// accessToken is a setting of ours, and the variable that plugins/docker reads. The variable's
// name is anybody's, so that it counts for Google's registries alone, which know such tokens.
func (p *Plugin) accessToken(given map[string]string) (token, origin string) {
	token, origin = first(given, "", "PLUGIN_ACCESS_TOKEN", accessToken)
	p.Origins["PLUGIN_ACCESS_TOKEN"] = origin
	if origin != accessToken {
		return token, origin
	}
	named, _ := first(given, "", registryName, "DOCKER_REGISTRY")
	if host, err := registry.ParseHost(named); err == nil && google(host) {
		return token, origin
	}
	if named == "" && slices.ContainsFunc(p.Images, google) {
		return token, origin
	}
	p.Origins["PLUGIN_ACCESS_TOKEN"] = Default
	return "", Default
}

// google reports whether a name begins with one of Google's registries.
func google(name string) bool {
	host := hostOf(name)
	return host == "gcr.io" || strings.HasSuffix(host, ".gcr.io") || strings.HasSuffix(host, "-docker.pkg.dev")
}

// baseLogin reads the login for base images. Where no registry is named, it is for none, as
// with plugins/docker.
func (p *Plugin) baseLogin(given map[string]string) (Login, error) {
	names := func(what string) []string {
		return []string{"PLUGIN_BASE_IMAGE_" + what, "PLUGIN_DOCKER_" + what, "DOCKER_BASE_IMAGE_" + what}
	}
	var values, origins [3]string
	var errs [3]error
	for i, what := range []string{"REGISTRY", "USERNAME", "PASSWORD"} {
		values[i], origins[i], errs[i] = oneOf(given, "", names(what)...)
		p.Origins[names(what)[0]] = origins[i]
	}
	if err := errors.Join(errs[:]...); err != nil {
		return Login{}, err
	}
	if values[0] == "" {
		if values[1]+values[2] != "" {
			p.warn(
				"the login for base images is not used: PLUGIN_BASE_IMAGE_REGISTRY does not say which registry it is for",
			)
		}
		return Login{}, nil
	}
	host, err := registry.ParseHost(values[0])
	if err != nil {
		return Login{}, fmt.Errorf("%s: %w", origins[0], err)
	}
	l, err := p.pair(
		credential(values[1], values[2], origins[1]+" and "+origins[2]),
		names("USERNAME")[0],
		origins[1],
		names("PASSWORD")[0],
		origins[2],
	)
	l.Host = host
	return l, err
}
