package cloud

import (
	"context"
	"net/http"

	"slipway/plugin/bitbucket"
)

// PutStatus creates or overwrites the build status with s.Key on a commit. It needs only the
// scope repository.
// Source: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/.
func (c *Client) PutStatus(ctx context.Context, id RepositoryID, commit string, s Status) error {
	_, err := c.api.Do(ctx, bitbucket.Request{
		Method: http.MethodPost, Path: id.path("commit", commit, "statuses", "build"), Body: s, Idempotent: true,
	}, nil)
	return err
}

// A Status is a build status, within Cloud's limits.
type Status struct {
	Key         string `json:"key"` // at most 40 characters
	State       string `json:"state"`
	Name        string `json:"name,omitempty"`        // at most 255 characters
	Description string `json:"description,omitempty"` // at most 255 characters
	URL         string `json:"url"`                   // at most 450 characters
	RefName     string `json:"refname,omitempty"`
}
