package bitbuckettest

import (
	"net/http"
	"slices"
	"strings"
)

// A principal is who makes a request, with what. The zero principal is anonymous.
type principal struct {
	account *User
	kind    string   // the X-Credential-Type
	scopes  []string // as granted
	within  *extent  // what the credential is confined to; nil = wherever the account may go
}

// An extent confines an access token to a workspace, a project or a repository.
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

// authenticate accepts a bearer token, or a person's API token with their e-mail address as
// Basic: neither ?access_token= nor, since they are gone, app passwords.
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

// require refuses a credential that lacks a scope. Anonymous callers have no scopes to
// lack: permissions decide about them.
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

func describeCredential(header http.Header, who principal, required []string) {
	header.Set("X-Accepted-OAuth-Scopes", strings.Join(required, ", "))
	if who.account == nil {
		return
	}
	header.Set("X-OAuth-Scopes", strings.Join(who.scopes, ", "))
	header.Set("X-Credential-Type", who.kind)
	if who.within != nil && who.kind != credentialOAuth {
		// Tokens of OAuth consumers never carry these.
		header.Set("X-RateLimit-Limit", "1000")
		header.Set("X-RateLimit-Resource", "api-2.0")
		header.Set("X-RateLimit-NearLimit", "false")
	}
}

// permission tells what a principal may do with a repository; None when r is nil.
func (s *Server) permission(who principal, r *Repository) Permission {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.permissionLocked(who, r)
}

// grantedTo tells what a principal was granted on a repository, without what everybody may do.
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
			return Admin // its scopes say what of it
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
