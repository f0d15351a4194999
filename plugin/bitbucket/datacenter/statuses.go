package datacenter

import (
	"context"
	"errors"
	"net/http"

	"slipway/plugin/bitbucket"
)

// The build states that need special handling. CANCELLED is documented since version 9.4, and
// older versions can reject it.
const (
	Cancelled = "CANCELLED"
	Failed    = "FAILED"
)

// A Status is a build status, within Data Center's limits.
type Status struct {
	Key         string `json:"key"` // at most 255 characters
	State       string `json:"state"`
	Name        string `json:"name,omitempty"`        // at most 255 characters
	Description string `json:"description,omitempty"` // at most 255 characters
	URL         string `json:"url"`                   // at most 450 characters
	Ref         string `json:"ref,omitempty"`         // refs/heads/main; empty for a tag
	Parent      string `json:"parent,omitempty"`      // compared by the merge check "required builds"; at most 1024 characters
}

// PutStatus creates or overwrites the build status with s.Key on a commit, given by its full
// hash. If the server rejects CANCELLED, PutStatus sends FAILED. It needs REPO_READ.
// Source: https://developer.atlassian.com/server/bitbucket/rest/v905/api-group-builds-and-deployments/.
func (c *Client) PutStatus(ctx context.Context, id RepositoryID, commit string, s Status) error {
	err := c.post(ctx, id, commit, s)
	if s.State == Cancelled && errors.Is(err, bitbucket.ErrInvalid) {
		s.State = Failed
		return c.post(ctx, id, commit, s)
	}
	return err
}

func (c *Client) post(ctx context.Context, id RepositoryID, commit string, s Status) error {
	_, err := c.api.Do(ctx, bitbucket.Request{
		Method: http.MethodPost, Path: id.path("commits", commit, "builds"), Body: s, Idempotent: true,
	}, nil)
	return err
}
