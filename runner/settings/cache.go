package settings

import (
	"fmt"
	"slices"
	"strings"

	"slipway/config/grammar"
	"slipway/runner/registry"
	"slipway/runner/settings/table"
	"slipway/runner/spec"
)

// The settings of caches in the form of docker build.
const (
	cacheFromName = "PLUGIN_CACHE_FROM"
	cacheToName   = "PLUGIN_CACHE_TO"
)

// cacheTable declares the caches. Without these settings nothing is cached outside of the builder. A
// client that may pull a cache of all stages can read files that the image does not contain.
func cacheTable() table.Table[stepReader] {
	return table.Table[stepReader]{
		{
			Name: cacheFromName,
			Help: "caches to read: a list in the form of docker build --cache-from, " +
				"whose entries' own commas have a backslash before them",
			Set: func(r *stepReader, name, text string) (err error) {
				r.Build.CacheFrom, err = r.parseCaches(name, text, "src")
				return err
			},
		},
		{
			Name: cacheToName,
			Help: "caches to write: a list in the form of docker build --cache-to",
			Set: func(r *stepReader, name, text string) (err error) {
				r.Build.CacheTo, err = r.parseCaches(name, text, "dest")
				return err
			},
		},
		{
			Name: "PLUGIN_CACHE_IMAGES",
			Help: "references that are read and written as caches of all stages: a list",
			Set: func(r *stepReader, name, text string) error {
				images, err := table.ParseList(name, text)
				for _, ref := range images {
					r.addRegistryCache(name, ref)
				}
				return err
			},
		},
		{
			Name: "PLUGIN_CACHE", Default: "off",
			Help: "place of the cache of earlier builds: off, inline (in the image: its last stage), " +
				"registry=REFERENCE (all stages, in a repository or tag of their own), local=DIRECTORY, true (registry=cache_repo)",
			Set: (*stepReader).setCache,
		},
	}
}

// setCache reads Slipway's own setting of the cache.
func (r *stepReader) setCache(name, text string) error {
	kind, place, _ := strings.Cut(text, "=")
	kind = strings.ToLower(strings.TrimSpace(kind))
	switch {
	case place == "" && isTrue(kind): // as with Woodpecker's plugin-kaniko
		r.kaniko.cache = name
	case (kind == "off" || kind == "false" || kind == "none") && place == "":
	case kind == spec.CacheInline && place == "":
		r.InlineCache = true
		r.Build.CacheTo = append(r.Build.CacheTo, spec.Cache{Type: spec.CacheInline})
	case kind == spec.CacheRegistry && place != "":
		r.addRegistryCache(name, place)
	case kind == spec.CacheLocal && place != "":
		r.addCache(kind, map[string]string{"src": place},
			map[string]string{"dest": place, "mode": "max", "ignore-error": "true"})
	default:
		return fmt.Errorf("%s is %q: use off, true, inline, registry=REFERENCE or local=DIRECTORY", name, text)
	}
	return nil
}

// addRegistryCache adds a cache of all stages. It is stored as an image, because some registries reject
// BuildKit's older format. A build does not fail if the cache cannot be written.
func (r *stepReader) addRegistryCache(setting, ref string) {
	r.namedCaches = append(r.namedCaches, namedCache{ref, setting})
	r.addCache(spec.CacheRegistry, map[string]string{"ref": ref}, map[string]string{
		"ref": ref, "mode": "max", "image-manifest": "true", "oci-mediatypes": "true", "ignore-error": "true",
	})
}

// addCache adds a cache. from are its attributes for reads, and to those for writes.
func (r *stepReader) addCache(kind string, from, to map[string]string) {
	r.Build.CacheFrom = append(r.Build.CacheFrom, spec.Cache{Type: kind, Attrs: from})
	r.Build.CacheTo = append(r.Build.CacheTo, spec.Cache{Type: kind, Attrs: to})
}

// parseCaches reads entries as docker build takes them. A word alone is the reference of an image.
// place is the attribute that a local cache needs: src to read, dest to write.
func (r *stepReader) parseCaches(name, text, place string) (all []spec.Cache, err error) {
	entries, err := table.ParseCSVEntries(name, text)
	if err != nil {
		return nil, err
	}
	for i, attrs := range entries {
		if ref, isWord := attrs[""]; isWord {
			attrs = map[string]string{"type": spec.CacheRegistry, "ref": ref}
		}
		kind, needs := attrs["type"], ""
		switch {
		case kind == spec.CacheRegistry:
			needs = "ref"
		case kind == spec.CacheLocal:
			needs = place
		case kind == spec.CacheInline && place == "dest":
		default:
			return nil, fmt.Errorf("%s: entry %d has type %q; "+
				"use registry, local, or, only to write, inline", name, i+1, kind)
		}
		if needs != "" && attrs[needs] == "" {
			return nil, fmt.Errorf("%s: entry %d, of type %s, has no %s", name, i+1, kind, needs)
		}
		delete(attrs, "type")
		unused, err := checkCacheAttrs(name, i, kind, attrs, place == "src")
		if err != nil {
			return nil, err
		}
		if unused != nil {
			r.warn("%s: entry %d has %s, which has no effect there", name, i+1, strings.Join(unused, ", "))
		}
		all = append(all, spec.Cache{Type: kind, Attrs: attrs})
		if kind == spec.CacheRegistry {
			r.namedCaches = append(r.namedCaches, namedCache{attrs["ref"], name})
		}
	}
	return all, nil
}

// A namedCache is the reference of a cache in a registry, with the setting that it came from.
type namedCache struct{ ref, setting string }

// CacheSettings returns the settings that name a cache in the repository of an image, or "" if there is no such
// cache. image has no tag.
func (p Plugin) CacheSettings(image string) string {
	var settings []string
	for _, c := range p.namedCaches {
		ref, err := registry.ParseReference(c.ref)
		name, _, _ := grammar.SplitReference(ref)
		if err == nil && name == image && !slices.Contains(settings, c.setting) {
			settings = append(settings, c.setting)
		}
	}
	return strings.Join(settings, " and ")
}
