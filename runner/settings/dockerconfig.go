package settings

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/docker/cli/cli/config"

	"slipway/config/secret"
	"slipway/runner/registry"
)

// configLogins reads the logins of a config.json of Docker. Programs that it names to ask for
// others are not here. It shows no value but registries.
// Source: https://docs.docker.com/reference/cli/docker/login/#credential-stores
func (p *Plugin) configLogins(given map[string]string) (all []Login, err error) {
	text, origin := first(given, "", "PLUGIN_CONFIG", "DOCKER_PLUGIN_CONFIG")
	p.Origins["PLUGIN_CONFIG"] = origin
	if text == "" {
		return nil, nil
	}
	file, err := config.LoadFromReader(strings.NewReader(text))
	switch {
	case err != nil: // which might show some of it
		return nil, fmt.Errorf(
			"%s is no config.json of Docker: give its content, as {\"auths\":{\"registry.example.com\":{\"auth\":\"…\"}}}, where auth is user:password in Base64",
			origin,
		)
	case file.CredentialsStore != "":
		return nil, fmt.Errorf(
			"%s names the credsStore %q, a program that is not here: give a config.json with the logins in it, or PLUGIN_LOGINS",
			origin,
			file.CredentialsStore,
		)
	case len(file.CredentialHelpers) > 0:
		return nil, fmt.Errorf(
			"%s names credHelpers (for %s), programs that are not here: give a config.json with the logins in it, or PLUGIN_LOGINS",
			origin,
			strings.Join(slices.Sorted(maps.Keys(file.CredentialHelpers)), ", "),
		)
	}
	for _, name := range slices.Sorted(maps.Keys(file.AuthConfigs)) {
		auth := file.AuthConfigs[name]
		l := credential(auth.Username, auth.Password, fmt.Sprintf("%s (auths of %s)", origin, name))
		if auth.IdentityToken != "" { // goes before; Azure has a user name beside it that nobody needs
			l.Username, l.Password = "", secret.New(auth.IdentityToken)
		}
		host, hostErr := registry.ParseHost(name)
		l.Host, l.Stored = host, true
		switch {
		case hostErr != nil:
			err = errors.Join(err, fmt.Errorf("%s: auths: %w", origin, hostErr))
		case auth.RegistryToken != "":
			err = errors.Join(
				err,
				fmt.Errorf(
					"%s has a registrytoken, which is for one request: give auth, or username and password",
					l.Origin,
				),
			)
		case l.Username != "" && l.Password.IsZero():
			err = errors.Join(err, fmt.Errorf("%s has no password", l.Origin))
		case l.Anonymous(): // what docker login leaves where a program keeps the login
		default:
			all = append(all, l)
		}
	}
	return all, err
}
