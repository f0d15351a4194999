package buildkit

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/buildkit/client"

	"slipway/config/secret"
)

// Attributes describes the request in BuildKit's terms, one line each: the attributes of the frontend, the
// exports, the caches, the directories and secrets that the client offers, and the logins. It shows no
// secret, but it shows build arguments and proxies. It reads no file, and fails only if a directory is missing.
func (r Request) Attributes() ([]string, error) {
	withoutKey := r
	withoutKey.Options.SSHKey, withoutKey.Options.SSH = secret.Secret{}, nil // else the files would be read
	sent, err := withoutKey.openDirs(nil)
	if err != nil {
		return nil, err
	}
	options, err := withoutKey.solveOptions(sent)
	if err != nil {
		return nil, err
	}
	if r.Check {
		options.Exports = nil
	}
	lines := attributeLines("", options.FrontendAttrs)
	for _, e := range options.Exports {
		lines = append(lines, attributeLines("export "+e.Type+" ", e.Attrs)...)
	}
	lines = append(lines, cacheLines("cache from ", options.CacheImports)...)
	lines = append(lines, cacheLines("cache to ", options.CacheExports)...)
	for _, right := range options.AllowedEntitlements {
		lines = append(lines, "right "+right)
	}
	for _, name := range slices.Sorted(maps.Keys(options.LocalMounts)) {
		lines = append(lines, "directory "+name)
	}
	for _, s := range r.Options.Secrets {
		lines = append(lines, "secret "+s.ID)
	}
	if !r.Options.SSHKey.IsZero() {
		lines = append(lines, "ssh default")
	}
	for _, a := range r.Options.SSH {
		lines = append(lines, "ssh "+a.ID)
	}
	for _, c := range r.Registries {
		lines = append(lines, strings.TrimSpace("login "+c.Host+" "+c.Username))
	}
	return lines, nil
}

func attributeLines(before string, all map[string]string) (lines []string) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		lines = append(lines, before+name+"="+all[name])
	}
	return lines
}

func cacheLines(before string, caches []client.CacheOptionsEntry) (lines []string) {
	for _, c := range caches {
		lines = append(lines, fmt.Sprint(before, c.Type, " ", c.Attrs))
	}
	return lines
}
