package bitbuckettest

import (
	"strings"

	"slipway/config/secret"
)

// An apiToken is a person's API token with scopes:
// https://support.atlassian.com/bitbucket-cloud/docs/api-tokens/.
type apiToken struct {
	value  secret.Secret
	scopes []string // names as in OAuth, e.g. repository:write
}

// AddAPIToken adds an API token of the person. scopes are e.g. read:repository:bitbucket.
func (u *User) AddAPIToken(scopes ...string) secret.Secret {
	token := apiToken{value: secret.New("ATATT3x" + randomText(48))}
	for _, scope := range scopes {
		verb, rest, _ := strings.Cut(scope, ":")
		name := strings.TrimSuffix(rest, ":bitbucket")
		if verb != "read" {
			name += ":" + verb
		}
		token.scopes = append(token.scopes, name)
	}
	u.server.mu.Lock()
	defer u.server.mu.Unlock()
	u.apiTokens = append(u.apiTokens, token)
	return token.value
}

// apiToken returns the principal of an API token. The e-mail address must be the owner's.
func (s *Server) apiToken(email, value string) (principal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.state.users {
		for _, token := range u.apiTokens {
			if strings.EqualFold(u.Email, email) && token.value.Equal(secret.New(value)) {
				return principal{account: u, kind: "api_token", scopes: token.scopes, meter: "user " + u.UUID}, nil
			}
		}
	}
	return principal{}, unauthorized("Token is invalid, expired, or not supported for this endpoint.")
}
