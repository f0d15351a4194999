package bitbuckettest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"slipway/config/must"
	"slipway/plugin/bitbucket/bitbuckettest"
)

func TestTokenErrors(t *testing.T) {
	clock := newClock()
	e := newEnv(t, func(o *bitbuckettest.Options) { o.Now = clock.now })
	code := func() string { return link(t, e, newBrowser(t, e), oauth2.S256ChallengeOption("right")) }
	e.RevokeGrant(e.alice, e.consumer)
	late := code()
	e.RevokeGrant(e.alice, e.consumer)
	challenged := code()
	for name, row := range map[string]struct {
		form          url.Values
		key, password string
		want          string
	}{
		"no client": {form: url.Values{"grant_type": {"refresh_token"}}, want: "Invalid OAuth client credentials"},
		"wrong secret": {
			form: url.Values{"grant_type": {"refresh_token"}},
			key:  e.consumer.Key, password: "x",
			want: "Invalid OAuth client credentials",
		},
		"unknown code": {
			form: url.Values{"grant_type": {"authorization_code"}, "code": {"x"}},
			want: "The specified code is not valid.",
		},
		"wrong verifier": {
			form: url.Values{
				"grant_type": {"authorization_code"}, "code": {challenged}, "code_verifier": {"wrong"},
			},
			want: "The specified code is not valid.",
		},
		"password":      {url.Values{"grant_type": {"password"}}, "", "", "Unsupported grant type: password"},
		"no grant type": {url.Values{}, "", "", "Unsupported grant type: None"},
	} {
		t.Run(name, func(t *testing.T) {
			key, password := row.key, row.password
			if key == "" && name != "no client" {
				key, password = e.consumer.Key, e.consumer.Secret.Reveal()
			}
			status, response := e.askToken(t, key, password, "application/x-www-form-urlencoded", row.form.Encode())
			if status != 400 || response["error_description"] != row.want {
				t.Errorf("status: got %d %v, want 400 %q", status, response, row.want)
			}
		})
	}
	key, password := e.consumer.Key, e.consumer.Secret.Reveal()
	status, response := e.askToken(t, key, password, "application/json", `{"grant_type":"refresh_token"}`)
	if status != 400 {
		t.Errorf("JSON body: got status %d, want 400", status)
	}
	if response["error"] != "invalid_grant" {
		t.Errorf("JSON body: got error %v, want invalid_grant", response["error"])
	}
	if response["error_description"] != "Unsupported grant type: None" {
		t.Errorf("JSON body: got description %v, want an unsupported grant type", response["error_description"])
	}
	clock.advance(5 * time.Minute)
	_, err := e.config().Exchange(t.Context(), late, oauth2.VerifierOption("right"))
	if !isRetrieveError(err, "invalid_grant") {
		t.Errorf("late code: got %v, want invalid_grant", err)
	}
}

func (e *env) askToken(t *testing.T, key, password, kind, body string) (int, map[string]any) {
	t.Helper()
	address := e.URL() + "/site/oauth2/access_token"
	request, err := http.NewRequestWithContext(t.Context(), "POST", address, strings.NewReader(body))
	must.Succeed(t, err)
	request.Header.Set("Content-Type", kind)
	if key != "" {
		request.SetBasicAuth(key, password)
	}
	response, err := http.DefaultClient.Do(request)
	must.Succeed(t, err)
	defer response.Body.Close()
	var reply map[string]any
	must.Succeed(t, json.NewDecoder(response.Body).Decode(&reply))
	return response.StatusCode, reply
}

func TestClientCredentialsAreABotOfTheWorkspace(t *testing.T) {
	e := newEnv(t, func(o *bitbuckettest.Options) { o.LegacyScopesField = true })
	elsewhere := e.AddWorkspace("elsewhere", e.alice)
	_, err := e.AddRepository(elsewhere, "hidden", bitbuckettest.Private)
	must.Succeed(t, err)
	config := clientcredentials.Config{
		ClientID:     e.consumer.Key,
		ClientSecret: e.consumer.Secret.Reveal(),
		TokenURL:     e.URL() + "/site/oauth2/access_token",
	}
	token, err := config.Token(t.Context())
	must.Succeed(t, err)
	if token.RefreshToken != "" || token.Extra("scopes") != "account repository webhook" {
		t.Errorf("refresh token: got %q and scopes %v, want no refresh token and all scopes",
			token.RefreshToken, token.Extra("scopes"))
	}
	if _, user := e.callAs(t, token.AccessToken, "GET", "/2.0/user", nil); user["type"] != "app_user" {
		t.Errorf("user: got %v, want an app_user", user)
	}
	if status, _ := e.callAs(t, token.AccessToken, "GET", "/2.0/repositories/acme/app", nil); status != 200 {
		t.Errorf("own workspace: got %d, want 200", status)
	}
	if status, _ := e.callAs(t, token.AccessToken, "GET", "/2.0/repositories/elsewhere/hidden", nil); status != 404 {
		t.Errorf("another workspace: got %d, want 404", status)
	}
	e.consumer.Public = true
	if _, err := config.Token(context.Background()); err == nil || !isRetrieveError(err, "unauthorized_client") {
		t.Errorf("public consumer: got %v, want unauthorized_client", err)
	}
}
