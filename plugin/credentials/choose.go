// Package credentials chooses which stored registry credentials a build uses. It is pure: the
// gateway, its pages and `slipway doctor` get the same result for the same input.
package credentials

import (
	"fmt"
	"slices"
	"strings"

	"slipway/config/grammar"
	"slipway/plugin/autobuild"
)

// A Use identifies the build for which credentials are chosen.
type Use struct {
	AutomatedBuildID string
	Image            string // registry/name without a tag: registry.example.com/acme/app
	// BoundOnly excludes every credential that is not bound to the automated build. It is set for
	// engines whose runners are controlled by users of the repository.
	BoundOnly bool
}

// A Choice holds the credentials of one build.
type Choice struct {
	Push   autobuild.Registry   // its ID is empty if no credential fits
	Pull   []autobuild.Registry // at most one for each registry host, ordered by host
	Reason string               // why Push was chosen, or why none was: "bound to this automated build"
}

// Choose returns the credentials that a build uses.
//
// A push credential fits if the image's name begins with its Host in whole path segments. Of
// several, one that is bound to the automated build goes first, then the longest Host.
//
// A base image may have any path, so a pull credential is chosen for each registry host. Of
// several for one host, one that is bound goes first, then the longest Host that begins the
// image's name, then the shortest Host. A pull credential never pushes.
func Choose(all []autobuild.Registry, u Use) Choice {
	var c Choice
	pull := map[string]autobuild.Registry{}
	for _, r := range all {
		if !isUsable(r, u) {
			continue
		}
		if r.Purpose == autobuild.RegistryPull {
			host := grammar.ImageHost(r.Host)
			if best, ok := pull[host]; !ok || isBetter(r, best, u.Image) {
				pull[host] = r
			}
			continue
		}
		if Covers(r, u.Image) && (c.Push.ID == "" || isBetter(r, c.Push, u.Image)) {
			c.Push = r
		}
	}
	for _, r := range pull {
		c.Pull = append(c.Pull, r)
	}
	slices.SortFunc(c.Pull, func(a, b autobuild.Registry) int { return strings.Compare(a.Host, b.Host) })
	c.Reason = explainChoice(c.Push, u)
	return c
}

// isUsable reports whether the binding of a credential lets a build use it. An automated build that is
// not saved yet has no id, and nothing is bound to it.
func isUsable(r autobuild.Registry, u Use) bool {
	if r.AutomatedBuildID == "" {
		return !u.BoundOnly
	}
	return r.AutomatedBuildID == u.AutomatedBuildID
}

// Covers reports whether an image's name begins with the credential's Host in whole path
// segments: registry.example.com/acme covers registry.example.com/acme/app, and not
// registry.example.com/acme-other/app.
func Covers(r autobuild.Registry, image string) bool {
	return strings.HasPrefix(image+"/", strings.TrimSuffix(r.Host, "/")+"/")
}

// Warning returns a warning with its fix for a push credential that all automated builds of a registry
// can use. It returns "" for other credentials.
func Warning(r autobuild.Registry) string {
	if r.Purpose == autobuild.RegistryPull || r.AutomatedBuildID != "" || strings.Contains(r.Host, "/") {
		return ""
	}
	return fmt.Sprintf("every automated build with an image at %s may push with it: "+
		"add a path prefix, for example %s/team, or bind it to one automated build", r.Host, r.Host)
}

// isBetter reports whether a build prefers r to other. Both are for the same registry.
func isBetter(r, other autobuild.Registry, image string) bool {
	if bound := r.AutomatedBuildID != ""; bound != (other.AutomatedBuildID != "") {
		return bound
	}
	if covers := Covers(r, image); covers != Covers(other, image) {
		return covers
	} else if covers {
		return len(r.Host) > len(other.Host)
	}
	if len(r.Host) != len(other.Host) {
		return len(r.Host) < len(other.Host)
	}
	return r.Host < other.Host // a fixed order gives every build the same credential
}

// explainChoice explains the choice of the push credential r, which is zero if none fits.
func explainChoice(r autobuild.Registry, u Use) string {
	switch {
	case r.ID == "" && u.BoundOnly:
		return "no push credential is bound to this automated build"
	case r.ID == "":
		return "no push credential matches the image's name"
	case r.AutomatedBuildID != "":
		return "bound to this automated build"
	case strings.Contains(r.Host, "/"):
		return "the image's name starts with its path"
	}
	return "it is for the whole registry"
}
