package bitbuckettest

import (
	"context"
	"strconv"
	"strings"
)

// A comparison has the two trees that a diff compares.
type comparison struct{ older, newer string }

// compared resolves the spec of a diff: {new}..{old}, the reverse of git's order, or a single revision,
// which is compared with its first parent. Without topic=false two revisions are compared from their merge
// base: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commits/#api-repositories-workspace-repo-slug-diffstat-spec-get.
func (s *Server) compared(c *call) (comparison, error) {
	ctx := c.r.Context()
	after, before, both := strings.Cut(c.r.PathValue("spec"), "..")
	newer, err := s.resolve(ctx, c.repo, after)
	if err != nil {
		return comparison{}, err
	}
	if !both {
		older, err := s.firstParent(ctx, c.repo, newer)
		return comparison{older, newer}, err
	}
	older, err := s.resolve(ctx, c.repo, before)
	if err != nil || c.r.URL.Query().Get("topic") == "false" {
		return comparison{older, newer}, err
	}
	base, err := s.git.run(ctx, c.repo.dir, "merge-base", older, newer)
	switch {
	case err == nil:
		older = strings.TrimSpace(base)
	case !isGitError(err): // git exits with 1 if there is no merge base
		return comparison{}, err
	}
	return comparison{older, newer}, nil
}

// firstParent returns the first parent of a commit, or the empty tree.
func (s *Server) firstParent(ctx context.Context, r *Repository, commit string) (string, error) {
	read, err := s.commits(ctx, r, commit)
	if err != nil {
		return "", err
	}
	if len(read[0].parents) == 0 {
		return emptyTree, nil
	}
	return read[0].parents[0], nil
}

// getDiff writes a diff as text. The parameter path, which can be repeated, selects files.
func (s *Server) getDiff(c *call) error {
	trees, err := s.compared(c)
	if err != nil {
		return err
	}
	query := c.r.URL.Query()
	args := []string{"diff-tree", "-r", "-p", "-M"}
	if text := query.Get("context"); text != "" {
		lines, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return badRequest("Invalid context")
		}
		args = append(args, "-U"+strconv.FormatUint(lines, 10))
	}
	args = append(args, trees.older, trees.newer, "--")
	for _, path := range query["path"] {
		args = append(args, ":(literal)"+path)
	}
	return s.writeText(c, args...)
}

// getPatch writes the commits of a spec as patches for git am.
func (s *Server) getPatch(c *call) error {
	ctx := c.r.Context()
	after, before, both := strings.Cut(c.r.PathValue("spec"), "..")
	newer, err := s.resolve(ctx, c.repo, after)
	if err != nil {
		return err
	}
	if !both {
		return s.writeText(c, "format-patch", "--stdout", "-1", newer)
	}
	older, err := s.resolve(ctx, c.repo, before)
	if err != nil {
		return err
	}
	return s.writeText(c, "format-patch", "--stdout", older+".."+newer)
}

// writeText writes the output of git.
func (s *Server) writeText(c *call, args ...string) error {
	text, err := s.git.run(c.r.Context(), c.repo.dir, args...)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "text/plain")
	_, _ = c.w.Write([]byte(text)) // an error means that the client has gone
	return nil
}
