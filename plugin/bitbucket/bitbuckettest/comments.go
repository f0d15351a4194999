package bitbuckettest

import (
	"html"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// A comment is a comment on a pull request. Its fields are guarded by Server.mu.
type comment struct {
	id                   int
	text                 string
	author               *User
	createdOn, updatedOn time.Time
}

// commentRequest is the body of POST and PUT:
// https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/.
type commentRequest struct {
	Content struct {
		Raw string `json:"raw"`
	} `json:"content"`
}

func (s *Server) listComments(c *call, p *PullRequest) error {
	s.mu.Lock()
	items := make([]object, len(p.comments))
	for i, one := range p.comments {
		items[i] = s.showComment(p, one)
	}
	s.mu.Unlock()
	return s.writePage(c, items)
}

func (s *Server) createComment(c *call, p *PullRequest) error {
	var q commentRequest
	if err := c.decode(&q); err != nil {
		return err
	}
	if c.who.account == nil {
		return errAnonymous
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.comments++
	one := &comment{id: s.comments, text: q.Content.Raw, author: c.who.account, createdOn: s.now(), updatedOn: s.now()}
	p.comments = append(p.comments, one)
	c.w.Header().Set("Location", s.commentURL(p, one))
	return c.reply(http.StatusCreated, s.showComment(p, one))
}

func (s *Server) getComment(c *call, p *PullRequest) error {
	return s.withComment(c, p, func(i int) error { return c.respond(s.showComment(p, p.comments[i])) })
}

func (s *Server) updateComment(c *call, p *PullRequest) error {
	var q commentRequest
	if err := c.decode(&q); err != nil {
		return err
	}
	return s.withComment(c, p, func(i int) error {
		p.comments[i].text, p.comments[i].updatedOn = q.Content.Raw, s.now()
		return c.respond(s.showComment(p, p.comments[i]))
	})
}

// deleteComment responds without content, but with a content type: see test_delete_comment in
// https://github.com/codecov/shared/tree/main/tests/integration/cassetes/test_bitbucket.
func (s *Server) deleteComment(c *call, p *PullRequest) error {
	return s.withComment(c, p, func(i int) error {
		p.comments = slices.Delete(p.comments, i, i+1)
		c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	})
}

// withComment calls f with the index of the comment in the path. Only its author may change it.
func (s *Server) withComment(c *call, p *PullRequest, f func(i int) error) error {
	id := c.r.PathValue("comment")
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(p.comments, func(one *comment) bool { return strconv.Itoa(one.id) == id })
	if i < 0 {
		return notFound(id) // the text is only the ID
	}
	if c.r.Method != http.MethodGet && p.comments[i].author != c.who.account {
		return forbidden("You are not allowed to change this comment.")
	}
	return f(i)
}

func (s *Server) commentURL(p *PullRequest, one *comment) string {
	return s.pullURL(p) + "/comments/" + strconv.Itoa(one.id)
}

func (s *Server) showComment(p *PullRequest, one *comment) object {
	return object{
		"type": "pullrequest_comment", "id": int64(one.id), "deleted": false, "pending": false,
		"content": object{
			"type":   "rendered",
			"raw":    one.text,
			"markup": "markdown",
			"html":   "<p>" + html.EscapeString(one.text) + "</p>",
		},
		"created_on": precise(one.createdOn), "updated_on": precise(one.updatedOn), "user": s.showUser(one.author),
		"pullrequest": object{
			"type": "pullrequest", "id": int64(p.ID), "title": p.Title, "links": object{"self": link(s.pullURL(p))},
		},
		"links": object{"self": link(s.commentURL(p, one))},
	}
}
