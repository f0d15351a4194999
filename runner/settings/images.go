package settings

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"slipway/runner/registry"
	"slipway/runner/settings/table"
	"slipway/runner/source"
	"slipway/runner/tags"
)

// maxImages is the maximum number of names of an image.
const maxImages = 20

// repoRequired is the part of an error that explains how to set the image's name.
const repoRequired = "set the image's name (setting repo), for example registry.example.com/acme/app"

// Image returns the first name of the image. The step and its status are named by it.
func (p Plugin) Image() string {
	if len(p.Images) == 0 {
		return ""
	}
	return p.Images[0]
}

// setImages reads the names of the image.
func (r *stepReader) setImages(name, text string) error {
	entries, err := table.ParseList(name, text)
	switch {
	case err != nil:
		return err
	case len(entries) == 0:
		return errors.New(name + " is not set: " + repoRequired)
	case len(entries) > maxImages:
		return fmt.Errorf("%s has %d names: an image can have up to %d", name, len(entries), maxImages)
	}
	for _, entry := range entries {
		base := entry[strings.LastIndex(entry, "/")+1:]
		if strings.Contains(base, ":") && !strings.Contains(base, "@") {
			return fmt.Errorf("%s is %q: set the name without a tag, and the tags in PLUGIN_TAGS", name, entry)
		}
		image, err := registry.ParseImage(entry)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if !slices.Contains(r.Images, image) {
			r.Images = append(r.Images, image)
		}
	}
	return nil
}

const (
	tagsName     = "PLUGIN_TAGS"
	tagsFileName = "PLUGIN_TAGS_FILE"
	autoTagName  = "PLUGIN_AUTO_TAG"
	dotFile      = ".tags"
)

// Limits of a source of tags.
const (
	maxTagsFile = 64 << 10 // bytes
	maxTags     = 100
)

// tagValues are the settings from which the tags derive.
type tagValues struct {
	named    []string
	file     string // path from the workspace
	auto     bool
	mode     tags.Mode
	suffix   string
	fallback string // default_tag
}

func tagTable() table.Table[tagValues] {
	return table.Table[tagValues]{
		{
			Name: tagsName, Aliases: []string{"PLUGIN_TAG"}, Default: "latest",
			Help: "tags to push: a comma list, or a JSON list",
			Set:  (*tagValues).setNamed,
		},
		{
			Name: tagsFileName, Aliases: []string{"PLUGIN_TAG_FILE"},
			Help: "file of tags in the workspace, read instead of tags: lines or a comma list; " +
				"without both, a file .tags is read, if there is one",
			Set: table.Text(func(t *tagValues) *string { return &t.file }),
		},
		{
			Name: autoTagName, Aliases: []string{"PLUGIN_DEFAULT_TAGS"}, Default: "false",
			Help: "true: make tags of the Git tag (v1.2.3: 1, 1.2 and 1.2.3) or of the default branch (default_tag)",
			Set:  table.Bool(func(t *tagValues) *bool { return &t.auto }),
		},
		{
			Name: "PLUGIN_AUTO_TAG_MODE", Default: string(tags.Slipway),
			Help: "rules to apply: docker (plugins/docker), buildx (Woodpecker's docker-buildx), or slipway, " +
				"which moves latest only from the default branch, unless a release's tags name it",
			Set: table.OneOf(func(t *tagValues) *tags.Mode { return &t.mode }, tags.Docker, tags.Buildx, tags.Slipway),
		},
		{
			Name: "PLUGIN_AUTO_TAG_SUFFIX", Needs: autoTagName, Aliases: []string{"PLUGIN_DEFAULT_SUFFIX"},
			Help: "suffix of the tags that auto_tag makes, for example linux-amd64 for 1.2-linux-amd64, " +
				"and for linux-amd64 in place of latest",
			Set: table.Text(func(t *tagValues) *string { return &t.suffix }),
		},
		{
			Name: "PLUGIN_DEFAULT_TAG", Default: "latest", Needs: autoTagName,
			Help: "tag that auto_tag makes of the default branch",
			Set:  table.Text(func(t *tagValues) *string { return &t.fallback }),
		},
	}
}

