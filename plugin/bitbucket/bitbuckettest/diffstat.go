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

// getDiffstat lists the changed paths.
func (s *Server) getDiffstat(c *call) error {
	trees, err := s.compared(c)
	if err != nil {
		return err
	}
	differences, err := s.compare(c.r.Context(), c.repo, trees)
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

func (s *Server) compare(ctx context.Context, r *Repository, trees comparison) ([]difference, error) {
	args := []string{"diff-tree", "-r", "-M", "-z", "--raw", "--numstat", trees.older, trees.newer}
	out, err := s.git.run(ctx, r.dir, args...)
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
