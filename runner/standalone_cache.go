package runner

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"slipway/runner/registry"
	"slipway/runner/source"
	"slipway/runner/spec"
)

// maxInline is how many tags are looked at for an inline cache.
const maxInline = 4

// buildOptions are the settings', with caches in places that can be used.
func (r *standalone) buildOptions(workspace string) (o spec.BuildOptions, err error) {
	o = r.s.Build
	o.Labels, o.Annotations = labels(r.s, r.o.Now())
	if o.CacheFrom, err = localCaches(o.CacheFrom, "src", workspace); err != nil {
		return o, err
	}
	if o.CacheTo, err = localCaches(o.CacheTo, "dest", workspace); err != nil {
		return o, err
	}
	if o.Archive, err = archive(o.Archive, workspace, r.names()); err != nil {
		return o, err
	}
	if r.s.InlineCache {
		for _, image := range r.s.Images {
			o.CacheFrom = append(o.CacheFrom, inlineSources(image, r.s.Tags)...)
		}
	}
	for _, c := range o.CacheTo {
		if r.isPushed(c.Attrs["ref"]) {
			return o, fmt.Errorf(
				"the cache %s is a tag that is pushed, and one would replace the other: give the cache a tag or a repository of its own",
				c.Attrs["ref"],
			)
		}
	}
	if r.s.DryRun || len(r.s.Tags) == 0 {
		before := len(o.CacheTo)
		o.CacheTo = slices.DeleteFunc(
			slices.Clone(o.CacheTo),
			func(c spec.Cache) bool { return c.Type == spec.CacheRegistry },
		)
		if len(o.CacheTo) < before {
			r.log.line("note: no cache is written to a registry, for nothing is pushed")
		}
	}
	return o, nil
}

// isPushed reports whether a reference, in any of its spellings, is a tag that the step pushes.
func (r *standalone) isPushed(ref string) bool {
	ref, err := registry.ParseReference(ref)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(r.s.Images, func(image string) bool {
		tag, found := strings.CutPrefix(ref, image+":")
		return found && slices.Contains(r.s.Tags, tag)
	})
}

// inlineSources are where earlier images are. The first tags are the most particular ones, and
// a new version's is not there yet: latest is looked at, too.
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

// localCaches finds the directories of local caches, and makes them. A path from the workspace
// stays in it, whatever the repository links to.
func localCaches(caches []spec.Cache, attr, workspace string) ([]spec.Cache, error) {
	caches = slices.Clone(caches)
	for i, c := range caches {
		if c.Type != spec.CacheLocal || filepath.IsAbs(c.Attrs[attr]) {
			continue
		}
		path := filepath.Clean(c.Attrs[attr])
		root, err := os.OpenRoot(workspace)
		if err != nil {
			return nil, fmt.Errorf("workspace: %w", err)
		}
		err = root.MkdirAll(path, 0o755)
		_ = root.Close()
		if err != nil {
			return nil, fmt.Errorf("the local cache %s cannot be made in the workspace: %w", path, err)
		}
		if path, err = (source.Tree{Dir: workspace}).Directory(path); err != nil {
			return nil, fmt.Errorf("the local cache %w", err)
		}
		caches[i].Attrs = maps.Clone(c.Attrs)
		caches[i].Attrs[attr] = path
	}
	return caches, nil
}
