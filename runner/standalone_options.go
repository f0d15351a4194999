package runner

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"slipway/config/secret"
	"slipway/runner/settings"
	"slipway/runner/source"
	"slipway/runner/spec"
)

// maxSecret is the most that BuildKit takes as a secret, in bytes.
const maxSecret = 500 << 10

// readSecretFiles reads the secrets that are in files, before anything is logged: the log
// masks them. A path from the workspace stays there, for a link out of it is the repository's
// doing; an absolute one is what the pipeline's author chose.
func readSecretFiles(s *settings.Plugin) error {
	for i, one := range s.Build.Secrets {
		if one.File == "" {
			continue
		}
		value, err := readSecretFile(s.Workspace, one.File)
		if err != nil {
			return fmt.Errorf("the file of the build secret %s (setting secrets_from_file, secrets or secret) %w", one.ID, err)
		}
		s.Build.Secrets[i] = spec.BuildSecret{ID: one.ID, Value: secret.New(value)}
	}
	return nil
}

func readSecretFile(workspace, path string) (string, error) {
	if !filepath.IsAbs(path) {
		top, err := filepath.Abs(workspace)
		if err != nil {
			return "", err
		}
		if path, err = (source.Tree{Dir: top}).File(filepath.Clean(path)); err != nil {
			return "", err
		}
	}
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot be read: %w", err)
	case len(data) > maxSecret:
		return "", errors.New("is larger than 500 KiB, the most that BuildKit takes")
	}
	return string(data), nil
}

// options says what the builder is told besides, and which settings do nothing here.
func (r *standalone) options() {
	var ids []string
	for _, s := range r.s.Build.Secrets {
		ids = append(ids, s.ID)
	}
	if !r.s.Build.SSHKey.IsZero() {
		ids = append(ids, "an ssh key")
	}
	if ids != nil {
		r.log.line("  %-11s %s", "secrets", strings.Join(ids, ", "))
	}
	for _, c := range r.s.Build.CacheTo {
		r.log.line("  %-11s %s", "cache", strings.TrimSpace(c.Type+" "+c.Attrs["ref"]+c.Attrs["dest"]))
	}
	if a := r.s.Build.Archive; a.Type != "" {
		r.log.line("  %-11s %s, of type %s (PLUGIN_OUTPUT)", "file", a.Path, a.Type)
	}
	for _, warning := range r.s.Warnings {
		r.log.line("note: %s", warning)
	}
}
