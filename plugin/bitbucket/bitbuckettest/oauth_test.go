package bitbuckettest_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"slipway/config/must"
	"slipway/plugin/bitbucket/bitbuckettest"
)

func TestAPersonLinksAndTheTokensRotate(t *testing.T) {
	clock := newClock()
	e := newEnv(t, func(o *bitbuckettest.Options) { o.Now = clock.now })
	e.RevokeGrant(e.alice, e.consumer)
	b, verifier := newBrowser(t, e), oauth2.GenerateVerifier()
	code := link(t, e, b, oauth2.S256ChallengeOption(verifier))

	token, err := e.config().Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	must.Succeed(t, err)
	if len(token.AccessToken) <= 2500 || len(token.RefreshToken) <= 2500 {
		t.Errorf("length of the tokens: got %d and %d characters, want more than 2500",
			len(token.AccessToken), len(token.RefreshToken))
	}
	if token.Extra("scope") != "account repository webhook" {
		t.Errorf("scope: got %v, want account repository webhook", token.Extra("scope"))
	}
	if token.TokenType != "bearer" {
		t.Errorf("token type: got %s, want bearer", token.TokenType)
	}
	if token.ExpiresIn != 7200 {
		t.Errorf("expires_in: got %d, want 7200", token.ExpiresIn)
	}
	_, err = e.config().Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	if !isRetrieveError(err, "invalid_grant") {
		t.Errorf("second use of the code: got %v, want invalid_grant", err)
	}
	status, user := e.callAs(t, token.AccessToken, "GET", "/2.0/user", nil)
	if status != 200 || user["nickname"] != "alice" {
		t.Errorf("user: got %d %v, want alice", status, user)
	}

	clock.advance(2*time.Hour + time.Second)
	status, response := e.callAs(t, token.AccessToken, "GET", "/2.0/user", nil)
	const expired = "OAuth2 access token expired. Use your refresh token to obtain a new access token."
	if status != 401 || dig(response, "error", "message") != expired {
		t.Errorf("expired token: got %d %v, want 401 %s", status, response, expired)
	}
	next := refresh(t, e, token.RefreshToken, "")
	if next.RefreshToken == "" || next.RefreshToken == token.RefreshToken {
		t.Error("refresh token: got the old one, want a new one")
	}
	clock.advance(9 * time.Minute)
	refresh(t, e, token.RefreshToken, "")
	clock.advance(time.Minute)
	refresh(t, e, token.RefreshToken, "invalid_request")
	refresh(t, e, next.RefreshToken, "")
	e.RevokeRefreshTokens(e.alice)
	refresh(t, e, next.RefreshToken, "invalid_request")
}

// refresh uses a refresh token. It expects an error with this code, or no error if code is empty.
func refresh(t *testing.T, e *env, value, code string) *oauth2.Token {
	t.Helper()
	token, err := e.config().TokenSource(t.Context(), &oauth2.Token{RefreshToken: value}).Token()
	if code == "" {
		must.Succeed(t, err)
	} else if !isRetrieveError(err, code) {
		t.Errorf("refresh: got %v, want %s", err, code)
	}
	return token
}

func isRetrieveError(err error, code string) bool {
	var retrieve *oauth2.RetrieveError
	return errors.As(err, &retrieve) && retrieve.ErrorCode == code
}

