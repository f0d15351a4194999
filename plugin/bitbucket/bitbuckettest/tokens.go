package bitbuckettest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"slipway/config/secret"
)

// refreshLifetime is the lifetime of an unused refresh token: three months.
const refreshLifetime = 90 * 24 * time.Hour

// maxForm is the maximum size of a form, in bytes.
const maxForm = 64 << 10

// A tokenError is an error of RFC 6749 §5.2, with Bitbucket's texts.
type tokenError struct{ code, description string }

func (e *tokenError) Error() string { return e.code + ": " + e.description }

var (
	errClient       = &tokenError{"unauthorized_client", "Invalid OAuth client credentials"}
	errCode         = &tokenError{"invalid_grant", "The specified code is not valid."}
	errRefreshToken = &tokenError{"invalid_request", "Invalid refresh_token"}
	errPublic       = &tokenError{
		"unauthorized_client",
		`Cannot use client_credentials with a consumer marked as "public". ` +
			`Please set the consumer to private and try again.`,
	}
)

// serveToken handles POST /site/oauth2/access_token:
// https://developer.atlassian.com/cloud/bitbucket/oauth-2/
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	response, err := s.token(w, r)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, object{"error": err.code, "error_description": err.description})
		return
	}
	writeJSON(w, http.StatusOK, response)
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) (object, *tokenError) {
	form := readForm(w, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	grantType := form.Get("grant_type")
	if grantType == "" { // a JSON body is no form, so it is empty here
		return nil, &tokenError{"invalid_grant", "Unsupported grant type: None"}
	}
	consumer := s.authenticateClient(r, form)
	if consumer == nil {
		return nil, errClient
	}
	switch grantType {
	case "authorization_code":
		return s.exchangeCode(consumer, form)
	case "refresh_token":
		return s.refreshTokens(consumer, form)
	case "client_credentials":
		if consumer.Public {
			return nil, errPublic
		}
		return s.issueToBot(consumer), nil
	default:
		return nil, &tokenError{"invalid_grant", "Unsupported grant type: " + grantType}
	}
}

// readForm reads a form-urlencoded body. It returns an empty form for any other body.
func readForm(w http.ResponseWriter, r *http.Request) url.Values {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if kind != "application/x-www-form-urlencoded" || r.ParseForm() != nil {
		return url.Values{}
	}
	return r.PostForm
}

// authenticateClient accepts Basic authentication, or client_id and client_secret in the body.
func (s *Server) authenticateClient(r *http.Request, form url.Values) *Consumer {
	key, password, basic := r.BasicAuth()
	if basic {
		key, password = unescapeQuery(key), unescapeQuery(password) // RFC 6749 §2.3.1
	} else {
		key, password = form.Get("client_id"), form.Get("client_secret")
	}
	consumer := s.consumer(key)
	if consumer == nil || subtle.ConstantTimeCompare([]byte(consumer.Secret.Reveal()), []byte(password)) == 0 {
		return nil
	}
	return consumer
}

func unescapeQuery(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}

func (s *Server) consumer(key string) *Consumer {
	for _, c := range s.oauth.consumers {
		if c.Key == key {
			return c
		}
	}
	return nil
}

// exchangeCode returns tokens for a code. A code can be used once.
func (s *Server) exchangeCode(consumer *Consumer, form url.Values) (object, *tokenError) {
	value := form.Get("code")
	known, ok := s.oauth.codes[value]
	if !ok || known.grant.consumer != consumer {
		return nil, errCode
	}
	delete(s.oauth.codes, value)
	given := form.Get("redirect_uri")
	if !s.now().Before(known.expires) || given != "" && given != known.redirectURI {
		return nil, errCode
	}
	if known.challenge != "" && challengeOf(form.Get("code_verifier")) != known.challenge {
		return nil, errCode
	}
	return s.grantResponse(known.grant), nil
}

// challengeOf returns the S256 challenge of PKCE: https://www.rfc-editor.org/rfc/rfc7636#section-4.2
func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// refreshTokens returns new tokens. The old refresh token expires after Options.RefreshGrace.
func (s *Server) refreshTokens(consumer *Consumer, form url.Values) (object, *tokenError) {
	known, ok := s.oauth.refresh[form.Get("refresh_token")]
	if !ok || known.grant.consumer != consumer || !s.now().Before(known.expires) {
		return nil, errRefreshToken
	}
	if !known.used {
		known.used = true
		known.expires = s.now().Add(max(s.options.RefreshGrace, 0))
	}
	return s.grantResponse(known.grant), nil
}

// issue creates an access token and a refresh token for a grant.
func (s *Server) issue(grant grantID) (access, refresh string) {
	c := grant.consumer
	who := principal{account: grant.user, kind: credentialOAuth, scopes: c.Scopes, meter: c.meter()}
	refresh = randomText(1900)
	s.oauth.refresh[refresh] = &refreshToken{grant: grant, expires: s.now().Add(refreshLifetime)}
	return s.issueAccess(who, grant), refresh
}

// issueAccess creates an access token. It has more than 2,500 characters, as at Cloud since 2026.
func (s *Server) issueAccess(who principal, grant grantID) string {
	value := randomText(1950)
	s.oauth.access[value] = &accessToken{principal: who, grant: grant, expires: s.now().Add(s.options.TokenTTL)}
	return value
}

// issueToBot returns the token for client_credentials. The consumer acts as a bot with access only to its
// workspace. It gets no refresh token.
func (s *Server) issueToBot(c *Consumer) object {
	who := principal{
		account: c.bot,
		kind:    credentialOAuth,
		scopes:  c.Scopes,
		within:  &extent{workspace: c.Workspace},
		meter:   c.meter(),
	}
	return s.tokenResponse(c, s.issueAccess(who, grantID{}))
}

func (s *Server) grantResponse(grant grantID) object {
	access, refresh := s.issue(grant)
	response := s.tokenResponse(grant.consumer, access)
	response["refresh_token"] = refresh
	return response
}

func (s *Server) tokenResponse(c *Consumer, access string) object {
	scope := "scope"
	if s.options.LegacyScopesField {
		scope = "scopes"
	}
	return object{
		"access_token": access, "token_type": "bearer", "expires_in": int(s.options.TokenTTL.Seconds()),
		scope: strings.Join(c.Scopes, " "),
	}
}

// Link grants a consumer access to a user's account without the pages. It returns the tokens.
func (s *Server) Link(u *User, c *Consumer) (access, refresh secret.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	grant := grantID{user: u, consumer: c}
	s.oauth.grants[grant] = true
	accessValue, refreshValue := s.issue(grant)
	return secret.New(accessValue), secret.New(refreshValue)
}
