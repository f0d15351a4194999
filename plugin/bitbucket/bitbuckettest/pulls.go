package bitbuckettest

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// pullList is the list of pull requests. Their commits are paged like sources.
var pullList = listing{length: 10, most: 50, ordered: true}

// A PullRequest is a pull request of a repository. Its branches can move.
type PullRequest struct {
	ID             int
	Title          string
	Source, Target string // branches
	Author         *User

	repository           *Repository
	createdOn, updatedOn time.Time
	state                string     // guarded by Server.mu
	comments             []*comment // guarded by Server.mu, oldest first
}

// AddPullRequest opens a pull request between two existing branches. It sends no webhook.
func (r *Repository) AddPullRequest(ctx context.Context, by *User, title, source, target string) (*PullRequest, error) {
	for _, branch := range []string{source, target} {
		if head, err := r.Head(ctx, branch); err != nil || head == "" {
			return nil, fmt.Errorf("add a pull request to %s: no branch %q: %w", r.FullName(), branch, err)
		}
	}
	s := r.server
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &PullRequest{
		ID: len(r.pulls) + 1, Title: title, Source: source, Target: target, Author: by,
		repository: r, state: "OPEN", createdOn: s.now(), updatedOn: s.now(),
	}
	r.pulls = append(r.pulls, p)
	return p, nil
}

// SetState sets the state: OPEN, MERGED, DECLINED or SUPERSEDED. It does not change branches.
func (p *PullRequest) SetState(state string) {
	s := p.repository.server
	s.mu.Lock()
	defer s.mu.Unlock()
	p.state, p.updatedOn = state, s.now()
}

var pullStates = []string{"OPEN", "MERGED", "DECLINED", "SUPERSEDED"}

// listPulls lists the pull requests in the given states, which are those that are open by default:
// https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/.
func (s *Server) listPulls(c *call) error {
	states := []string{"OPEN"}
	if given, ok := c.r.URL.Query()["state"]; ok {
		states = nil
		for _, state := range given {
			state = strings.ToUpper(state)
			if !slices.Contains(pullStates, state) {
				return invalid("state", fmt.Sprintf("'%s' is not a valid choice.", state))
			}
			states = append(states, state)
		}
	}
	s.mu.Lock()
	pulls := slices.Clone(c.repo.pulls)
	s.mu.Unlock()
	items := []object{}
	for _, p := range slices.Backward(pulls) {
		shown, err := s.showPull(c.r.Context(), p)
		if err != nil {
			return err
		}
		if slices.Contains(states, shown["state"].(string)) {
			items = append(items, shown)
		}
	}
	return s.writePage(c, items)
}

// onPull finds the pull request in the path. A missing one is answered as text, and not as JSON: see
// test_get_pull_request_fail in https://github.com/codecov/shared/tree/main/tests/integration/cassetes/test_bitbucket.
func (s *Server) onPull(h func(c *call, p *PullRequest) error) handler {
	return func(c *call) error {
		id := c.r.PathValue("id")
		s.mu.Lock()
		i := slices.IndexFunc(c.repo.pulls, func(p *PullRequest) bool { return strconv.Itoa(p.ID) == id })
		pulls := c.repo.pulls
		s.mu.Unlock()
		if i < 0 {
			c.w.Header().Set("Content-Type", "text/plain")
			c.w.WriteHeader(http.StatusNotFound)
			_, _ = c.w.Write([]byte("Not Found")) // an error means that the client has gone
			return nil
		}
		return h(c, pulls[i])
	}
}

func (s *Server) getPull(c *call, p *PullRequest) error {
	shown, err := s.showPull(c.r.Context(), p)
	if err != nil {
		return err
	}
	return c.respond(shown)
}

// listPullCommits lists the commits that are only on the source branch, newest first.
func (s *Server) listPullCommits(c *call, p *PullRequest) error {
	ctx := c.r.Context()
	out, err := s.git.run(ctx, p.repository.dir, "rev-list", branchPrefix+p.Source, "^"+branchPrefix+p.Target)
	if err != nil {
		return err
	}
	read, err := s.commits(ctx, p.repository, strings.Fields(out)...)
	if err != nil {
		return err
	}
	return s.writePage(c, s.showCommits(p.repository, read, wholeCommit))
}

// listPullStatuses lists the statuses of the newest commit of the source branch.
func (s *Server) listPullStatuses(c *call, p *PullRequest) error {
	head, err := p.repository.Head(c.r.Context(), p.Source)
	if err != nil {
		return err
	}
	items := []object{}
	s.mu.Lock()
	for _, one := range p.repository.statuses[head] {
		items = append(items, s.showStatus(p.repository, head, one))
	}
	s.mu.Unlock()
	return s.writePage(c, items)
}

// redirectPull redirects to the diff, the diffstat or the patch of the branches.
func (s *Server) redirectPull(kind string) func(*call, *PullRequest) error {
	return func(c *call, p *PullRequest) error {
		s.mu.Lock()
		address := s.repositoryAPI(p.repository) + "/" + kind + "/" + escape(p.Source) + ".." + escape(p.Target)
		s.mu.Unlock()
		query := url.Values{"from_pullrequest_id": {strconv.Itoa(p.ID)}, "topic": {"true"}}
		http.Redirect(c.w, c.r, address+"?"+query.Encode(), http.StatusFound)
		return nil
	}
}

func (s *Server) pullURL(p *PullRequest) string {
	return s.repositoryAPI(p.repository) + "/pullrequests/" + strconv.Itoa(p.ID)
}

func (s *Server) showPull(ctx context.Context, p *PullRequest) (object, error) {
	r := p.repository
	source, err := s.showPullSide(ctx, r, p.Source)
	if err != nil {
		return nil, err
	}
	target, err := s.showPullSide(ctx, r, p.Target)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	self := s.pullURL(p)
	links := object{
		"self": link(self), "html": link(s.repositoryPage(r) + "/pull-requests/" + strconv.Itoa(p.ID)),
	}
	for _, name := range []string{
		"commits", "diff", "diffstat", "statuses", "comments", "activity", "merge", "decline", "approve",
	} {
		links[name] = link(self + "/" + name)
	}
	rendered := func(text string) object {
		return object{
			"type":   "rendered",
			"raw":    text,
			"markup": "markdown",
			"html":   "<p>" + html.EscapeString(text) + "</p>",
		}
	}
	return object{
		"type": "pullrequest", "id": int64(p.ID), "title": p.Title, "description": "", "state": p.state,
		"draft": false, "source": source, "destination": target, "author": s.showUser(p.Author),
		"created_on": precise(p.createdOn), "updated_on": precise(p.updatedOn),
		"close_source_branch": false, "closed_by": nil, "merge_commit": nil, "reason": "",
		"comment_count": int64(len(p.comments)), "task_count": 0, "reviewers": []object{}, "participants": []object{},
		"summary": rendered(""), "rendered": object{"title": rendered(p.Title), "description": rendered("")},
		"links": links,
	}, nil
}

// showPullSide returns a branch of a pull request. Its commit has a short hash of 12 digits.
func (s *Server) showPullSide(ctx context.Context, r *Repository, branch string) (object, error) {
	head, err := r.Head(ctx, branch)
	if err != nil {
		return nil, err
	}
	side := object{
		"branch": object{"name": branch}, "repository": s.showRepositoryLink(r), "commit": nil,
	}
	if head == "" {
		return side, nil // the branch was deleted
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	short := head[:12]
	side["commit"] = object{"type": "commit", "hash": short, "links": s.commitLinks(r, short)}
	return side, nil
}
