package cloud

import (
	"context"
	"net/http"
	"net/url"

	"slipway/config/secret"
	"slipway/plugin/bitbucket"
)

// A Hook is a webhook of a repository. The API does not return its secret.
type Hook struct {
	UUID      string   `json:"uuid"`
	URL       string   `json:"url"`
	Active    bool     `json:"active"`
	Events    []string `json:"events"`
	SecretSet bool     `json:"secret_set"`
}

// HookSettings are the settings of a webhook. A PUT replaces all of them. With an empty Secret it
// keeps the old secret.
type HookSettings struct {
	Description string
	URL         string
	Events      []string
	Secret      secret.Secret // at most 128 characters
}

type wireHook struct {
	Description string   `json:"description"`
	URL         string   `json:"url"`
	Active      bool     `json:"active"`
	Events      []string `json:"events"`
	Secret      string   `json:"secret,omitempty"`
}

func (s HookSettings) wire() wireHook {
	return wireHook{Description: s.Description, URL: s.URL, Active: true, Events: s.Events, Secret: s.Secret.Reveal()}
}

// Hooks lists all webhooks of a repository. Like all calls for webhooks it needs the scope
// webhook and an administrator of the repository.
// Source: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-repositories/.
func (c *Client) Hooks(ctx context.Context, id RepositoryID) ([]Hook, error) {
	return bitbucket.All[Hook](
		ctx,
		c.api,
		bitbucket.Request{Path: id.path("hooks"), Query: page(url.Values{})},
		maxPages,
	)
}

// CreateHook creates an active webhook. It is not retried after a lost response. List the
// webhooks before you call it again.
func (c *Client) CreateHook(ctx context.Context, id RepositoryID, s HookSettings) (Hook, error) {
	var h Hook
	_, err := c.api.Do(ctx, bitbucket.Request{Method: http.MethodPost, Path: id.path("hooks"), Body: s.wire()}, &h)
	return h, err
}

// UpdateHook replaces the settings of a webhook and activates it.
func (c *Client) UpdateHook(ctx context.Context, id RepositoryID, uuid string, s HookSettings) (Hook, error) {
	var h Hook
	_, err := c.api.Do(ctx, bitbucket.Request{Method: http.MethodPut, Path: id.path("hooks", uuid), Body: s.wire()}, &h)
	return h, err
}

// DeleteHook deletes a webhook.
func (c *Client) DeleteHook(ctx context.Context, id RepositoryID, uuid string) error {
	_, err := c.api.Do(ctx, bitbucket.Request{Method: http.MethodDelete, Path: id.path("hooks", uuid)}, nil)
	return err
}
