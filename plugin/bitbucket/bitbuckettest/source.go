package bitbuckettest

import (
	"cmp"
	"context"
	"errors"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

// An entry is a file, directory, link or submodule of a tree.
type entry struct {
	mode, kind, object string
	size               int64
	path               string
}

func (e entry) isDirectory() bool { return e.kind == "tree" }

// depth returns the depth below the listed directory: 1 for its direct entries.
func (e entry) depth() int {
	return 1 + strings.Count(e.path, "/")
}

// attributes returns Bitbucket's names for the mode.
func (e entry) attributes() []string {
	switch e.mode {
	case "100755":
		return []string{"executable"}
	case "120000":
		return []string{"link"}
	case "160000":
		return []string{"subrepository"}
	default:
		return []string{}
	}
}

// getSourceRoot redirects to the root directory of the main branch.
func (s *Server) getSourceRoot(c *call) error {
	hash, err := s.resolve(c.r.Context(), c.repo, s.mainBranch(c.r.Context(), c.repo))
	if err != nil {
		return err
	}
	http.Redirect(c.w, c.r, s.sourceURL(c.repo, hash, entry{kind: "tree"}), http.StatusFound)
	return nil
}

// getSource returns the entries of a directory, the content of a file, or the metadata of either:
// https://developer.atlassian.com/cloud/bitbucket/rest/api-group-source/#api-repositories-workspace-repo-slug-src-commit-path-get
func (s *Server) getSource(c *call) error {
	ctx, name := c.r.Context(), strings.TrimSuffix(c.r.PathValue("path"), "/")
	hash, err := s.resolve(ctx, c.repo, c.r.PathValue("commit"))
	if err != nil {
		return err
	}
	found, err := s.lookUp(ctx, c.repo, hash, name)
	if err != nil {
		return err
	}
	switch {
	case c.r.URL.Query().Get("format") == "meta":
		return c.respond(s.showEntry(c.repo, hash, found))
	case found.isDirectory():
		return s.paged(sourceList, func(c *call) error { return s.writeDirectory(c, hash, found) })(c)
	case found.kind == "commit":
		return notFound("No such file or directory: " + name) // a submodule has no content here
	default:
		return s.writeFile(c, found)
	}
}

func (s *Server) lookUp(ctx context.Context, r *Repository, commit, name string) (entry, error) {
	if name == "" {
		return entry{kind: "tree", object: commit}, nil
	}
	missing := notFound("No such file or directory: " + name)
	if path.Clean(name) != name || strings.HasPrefix(name, "../") {
		return entry{}, missing
	}
	found, err := s.listTree(ctx, r, "--full-tree", commit, "--", name)
	if err == nil && len(found) != 1 {
		err = missing
	}
	if err != nil {
		return entry{}, err
	}
	return found[0], nil
}

func (s *Server) writeDirectory(c *call, commit string, directory entry) error {
	depth, err := s.maxDepth(c.r)
	if err != nil {
		return err
	}
	args := []string{directory.object}
	if depth > 1 {
		args = []string{"-r", "-t", directory.object}
	}
	entries, err := s.listTree(c.r.Context(), c.repo, args...)
	if err != nil {
		return err
	}
	slices.SortStableFunc(entries, func(a, b entry) int { // breadth first, and directories before files
		return cmp.Or(cmp.Compare(a.depth(), b.depth()), cmp.Compare(b.kind, a.kind))
	})
	items := []object{}
	for _, one := range entries {
		if one.depth() <= depth {
			one.path = path.Join(directory.path, one.path)
			items = append(items, s.showEntry(c.repo, commit, one))
		}
	}
	return s.writePage(c, items)
}

// maxDepth returns the parameter max_depth. It returns a 555 error above Options.MaxSourceDepth.
func (s *Server) maxDepth(r *http.Request) (int, error) {
	text := r.URL.Query().Get("max_depth")
	if text == "" {
		return 1, nil
	}
	depth, err := strconv.Atoi(text)
	if err != nil || depth < 1 {
		return 0, badRequest("Invalid max_depth")
	}
	if limit := s.options.MaxSourceDepth; limit > 0 && depth > limit {
		return 0, &apiError{status: statusTooDeep, message: "The operation timed out. Try a smaller max_depth."}
	}
	return depth, nil
}

// writeFile writes the content of a file, or 304 if the client has it.
func (s *Server) writeFile(c *call, file entry) error {
	tag := `"` + file.object + `"`
	c.w.Header().Set("ETag", tag)
	if c.r.Header.Get("If-None-Match") == tag {
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	content, err := s.git.run(c.r.Context(), c.repo.dir, "cat-file", "blob", file.object)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", contentType(file.path))
	c.w.Header().Set("X-Content-Type-Options", "nosniff")
	c.w.Header().Set("Content-Disposition", "attachment")
	_, _ = c.w.Write([]byte(content)) // an error means that the client has gone
	return nil
}

// contentType returns the type of a file's content. Texts of all kinds are text/plain, even HTML.
func contentType(name string) string {
	kind := mime.TypeByExtension(path.Ext(name))
	for _, media := range []string{"image/", "audio/", "video/", "font/"} {
		if strings.HasPrefix(kind, media) {
			return kind
		}
	}
	return "text/plain"
}

func (s *Server) listTree(ctx context.Context, r *Repository, args ...string) ([]entry, error) {
	out, err := s.git.run(ctx, r.dir, append([]string{"ls-tree", "-z", "--long"}, args...)...)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		if line == "" {
			continue
		}
		about, name, _ := strings.Cut(line, "\t")
		fields := strings.Fields(about)
		if len(fields) != 4 {
			return nil, errors.New("git ls-tree: unexpected line")
		}
		size, _ := strconv.ParseInt(fields[3], 10, 64) // "-" for entries without a size
		entries = append(entries, entry{mode: fields[0], kind: fields[1], object: fields[2], size: size, path: name})
	}
	return entries, nil
}

func (s *Server) showEntry(r *Repository, commit string, e entry) object {
	self := s.sourceURL(r, commit, e)
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := object{
		"type": "commit_directory", "path": e.path,
		"commit": object{"type": "commit", "hash": commit, "links": s.commitLinks(r, commit)},
		"links":  object{"self": link(self), "meta": link(self + "?format=meta")},
	}
	if !e.isDirectory() {
		shown["type"] = "commit_file"
		shown["size"], shown["attributes"] = e.size, e.attributes()
		shown["mimetype"], shown["escaped_path"] = nil, escapePath(e.path)
		if kind := mime.TypeByExtension(path.Ext(e.path)); kind != "" {
			shown["mimetype"] = kind
		}
	}
	return shown
}

func (s *Server) sourceURL(r *Repository, commit string, e entry) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	address := s.repositoryAPI(r) + "/src/" + commit + "/" + escapePath(e.path)
	if e.isDirectory() && e.path != "" {
		address += "/"
	}
	return address
}

// escapePath escapes every segment of a path.
func escapePath(name string) string {
	segments := strings.Split(name, "/")
	for i, segment := range segments {
		segments[i] = escape(segment)
	}
	return strings.Join(segments, "/")
}
