package bitbuckettest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"slipway/config/secret"
)

// maxHooks is the maximum number of webhooks of a repository.
const maxHooks = 50

// maxHookSecret is the maximum length of a webhook's secret, in characters.
const maxHookSecret = 128

// A hook is a webhook of a repository. Its fields are guarded by Server.mu.
type hook struct {
	uuid        string
	url         string
	description string
	events      []string
	active      bool
	skipVerify  bool
	secret      secret.Secret
	createdAt   time.Time
}

// A Hook is a copy of a webhook, for tests.
type Hook struct {
	UUID, URL, Description string
	Events                 []string
	Active, SecretSet      bool
}

// Hooks returns the webhooks of the repository, oldest first.
func (r *Repository) Hooks() []Hook {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	hooks := make([]Hook, len(r.hooks))
	for i, h := range r.hooks {
		hooks[i] = Hook{
			UUID: h.uuid, URL: h.url, Description: h.description, Events: slices.Clone(h.events),
			Active: h.active, SecretSet: !h.secret.IsZero(),
		}
	}
	return hooks
}

// AddHook adds an active webhook, as a person does in the repository's settings. Without a key its
// deliveries are not signed. It returns the webhook's UUID.
func (r *Repository) AddHook(url, key string, events ...string) (string, error) {
	s := r.server
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &hook{uuid: newUUID(), createdAt: s.now(), secret: secret.New(key)}
	admin := principal{account: r.Workspace.Owner, scopes: []string{"pullrequest", "issue", "pipeline"}}
	if err := s.apply(admin, h, hookRequest{URL: url, Events: events}); err != nil {
		return "", fmt.Errorf("add a webhook to %s: %w", r.fullName(), err)
	}
	r.hooks = append(r.hooks, h)
	return h.uuid, nil
}

// RemoveHooks removes every webhook, as a person does in the repository's settings.
func (r *Repository) RemoveHooks() {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	r.hooks = nil
}

// DisableHooks clears "Active" of every webhook, as a person does in the repository's settings.
func (r *Repository) DisableHooks() {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	for _, h := range r.hooks {
		h.active = false
	}
}

// DeliveryHeader returns the header that the active webhook with this URL sends with a body, with its
// signature. It returns nil if there is no such webhook.
func (r *Repository) DeliveryHeader(url, event string, body []byte) http.Header {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	for _, h := range r.hooks {
		if h.url == url && h.active {
			request := strings.Trim(newUUID(), "{}")
			d := &Delivery{HookUUID: h.uuid, RequestUUID: request, Event: event, Body: body}
			return deliveryHeader(d, h.secret, 1)
		}
	}
	return nil
}

// hookRequest is the body of POST and PUT:
// https://developer.atlassian.com/cloud/bitbucket/rest/api-group-repositories/#api-repositories-workspace-repo-slug-hooks-post
type hookRequest struct {
	URL         string          `json:"url"`
	Description string          `json:"description"`
	Events      []string        `json:"events"`
	Active      *bool           `json:"active"`
	SkipVerify  bool            `json:"skip_cert_verification"`
	Secret      json.RawMessage `json:"secret"` // absent keeps it, null or "" removes it
}

// events maps the events of a repository to the scope that each needs.
var events = map[string]string{
	"repo:push":                           "repository",
	"repo:fork":                           "repository",
	"repo:updated":                        "repository",
	"repo:transfer":                       "repository",
	"repo:created":                        "repository",
	"repo:deleted":                        "repository",
	"repo:imported":                       "repository",
	"repo:commit_comment_created":         "repository",
	"repo:commit_status_created":          "repository",
	"repo:commit_status_updated":          "repository",
	"pullrequest:created":                 "pullrequest",
	"pullrequest:updated":                 "pullrequest",
	"pullrequest:push":                    "pullrequest",
	"pullrequest:approved":                "pullrequest",
	"pullrequest:unapproved":              "pullrequest",
	"pullrequest:changes_request_created": "pullrequest",
	"pullrequest:changes_request_removed": "pullrequest",
	"pullrequest:fulfilled":               "pullrequest",
	"pullrequest:rejected":                "pullrequest",
	"pullrequest:comment_created":         "pullrequest",
	"pullrequest:comment_updated":         "pullrequest",
	"pullrequest:comment_deleted":         "pullrequest",
	"pullrequest:comment_resolved":        "pullrequest",
	"pullrequest:comment_reopened":        "pullrequest",
	"issue:created":                       "issue",
	"issue:updated":                       "issue",
	"issue:comment_created":               "issue",
	"pipeline:span_created":               "pipeline",
}

