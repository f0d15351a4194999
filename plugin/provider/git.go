package provider

import (
	"context"
	"fmt"
	"strings"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
)

// gitUser is the user name for an OAuth or access token in git over HTTPS.
// Source: https://support.atlassian.com/bitbucket-cloud/docs/use-oauth-on-bitbucket-cloud/.
const gitUser = "x-token-auth"

type git struct{ *connection }

var _ autobuild.GitCredentials = git{}

// CloneURL returns the clone URL from the configured origin and the repository's name. It ignores
// the clone links of the API and of payloads, because they are not trusted.
func (p git) CloneURL(r autobuild.Repository) (string, error) {
	id, err := parseFullName(r.FullName)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(p.WebURL, "/") + bitbucket.Join(id.Workspace, id.Repository+".git"), nil
}

// GitCredential returns the account's current token.
func (p git) GitCredential(ctx context.Context, r autobuild.Repository) (autobuild.GitCredential, error) {
	token, err := p.Token(ctx)
	return credential(r, token, err)
}

// RenewGitCredential refreshes the account's token and returns it.
func (p git) RenewGitCredential(
	ctx context.Context, r autobuild.Repository, refused secret.Secret,
) (autobuild.GitCredential, error) {
	token, err := p.Renew(ctx, refused)
	return credential(r, token, err)
}

func credential(r autobuild.Repository, token secret.Secret, err error) (autobuild.GitCredential, error) {
	if err != nil {
		return autobuild.GitCredential{}, fmt.Errorf("git credential of %s: %w", r.FullName, err)
	}
	return autobuild.GitCredential{Username: gitUser, Password: token}, nil
}
