package bitbuckettest

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// A NewCommit describes the commit that Write creates.
type NewCommit struct {
	Parent  string            // hash, branch or tag; empty = a root commit
	Files   map[string]string // new content by path; files that start with #! are executable
	Remove  []string          // paths to remove
	Message string
	Author  *User // default the workspace's owner
}

// Write creates a commit without a ref, and returns its hash.
func (r *Repository) Write(ctx context.Context, c NewCommit) (string, error) {
	hash, err := r.write(ctx, c)
	if err != nil {
		return "", fmt.Errorf("write a commit in %s: %w", r.FullName(), err)
	}
	return hash, nil
}

func (r *Repository) write(ctx context.Context, c NewCommit) (string, error) {
	s, parents := r.server, []string(nil)
	if c.Parent != "" {
		parent, err := s.resolve(ctx, r, c.Parent)
		if err != nil {
			return "", fmt.Errorf("find the parent %q: %w", c.Parent, err)
		}
		parents = []string{parent}
	}
	tree, err := r.writeTree(ctx, parents, c)
	if err != nil {
		return "", err
	}
	args := []string{"commit-tree", tree}
	for _, parent := range parents {
		args = append(args, "-p", parent)
	}
	hash, err := s.git.runWith(ctx, r.dir, r.identity(c.Author), c.Message+"\n", append(args, "-F", "-")...)
	return strings.TrimSpace(hash), err
}

// writeTree creates a tree with a temporary index, without a work tree.
func (r *Repository) writeTree(ctx context.Context, parents []string, c NewCommit) (string, error) {
	git := r.server.git
	index := path.Join(r.dir, "index-"+randomHex(8))
	env := []string{"GIT_INDEX_FILE=" + index}
	defer removeFile(index)
	if len(parents) > 0 {
		if _, err := git.runWith(ctx, r.dir, env, "", "read-tree", parents[0]); err != nil {
			return "", err
		}
	}
	var entries strings.Builder
	for _, name := range c.Remove {
		fmt.Fprintf(&entries, "0 %040d\t%s\x00", 0, name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		content, mode := c.Files[name], "100644"
		if strings.HasPrefix(content, "#!") {
			mode = "100755"
		}
		blob, err := git.runWith(ctx, r.dir, nil, content, "hash-object", "-w", "--stdin")
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&entries, "%s %s\t%s\x00", mode, strings.TrimSpace(blob), name)
	}
	if _, err := git.runWith(ctx, r.dir, env, entries.String(), "update-index", "-z", "--index-info"); err != nil {
		return "", err
	}
	tree, err := git.runWith(ctx, r.dir, env, "", "write-tree")
	return strings.TrimSpace(tree), err
}

// identity returns the environment of git for the author and committer u, at the server's time.
func (r *Repository) identity(u *User) []string {
	if u == nil {
		u = r.Workspace.Owner
	}
	date := fmt.Sprintf("%d +0000", r.server.now().Unix())
	return []string{
		"GIT_AUTHOR_NAME=" + u.Name, "GIT_AUTHOR_EMAIL=" + u.Email, "GIT_AUTHOR_DATE=" + date,
		"GIT_COMMITTER_NAME=" + u.Name, "GIT_COMMITTER_EMAIL=" + u.Email, "GIT_COMMITTER_DATE=" + date,
	}
}

// Head returns the commit of a branch, or "" if the branch does not exist.
func (r *Repository) Head(ctx context.Context, branch string) (string, error) {
	hash, err := r.server.git.run(ctx, r.dir, "for-each-ref", "--format=%(objectname)", branchPrefix+branch)
	if err != nil {
		return "", fmt.Errorf("find branch %s of %s: %w", branch, r.FullName(), err)
	}
	return strings.TrimSpace(hash), nil
}

// Commit commits files to a branch, which it creates if necessary, and pushes it as the workspace's
// owner. It returns the commit.
func (r *Repository) Commit(
	ctx context.Context,
	branch string,
	files map[string]string,
	message string,
) (string, error) {
	parent, err := r.Head(ctx, branch)
	if err != nil {
		return "", err
	}
	hash, err := r.Write(ctx, NewCommit{Parent: parent, Files: files, Message: message})
	if err != nil {
		return "", err
	}
	return hash, r.Push(ctx, map[string]string{branchPrefix + branch: hash})
}

// Tag pushes a tag of a commit as the workspace's owner. The tag is lightweight if message is empty, and
// annotated otherwise.
func (r *Repository) Tag(ctx context.Context, name, commit, message string) error {
	if message == "" {
		return r.Push(ctx, map[string]string{tagPrefix + name: commit})
	}
	object, err := r.Annotate(ctx, name, commit, message)
	if err != nil {
		return err
	}
	return r.Push(ctx, map[string]string{tagPrefix + name: object})
}

// Annotate creates the object of an annotated tag. Push can set a tag to it.
func (r *Repository) Annotate(ctx context.Context, name, commit, message string) (string, error) {
	owner := r.Workspace.Owner
	text := fmt.Sprintf("object %s\ntype commit\ntag %s\ntagger %s <%s> %d +0000\n\n%s\n",
		commit, name, owner.Name, owner.Email, r.server.now().Unix(), message)
	object, err := r.server.git.runWith(ctx, r.dir, nil, text, "mktag")
	if err != nil {
		return "", fmt.Errorf("annotate tag %s of %s: %w", name, r.FullName(), err)
	}
	return strings.TrimSpace(object), nil
}

// Push sets refs, by full name, to existing objects, and deletes refs with an empty object. It is one
// atomic push of the workspace's owner, with one webhook delivery.
func (r *Repository) Push(ctx context.Context, refs map[string]string) error {
	return r.PushAs(ctx, nil, refs)
}

// PushAs is like Push, for another user.
func (r *Repository) PushAs(ctx context.Context, by *User, refs map[string]string) error {
	if by == nil {
		by = r.Workspace.Owner
	}
	var commands strings.Builder
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		if object := refs[name]; object != "" {
			fmt.Fprintf(&commands, "update %s\x00%s\x00\x00", name, object)
		} else {
			fmt.Fprintf(&commands, "delete %s\x00\x00", name)
		}
	}
	return r.server.push(ctx, r, by, func() error {
		_, err := r.server.git.runWith(ctx, r.dir, nil, commands.String(), "update-ref", "--stdin", "-z")
		if err != nil {
			return fmt.Errorf("push to %s: %w", r.FullName(), err)
		}
		return nil
	})
}
