package tags

import (
	"strings"

	"golang.org/x/mod/semver"
)

// Expand replaces each version of a list by its tags: v1.2.3 by 1, 1.2 and 1.2.3, and v1.2.3-rc.1 by
// 1.2.3-rc.1. Other tags stay as they are. It has the rules of expand_tag of Drone's plugins/kaniko.
// Source: https://github.com/drone/drone-kaniko/blob/main/kaniko.go (labelsForTag)
func Expand(named []string) (all []string) {
	for _, tag := range named {
		all = append(all, expand(tag)...)
	}
	return all
}

func expand(tag string) []string {
	version := strings.ReplaceAll(tag, "_", "-") // a version has no underscore
	if !semver.IsValid(version) {
		version = "v" + version
	}
	if !semver.IsValid(version) {
		return []string{tag}
	}
	if semver.Prerelease(version) != "" {
		return []string{strings.TrimPrefix(version, "v")}
	}
	build := semver.Build(version)
	return []string{
		strings.TrimPrefix(semver.Major(version), "v") + build,
		strings.TrimPrefix(semver.MajorMinor(version), "v") + build,
		strings.TrimPrefix(semver.Canonical(version), "v") + build,
	}
}
