package ci

import "strings"

// A Kind says what a run is for.
type Kind string

// The kinds of a ref.
const (
	Branch      Kind = "branch"
	Tag         Kind = "tag"
	PullRequest Kind = "pull request"
	Unknown     Kind = "unknown" // the CI says no ref, or one of none of these
)

// Kind goes by the event first, then by the ref: some drivers give a pull request the ref of
// its source branch.
func (r Run) Kind() Kind {
	switch {
	case strings.HasPrefix(r.Event, "pull_request"):
		return PullRequest
	case strings.HasPrefix(r.Ref, "refs/heads/"):
		return Branch
	case strings.HasPrefix(r.Ref, "refs/tags/"):
		return Tag
	case strings.HasPrefix(r.Ref, "refs/pull/"), strings.HasPrefix(r.Ref, "refs/pull-requests/"), strings.HasPrefix(r.Ref, "refs/merge-requests/"):
		return PullRequest
	case r.Ref == "", strings.HasPrefix(r.Ref, "refs/"):
		return Unknown
	}
	return Branch // Drone's driver for Bitbucket Server names a new branch without refs/heads/
}

// Name is the ref's short name, as main or v1.2; of a pull request its whole ref.
func (r Run) Name() string {
	switch r.Kind() {
	case Branch:
		return strings.TrimPrefix(r.Ref, "refs/heads/")
	case Tag:
		return strings.TrimPrefix(r.Ref, "refs/tags/")
	}
	return r.Ref
}