// apply checks a request and writes it to h. If the request has no secret, h keeps its secret.
func (s *Server) apply(who principal, h *hook, q hookRequest) error {
	if err := checkHookURL(q.URL, s.options.AllowPrivateHooks); err != nil {
		return err
	}
	if len(q.Events) == 0 {
		return invalid("events", "At least one event is required.")
	}
	for _, event := range q.Events {
		scope, known := events[event]
		if !known {
			return invalid("events", "Unknown event: "+event)
		}
		if err := who.require(scope); err != nil {
			return err
		}
	}
	if len(q.Secret) > 0 {
		var value *string
		if err := json.Unmarshal(q.Secret, &value); err != nil {
			return invalid("secret", "Not a valid string.")
		}
		if value != nil && utf8.RuneCountInString(*value) > maxHookSecret {
			return invalid("secret", "Ensure this value has at most 128 characters.")
		}
		h.secret = secret.Secret{}
		if value != nil {
			h.secret = secret.New(*value)
		}
	}
	h.url, h.description, h.events, h.skipVerify = q.URL, q.Description, slices.Clone(q.Events), q.SkipVerify
	h.active = q.Active == nil || *q.Active
	return nil
}

func (s *Server) listHooks(c *call) error {
	s.mu.Lock()
	items := make([]object, len(c.repo.hooks))
	for i, h := range c.repo.hooks {
		items[i] = s.showHook(c.repo, h)
	}
	s.mu.Unlock()
	return s.writePage(c, items)
}

func (s *Server) createHook(c *call) error {
	var q hookRequest
	if err := c.decode(&q); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(c.repo.hooks) >= maxHooks {
		return badRequest("The maximum number of webhooks has been reached for this repository.")
	}
	h := &hook{uuid: newUUID(), createdAt: s.now()}
	if err := s.apply(c.who, h, q); err != nil {
		return err
	}
	c.repo.hooks = append(c.repo.hooks, h)
	c.w.Header().Set("Location", s.hookURL(c.repo, h))
	return c.reply(http.StatusCreated, s.showHook(c.repo, h))
}

func (s *Server) getHook(c *call) error {
	return s.withHook(c, func(i int) error {
		return c.respond(s.showHook(c.repo, c.repo.hooks[i]))
	})
}

// updateHook replaces a webhook. If the request has no secret, the webhook keeps its secret.
func (s *Server) updateHook(c *call) error {
	var q hookRequest
	if err := c.decode(&q); err != nil {
		return err
	}
	return s.withHook(c, func(i int) error {
		changed := *c.repo.hooks[i]
		if err := s.apply(c.who, &changed, q); err != nil {
			return err
		}
		*c.repo.hooks[i] = changed
		return c.respond(s.showHook(c.repo, &changed))
	})
}

func (s *Server) deleteHook(c *call) error {
	return s.withHook(c, func(i int) error {
		c.repo.hooks = slices.Delete(c.repo.hooks, i, i+1)
		c.w.Header().Set("Content-Type", "text/plain") // as recorded, although there is no content
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	})
}

// withHook calls f with the index of the webhook in the path. The UUID may lack its braces.
func (s *Server) withHook(c *call, f func(i int) error) error {
	uid := "{" + strings.Trim(c.r.PathValue("uid"), "{}") + "}"
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(c.repo.hooks, func(h *hook) bool { return h.uuid == uid })
	if i < 0 {
		return notFound(c.repo.slug + " is not a valid hook") // the text names the repository
	}
	return f(i)
}

func (s *Server) hookURL(r *Repository, h *hook) string {
	return s.repositoryAPI(r) + "/hooks/" + escape(h.uuid)
}

func (s *Server) showHook(r *Repository, h *hook) object {
	return object{
		"type": "webhook_subscription", "uuid": h.uuid, "url": h.url, "description": h.description,
		"events": h.events, "active": h.active, "secret_set": !h.secret.IsZero(),
		"skip_cert_verification": h.skipVerify, "subject_type": "repository", "source": nil, "read_only": nil,
		"history_enabled": false,
		"created_at":      h.createdAt.UTC().Format("2006-01-02T15:04:05.000000Z"),
		"subject":         object{"type": "repository", "uuid": r.UUID, "full_name": r.fullName()},
		"links":           object{"self": link(s.hookURL(r, h))},
	}
}
