package settings

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"slipway/runner/settings/table"
	"slipway/runner/spec"
)

// Attributes lists, by setting, every attribute that its value may have. Another attribute is an error, so
// that none is silently without effect. Entries of caches have the kind of the cache first: registry/ref.
func Attributes() map[string][]string {
	all := map[string][]string{
		outputName: outputAttrs(),
		secretName: secretAttrs(),
		configTOML: registryKeys(),
	}
	for _, kind := range []string{spec.CacheRegistry, spec.CacheLocal, spec.CacheInline} {
		for _, attr := range readAttrs(kind) {
			all[cacheFromName] = append(all[cacheFromName], kind+"/"+attr)
		}
		for _, attr := range writeAttrs(kind) {
			all[cacheToName] = append(all[cacheToName], kind+"/"+attr)
		}
	}
	return all
}

// outputAttrs returns the attributes of PLUGIN_OUTPUT.
// https://docs.docker.com/build/exporters/
func outputAttrs() []string {
	return []string{
		"type", "push", "dest", "compression", "compression-level", "force-compression", "oci-mediatypes",
		"rewrite-timestamp",
	}
}

// secretAttrs returns the attributes of PLUGIN_SECRET and PLUGIN_SECRETS.
func secretAttrs() []string { return []string{"id", "type", "src", "source", "env"} }

// readAttrs returns the attributes of a cache of this kind that is read; none if it cannot be read.
// Source: https://github.com/moby/buildkit/tree/v0.34.2/cache/remotecache
func readAttrs(kind string) []string {
	switch kind {
	case spec.CacheRegistry:
		return []string{"ref", insecureAttr}
	case spec.CacheLocal:
		return []string{"src", "tag", "digest"}
	}
	return nil
}

// writeAttrs returns the attributes of a cache of this kind that is written.
func writeAttrs(kind string) []string {
	form := []string{
		"mode",
		"ignore-error",
		"image-manifest",
		"oci-mediatypes",
		"compression",
		"compression-level",
		"force-compression",
	}
	switch kind {
	case spec.CacheRegistry:
		return append(form, "ref", insecureAttr)
	case spec.CacheLocal:
		return append(form, "dest", "tag", "reset")
	}
	return []string{"ignore-error"} // an inline cache is a part of the image, and has the image's form
}

// insecureAttr lets BuildKit use plain HTTP, or TLS without verification, for a cache.
const insecureAttr = "registry.insecure"

// checkCacheAttrs checks the attributes of the entry i of a setting, counted from 0. It removes the attributes
// of the other direction, which BuildKit ignores, and returns their names: pipelines often give both
// directions the same text.
func checkCacheAttrs(
	setting string,
	i int,
	kind string,
	attrs map[string]string,
	read bool,
) (unused []string, err error) {
	known, other := writeAttrs(kind), readAttrs(kind)
	if read {
		known, other = other, known
	}
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		switch {
		case slices.Contains(known, name):
			err = checkCacheValue(name, attrs[name])
		case slices.Contains(other, name):
			delete(attrs, name)
			unused = append(unused, name)
		default:
			err = fmt.Errorf("has %q, which this step does not support: use %s", name, strings.Join(known, ", "))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: entry %d, of type %s, %w", setting, i+1, kind, err)
		}
	}
	return unused, nil
}

// checkCacheValue checks the value of an attribute for which BuildKit would use its default instead.
func checkCacheValue(name, value string) error {
	var allowed []string
	switch name {
	case "mode":
		allowed = []string{"min", "max"}
	case "compression":
		allowed = []string{"gzip", "zstd", "estargz", "uncompressed"}
	case "ignore-error", "image-manifest", "oci-mediatypes", "force-compression", "reset", insecureAttr:
		allowed = []string{"true", "false", "1", "0"}
	}
	if allowed != nil && !slices.Contains(allowed, value) {
		return fmt.Errorf("has %s=%s: use %s", name, value, strings.Join(allowed, ", "))
	}
	return nil
}

// checkSecretAttrs checks the attributes of the entry i of a secret, counted from 0.
func checkSecretAttrs(setting string, i int, fields map[string]string) error {
	for name := range fields {
		if !slices.Contains(secretAttrs(), name) {
			return fmt.Errorf("%s: entry %d has %q, use id, src, env and type", setting, i+1, name)
		}
	}
	kind, path := fields["type"], fields["src"]+fields["source"]
	switch {
	case kind != "" && kind != "env" && kind != "file":
		return fmt.Errorf("%s: entry %d has type=%s: use env or file", setting, i+1, kind)
	case fields["src"] != "" && fields["source"] != "":
		return fmt.Errorf("%s: entry %d has both src and source: set one", setting, i+1)
	case kind == "file" && path == "":
		return fmt.Errorf("%s: entry %d has type=file without src: set the path of the file", setting, i+1)
	}
	return nil
}

// isTrue reports whether a value of an attribute is true.
func isTrue(text string) bool {
	on, err := table.ParseBool("", text)
	return err == nil && on
}
