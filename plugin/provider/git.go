package provider

import (
	"context"
	"fmt"
	"strings"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
)

// gitUser stands before an OAuth or access token in git over HTTPS.
// Source: https://support.atlassian.com/bitbucket-cloud/docs/use-oauth-on-bitbucket-cloud/.
const gitUser = "x-token-auth"

type git struct{ *connection }

var _ autobuild.GitCredentials = git{}

// GitCredential builds the address from the configured origin and the repository's name;
// what the API or a payload gives as clone links is not looked at.
func (p git) GitCredential(ctx context.Context, r autobuild.Repository) (autobuild.GitCredential, error) {
	id, err := named(r.FullName)
	if err != nil {
		return autobuild.GitCredential{}, err
	}
	token, err := p.Token(ctx)
	if err != nil {
		return autobuild.GitCredential{}, fmt.Errorf("git credential of %s: %w", r.FullName, err)
	}
	cloneURL := strings.TrimSuffix(p.WebURL, "/") + bitbucket.Join(id.Workspace, id.Repository+".git")
	return autobuild.GitCredential{CloneURL: cloneURL, Username: gitUser, Password: token}, nil
}
