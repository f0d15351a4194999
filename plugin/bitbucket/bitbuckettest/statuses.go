package bitbuckettest

import (
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The limits of a build status, in characters.
const (
	maxStatusKey  = 40
	maxStatusText = 255
)

// A Status is a build status of a commit.
type Status struct {
	Key, State, Name, Description, URL, Refname string
	CreatedOn, UpdatedOn                        time.Time

	uuid string
}

// Statuses returns the build statuses of a commit, in the order of their creation.
func (r *Repository) Statuses(commit string) []Status {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	statuses := make([]Status, len(r.statuses[commit]))
	for i, s := range r.statuses[commit] {
		statuses[i] = *s
	}
	return statuses
}

// StatusHistory returns every version of every build status of a commit, oldest first.
func (r *Repository) StatusHistory(commit string) []Status {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return slices.Clone(r.history[commit])
}

// statusRequest is the body of POST and PUT. PUT does not change absent fields:
// https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/
type statusRequest struct {
	Key         *string `json:"key"`
	State       *string `json:"state"`
	Name        *string `json:"name"`
	Description *string `json:"description"`
	URL         *string `json:"url"`
	Refname     *string `json:"refname"`
}

var states = []string{"INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"}

// check checks a status against Bitbucket's rules.
func (s *Status) check() error {
	switch {
	case s.Key == "":
		return invalid("key", "required key not provided")
	case utf8.RuneCountInString(s.Key) > maxStatusKey:
		return tooLong("key", maxStatusKey, s.Key)
	case s.State == "":
		return invalid("state", "required key not provided")
	case !slices.Contains(states, s.State):
		return invalid("state", fmt.Sprintf("'%s' is not a valid choice.", s.State))
	case utf8.RuneCountInString(s.Name) > maxStatusText:
		return tooLong("name", maxStatusText, s.Name)
	case utf8.RuneCountInString(s.Description) > maxStatusText:
		return tooLong("description", maxStatusText, s.Description)
	case s.URL == "":
		return invalid("url", "required key not provided")
	}
	return checkStatusURL(s.URL)
}

func tooLong(field string, limit int, value string) error {
	const format = "Ensure this value has at most %d characters (it has %d)."
	return invalid(field, fmt.Sprintf(format, limit, utf8.RuneCountInString(value)))
}

// postStatus creates a build status, or replaces the one with the same key.
func (s *Server) postStatus(c *call) error {
	var q statusRequest
	hash, err := s.statusTarget(c, &q)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	posted := &Status{uuid: newUUID(), CreatedOn: s.now()}
	q.write(posted)
	code, before := http.StatusCreated, c.repo.status(hash, posted.Key)
	if before != nil {
		code, posted.uuid, posted.CreatedOn = http.StatusOK, before.uuid, before.CreatedOn
	}
	return s.storeStatus(c, hash, before, posted, code)
}

// putStatus changes a build status. The key cannot be changed.
func (s *Server) putStatus(c *call) error {
	var q statusRequest
	hash, err := s.statusTarget(c, &q)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := c.repo.status(hash, c.r.PathValue("key"))
	if before == nil {
		return errNoStatus
	}
	if q.Key != nil && *q.Key != before.Key {
		return invalid("key", "The key cannot be changed.")
	}
	changed := *before
	q.write(&changed)
	return s.storeStatus(c, hash, before, &changed, http.StatusOK)
}

var errNoStatus = notFound("Build status not found")

func (s *Server) statusTarget(c *call, q *statusRequest) (hash string, err error) {
	if err := q.read(c); err != nil {
		return "", err
	}
	return s.resolve(c.r.Context(), c.repo, c.r.PathValue("revision"))
}

// read reads the body: JSON, or a form, which Bitbucket accepts, too.
func (q *statusRequest) read(c *call) error {
	kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if kind != "application/x-www-form-urlencoded" {
		return c.decode(q)
	}
	form := readForm(c.w, c.r)
	for name, to := range map[string]**string{
		"key": &q.Key, "state": &q.State, "name": &q.Name, "description": &q.Description, "url": &q.URL,
		"refname": &q.Refname,
	} {
		if form.Has(name) {
			value := form.Get(name)
			*to = &value
		}
	}
	return nil
}

// write copies the fields of the request to s. It skips absent fields.
func (q statusRequest) write(s *Status) {
	for _, field := range []struct {
		from *string
		to   *string
	}{
		{q.Key, &s.Key}, {q.State, &s.State}, {q.Name, &s.Name},
		{q.Description, &s.Description}, {q.URL, &s.URL}, {q.Refname, &s.Refname},
	} {
		if field.from != nil {
			*field.to = *field.from
		}
	}
}

// storeStatus checks and stores a status, and responds with it. It replaces before, if that is not nil.
func (s *Server) storeStatus(c *call, hash string, before, after *Status, code int) error {
	// Bitbucket expands only these placeholders.
	after.URL = strings.NewReplacer(
		"{repository.full_name}", c.repo.fullName(), "{repository.uuid}", c.repo.UUID, "{commit.hash}", hash,
	).Replace(after.URL)
	if err := after.check(); err != nil {
		return err
	}
	if after.Name == "" {
		after.Name = after.Key
	}
	after.UpdatedOn = s.now()
	if before != nil {
		*before = *after
	} else {
		c.repo.statuses[hash] = append(c.repo.statuses[hash], after)
	}
	c.repo.history[hash] = append(c.repo.history[hash], *after)
	c.w.Header().Set("Content-Type", "application/json") // without a charset, as recorded
	if code == http.StatusCreated {
		path := "/!api/2.0/repositories/" + c.repo.fullName() + "/commit/" + hash + "/statuses/build/"
		c.w.Header().Set("Location", path+escape(after.Key)) // relative, as recorded
	}
	return c.reply(code, s.showStatus(c.repo, hash, after))
}

func (r *Repository) status(hash, key string) *Status {
	for _, s := range r.statuses[hash] {
		if s.Key == key {
			return s
		}
	}
	return nil
}

func (s *Server) getStatus(c *call) error {
	hash, err := s.resolve(c.r.Context(), c.repo, c.r.PathValue("revision"))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := c.repo.status(hash, c.r.PathValue("key"))
	if found == nil {
		return errNoStatus
	}
	return c.respond(s.showStatus(c.repo, hash, found))
}

// listStatuses lists the statuses of a commit, or with refname those of one branch.
func (s *Server) listStatuses(c *call) error {
	hash, err := s.resolve(c.r.Context(), c.repo, c.r.PathValue("revision"))
	if err != nil {
		return err
	}
	refname := c.r.URL.Query().Get("refname")
	items := []object{}
	s.mu.Lock()
	for _, one := range c.repo.statuses[hash] {
		if refname == "" || one.Refname == refname {
			items = append(items, s.showStatus(c.repo, hash, one))
		}
	}
	s.mu.Unlock()
	return s.writePage(c, items)
}

func (s *Server) showStatus(r *Repository, hash string, one *Status) object {
	shown := object{
		"type":        "build",
		"uuid":        one.uuid,
		"key":         one.Key,
		"state":       one.State,
		"name":        one.Name,
		"description": one.Description,
		"url":         one.URL,
		"refname":     nil,
		"created_on":  precise(one.CreatedOn),
		"updated_on":  precise(one.UpdatedOn),
		"repository":  object{"type": "repository", "uuid": r.UUID, "full_name": r.fullName()},
		"commit":      object{"type": "commit", "hash": hash, "links": s.commitLinks(r, hash)},
		"links": object{
			"self":   link(s.repositoryAPI(r) + "/commit/" + hash + "/statuses/build/" + escape(one.Key)),
			"commit": link(s.repositoryAPI(r) + "/commit/" + hash),
		},
	}
	if one.Refname != "" {
		shown["refname"] = one.Refname
	}
	return shown
}
