package step

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"slipway/config/secret"
	"slipway/runner/resultfiles"
	"slipway/runner/settings"
	"slipway/runner/source"
	"slipway/runner/spec"
)

// maxSecret is the most that BuildKit takes as a secret, in bytes.
const maxSecret = 500 << 10

// readFiles returns the settings with the secrets that are in files. It comes before the first line of the
// log, which masks them.
func readFiles(s settings.Plugin) (settings.Plugin, error) {
	s.Build.Secrets = slices.Clone(s.Build.Secrets)
	for i, one := range s.Build.Secrets {
		if one.File == "" {
			continue
		}
		value, err := source.ReadFile(s.Workspace, one.File, maxSecret)
		if err != nil {
			return s, fmt.Errorf(
				"the file of the build secret %s (setting secrets_from_file, secrets or secret) %w",
				one.ID,
				err,
			)
		}
		s.Build.Secrets[i] = spec.BuildSecret{ID: one.ID, Value: secret.New(string(value))}
	}
	if !s.Sign.InFile {
		return s, nil
	}
	key, err := source.ReadFile(s.Workspace, s.Sign.Key.Reveal(), maxSecret)
	if err != nil {
		// The error shows no path: the value may be a key in another form, and is a secret then.
		return s, errors.New(
			"PLUGIN_COSIGN_PRIVATE_KEY is neither a key in PEM, which begins with -----BEGIN, " +
				"nor the path of a readable file, absolute or relative to the workspace",
		)
	}
	s.Sign.Key = secret.New(string(key))
	s.Sign.InFile = false
	return s, nil
}

// A resultFile is one that a setting asks for.
type resultFile struct {
	setting, path string
	content       func(resultfiles.Result) []byte
}

func (r run) resultFiles() (asked []resultFile) {
	for _, f := range []resultFile{
		{"PLUGIN_ARTIFACT_FILE", r.s.Files.Artifact, resultfiles.Artifact},
		{"PLUGIN_METADATA_FILE", r.s.Files.Metadata, resultfiles.Metadata},
		{"PLUGIN_DIGEST_FILE", r.s.Files.Digest, resultfiles.Digest},
	} {
		if f.path == "" {
			continue
		}
		if !filepath.IsAbs(f.path) {
			f.path = filepath.Join(r.s.Workspace, f.path)
		}
		asked = append(asked, f)
	}
	return asked
}

// checkFiles finds paths that cannot be written before the build.
func (r run) checkFiles() error {
	for _, f := range r.resultFiles() {
		if err := resultfiles.Check(f.path); err != nil {
			return f.explain(err)
		}
	}
	return nil
}

// writeFiles writes the files that the settings ask for, and the card that the CI may have asked for.
func (r run) writeFiles(done outcome) error {
	result := resultfiles.Result{
		Images: r.s.Images, Names: done.pushed, Digest: done.image.Digest, Size: done.image.Size,
		RegistryType: r.s.Files.RegistryType, RegistryURL: r.s.Files.RegistryURL, Time: r.o.Now(),
	}
	for _, f := range r.resultFiles() {
		if err := resultfiles.Write(f.path, f.content(result)); err != nil {
			return f.explain(err)
		}
	}
	r.writeCard(result)
	return nil
}

func (f resultFile) explain(err error) error {
	return fmt.Errorf("%s: %w; set a path that this step can write to", f.setting, err)
}

// writeCard writes Drone's card. The CI asked for it and not the user, so a failure is a line of the log.
func (r run) writeCard(result resultfiles.Result) {
	switch path := r.s.Files.Card; path {
	case "":
	case "/dev/stdout", "/dev/stderr":
		_, _ = fmt.Fprint(r.log, resultfiles.Escaped(resultfiles.Card(result)))
	default:
		if err := resultfiles.Write(path, resultfiles.Card(result)); err != nil {
			r.log.Line("the card was not written (DRONE_CARD_PATH): %v", err)
		}
	}
}
