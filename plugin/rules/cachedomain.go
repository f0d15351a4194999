package rules

import (
	"cmp"
	"fmt"

	"slipway/plugin/autobuild"
)

// A CacheScope selects the builds that share a build cache.
type CacheScope string

// The scopes, as SLIPWAY_CACHE_DOMAIN names them.
const (
	CacheByAutomatedBuild CacheScope = "automated-build"
	CacheByWorkspace      CacheScope = "workspace"
)

// A CacheDomain is the trust domain of a build's cache. Builds of different domains share no cache.
type CacheDomain struct {
	ID     string // for example automated-build/ab1
	Reason string // why it is this domain, for the log
}

// DecideCacheDomain returns the cache domain of a build. The builds of pushes of an automated build share
// one, or those of a workspace. Pull requests never do: a rule may build only a branch that the provider
// protects, and code that nobody has merged must not change its cache. Those from the repository itself
// share a domain, because people with write access have pushed all their code. Each one from a fork has a
// domain of its own.
func DecideCacheDomain(scope CacheScope, b autobuild.Build) CacheDomain {
	own := CacheDomain{
		ID:     "automated-build/" + b.AutomatedBuildID,
		Reason: "builds of the automated build share a cache",
	}
	switch {
	case IsPullRequest(b) && b.Internal:
		return CacheDomain{
			ID:     own.ID + "/pull-requests",
			Reason: "pull requests from the repository itself share a cache, apart from that of pushes",
		}
	case IsPullRequest(b):
		return CacheDomain{
			ID:     fmt.Sprintf("%s/pull-request/%s", own.ID, cmp.Or(b.Ref.Name, b.ID)),
			Reason: "the pull request comes from a fork, or its source is unknown, so it has a cache of its own",
		}
	case scope != CacheByWorkspace:
		return own
	case b.Repository.WorkspaceID == "": // the key of a Data Center project may later name another project
		own.Reason = "the provider has no permanent ids of workspaces, so builds of the automated build share a cache"
		return own
	}
	return CacheDomain{
		ID:     fmt.Sprintf("workspace/%s/%s", b.Repository.ProviderID, b.Repository.WorkspaceID),
		Reason: "builds of the workspace share a cache",
	}
}

// IsPullRequest reports whether a build tests a pull request, whose code is not merged.
func IsPullRequest(b autobuild.Build) bool {
	return b.Cause == autobuild.CausePullRequest || b.Ref.Kind == autobuild.PullRequest
}
