package provider

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/cloud"
)

// Cloud's limits on build statuses, in characters.
// Source: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/.
const (
	maxStatusKey  = 40
	maxStatusText = 255
	maxStatusURL  = 450
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

// status fits a status into the limits: texts may be cut, a key or a link may not.
func status(s autobuild.Status) (cloud.Status, error) {
	link, err := statusURL(s.URL)
	switch {
	case err != nil:
		return cloud.Status{}, err
	case s.State == "":
		return cloud.Status{}, fmt.Errorf("key %q has no state", s.Key)
	case s.Key == "" || len(s.Key) > maxStatusKey:
		return cloud.Status{}, fmt.Errorf("key %q does not have 1 to %d characters", s.Key, maxStatusKey)
	}
	return cloud.Status{
		Key: s.Key, State: string(s.State), Name: cut(s.Name), Description: cut(s.Description), URL: link, RefName: s.RefName,
	}, nil
}

// statusURL encodes braces: Cloud expands {repository.full_name} and its like in links.
func statusURL(raw string) (string, error) {
	link := strings.NewReplacer("{", "%7B", "}", "%7D").Replace(raw)
	u, err := url.Parse(link)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return "", fmt.Errorf("link %q is not an absolute URL", raw)
	}
	if len(link) > maxStatusURL {
		return "", fmt.Errorf("link of %d characters is longer than the %d that Bitbucket takes; use a shorter public URL", len(link), maxStatusURL)
	}
	return link, nil
}

// cut shortens a text to what Cloud takes, on the border of a character.
func cut(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if runes := []rune(text); len(runes) > maxStatusText {
		return string(runes[:maxStatusText-1]) + "…"
	}
	return text
}
