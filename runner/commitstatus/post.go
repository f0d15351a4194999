package commitstatus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/cenkalti/backoff/v5"

	"slipway/config/secret"
	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/cloud"
	"slipway/plugin/bitbucket/datacenter"
)

// A Credential authenticates the reports.
type Credential struct {
	Username string // empty = Password is a bearer token
	Password secret.Secret
}

// Options configure a Reporter.
type Options struct {
	Place      Place
	Credential Credential
	Backoff    func() backoff.BackOff // pauses between tries; nil = the default of package bitbucket
}

// A Reporter posts statuses to one repository. It is safe for concurrent use. Calls for one report
// must not overlap, because Bitbucket keeps the status that arrives last.
type Reporter struct {
	o   Options
	api *bitbucket.Client
}

// New returns a Reporter. It makes no request.
func New(o Options) (*Reporter, error) {
	api, err := bitbucket.New(bitbucket.Options{
		BaseURL: o.Place.API, User: o.Credential.Username, Backoff: o.Backoff,
		Token: func(context.Context) (secret.Secret, error) { return o.Credential.Password, nil },
	})
	if err != nil {
		return nil, err
	}
	return &Reporter{o: o, api: api}, nil
}

// Post creates or overwrites the status of a report. It retries temporary failures until ctx ends.
// The error names the cause and the fix.
func (r *Reporter) Post(ctx context.Context, report Report, state State, description string) (err error) {
	description = bitbucket.StatusText(description)
	if r.o.Place.DataCenter {
		err = r.postDataCenter(ctx, report, state, description)
	} else {
		id := cloud.RepositoryID{Workspace: r.o.Place.Owner, Repository: r.o.Place.Slug}
		err = cloud.New(r.api).PutStatus(ctx, id, report.Commit, cloud.Status{
			Key:         report.Key,
			State:       string(state),
			Name:        report.Name,
			Description: description,
			URL:         report.URL,
			RefName:     report.Branch,
		})
	}
	return r.explain(err)
}

func (r *Reporter) postDataCenter(ctx context.Context, report Report, state State, description string) (err error) {
	client := datacenter.New(r.api)
	id := datacenter.RepositoryID{Project: r.o.Place.Owner, Slug: r.o.Place.Slug}
	s := datacenter.Status{
		Key:         report.Key,
		State:       string(state),
		Name:        report.Name,
		Description: description,
		URL:         report.URL,
		Parent:      report.Parent,
	}
	if state == Stopped {
		s.State = datacenter.Cancelled
	}
	if report.Branch != "" {
		s.Ref = "refs/heads/" + report.Branch
	}
	commit := report.Commit
	if report.IsTag { // Data Center accepts a status on a tag object but never shows it
		commit, err = client.Commit(ctx, id, commit)
		if err != nil {
			return err
		}
	}
	return client.PutStatus(ctx, id, commit, s)
}

// explain adds the fix to an error of Bitbucket.
func (r *Reporter) explain(err error) error {
	var apiErr *bitbucket.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bitbucket.ErrUnauthorized) && r.o.Place.DataCenter:
		return fmt.Errorf("%w; set PLUGIN_BITBUCKET_TOKEN to an HTTP access token", err)
	case errors.Is(err, bitbucket.ErrUnauthorized):
		return fmt.Errorf("%w; set PLUGIN_BITBUCKET_TOKEN to a repository access token, "+
			"or PLUGIN_BITBUCKET_USERNAME and PLUGIN_BITBUCKET_PASSWORD to an e-mail address and an API token", err)
	case errors.Is(err, bitbucket.ErrForbidden), errors.Is(err, bitbucket.ErrNotFound):
		return fmt.Errorf("%w; the credential must be allowed to read %s/%s "+
			"(scope repository, read:repository:bitbucket or REPO_READ)", err, r.o.Place.Owner, r.o.Place.Slug)
	case errors.Is(err, bitbucket.ErrInvalid) && strings.Contains(err.Error(), "url"):
		return fmt.Errorf("%w; Bitbucket rejects links to localhost or a name without a dot: "+
			"set the CI server's public address (DRONE_SERVER_HOST, WOODPECKER_HOST)", err)
	case errors.As(err, &apiErr) && apiErr.Status >= http.StatusMultipleChoices && apiErr.Status < http.StatusBadRequest:
		return fmt.Errorf("%w; the server redirects: "+
			"set PLUGIN_BITBUCKET_URL to the new address", err)
	}
	return fmt.Errorf("%w; check PLUGIN_BITBUCKET_URL (%s) and the network of this step", err, r.o.Place.API)
}
