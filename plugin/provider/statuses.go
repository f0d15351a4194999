package provider

import (
	"context"
	"fmt"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/cloud"
)

type statuses struct{ *connection }

var _ autobuild.Statuses = statuses{}

// Put creates or overwrites the status with s.Key on a commit.
func (p statuses) Put(ctx context.Context, r autobuild.Repository, commit string, s autobuild.Status) error {
	id, err := address(r)
	if err != nil {
		return err
	}
	wire, err := status(s)
	if err != nil {
		return fmt.Errorf("status of %s@%s: %w", r.FullName, commit, err)
	}
	if err := p.Client.PutStatus(ctx, id, commit, wire); err != nil {
		return fmt.Errorf("status of %s@%s: %w", r.FullName, commit, Translate(err))
	}
	return nil
}

// status applies Cloud's limits to a status. It shortens texts, and returns an error for a key or
// a link that is too long.
func status(s autobuild.Status) (cloud.Status, error) {
	link, err := bitbucket.StatusURL(s.URL)
	switch {
	case err != nil:
		return cloud.Status{}, err
	case s.State == "":
		return cloud.Status{}, fmt.Errorf("key %q has no state", s.Key)
	case s.Key == "" || len(s.Key) > bitbucket.MaxStatusKey:
		return cloud.Status{}, fmt.Errorf("key %q does not have 1 to %d characters", s.Key, bitbucket.MaxStatusKey)
	}
	return cloud.Status{
		Key: s.Key, State: string(s.State), Name: bitbucket.StatusText(s.Name),
		Description: bitbucket.StatusText(s.Description), URL: link, RefName: s.RefName,
	}, nil
}
