package autobuild

import (
	"strings"
	"time"
)

// A PipelineRequest is the request of a repository's own pipeline for a build.
type PipelineRequest struct {
	AutomatedBuildID string
	Ref              Ref
	Commit           string // full hash
	Pipeline         string // the pipeline's name or link; only this pipeline may use the attempt it gets
}

// A PipelineToken is what is known of the token that an automated build's pipelines show. The
// token itself is shown once and stored as its hash.
type PipelineToken struct {
	CreatedBy string // a user's name, for people
	CreatedAt time.Time
}

// ParseRef reads a full name, as refs/heads/main; ok is false for what is neither a branch
// nor a tag.
func ParseRef(full string) (ref Ref, ok bool) {
	for prefix, kind := range map[string]RefKind{"refs/heads/": Branch, "refs/tags/": Tag} {
		if name, found := strings.CutPrefix(full, prefix); found && name != "" {
			return Ref{Kind: kind, Name: name}, true
		}
	}
	return Ref{}, false
}
