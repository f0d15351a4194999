package settings

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"slipway/config"
	"slipway/config/secret"
	"slipway/runner/spec"
)

// secretID is what may name a secret in a Dockerfile, if it is no longer than maxSecretID.
var secretID = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

const maxSecretID = 128

// readSecrets collects the build's secrets of all four settings. It shows ids and names alone.
func (p *Plugin) readSecrets(raw config.PluginBuild, given map[string]string) error {
	return errors.Join(
		p.readSecretDocuments("PLUGIN_SECRET", raw.Secret, given),
		p.readSecretDocuments("PLUGIN_SECRETS", raw.Secrets, given),
		p.readSecretPairs("PLUGIN_SECRETS_FROM_ENV", raw.SecretsFromEnv, "NAME", func(id, name string) error {
			return p.secretFromEnv("PLUGIN_SECRETS_FROM_ENV", id, name, given)
		}),
		p.readSecretPairs("PLUGIN_SECRETS_FROM_FILE", raw.SecretsFromFile, "path", func(id, path string) error {
			return p.addSecret("PLUGIN_SECRETS_FROM_FILE", spec.BuildSecret{ID: id, File: path})
		}),
	)
}

// readSecretDocuments reads entries as `docker build --secret` takes them.
// https://docs.docker.com/reference/cli/docker/buildx/build/#secret
func (p *Plugin) readSecretDocuments(setting, value string, given map[string]string) error {
	entries, err := documents(setting, value)
	if err != nil {
		return err
	}
	for i, entry := range entries {
		id, path, name, kind := "", "", "", ""
		for key, value := range entry.fields {
			switch key {
			case "id":
				id = value
			case "src", "source":
				path = value
			case "env":
				name = value
			case "type":
				kind = value
			default:
				return fmt.Errorf("%s: entry %d has %q, and id, src, env and type are known", setting, i+1, key)
			}
		}
		switch {
		case path != "" && name != "":
			err = fmt.Errorf("%s: the secret %s has both src and env: give one", setting, id)
		case kind == "env" && path != "":
			err = p.secretFromEnv(setting, id, path, given)
		case path != "":
			err = p.addSecret(setting, spec.BuildSecret{ID: id, File: path})
		case name != "":
			err = p.secretFromEnv(setting, id, name, given)
		default:
			err = p.secretFromEnv(setting, id, id, given) // as docker build does
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Plugin) readSecretPairs(setting, value, what string, add func(id, value string) error) error {
	entries, err := list(setting, value)
	for i, entry := range entries {
		id, value, found := strings.Cut(entry, "=")
		if !found || value == "" {
			return fmt.Errorf("%s: entry %d is not id=%s", setting, i+1, what)
		}
		if err := add(id, value); err != nil {
			return err
		}
	}
	return err
}

func (p *Plugin) secretFromEnv(setting, id, name string, given map[string]string) error {
	value, ok := given[name]
	if !ok && spec.LegalArg(name) {
		return fmt.Errorf(
			"%s: the step's environment has no %s: set it from a secret of the CI, which keeps those from pull requests and from steps that do not name them",
			setting,
			name,
		)
	}
	if !ok {
		return fmt.Errorf("%s: what the secret %s is to be read from is no variable's name", setting, id)
	}
	return p.addSecret(setting, spec.BuildSecret{ID: id, Value: secret.New(value)})
}

func (p *Plugin) addSecret(setting string, s spec.BuildSecret) error {
	if len(s.ID) > maxSecretID || !secretID.MatchString(s.ID) {
		return fmt.Errorf("%s: %q is no id of a secret: letters, digits, _, . and -", setting, s.ID)
	}
	if slices.ContainsFunc(p.Build.Secrets, func(other spec.BuildSecret) bool { return other.ID == s.ID }) {
		return fmt.Errorf("%s: the secret %s is given twice", setting, s.ID)
	}
	p.Build.Secrets = append(p.Build.Secrets, s)
	return nil
}
