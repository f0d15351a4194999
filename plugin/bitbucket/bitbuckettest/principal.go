package bitbuckettest

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// A principal is an account with a credential. The zero principal is anonymous.
type principal struct {
	account *User
	kind    string   // value of X-Credential-Type
	scopes  []string // as granted
	within  *extent  // nil = all repositories of the account
	meter   string   // requests of principals with the same meter count together
}

// An extent limits an access token to a workspace, a project or a repository.
type extent struct {
	workspace  *Workspace
	project    string      // "" = every project
	repository *Repository // nil = every repository
}

func (e *extent) covers(r *Repository) bool {
	return e.workspace == r.Workspace &&
		(e.project == "" || e.project == r.projectKey) &&
		(e.repository == nil || e.repository == r)
}

var errAnonymous = unauthorized("This API endpoint requires authentication.")

// authenticate accepts a bearer token, or Basic with an e-mail address and an API token. It does not
// accept ?access_token= or app passwords, which Cloud removed.
func (s *Server) authenticate(r *http.Request) (principal, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return principal{}, nil
	}
	if email, token, basic := r.BasicAuth(); basic {
		return s.apiToken(email, token)
	}
	scheme, value, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return principal{}, unauthorized("Token is invalid, expired, or not supported for this endpoint.")
	}
	return s.bearer(strings.TrimSpace(value))
}

// implied lists the scopes that a scope includes:
// https://developer.atlassian.com/cloud/bitbucket/rest/intro/#bitbucket-oauth-2-0-scopes.
// repository:admin includes neither repository nor repository:write.
var implied = map[string][]string{
	"account:write":     {"account", "email"},
	"repository:write":  {"repository"},
	"project":           {"repository"},
	"pullrequest":       {"repository"},
	"pullrequest:write": {"pullrequest", "repository", "repository:write"},
}

func (p principal) may(scope string) bool {
	return slices.ContainsFunc(p.scopes, func(granted string) bool {
		return granted == scope || slices.Contains(implied[granted], scope)
	})
}

// require returns an error if the credential lacks a scope. It accepts anonymous callers, because only
// permissions apply to them.
func (p principal) require(scopes ...string) error {
	if p.account == nil {
		return nil
	}
	for _, scope := range scopes {
		if !p.may(scope) {
			return &apiError{
				status: http.StatusForbidden, message: "Your credentials lack one or more required privilege scopes.",
				detail: object{"required": scopes, "granted": p.scopes},
			}
		}
	}
	return nil
}

func (s *Server) describeCredential(header http.Header, who principal, required []string, left int) {
	header.Set("X-Accepted-OAuth-Scopes", strings.Join(required, ", "))
	if who.account == nil {
		return
	}
	header.Set("X-OAuth-Scopes", strings.Join(who.scopes, ", "))
	header.Set("X-Credential-Type", who.kind)
	if who.within != nil && who.kind != credentialOAuth {
		// Bitbucket does not send these headers for tokens of OAuth consumers.
		limit := cmp.Or(s.options.RequestLimit, defaultLimit)
		near := s.options.RequestLimit > 0 && left*5 < limit // less than 20 % remain
		header.Set("X-RateLimit-Limit", strconv.Itoa(limit))
		header.Set("X-RateLimit-Resource", "api-2.0")
		header.Set("X-RateLimit-NearLimit", strconv.FormatBool(near))
	}
}

// permission returns the permission of a principal on a repository. It returns None if r is nil.
func (s *Server) permission(who principal, r *Repository) Permission {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.permissionLocked(who, r)
}

// grantedTo returns the permission that was granted to a principal, without public read access.
func (s *Server) grantedTo(who principal, r *Repository) Permission {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grantedLocked(who, r)
}

func (s *Server) grantedLocked(who principal, r *Repository) Permission {
	switch {
	case who.account == nil:
		return None
	case who.within != nil:
		if who.within.covers(r) {
			return Admin // its scopes limit it further
		}
		return None
	case r.Workspace.Owner == who.account:
		return Admin
	default:
		return r.members[who.account]
	}
}

func (s *Server) permissionLocked(who principal, r *Repository) Permission {
	if r == nil {
		return None
	}
	least := None
	if !r.private {
		least = Read
	}
	return max(least, s.grantedLocked(who, r))
}
