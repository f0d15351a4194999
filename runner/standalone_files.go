package runner

import (
	"fmt"
	"path/filepath"

	"slipway/runner/resultfiles"
)

// A resultFile is one that a setting asks for.
type resultFile struct {
	setting, path string
	content       func(resultfiles.Result) []byte
}

func (r *standalone) resultFiles() (asked []resultFile) {
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

// checkFiles finds paths that cannot be written before a build is spent on them.
func (r *standalone) checkFiles() error {
	for _, f := range r.resultFiles() {
		if err := resultfiles.Check(f.path); err != nil {
			return unwritable(f, err)
		}
	}
	return nil
}

// writeFiles leaves the files that were asked for, and the card that a CI may have asked for.
func (r *standalone) writeFiles() error {
	result := resultfiles.Result{
		Images: r.s.Images, Names: r.pushed, Digest: r.image.Digest, Size: r.image.Size,
		RegistryType: r.s.Files.RegistryType, RegistryURL: r.s.Files.RegistryURL, Time: r.o.Now(),
	}
	for _, f := range r.resultFiles() {
		if err := resultfiles.Write(f.path, f.content(result)); err != nil {
			return unwritable(f, err)
		}
	}
	r.card(result)
	return nil
}

func unwritable(f resultFile, err error) error {
	return fmt.Errorf("%s: %w; give a path that this step may write", f.setting, err)
}

// card is the CI's wish and not the user's, so one that cannot be written fails nothing.
func (r *standalone) card(result resultfiles.Result) {
	switch path := r.s.Files.Card; path {
	case "":
	case "/dev/stdout", "/dev/stderr":
		_, _ = fmt.Fprint(r.log, resultfiles.Escaped(resultfiles.Card(result)))
	default:
		if err := resultfiles.Write(path, resultfiles.Card(result)); err != nil {
			r.log.line("the card was not written (DRONE_CARD_PATH): %v", err)
		}
	}
}
