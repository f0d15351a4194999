// Package grammar checks the names that the gateway and the runner share: platforms, build arguments,
// variables, commits, and the host in an image's name.
package grammar

import (
	"regexp"
	"strings"
)

var (
	platform = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9]+)?$`)
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	commit   = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// IsPlatform reports whether s has the form of a platform: linux/amd64 or linux/arm/v7.
func IsPlatform(s string) bool { return platform.MatchString(s) }

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
