package settings

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"slipway/config"
	"slipway/runner/source"
	"slipway/runner/tags"
)

const (
	tagsName = "PLUGIN_TAGS"
	dotFile  = ".tags"
)

// Bounds of what names tags.
const (
	maxTagsFile = 64 << 10 // bytes
	maxTags     = 100
)

// readTags finds out which tags are pushed, from the settings, the workspace's files and what
// the CI says of the commit.
func (p *Plugin) readTags(given map[string]string, raw config.Tags) error {
	s, err := tagSettings(given, raw)
	if err != nil {
		return err
	}
	source, notes, err := p.namedTags(given, s.Mode)
	if err != nil {
		return err
	}
	s.Named, s.From = source.Tags, source.Name
	plan, err := tags.Decide(p.CI, s)
	if err != nil {
		return err
	}
	p.Tags, p.Skip, p.TagNotes = plan.Tags, plan.Skip, append(notes, plan.Notes...)
	p.Origins[tagsName] = tagOrigin(s)
	return nil
}

// tagOrigin says where the tags come from, all of them.
func tagOrigin(s tags.Settings) string {
	switch {
	case s.Auto && len(s.Named) > 0 && s.Mode != tags.Docker:
		return s.AutoFrom + ", " + s.From
	case s.Auto:
		return s.AutoFrom
	case len(s.Named) > 0:
		return s.From
	}
	return Default
}

func tagSettings(given map[string]string, raw config.Tags) (tags.Settings, error) {
	var errs [3]error
	s := tags.Settings{Mode: tags.Mode(raw.AutoTagMode), DefaultTag: raw.DefaultTag}
	auto, name, err := oneOf(given, "false", "PLUGIN_AUTO_TAG", "PLUGIN_DEFAULT_TAGS")
	if s.AutoFrom, errs[0] = name, err; err == nil {
		s.Auto, errs[0] = trueFalse(name, auto)
	}
	s.Suffix, _, errs[1] = oneOf(given, "", "PLUGIN_AUTO_TAG_SUFFIX", "PLUGIN_DEFAULT_SUFFIX")
	switch s.Mode {
	case tags.Docker, tags.Buildx, tags.Slipway:
	default:
		errs[2] = fmt.Errorf("PLUGIN_AUTO_TAG_MODE is %q: use docker, buildx or slipway", raw.AutoTagMode)
	}
	return s, errors.Join(errs[:]...)
}

// namedTags are the tags that the pipeline or a file of the workspace names.
func (p *Plugin) namedTags(given map[string]string, mode tags.Mode) (tags.Source, []tags.Note, error) {
	setting, settingErr := settingTags(given)
	path, name, pathErr := oneOf(given, "", "PLUGIN_TAGS_FILE", "PLUGIN_TAG_FILE")
	if err := errors.Join(settingErr, pathErr); err != nil {
		return tags.Source{}, nil, err
	}
	var file tags.Source
	if path != "" {
		var err error
		if file, err = p.fileTags(name, path); err == nil && len(file.Tags) == 0 {
			err = fmt.Errorf("%s: %q has no tag in it", name, path)
		}
		if err != nil {
			return tags.Source{}, nil, err
		}
	}
	var dot tags.Source
	var err error
	if filepath.Clean(path) != dotFile { // else it is the same file
		dot, err = p.fileTags(dotFile, dotFile)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		// What cannot be read is a fault only where it would have been.
		if would, _ := tags.Choose(
			mode,
			setting,
			file,
			tags.Source{Name: dotFile, Tags: []string{dotFile}},
		); would.Name == dotFile {
			return tags.Source{}, nil, err
		}
	}
	named, notes := tags.Choose(mode, setting, file, dot)
	if len(named.Tags) > maxTags {
		return tags.Source{}, nil, fmt.Errorf("%s has %d tags: %d are the most", named.Name, len(named.Tags), maxTags)
	}
	return named, notes, nil
}

func settingTags(given map[string]string) (tags.Source, error) {
	value, name, err := oneOf(given, "", tagsName, "PLUGIN_TAG")
	if err != nil || name == Default {
		return tags.Source{}, err
	}
	all, err := list(name, value)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%s has no tag in it: name one, or leave it out for latest", name)
	}
	return tags.Source{Name: name, Tags: all}, err
}

// fileTags reads a file of the workspace: lines, or a comma list. Its content is not trusted.
func (p *Plugin) fileTags(name, path string) (tags.Source, error) {
	top, err := filepath.Abs(p.Workspace)
	if err != nil {
		return tags.Source{}, fmt.Errorf("workspace %s: %w", p.Workspace, err)
	}
	real, err := source.Tree{Dir: top}.File(filepath.Clean(path))
	if err != nil {
		return tags.Source{}, fmt.Errorf("%s: the file of tags %w; give its path from the workspace %s", name, err, top)
	}
	f, err := os.Open(real)
	if err != nil {
		return tags.Source{}, fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTagsFile+1))
	if err != nil {
		return tags.Source{}, fmt.Errorf("%s: %w", name, err)
	}
	if len(text) > maxTagsFile {
		return tags.Source{}, fmt.Errorf(
			"%s: %q is larger than %d KiB, and no file of tags",
			name,
			path,
			maxTagsFile>>10,
		)
	}
	all, err := list(name, strings.Join(strings.FieldsFunc(string(text), newline), ","))
	return tags.Source{Name: name, Tags: all}, err
}

func newline(r rune) bool { return r == '\n' || r == '\r' }
