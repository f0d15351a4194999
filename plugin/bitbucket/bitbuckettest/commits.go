package bitbuckettest

import (
	"context"
	"html"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A commit is a commit in git.
type commit struct {
	hash    string
	parents []string
	date    time.Time
	author  string // Name <address>
	email   string
	message string
}

// resolve returns the commit of a full or short hash, a branch or a tag.
func (s *Server) resolve(ctx context.Context, r *Repository, revision string) (string, error) {
	if revision == "" || strings.ContainsAny(revision, "^~: ") || strings.Contains(revision, "@{") {
		return "", noCommit(revision) // git would parse an expression
	}
	candidates := []string{"refs/heads/" + revision, "refs/tags/" + revision}
	if isHex(revision) {
		candidates = append([]string{revision}, candidates...)
	}
	for _, candidate := range candidates {
		revision := candidate + "^{commit}"
		hash, err := s.git.run(ctx, r.dir, "rev-parse", "--quiet", "--verify", "--end-of-options", revision)
		if err == nil {
			return strings.TrimSpace(hash), nil
		}
		if !isGitError(err) {
			return "", err
		}
	}
	return "", noCommit(revision)
}

var hexPattern = regexp.MustCompile(`^[0-9a-f]{4,40}$`)

func isHex(text string) bool { return hexPattern.MatchString(text) }

const commitFormat = "--format=%H%n%P%n%ct%n%ae%n%an <%ae>%n%B"

// commits returns the commits with these hashes, in the same order.
func (s *Server) commits(ctx context.Context, r *Repository, hashes ...string) ([]commit, error) {
	if len(hashes) == 0 {
		return nil, nil
	}
	out, err := s.git.runWith(ctx, r.dir, nil, strings.Join(hashes, "\n")+"\n",
		"log", "-z", "--no-walk=unsorted", "--encoding=UTF-8", "--stdin", commitFormat)
	if err != nil {
		return nil, err
	}
	var read []commit
	for text := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		read = append(read, parseCommit(text))
	}
	return read, nil
}

func parseCommit(text string) commit {
	lines := strings.SplitN(text, "\n", 6)
	seconds, _ := strconv.ParseInt(lines[2], 10, 64) // git prints a number
	return commit{
		hash: lines[0], parents: strings.Fields(lines[1]), date: time.Unix(seconds, 0),
		email: lines[3], author: lines[4], message: lines[5],
	}
}

func (s *Server) getCommit(c *call) error {
	hash, err := s.resolve(c.r.Context(), c.repo, c.r.PathValue("revision"))
	if err != nil {
		return err
	}
	read, err := s.commits(c.r.Context(), c.repo, hash)
	if err != nil {
		return err
	}
	response := s.showCommit(c.repo, read[0], wholeCommit)
	response["repository"] = s.showRepositoryLink(c.repo)
	return c.respond(response)
}

// listCommits lists the ancestors of one revision, or of the main branch, newest first.
func (s *Server) listCommits(c *call) error {
	ctx, query := c.r.Context(), c.r.URL.Query()
	include, exclude := query["include"], query["exclude"]
	if revision := c.r.PathValue("revision"); revision != "" {
		include = append(include, revision)
	}
	if len(include) == 0 {
		include = []string{s.mainBranch(ctx, c.repo)}
	}
	args := []string{"rev-list", "--max-count=1000"}
	for _, revision := range include {
		hash, err := s.resolve(ctx, c.repo, revision)
		if err != nil {
			return err
		}
		args = append(args, hash)
	}
	for _, revision := range exclude {
		hash, err := s.resolve(ctx, c.repo, revision)
		if err != nil {
			return err
		}
		args = append(args, "^"+hash)
	}
	if path := query.Get("path"); path != "" {
		args = append(args, "--", ":(literal)"+path)
	}
	out, err := s.git.run(ctx, c.repo.dir, args...)
	if err != nil {
		return err
	}
	read, err := s.commits(ctx, c.repo, strings.Fields(out)...)
	if err != nil {
		return err
	}
	return s.writePage(c, s.showCommits(c.repo, read, wholeCommit))
}

// The forms of a commit in JSON: the target of a ref has fewer links.
const (
	targetCommit = false
	wholeCommit  = true
)

func (s *Server) showCommits(r *Repository, commits []commit, whole bool) []object {
	shown := make([]object, len(commits))
	for i, c := range commits {
		shown[i] = s.showCommit(r, c, whole)
	}
	return shown
}

func (s *Server) showCommit(r *Repository, c commit, whole bool) object {
	s.mu.Lock()
	defer s.mu.Unlock()
	links := s.commitLinks(r, c.hash)
	if whole {
		for _, name := range []string{"comments", "patch", "diff", "approve", "statuses"} {
			links[name] = link(s.repositoryAPI(r) + "/commit/" + c.hash + "/" + name)
		}
		links["patch"] = link(s.repositoryAPI(r) + "/patch/" + c.hash)
		links["diff"] = link(s.repositoryAPI(r) + "/diff/" + c.hash)
	}
	parents := make([]object, len(c.parents))
	for i, hash := range c.parents {
		parents[i] = object{"type": "commit", "hash": hash, "links": s.commitLinks(r, hash)}
	}
	return object{
		"type": "commit", "hash": c.hash, "date": timestamp(c.date), "message": c.message,
		"author": s.showAuthor(c), "parents": parents, "links": links,
		"summary": object{
			"type": "rendered", "raw": c.message, "markup": "markdown",
			"html": "<p>" + html.EscapeString(strings.TrimSpace(c.message)) + "</p>",
		},
		"rendered": object{}, "properties": object{},
	}
}

// showAuthor includes the user only if one has the e-mail address.
func (s *Server) showAuthor(c commit) object {
	author := object{"type": "author", "raw": c.author}
	for _, u := range s.state.users {
		if strings.EqualFold(u.Email, c.email) {
			author["user"] = s.showUser(u)
		}
	}
	return author
}

func (s *Server) commitLinks(r *Repository, hash string) object {
	return object{
		"self": link(s.repositoryAPI(r) + "/commit/" + hash),
		"html": link(s.repositoryPage(r) + "/commits/" + hash),
	}
}

func link(href string) object { return object{"href": href} }

// timestamp formats a time of git as Bitbucket does, in UTC with a numeric offset.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05+00:00") }

// precise formats a time of Bitbucket's own objects, which has microseconds.
func precise(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000+00:00") }

func escape(segment string) string { return url.PathEscape(segment) }
