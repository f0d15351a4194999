package settings

import (
	"errors"
	"fmt"
	"strings"

	"slipway/config"
	"slipway/runner/spec"
)

// readCaches reads all four settings of caches. Nothing is cached outside of the builder unless
// one of them says so, for a cache of all stages shows whoever may pull it what the image hides.
func (p *Plugin) readCaches(raw config.PluginBuild) error {
	from, fromErr := readCacheDocuments("PLUGIN_CACHE_FROM", raw.CacheFrom, "src")
	to, toErr := readCacheDocuments("PLUGIN_CACHE_TO", raw.CacheTo, "dest")
	p.Build.CacheFrom, p.Build.CacheTo = from, to
	images, imagesErr := list("PLUGIN_CACHE_IMAGES", raw.CacheImages)
	for _, ref := range images {
		p.addCache(registryCache(ref))
	}
	return errors.Join(fromErr, toErr, imagesErr, p.readCache(raw.Cache))
}

// readCache reads our own setting.
func (p *Plugin) readCache(value string) error {
	kind, where, _ := strings.Cut(value, "=")
	switch kind = strings.ToLower(strings.TrimSpace(kind)); {
	case (kind == "off" || kind == "false" || kind == "none") && where == "":
	case kind == spec.CacheInline && where == "":
		p.InlineCache = true
		p.Build.CacheTo = append(p.Build.CacheTo, spec.Cache{Type: spec.CacheInline})
	case kind == spec.CacheRegistry && where != "":
		p.addCache(registryCache(where))
	case kind == spec.CacheLocal && where != "":
		p.addCache(
			spec.Cache{Type: spec.CacheLocal, Attrs: map[string]string{"src": where}},
			spec.Cache{
				Type:  spec.CacheLocal,
				Attrs: map[string]string{"dest": where, "mode": "max", "ignore-error": "true"},
			},
		)
	default:
		return fmt.Errorf("PLUGIN_CACHE is %q: use off, inline, registry=REFERENCE or local=DIRECTORY", value)
	}
	return nil
}

func (p *Plugin) addCache(from, to spec.Cache) {
	p.Build.CacheFrom = append(p.Build.CacheFrom, from)
	p.Build.CacheTo = append(p.Build.CacheTo, to)
}

// registryCache is a cache of all stages. It is an image to the registry, for not all take
// BuildKit's older form; that it cannot be written fails no build.
func registryCache(ref string) (from, to spec.Cache) {
	return spec.Cache{Type: spec.CacheRegistry, Attrs: map[string]string{"ref": ref}},
		spec.Cache{Type: spec.CacheRegistry, Attrs: map[string]string{
			"ref": ref, "mode": "max", "image-manifest": "true", "oci-mediatypes": "true", "ignore-error": "true",
		}}
}

// readCacheDocuments reads entries as docker build takes them; a word alone is a reference.
// Place is the attribute that a local cache needs.
func readCacheDocuments(setting, value, place string) (all []spec.Cache, err error) {
	entries, err := documents(setting, value)
	if err != nil {
		return nil, err
	}
	for i, entry := range entries {
		attrs := entry.fields
		if ref, alone := attrs[""]; alone {
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
			return nil, fmt.Errorf(
				"%s: entry %d has type %q; what caches can be here is registry, local, and inline to write",
				setting,
				i+1,
				kind,
			)
		}
		if needs != "" && attrs[needs] == "" {
			return nil, fmt.Errorf("%s: entry %d, of type %s, has no %s", setting, i+1, kind, needs)
		}
		delete(attrs, "type")
		all = append(all, spec.Cache{Type: kind, Attrs: attrs})
	}
	return all, nil
}
