package settings

import (
	"fmt"
	"regexp"
	"slices"

	"strings"

	"slipway/config/grammar"
	"slipway/config/secret"
	"slipway/runner/settings/table"
	"slipway/runner/spec"
)

// secretID matches the ID of a secret in a Dockerfile, up to maxSecretID characters.
var secretID = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

const maxSecretID = 128

const (
	secretName = "PLUGIN_SECRET"
	sshName    = "PLUGIN_SSH"

	// sshSocket is the variable with the socket of the step's own agent, which an id without a path uses.
	sshSocket = "SSH_AUTH_SOCK"
)

// secretTable declares the secrets of RUN. The errors show ids and names, and no values.
func secretTable() table.Table[stepReader] {
	return table.Table[stepReader]{
		{
			Name: secretName, Masked: true,
			Help: "a secret for RUN --mount=type=secret, for example id=npm,src=path or id=npm,env=NAME",
			Set:  (*stepReader).addSecretEntries,
		},
		{
			Name: "PLUGIN_SECRETS", Masked: true,
			Help: "several secrets in the form of secret: a list",
			Set:  (*stepReader).addSecretEntries,
		},
		{
			Name: "PLUGIN_SECRETS_FROM_ENV", Masked: true,
			Help: "secrets whose values are in the step's environment: id=NAME, a list",
			Set:  (*stepReader).addSecretsFromEnv,
		},
		{
			Name: "PLUGIN_SECRETS_FROM_FILE", Masked: true,
			Help: "secrets whose values are in files: id=path, a list; the path is absolute, or from the workspace",
			Set:  (*stepReader).addSecretsFromFile,
		},
		{
			Name: "PLUGIN_SSH_AGENT_KEY", Secret: true,
			Help: "private key, without a passphrase, for RUN --mount=type=ssh and ADD git@…",
			Set:  table.Secret(func(r *stepReader) *secret.Secret { return &r.Build.SSHKey }),
		},
		{
			Name: sshName,
			Help: "keys for RUN --mount=type=ssh in the form of docker build --ssh: a list of default or id=path; " +
				"the path is that of a private key without a passphrase, or of an agent's socket",
			Set: (*stepReader).addSSH,
		},
	}
}

// addSecretEntries reads entries as `docker build --secret` takes them.
// https://docs.docker.com/reference/cli/docker/buildx/build/#secret
func (r *stepReader) addSecretEntries(name, text string) error {
	entries, err := table.ParseCSVEntries(name, text)
	if err != nil {
		return err
	}
	for i, fields := range entries {
		if err := checkSecretAttrs(name, i, fields); err != nil {
			return err
		}
		if err := r.addSecretEntry(name, fields); err != nil {
			return err
		}
	}
	return nil
}

// addSecretEntry adds the secret of an entry. The default of env is the id, as with docker build.
func (r *stepReader) addSecretEntry(name string, fields map[string]string) error {
	id, variable, path := fields["id"], fields["env"], fields["src"]
	if path == "" {
		path = fields["source"]
	}
	switch {
	case path != "" && variable != "":
		return fmt.Errorf("%s: the secret %s has both src and env: set one", name, id)
	case fields["type"] == "env" && path != "":
		return r.addSecretFromEnv(name, id, path)
	case path != "":
		return r.addSecret(name, spec.BuildSecret{ID: id, File: path})
	case variable != "":
		return r.addSecretFromEnv(name, id, variable)
	}
	return r.addSecretFromEnv(name, id, id)
}

func (r *stepReader) addSecretsFromEnv(name, text string) error {
	return eachSecretPair(name, text, "NAME", func(id, variable string) error {
		return r.addSecretFromEnv(name, id, variable)
	})
}

func (r *stepReader) addSecretsFromFile(name, text string) error {
	return eachSecretPair(name, text, "path", func(id, path string) error {
		return r.addSecret(name, spec.BuildSecret{ID: id, File: path})
	})
}

// eachSecretPair calls add for each entry id=value of a list. kind names the value, for the error.
func eachSecretPair(name, text, kind string, add func(id, value string) error) error {
	entries, err := table.ParseList(name, text)
	for i, entry := range entries {
		id, value, found := strings.Cut(entry, "=")
		if !found || value == "" {
			return fmt.Errorf("%s: entry %d is not id=%s", name, i+1, kind)
		}
		if err := add(id, value); err != nil {
			return err
		}
	}
	return err
}

func (r *stepReader) addSecretFromEnv(name, id, variable string) error {
	value, ok := r.given[variable]
	if !ok && grammar.IsVariable(variable) {
		return fmt.Errorf("%s: the step's environment has no %s: set it from a secret of the CI, %s",
			name, variable, "which keeps those from pull requests and from steps that do not name them")
	}
	if !ok {
		return fmt.Errorf("%s: the secret %s is read from a variable, and its name is invalid", name, id)
	}
	return r.addSecret(name, spec.BuildSecret{ID: id, Value: secret.New(value)})
}

func (r *stepReader) addSecret(name string, s spec.BuildSecret) error {
	if len(s.ID) > maxSecretID || !secretID.MatchString(s.ID) {
		return fmt.Errorf("%s: %q is not an id of a secret: letters, digits, _, . and -", name, s.ID)
	}
	if slices.ContainsFunc(r.Build.Secrets, func(other spec.BuildSecret) bool { return other.ID == s.ID }) {
		return fmt.Errorf("%s: the secret %s is set twice", name, s.ID)
	}
	r.Build.Secrets = append(r.Build.Secrets, s)
	return nil
}

// addSSH reads entries as `docker build --ssh` takes them, each with one path.
func (r *stepReader) addSSH(name, text string) error {
	entries, err := table.ParseList(name, text)
	for _, entry := range entries {
		id, path, hasPath := strings.Cut(entry, "=")
		if len(id) > maxSecretID || !secretID.MatchString(id) || hasPath && path == "" {
			return fmt.Errorf("%s has %q: set default, or id=path", name, entry)
		}
		if !hasPath {
			path = r.given[sshSocket]
		}
		if path == "" {
			return fmt.Errorf(
				"%s has %q without a path, and the step has no agent (%s): set %s=path of a private key, "+
					"or use ssh_agent_key",
				name,
				entry,
				sshSocket,
				id,
			)
		}
		if slices.ContainsFunc(r.Build.SSH, func(other spec.SSHAgent) bool { return other.ID == id }) {
			return fmt.Errorf("%s: the id %s is set twice", name, id)
		}
		r.Build.SSH = append(r.Build.SSH, spec.SSHAgent{ID: id, Path: path})
	}
	return err
}

// checkSSH rejects two keys with the id "default".
func (r *stepReader) checkSSH() error {
	isDefault := func(a spec.SSHAgent) bool { return a.ID == "default" }
	if !r.Build.SSHKey.IsZero() && slices.ContainsFunc(r.Build.SSH, isDefault) {
		return fmt.Errorf(
			"PLUGIN_SSH_AGENT_KEY is the key with the id default, and %s has that id, too: remove one",
			sshName,
		)
	}
	return nil
}
