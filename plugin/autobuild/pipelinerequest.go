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

// A PipelineToken describes the token with which the repository's own pipelines request builds of
// an automated build. The token itself is shown once, and only its hash is stored.
type PipelineToken struct {
	CreatedBy string // a user's name, for the pages
	CreatedAt time.Time
}

// ParseRef parses the full name of a branch or tag, for example refs/heads/main. ok is false for
// other names.
func ParseRef(full string) (ref Ref, ok bool) {
	for prefix, kind := range map[string]RefKind{"refs/heads/": Branch, "refs/tags/": Tag} {
		if name, found := strings.CutPrefix(full, prefix); found && name != "" {
			return Ref{Kind: kind, Name: name}, true
		}
	}
	return Ref{}, false
}
