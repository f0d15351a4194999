package accounts

import (
	"slices"

	"slipway/plugin/autobuild"
)

// What an account must be granted: who am I and which workspaces; repositories, clones and
// statuses; webhooks.
// Source: https://developer.atlassian.com/cloud/bitbucket/rest/intro/#bitbucket-oauth-2-0-scopes.
var (
	linkScopes  = []string{"account", "repository", "webhook"}
	tokenScopes = []string{"repository", "webhook"} // an access token is told where it works
)

// including names the scopes that include another. repository:admin does not include
// repository.
var including = map[string][]string{
	"account":    {"account:write"},
	"repository": {"repository:write", "pullrequest", "pullrequest:write", "project"},
}

// MissingScopes names what the account was not granted and needs. When the provider did not
// tell what it granted, nothing is known to be missing.
func (a *Accounts) MissingScopes(account autobuild.Account) []string {
	if len(account.Scopes) == 0 {
		return nil
	}
	needed := linkScopes
	if account.Kind != autobuild.AccountOAuth {
		needed = tokenScopes
	}
	var missing []string
	for _, scope := range needed {
		enough := append([]string{scope}, including[scope]...)
		if !slices.ContainsFunc(enough, func(s string) bool { return slices.Contains(account.Scopes, s) }) {
			missing = append(missing, scope)
		}
	}
	return missing
}
