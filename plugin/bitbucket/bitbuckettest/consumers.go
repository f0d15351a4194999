package bitbuckettest

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"slipway/config/secret"
)

// credentialOAuth is the X-Credential-Type of a consumer's tokens. For access tokens it is their kind.
const credentialOAuth = "oauth2"

// A Consumer is an OAuth consumer of a workspace.
type Consumer struct {
	Key       string
	Secret    secret.Secret
	Callback  string   // a redirect URI must equal it or extend its path
	Scopes    []string // scopes of the consumer; a grant covers all of them
	Workspace *Workspace
	Public    bool // without "This is a private consumer"; it cannot use client_credentials

	bot *User // user of tokens from client_credentials
}

// oauth is the state of the authorization server, guarded by Server.mu.
type oauth struct {
	consumers []*Consumer
	grants    map[grantID]bool // grants by users
	sessions  map[string]*session
	codes     map[string]*code
	access    map[string]*accessToken
	refresh   map[string]*refreshToken
}

type grantID struct {
	user     *User
	consumer *Consumer
}

// A code is an authorization code.
type code struct {
	grant       grantID
	redirectURI string // of the authorization request; "" = absent
	challenge   string // PKCE, S256; "" = none
	expires     time.Time
}

// An accessToken is a bearer token of any kind.
type accessToken struct {
	principal principal
	grant     grantID // zero unless a user granted it
	expires   time.Time
	revoked   bool
}

// A refreshToken is valid until Options.RefreshGrace after its first use.
type refreshToken struct {
	grant   grantID
	expires time.Time
	used    bool
}

func newOAuth() oauth {
	return oauth{
		grants: map[grantID]bool{}, sessions: map[string]*session{}, codes: map[string]*code{},
		access: map[string]*accessToken{}, refresh: map[string]*refreshToken{},
	}
}

// AddConsumer adds an OAuth consumer with a new key and secret.
func (s *Server) AddConsumer(w *Workspace, callback string, scopes ...string) (*Consumer, error) {
	if u, err := url.Parse(callback); err != nil || u.Host == "" {
		return nil, fmt.Errorf("add a consumer: the callback %q must be an absolute URL", callback)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	bot := s.newUser("consumer of "+w.Slug, "app_user")
	c := &Consumer{
		Key: randomHex(16), Secret: secret.New(randomHex(38)), Callback: callback,
		Scopes: slices.Clone(scopes), Workspace: w, bot: bot,
	}
	s.oauth.consumers = append(s.oauth.consumers, c)
	return c, nil
}

// meter returns the meter of all tokens of the consumer.
func (c *Consumer) meter() string { return "consumer " + c.Key }

// accepts reports whether a redirect URI equals the callback URL or extends its path.
func (c *Consumer) accepts(redirectURI string) bool {
	if redirectURI == "" || redirectURI == c.Callback {
		return true
	}
	wanted, errWanted := url.Parse(c.Callback)
	given, errGiven := url.Parse(redirectURI)
	if errWanted != nil || errGiven != nil {
		return false
	}
	sameOrigin := given.Scheme == wanted.Scheme && given.Host == wanted.Host && given.User == nil
	if !sameOrigin || given.Fragment != "" {
		return false
	}
	rest, extends := strings.CutPrefix(given.Path, strings.TrimSuffix(wanted.Path, "/"))
	return extends && (rest == "" || rest[0] == '/') && !strings.Contains(given.Path, "..")
}

// An AccessTokenKind is the scope of an access token: a workspace, a project or a repository.
type AccessTokenKind string

// The kinds of access tokens.
const (
	WorkspaceToken  AccessTokenKind = "workspace_access_token"
	ProjectToken    AccessTokenKind = "project_access_token"
	RepositoryToken AccessTokenKind = "repository_access_token"
)

// An AccessToken describes the token that AddAccessToken adds.
type AccessToken struct {
	Kind       AccessTokenKind
	Name       string
	Workspace  *Workspace  // of workspace and project tokens
	Project    string      // key, of project tokens
	Repository *Repository // of repository tokens
	Scopes     []string
	Expires    time.Time // zero = never
}

// AddAccessToken adds an access token, which belongs to no person:
// https://support.atlassian.com/bitbucket-cloud/docs/access-tokens/
func (s *Server) AddAccessToken(t AccessToken) (secret.Secret, error) {
	within := &extent{workspace: t.Workspace}
	switch {
	case t.Kind == WorkspaceToken && t.Workspace != nil:
	case t.Kind == ProjectToken && t.Workspace != nil && t.Project != "":
		within.project = t.Project
	case t.Kind == RepositoryToken && t.Repository != nil:
		within.workspace, within.repository = t.Repository.Workspace, t.Repository
	default:
		return secret.Secret{}, errors.New(
			"add an access token: workspace, project or repository do not match its kind",
		)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	value := "ATCTT3xFfGN0" + randomText(140)
	s.oauth.access[value] = &accessToken{
		principal: principal{
			account: s.newUser(t.Name, "app_user"),
			kind:    string(t.Kind),
			scopes:  slices.Clone(t.Scopes),
			within:  within,
			meter:   "token " + value,
		},
		expires: t.Expires,
	}
	return secret.New(value), nil
}

// bearer returns the principal of a bearer token.
func (s *Server) bearer(token string) (principal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.oauth.access[token]
	switch {
	case !ok || known.revoked:
		return principal{}, unauthorized("Token is invalid, expired, or not supported for this endpoint.")
	case known.expires.IsZero() || s.now().Before(known.expires):
		return known.principal, nil
	case known.principal.kind == credentialOAuth:
		const expired = "OAuth2 access token expired. Use your refresh token to obtain a new access token."
		return principal{}, unauthorized(expired)
	default:
		return principal{}, unauthorized("Token is invalid, expired, or not supported for this endpoint.")
	}
}

// ExpireTokens expires the access tokens of all consumers.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, token := range s.oauth.access {
		if token.principal.kind == credentialOAuth {
			token.expires = s.now()
		}
	}
}

// RevokeRefreshTokens revokes the refresh tokens of a user. Access tokens stay valid.
func (s *Server) RevokeRefreshTokens(u *User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for value, token := range s.oauth.refresh {
		if token.grant.user == u {
			delete(s.oauth.refresh, value)
		}
	}
}

// RevokeGrant acts like Personal settings → App authorizations → Revoke. It revokes all tokens that the
// consumer has for the user. The next authorization shows the grant page again.
func (s *Server) RevokeGrant(u *User, c *Consumer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := grantID{u, c}
	delete(s.oauth.grants, id)
	for value, token := range s.oauth.refresh {
		if token.grant == id {
			delete(s.oauth.refresh, value)
		}
	}
	for _, token := range s.oauth.access {
		if token.grant == id {
			token.revoked = true
		}
	}
}

// RevokeAccessToken revokes a token of AddAccessToken.
func (s *Server) RevokeAccessToken(token secret.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.oauth.access[token.Reveal()]; ok {
		known.revoked = true
	}
}
