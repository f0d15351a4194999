package step

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"slipway/runner/registry"
	"slipway/runner/source"
	"slipway/runner/spec"
)

// maxInline bounds the tags that are read for an inline cache.
const maxInline = 4

// buildOptions returns the settings' options, with the paths of local caches and of the image's file
// resolved. created is the date of the image.
func (r run) buildOptions(workspace string, created time.Time) (o spec.BuildOptions, err error) {
	o = r.s.Build
	o.Labels, o.Annotations = labels(r.s, created)
	if o.CacheFrom, err = localCaches(o.CacheFrom, "src", workspace); err != nil {
		return o, err
	}
	if o.CacheTo, err = localCaches(o.CacheTo, "dest", workspace); err != nil {
		return o, err
	}
	if o.Contexts, err = namedContexts(o.Contexts, workspace); err != nil {
		return o, err
	}
	if o.SSH, err = sshFiles(o.SSH, workspace); err != nil {
		return o, err
	}
	if o.Archive, err = archive(o.Archive, r.s.Origins["PLUGIN_OUTPUT"], workspace, r.names()); err != nil {
		return o, err
	}
	if r.s.InlineCache {
		for _, image := range r.s.Images {
			o.CacheFrom = append(o.CacheFrom, inlineSources(image, r.s.TagsFor(image))...)
		}
	}
	for _, c := range o.CacheTo {
		if r.pushesTo(c.Attrs["ref"]) {
			return o, fmt.Errorf(
				"cache %s: the step pushes the image to the same tag: use another tag or repository for the cache",
				c.Attrs["ref"],
			)
		}
	}
	if !r.publishes() {
		o.CacheTo = r.withoutRegistryCaches(o.CacheTo)
	}
	return o, nil
}

// withoutRegistryCaches leaves out caches that are written to a registry. Otherwise later builds would
// take steps from the cache of a build that is not published, such as that of a pull request.
func (r run) withoutRegistryCaches(caches []spec.Cache) []spec.Cache {
	kept := slices.DeleteFunc(
		slices.Clone(caches),
		func(c spec.Cache) bool { return c.Type == spec.CacheRegistry },
	)
	if len(kept) < len(caches) {
		r.log.Line("note: no cache is written to a registry because nothing is pushed")
	}
	return kept
}

// pushesTo reports whether a reference, in any of its spellings, is a tag that the step pushes.
func (r run) pushesTo(ref string) bool {
	ref, err := registry.ParseReference(ref)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(r.s.Images, func(image string) bool {
		tag, found := strings.CutPrefix(ref, image+":")
		return found && slices.Contains(r.s.TagsFor(image), tag)
	})
}

// names returns all tags that the step pushes, each with its image's name.
func (r run) names() (all []string) {
	for _, image := range r.s.Images {
		for _, tag := range r.s.TagsFor(image) {
			all = append(all, image+":"+tag)
		}
	}
	return all
}

// inlineSources returns the tags of earlier images. The first tags are the most specific ones, and a new
// version's does not exist yet, so latest is added.
func inlineSources(image string, tags []string) (all []spec.Cache) {
	tags = slices.Clone(tags[:min(len(tags), maxInline)])
	if !slices.Contains(tags, "latest") {
		tags = append(tags, "latest")
	}
	for _, tag := range tags {
		all = append(all, spec.Cache{Type: spec.CacheRegistry, Attrs: map[string]string{"ref": image + ":" + tag}})
	}
	return all
}

// localCaches resolves and makes the directories of local caches. A relative path stays in the workspace:
// links of the repository cannot point outside.
func localCaches(caches []spec.Cache, attr, workspace string) ([]spec.Cache, error) {
	caches = slices.Clone(caches)
	for i, c := range caches {
		if c.Type != spec.CacheLocal || filepath.IsAbs(c.Attrs[attr]) {
			continue
		}
		path := filepath.Clean(c.Attrs[attr])
		if err := makeDir(workspace, path); err != nil {
			return nil, fmt.Errorf("the local cache %s: make it in the workspace: %w", path, err)
		}
		path, err := source.Tree{Dir: workspace}.Directory(path)
		if err != nil {
			return nil, fmt.Errorf("the local cache %w", err)
		}
		caches[i].Attrs = maps.Clone(c.Attrs)
		caches[i].Attrs[attr] = path
	}
	return caches, nil
}

// namedContexts resolves the directories of named contexts. A relative path stays in the workspace: links of
// the repository cannot point outside.
func namedContexts(contexts []spec.NamedContext, workspace string) ([]spec.NamedContext, error) {
	contexts = slices.Clone(contexts)
	for i, c := range contexts {
		if c.Dir == "" {
			continue
		}
		if filepath.IsAbs(c.Dir) {
			if info, err := os.Stat(c.Dir); err != nil || !info.IsDir() {
				return nil, fmt.Errorf("PLUGIN_BUILD_CONTEXTS: the context %s: %s is not a directory", c.Name, c.Dir)
			}
			continue
		}
		dir, err := source.Tree{Dir: workspace}.Directory(filepath.Clean(c.Dir))
		if err != nil {
			return nil, fmt.Errorf(
				"PLUGIN_BUILD_CONTEXTS: the context %s %w; set its path relative to the workspace %s",
				c.Name,
				err,
				workspace,
			)
		}
		contexts[i].Dir = dir
	}
	return contexts, nil
}

// sshFiles resolves the paths of ssh keys and sockets. A relative path stays in the workspace.
func sshFiles(agents []spec.SSHAgent, workspace string) ([]spec.SSHAgent, error) {
	agents = slices.Clone(agents)
	for i, a := range agents {
		path := a.Path
		if !filepath.IsAbs(path) {
			real, err := source.Tree{Dir: workspace}.Resolve(filepath.Clean(path))
			if err != nil {
				return nil, fmt.Errorf(
					"PLUGIN_SSH: the key %s %w; set a path in the workspace %s",
					a.ID,
					err,
					workspace,
				)
			}
			path = real
		} else if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("PLUGIN_SSH: the key %s cannot be read: %w", a.ID, err)
		}
		agents[i].Path = path
	}
	return agents, nil
}

// archive resolves the path of the file that the image is written to, and makes its directory. A relative
// path stays in the workspace: links of the repository cannot point outside. setting has the path, for errors.
func archive(a spec.Archive, setting, workspace string, names []string) (spec.Archive, error) {
	if a.Type == "" {
		return a, nil
	}
	a.Names = names
	if filepath.IsAbs(a.Path) {
		return a, nil
	}
	folder := filepath.Dir(filepath.Clean(a.Path))
	if err := makeDir(workspace, folder); err != nil {
		return a, fmt.Errorf("%s: the file %s: %w; set a path that this step can write to", setting, a.Path, err)
	}
	real, err := source.Tree{Dir: workspace}.Directory(folder)
	if err != nil {
		return a, fmt.Errorf("%s: the directory of the file %w; set a path in the workspace", setting, err)
	}
	a.Path = filepath.Join(real, filepath.Base(a.Path))
	return a, nil
}

// makeDir makes a directory below another. No link can move it elsewhere.
func makeDir(below, path string) error {
	root, err := os.OpenRoot(below)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return root.MkdirAll(path, 0o755)
}
