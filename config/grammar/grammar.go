// Package grammar checks the names that the gateway and the runner share: platforms, build arguments,
// variables, commits, and the parts of an image's name.
package grammar

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	platform = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9]+)?$`)
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	commit   = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// IsPlatform reports whether s has the form of a platform: linux/amd64 or linux/arm/v7.
func IsPlatform(s string) bool { return platform.MatchString(s) }

// CheckBuildable returns an error if no builder of this program can build for a platform. Builders run on Linux,
// and run programs of other processors with emulators.
func CheckBuildable(s string) error {
	processors := []string{
		"386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "ppc64le", "riscv64", "s390x",
	}
	variants := map[string][]string{
		"amd64": {"v1", "v2", "v3", "v4"}, "arm": {"v5", "v6", "v7", "v8"}, "arm64": {"v8", "v9"},
	}
	if !IsPlatform(s) {
		return fmt.Errorf("%q is not a platform: use for example linux/amd64 or linux/arm/v7", s)
	}
	system, rest, _ := strings.Cut(s, "/")
	processor, variant, _ := strings.Cut(rest, "/")
	switch {
	case system != "linux":
		return fmt.Errorf("%q cannot be built: builders build for linux only, for example linux/amd64", s)
	case !slices.Contains(processors, processor):
		return fmt.Errorf("%q cannot be built: %s is none of %s", s, processor, strings.Join(processors, ", "))
	case variant != "" && len(variants[processor]) == 0:
		return fmt.Errorf("%q cannot be built: %s has no variants", s, processor)
	case variant != "" && !slices.Contains(variants[processor], variant):
		return fmt.Errorf("%q cannot be built: %s is none of %s's variants %s", s, variant, processor,
			strings.Join(variants[processor], ", "))
	}
	return nil
}

// IsVariable reports whether s may name a build argument or an environment variable: letters, digits and
// _, no digit first. It does not limit the length.
func IsVariable(s string) bool { return variable.MatchString(s) }

// IsCommit reports whether s is a full SHA-1 hash of a commit: 40 lower-case hexadecimal digits.
func IsCommit(s string) bool { return commit.MatchString(s) }

// ImageHost returns the registry host of a full image name, or of a prefix of one:
// registry.example.com:5000 for registry.example.com:5000/acme/app.
func ImageHost(name string) string {
	host, _, _ := strings.Cut(name, "/")
	return host
}

// SplitReference splits a reference to an image into its name, its tag and its digest. It checks none of them. A tag or
// a digest that is absent is empty.
func SplitReference(reference string) (name, tag, digest string) {
	name, digest, _ = strings.Cut(reference, "@")
	if at := strings.LastIndex(name, ":"); at > strings.LastIndex(name, "/") { // not the port of a registry
		name, tag = name[:at], name[at+1:]
	}
	return name, tag, digest
}
