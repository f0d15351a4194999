package runner

import (
	"maps"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"slipway/runner/settings"
)

// ociPrefix is what the names of OCI's own annotations begin with.
const ociPrefix = "org.opencontainers.image."

// labels are those of the image, and the annotations of its manifests: what the CI says of the
// commit, unless the settings say otherwise, and the labels that the settings name.
// https://specs.opencontainers.org/image-spec/annotations/#pre-defined-annotation-keys
func labels(s settings.Plugin, now time.Time) (labels, annotations map[string]string) {
	labels = map[string]string{}
	if s.Labels.Auto {
		annotations = map[string]string{}
		link := s.Labels.Link
		if link == "" {
			link = s.CI.RepositoryLink
		}
		for name, value := range map[string]string{
			"created": now.UTC().Format(time.RFC3339), "revision": s.CI.Commit, "source": s.CI.RemoteURL, "url": link, "version": version(s.CI.Tag),
		} {
			if value != "" {
				annotations[ociPrefix+name] = value
			}
		}
		for name, value := range s.Labels.Schema {
			annotations[ociPrefix+name] = value
		}
		maps.Copy(labels, annotations)
	}
	maps.Copy(labels, s.Labels.Named)
	for name := range annotations {
		annotations[name] = labels[name]
	}
	return labels, annotations
}

// version is what a tag says of it: 1.2.3 of v1.2.3, and nothing of a tag that is no version.
func version(tag string) string {
	v := strings.TrimPrefix(tag, "v")
	if !semver.IsValid("v" + v) {
		return ""
	}
	return v
}
