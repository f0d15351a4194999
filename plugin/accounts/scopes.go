package accounts

import (
	"slices"

	"slipway/plugin/autobuild"
)

// Required scopes. "account" covers the user and the workspaces; "repository" covers
// repositories, clones and statuses.
// Source: https://developer.atlassian.com/cloud/bitbucket/rest/intro/#bitbucket-oauth-2-0-scopes.
var (
	linkScopes  = []string{"account", "repository", "webhook"}
	tokenScopes = []string{"repository", "webhook"} // an access token is entered with its workspace
)

// impliedBy lists the scopes that include another scope. repository:admin does not include
// repository.
var impliedBy = map[string][]string{
	"account":    {"account:write"},
	"repository": {"repository:write", "pullrequest", "pullrequest:write", "project"},
}

// MissingScopes returns the required scopes that the account does not have. It returns none if the
// provider did not report the granted scopes.
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
		accepted := append([]string{scope}, impliedBy[scope]...)
		if !slices.ContainsFunc(accepted, func(s string) bool { return slices.Contains(account.Scopes, s) }) {
			missing = append(missing, scope)
		}
	}
	return missing
}
