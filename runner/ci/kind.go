package ci

import "strings"

// A Kind is the kind of ref that a run is for.
type Kind string

// The kinds.
const (
	Branch      Kind = "branch"
	Tag         Kind = "tag"
	PullRequest Kind = "pull request"
	Unknown     Kind = "unknown" // the CI sets no ref, or another kind of ref
)

// Kind returns the kind of the run. The event comes before the ref, because some drivers set the ref
// of a pull request to its source branch.
func (r Run) Kind() Kind {
	switch {
	case strings.HasPrefix(r.Event, "pull_request"):
		return PullRequest
	case strings.HasPrefix(r.Ref, "refs/heads/"):
		return Branch
	case strings.HasPrefix(r.Ref, "refs/tags/"):
		return Tag
	case strings.HasPrefix(r.Ref, "refs/pull/"),
		strings.HasPrefix(r.Ref, "refs/pull-requests/"),
		strings.HasPrefix(r.Ref, "refs/merge-requests/"):
		return PullRequest
	case r.Ref == "", strings.HasPrefix(r.Ref, "refs/"):
		return Unknown
	}
	return Branch // Drone's driver for Bitbucket Server omits refs/heads/ for a new branch
}

// Name returns the short name of a branch or tag, for example main or v1.2. For other kinds it returns the
// whole ref.
func (r Run) Name() string {
	switch r.Kind() {
	case Branch:
		return strings.TrimPrefix(r.Ref, "refs/heads/")
	case Tag:
		return strings.TrimPrefix(r.Ref, "refs/tags/")
	}
	return r.Ref
}
