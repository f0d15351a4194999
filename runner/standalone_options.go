package runner

import (
	"fmt"
	"strings"

	"slipway/config/secret"
	"slipway/runner/settings"
	"slipway/runner/source"
	"slipway/runner/spec"
)

// maxSecret is the most that BuildKit takes as a secret, in bytes.
const maxSecret = 500 << 10

// readSecretFiles reads the secrets that are in files, before anything is logged: the log
// masks them.
func readSecretFiles(s *settings.Plugin) error {
	for i, one := range s.Build.Secrets {
		if one.File == "" {
			continue
		}
		value, err := source.ReadFile(s.Workspace, one.File, maxSecret)
		if err != nil {
			return fmt.Errorf(
				"the file of the build secret %s (setting secrets_from_file, secrets or secret) %w",
				one.ID,
				err,
			)
		}
		s.Build.Secrets[i] = spec.BuildSecret{ID: one.ID, Value: secret.New(string(value))}
	}
	return nil
}

// options says what the builder is told besides.
func (r *standalone) options(o spec.BuildOptions) {
	var ids []string
	for _, s := range o.Secrets {
		ids = append(ids, s.ID)
	}
	if !o.SSHKey.IsZero() {
		ids = append(ids, "an ssh key")
	}
	if ids != nil {
		r.log.line("  %-11s %s", "secrets", strings.Join(ids, ", "))
	}
	for _, c := range o.CacheTo {
		r.log.line("  %-11s %s", "cache", strings.TrimSpace(c.Type+" "+c.Attrs["ref"]+c.Attrs["dest"]))
	}
	if a := o.Archive; a.Type != "" {
		r.log.line("  %-11s %s, of type %s (PLUGIN_OUTPUT)", "file", a.Path, a.Type)
	}
}