func (t *tagValues) setNamed(name, text string) (err error) {
	t.named, err = table.ParseList(name, text)
	if err == nil && len(t.named) == 0 {
		err = fmt.Errorf("%s has no tag: set one, or remove the setting to push latest", name)
	}
	return err
}

// chooseTags decides which tags are pushed, from the settings, the files of the workspace and the CI's
// facts about the commit.
func (r *stepReader) chooseTags() error {
	t := r.tags
	named, notes, err := r.namedTags(t.mode)
	if err != nil {
		return err
	}
	if r.kaniko.expandTag {
		if t.auto {
			return fmt.Errorf("%s and %s are both true: set only one of them", r.Origins[autoTagName], expandTagName)
		}
		named.Tags = tags.Expand(named.Tags)
	}
	if r.given[destinationsName] != "" {
		if r.destinations, err = destinationTags(r.given[destinationsName]); err != nil {
			return err
		}
	}
	s := tags.Settings{
		Mode: t.mode, Auto: t.auto, AutoFrom: r.Origins[autoTagName],
		Named: named.Tags, From: named.Name, Suffix: t.suffix, DefaultTag: t.fallback,
	}
	plan, err := tags.Decide(r.CI, s)
	if err != nil {
		return err
	}
	r.Tags, r.Skip = plan.Tags, plan.Skip
	r.TagNotes = append(notes, plan.Notes...)
	r.Origins[tagsName] = tagOrigin(s)
	if r.destinations != nil {
		r.Origins[repoName], r.Origins[tagsName] = destinationsName, destinationsName
	}
	return nil
}

// tagOrigin returns the origins of the tags: "PLUGIN_AUTO_TAG, PLUGIN_TAGS".
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

// namedTags returns the tags that the pipeline or a file of the workspace names.
func (r *stepReader) namedTags(mode tags.Mode) (tags.Source, []tags.Note, error) {
	var setting, file, dot tags.Source
	if origin := r.Origins[tagsName]; origin != Default {
		setting = tags.Source{Name: origin, Tags: r.tags.named}
	}
	path := r.tags.file
	if path != "" {
		name := r.Origins[tagsFileName]
		var err error
		if file, err = r.readTagsFile(name, path); err == nil && len(file.Tags) == 0 {
			err = fmt.Errorf("%s: the file %q has no tag", name, path)
		}
		if err != nil {
			return tags.Source{}, nil, err
		}
	}
	if filepath.Clean(path) != dotFile { // otherwise it is the same file
		var err error
		dot, err = r.readTagsFile(dotFile, dotFile)
		// An unreadable file is an error only if its tags would have been used.
		unread, _ := tags.Choose(mode, setting, file, tags.Source{Name: dotFile, Tags: []string{dotFile}})
		if err != nil && !errors.Is(err, fs.ErrNotExist) && unread.Name == dotFile {
			return tags.Source{}, nil, err
		}
	}
	named, notes := tags.Choose(mode, setting, file, dot)
	if len(named.Tags) > maxTags {
		return tags.Source{}, nil, fmt.Errorf("%s has %d tags: the limit is %d", named.Name, len(named.Tags), maxTags)
	}
	return named, notes, nil
}

// readTagsFile reads a file of the workspace: lines, or a comma list. Its content is not trusted.
func (r *stepReader) readTagsFile(name, path string) (tags.Source, error) {
	top, err := filepath.Abs(r.Workspace)
	if err != nil {
		return tags.Source{}, fmt.Errorf("workspace %s: %w", r.Workspace, err)
	}
	tree := source.Tree{Dir: top}
	real, err := tree.File(tree.Relative(filepath.Clean(path)))
	if err != nil {
		return tags.Source{}, fmt.Errorf(
			"%s: the file of tags %w; set its path relative to the workspace %s",
			name,
			err,
			top,
		)
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
		return tags.Source{}, fmt.Errorf("%s: %q is larger than %d KiB",
			name, path, maxTagsFile>>10)
	}
	lines := strings.FieldsFunc(string(text), func(c rune) bool { return c == '\n' || c == '\r' })
	all, err := table.ParseList(name, strings.Join(lines, ","))
	return tags.Source{Name: name, Tags: all}, err
}
