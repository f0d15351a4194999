package bitbuckettest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A ref is a branch or a tag, with its commit.
type ref struct {
	name   string // refs/heads/… or refs/tags/…
	object string // hash of its target; for an annotated tag, the tag object
	commit string
	tag    *annotation // nil unless it is an annotated tag
}

// annotation is the content of an annotated tag.
type annotation struct {
	message string
	date    time.Time
	tagger  string // Name <address>
	email   string
}

const (
	branchPrefix = "refs/heads/"
	tagPrefix    = "refs/tags/"
)

func (r ref) isTag() bool { return strings.HasPrefix(r.name, tagPrefix) }

func (r ref) short() string {
	return strings.TrimPrefix(strings.TrimPrefix(r.name, branchPrefix), tagPrefix)
}

const refFormat = "--format=%(refname)%00%(objectname)%00%(objecttype)%00%(*objecttype)%00%(*objectname)%00" +
	"%(taggerdate:unix)%00%(taggername) %(taggeremail)%00%(taggeremail:trim)%00%(contents)%00%1e"

// refs returns the refs with these prefixes, sorted by name. It omits refs without a commit, for example
// a tag of a tree.
func (s *Server) refs(ctx context.Context, r *Repository, prefixes ...string) ([]ref, error) {
	args := append([]string{"for-each-ref", "--sort=refname", refFormat}, prefixes...)
	out, err := s.git.run(ctx, r.dir, args...)
	if err != nil {
		return nil, err
	}
	var read []ref
	for record := range strings.SplitSeq(out, "\x00\x1e\n") {
		if record == "" {
			continue
		}
		one := parseRef(strings.Split(record, "\x00"))
		if one.commit == "" { // a tag of a tag, or of an object that is no commit
			peeled, _ := s.git.run(ctx, r.dir, "rev-parse", "--quiet", "--verify", one.object+"^{commit}")
			one.commit = strings.TrimSpace(peeled)
		}
		if one.commit != "" {
			read = append(read, one)
		}
	}
	return read, nil
}

func parseRef(fields []string) ref {
	one := ref{name: fields[0], object: fields[1]}
	if fields[2] == "commit" {
		one.commit = one.object
	}
	if fields[2] == "tag" {
		seconds, _ := strconv.ParseInt(fields[5], 10, 64) // git prints a number
		one.tag = &annotation{message: fields[8], date: time.Unix(seconds, 0), tagger: fields[6], email: fields[7]}
		if fields[3] == "commit" {
			one.commit = fields[4]
		}
	}
	return one
}

// mainBranch returns the branch of HEAD, or "" if the repository is empty.
func (s *Server) mainBranch(ctx context.Context, r *Repository) string {
	head, err := s.git.run(ctx, r.dir, "symbolic-ref", "HEAD")
	if err != nil {
		return ""
	}
	name := strings.TrimSpace(head)
	if _, err := s.git.run(ctx, r.dir, "rev-parse", "--quiet", "--verify", name); err != nil {
		return ""
	}
	return strings.TrimPrefix(name, branchPrefix)
}

// chooseMainBranch sets HEAD after the first push to an empty repository, as Bitbucket does.
func (s *Server) chooseMainBranch(ctx context.Context, r *Repository, refs []ref) error {
	if s.mainBranch(ctx, r) != "" {
		return nil
	}
	chosen := ""
	for _, one := range refs {
		preferred := one.name == "refs/heads/main" || one.name == "refs/heads/master"
		if !one.isTag() && (chosen == "" || preferred) {
			chosen = one.name
		}
	}
	if chosen == "" {
		return nil
	}
	_, err := s.git.run(ctx, r.dir, "symbolic-ref", "HEAD", chosen)
	return err
}

func (s *Server) listRefs(c *call) error     { return s.writeRefs(c, branchPrefix, tagPrefix) }
func (s *Server) listBranches(c *call) error { return s.writeRefs(c, branchPrefix) }
func (s *Server) listTags(c *call) error     { return s.writeRefs(c, tagPrefix) }

func (s *Server) writeRefs(c *call, prefixes ...string) error {
	read, err := s.refs(c.r.Context(), c.repo, prefixes...)
	if err != nil {
		return err
	}
	shown, err := s.showRefs(c.r.Context(), c.repo, read)
	if err != nil {
		return err
	}
	return s.writePage(c, shown)
}

func (s *Server) getBranch(c *call) error { return s.writeRef(c, branchPrefix, "branch") }
func (s *Server) getTag(c *call) error    { return s.writeRef(c, tagPrefix, "tag") }

func (s *Server) writeRef(c *call, prefix, kind string) error {
	name := prefix + c.r.PathValue("name")
	read, err := s.refs(c.r.Context(), c.repo, prefix)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(read, func(one ref) bool { return one.name == name })
	if i < 0 {
		return notFound("No " + kind + " with name '" + c.r.PathValue("name") + "'.")
	}
	shown, err := s.showRefs(c.r.Context(), c.repo, read[i:i+1])
	if err != nil {
		return err
	}
	return c.respond(shown[0])
}

// showRefs returns refs with their target commits. It reads all commits with one git process.
func (s *Server) showRefs(ctx context.Context, r *Repository, refs []ref) ([]object, error) {
	var hashes []string
	for _, one := range refs {
		hashes = append(hashes, one.commit)
	}
	slices.Sort(hashes)
	commits, err := s.commits(ctx, r, slices.Compact(hashes)...)
	if err != nil {
		return nil, err
	}
	targets := map[string]object{}
	for _, c := range commits {
		targets[c.hash] = s.showCommit(r, c, targetCommit)
	}
	shown := make([]object, len(refs))
	for i, one := range refs {
		shown[i] = s.showRef(r, one, targets[one.commit])
	}
	return shown, nil
}

func (s *Server) showRef(r *Repository, one ref, target object) object {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind, page := "branches", "/branch/"
	shown := object{"type": "branch", "name": one.short(), "target": target}
	if one.isTag() {
		kind, page = "tags", "/commits/tag/"
		shown["type"] = "tag"
		shown["message"], shown["date"], shown["tagger"] = nil, nil, nil
	} else {
		shown["merge_strategies"] = []string{"merge_commit", "squash", "fast_forward"}
		shown["default_merge_strategy"] = "merge_commit"
	}
	if one.tag != nil {
		shown["message"], shown["date"] = one.tag.message, timestamp(one.tag.date)
		shown["tagger"] = s.showAuthor(commit{author: one.tag.tagger, email: one.tag.email})
	}
	shown["links"] = object{
		"self":    link(s.repositoryAPI(r) + "/refs/" + kind + "/" + one.short()),
		"commits": link(s.repositoryAPI(r) + "/commits/" + one.short()),
		"html":    link(s.repositoryPage(r) + page + one.short()),
	}
	return shown
}
