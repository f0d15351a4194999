package bitbuckettest

import (
	"context"
	"strconv"
	"strings"
)

// A difference is the change of one path between two commits.
type difference struct {
	status         string // a letter of git
	before, after  string // paths
	added, removed int64  // lines
}

// getDiffstat lists the changed paths. Its spec is {new}..{old}, the reverse of git's order. A single
// revision is compared with its first parent:
// https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commits/#api-repositories-workspace-repo-slug-diffstat-spec-get
func (s *Server) getDiffstat(c *call) error {
	ctx := c.r.Context()
	after, before, both := strings.Cut(c.r.PathValue("spec"), "..")
	newer, err := s.resolve(ctx, c.repo, after)
	if err != nil {
		return err
	}
	older := emptyTree
	if both {
		older, err = s.resolve(ctx, c.repo, before)
	} else if parents, readErr := s.commits(ctx, c.repo, newer); readErr != nil {
		err = readErr
	} else if len(parents[0].parents) > 0 {
		older = parents[0].parents[0]
	}
	if err != nil {
		return err
	}
	differences, err := s.compare(ctx, c.repo, older, newer)
	if err != nil {
		return err
	}
	items := make([]object, len(differences))
	for i, d := range differences {
		items[i] = d.show()
	}
	return s.writePage(c, items)
}

// emptyTree is the hash of git's empty tree.
const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

func (s *Server) compare(ctx context.Context, r *Repository, older, newer string) ([]difference, error) {
	out, err := s.git.run(ctx, r.dir, "diff-tree", "-r", "-M", "-z", "--raw", "--numstat", older, newer)
	if err != nil {
		return nil, err
	}
	fields := strings.Split(out, "\x00")
	next := func() string {
		field := fields[0]
		fields = fields[1:]
		return field
	}
	var differences []difference
	index := map[string]int{}
	for len(fields) > 1 { // the last field, after the last NUL, is empty
		field := next()
		if strings.HasPrefix(field, ":") {
			d := difference{status: field[strings.LastIndex(field, " ")+1:][:1], before: next()}
			d.after = d.before
			if d.status == "R" || d.status == "C" {
				d.after = next()
			}
			index[d.after] = len(differences)
			differences = append(differences, d)
			continue
		}
		counts := strings.SplitN(field, "\t", 3)
		name := counts[2]
		if name == "" { // a rename: both paths follow
			_ = next()
			name = next()
		}
		d := &differences[index[name]]
		d.added, _ = strconv.ParseInt(counts[0], 10, 64) // "-" for a binary file
		d.removed, _ = strconv.ParseInt(counts[1], 10, 64)
	}
	return differences, nil
}

func (d difference) show() object {
	words := map[string]string{"A": "added", "D": "removed", "R": "renamed", "C": "added"}
	status, known := words[d.status]
	if !known {
		status = "modified"
	}
	shown := object{
		"type": "diffstat", "status": status, "lines_added": d.added, "lines_removed": d.removed,
		"old": diffFile(d.before), "new": diffFile(d.after),
	}
	if status == "added" {
		shown["old"] = nil
	}
	if status == "removed" {
		shown["new"] = nil
	}
	return shown
}

func diffFile(name string) object {
	return object{"type": "commit_file", "path": name, "escaped_path": escapePath(name), "attributes": []string{}}
}