func TestASecondLinkSkipsTheGrantPage(t *testing.T) {
	e := newEnv(t)
	e.RevokeGrant(e.alice, e.consumer)
	b := newBrowser(t, e)
	link(t, e, b)
	shown := b.open(t, e.config().AuthCodeURL("again"))
	if shown.location == nil || shown.location.Query().Get("code") == "" {
		t.Errorf("second link: got %d %s, want a redirect with a code", shown.status, shown.text)
	}
	e.RevokeGrant(e.alice, e.consumer)
	shown = b.open(t, e.config().AuthCodeURL("again"))
	if !strings.Contains(shown.text, "Grant access") {
		t.Errorf("after the revocation: got %d %s, want the grant page", shown.status, shown.text)
	}
	if !strings.Contains(shown.policy, "form-action 'self' https://ci.example.com") ||
		!strings.Contains(shown.policy, "default-src 'none'") {
		t.Errorf(
			"Content-Security-Policy of the grant page: got %q, want forms to the consumer and default-src none",
			shown.policy,
		)
	}
	shown = b.submit(t, shown, map[string]string{"action": "deny"})
	if shown.location == nil {
		t.Fatalf("after the denial: got page %d %s, want a redirect", shown.status, shown.text)
	}
	if got := shown.location.Query().Get("error"); got != "access_denied" {
		t.Errorf("after the denial: got error %q, want access_denied", got)
	}
	if got := shown.location.Query().Get("state"); got != "again" {
		t.Errorf("after the denial: got state %q, want again", got)
	}
}

func TestAuthorizationErrors(t *testing.T) {
	e := newEnv(t)
	address := func(change map[string]string) string {
		query := url.Values{"client_id": {e.consumer.Key}, "response_type": {"code"}, "state": {"s"}}
		for name, value := range change {
			query.Set(name, value)
		}
		return e.URL() + "/site/oauth2/authorize?" + query.Encode()
	}
	for name, change := range map[string]map[string]string{
		"unknown client":       {"client_id": "nobody"},
		"other host":           {"redirect_uri": "https://evil.example/oauth"},
		"other scheme":         {"redirect_uri": "http://ci.example.com/oauth"},
		"sibling path":         {"redirect_uri": "https://ci.example.com/oauth-evil"},
		"path that climbs out": {"redirect_uri": "https://ci.example.com/oauth/../evil"},
	} {
		t.Run(name, func(t *testing.T) {
			shown := newBrowser(t, e).open(t, address(change))
			if shown.status != http.StatusBadRequest || shown.location != nil {
				t.Errorf("status: got %d %v, want 400 and no redirect", shown.status, shown.location)
			}
		})
	}
	for name, change := range map[string]map[string]string{
		"unsupported_response_type": {"response_type": "token"},
		"invalid_request":           {"code_challenge": "x", "code_challenge_method": "plain"},
	} {
		t.Run(name, func(t *testing.T) {
			shown := newBrowser(t, e).open(t, address(change))
			if shown.location == nil || shown.location.Query().Get("error") != name {
				t.Errorf("status: got %d %v, want a redirect with the error", shown.status, shown.location)
			}
		})
	}
}

func TestFormsNeedTheirToken(t *testing.T) {
	e := newEnv(t)
	b := newBrowser(t, e)
	signIn := b.open(t, e.config().AuthCodeURL("s"))
	login := map[string]string{"username": "alice", "password": "alice's password"}
	forged := b.submit(t, signIn, map[string]string{
		"username": "alice", "password": "alice's password", "csrfmiddlewaretoken": "x",
	})
	if forged.status != http.StatusForbidden {
		t.Errorf("forged log-in: got %d, want 403", forged.status)
	}
	wrong := b.submit(t, signIn, map[string]string{"username": "alice", "password": "guess"})
	if wrong.status != http.StatusUnauthorized || !strings.Contains(wrong.text, "Incorrect username or password") {
		t.Errorf("wrong password: got %d %s, want 401", wrong.status, wrong.text)
	}
	e.RevokeGrant(e.alice, e.consumer)
	grant := b.submit(t, wrong, login)
	forged = b.submit(t, grant, map[string]string{"action": "grant", "csrfmiddlewaretoken": ""})
	if forged.status != http.StatusForbidden {
		t.Errorf("forged grant: got %d, want 403", forged.status)
	}
	elsewhere := b.submit(t, b.open(t, e.URL()+"/account/signin/?next=https://evil.example"), login)
	if elsewhere.location != nil || !strings.Contains(elsewhere.text, "logged in as") {
		t.Errorf("log-in with a foreign next: got redirect %v, page %s, want no redirect",
			elsewhere.location, elsewhere.text)
	}
}
