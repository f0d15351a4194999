package bitbuckettest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"slipway/plugin/bitbucket/bitbuckettest"
)

// browser is a person's: it keeps cookies, follows redirects within Bitbucket, and stops
// where Bitbucket sends it elsewhere.
type browser struct {
	http.Client
	home string
}

func newBrowser(t *testing.T, p *place) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	b := &browser{home: p.URL()}
	b.Jar = jar
	b.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), b.home) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return b
}

var (
	formPattern  = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	inputPattern = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// page is what the browser shows, or where it is sent.
type page struct {
	status   int
	text     string
	location *url.URL
	policy   string
}

func (b *browser) show(t *testing.T, response *http.Response, err error) page {
	t.Helper()
	must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	must(t, err)
	location, _ := response.Location()
	return page{response.StatusCode, string(text), location, response.Header.Get("Content-Security-Policy")}
}

func (b *browser) open(t *testing.T, address string) page {
	t.Helper()
	response, err := b.Get(address)
	return b.show(t, response, err)
}

// submit fills in the form of a page; values that the page hides go along.
func (b *browser) submit(t *testing.T, shown page, values map[string]string) page {
	t.Helper()
	action := formPattern.FindStringSubmatch(shown.text)
	if action == nil {
		t.Fatalf("no form in %q", shown.text)
	}
	form := url.Values{}
	for _, input := range inputPattern.FindAllStringSubmatch(shown.text, -1) {
		form.Set(unescapeHTML(input[1]), unescapeHTML(input[2]))
	}
	for name, value := range values {
		form.Set(name, value)
	}
	response, err := b.PostForm(b.home+unescapeHTML(action[1]), form)
	return b.show(t, response, err)
}

func unescapeHTML(text string) string {
	return strings.NewReplacer("&amp;", "&", "&#43;", "+", "&#39;", "'", "&#34;", `"`).Replace(text)
}

func (p *place) config() *oauth2.Config {
	return &oauth2.Config{
		ClientID:     p.consumer.Key,
		ClientSecret: p.consumer.Secret.Reveal(),
		Endpoint: oauth2.Endpoint{
			AuthURL:  p.URL() + "/site/oauth2/authorize",
			TokenURL: p.URL() + "/site/oauth2/access_token",
		},
		RedirectURL: "https://ci.example.com/oauth/callback", // extends the callback
	}
}

// link walks through the pages and returns the code.
func link(t *testing.T, p *place, b *browser, options ...oauth2.AuthCodeOption) string {
	t.Helper()
	shown := b.open(t, p.config().AuthCodeURL("the state", options...))
	if shown.location == nil {
		shown = b.submit(t, shown, map[string]string{"username": "alice", "password": "alice's password"})
		shown = b.submit(t, shown, map[string]string{"action": "grant"})
	}
	if shown.location == nil || shown.location.Host != "ci.example.com" ||
		shown.location.Query().Get("state") != "the state" {
		t.Fatalf("not sent back: %d %v %s", shown.status, shown.location, shown.text)
	}
	return shown.location.Query().Get("code")
}

func TestAPersonLinksAndTheTokensRotate(t *testing.T) {
	clock := newClock()
	p := newPlace(t, func(o *bitbuckettest.Options) { o.Now = clock.now })
	p.RevokeGrant(p.alice, p.consumer)
	b, verifier := newBrowser(t, p), oauth2.GenerateVerifier()
	code := link(t, p, b, oauth2.S256ChallengeOption(verifier))

	token, err := p.config().Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	must(t, err)
	if len(token.AccessToken) <= 2500 || len(token.RefreshToken) <= 2500 {
		t.Errorf("tokens of %d and %d characters, want more than 2500", len(token.AccessToken), len(token.RefreshToken))
	}
	if token.Extra("scope") != "account repository webhook" || token.TokenType != "bearer" || token.ExpiresIn != 7200 {
		t.Errorf(
			"token answer: scope %v, type %s, expires in %d",
			token.Extra("scope"),
			token.TokenType,
			token.ExpiresIn,
		)
	}
	if _, err := p.config().
		Exchange(t.Context(), code, oauth2.VerifierOption(verifier)); !isRetrieveError(
		err,
		"invalid_grant",
	) {
		t.Errorf("second use of the code: %v, want invalid_grant", err)
	}
	if status, user := p.callAs(
		t,
		token.AccessToken,
		"GET",
		"/2.0/user",
		nil,
	); status != 200 ||
		user["nickname"] != "alice" {
		t.Errorf("user: %d %v", status, user)
	}

	clock.advance(2*time.Hour + time.Second)
	status, answer := p.callAs(t, token.AccessToken, "GET", "/2.0/user", nil)
	if status != 401 ||
		dig(
			answer,
			"error",
			"message",
		) != "OAuth2 access token expired. Use your refresh token to obtain a new access token." {
		t.Errorf("expired token: %d %v", status, answer)
	}
	next := refresh(t, p, token.RefreshToken, "")
	if next.RefreshToken == "" || next.RefreshToken == token.RefreshToken {
		t.Error("the refresh token did not rotate")
	}
	clock.advance(9 * time.Minute)
	refresh(t, p, token.RefreshToken, "")
	clock.advance(time.Minute)
	refresh(t, p, token.RefreshToken, "invalid_request")
	refresh(t, p, next.RefreshToken, "")
	p.RevokeRefreshTokens(p.alice)
	refresh(t, p, next.RefreshToken, "invalid_request")
}

// refresh uses a refresh token and expects the error code, or none.
func refresh(t *testing.T, p *place, value, code string) *oauth2.Token {
	t.Helper()
	token, err := p.config().TokenSource(t.Context(), &oauth2.Token{RefreshToken: value}).Token()
	if code == "" {
		must(t, err)
	} else if !isRetrieveError(err, code) {
		t.Errorf("refresh: %v, want %s", err, code)
	}
	return token
}

func isRetrieveError(err error, code string) bool {
	var retrieve *oauth2.RetrieveError
	return errors.As(err, &retrieve) && retrieve.ErrorCode == code
}

func TestWhoGrantedBeforeIsNotAskedAgain(t *testing.T) {
	p := newPlace(t)
	p.RevokeGrant(p.alice, p.consumer)
	b := newBrowser(t, p)
	link(t, p, b)
	shown := b.open(t, p.config().AuthCodeURL("again"))
	if shown.location == nil || shown.location.Query().Get("code") == "" {
		t.Errorf("second link: %d %s", shown.status, shown.text)
	}
	p.RevokeGrant(p.alice, p.consumer)
	shown = b.open(t, p.config().AuthCodeURL("again"))
	if !strings.Contains(shown.text, "Grant access") {
		t.Errorf("after the revocation: %d %s", shown.status, shown.text)
	}
	if !strings.Contains(shown.policy, "form-action 'self' https://ci.example.com") ||
		!strings.Contains(shown.policy, "default-src 'none'") {
		t.Errorf("policy of the grant page: %s", shown.policy)
	}
	shown = b.submit(t, shown, map[string]string{"action": "deny"})
	if shown.location == nil || shown.location.Query().Get("error") != "access_denied" ||
		shown.location.Query().Get("state") != "again" {
		t.Errorf("after the denial: %v", shown.location)
	}
}

func TestAuthorizationErrors(t *testing.T) {
	p := newPlace(t)
	address := func(change map[string]string) string {
		query := url.Values{"client_id": {p.consumer.Key}, "response_type": {"code"}, "state": {"s"}}
		for name, value := range change {
			query.Set(name, value)
		}
		return p.URL() + "/site/oauth2/authorize?" + query.Encode()
	}
	for name, change := range map[string]map[string]string{
		"unknown client":       {"client_id": "nobody"},
		"other host":           {"redirect_uri": "https://evil.example/oauth"},
		"other scheme":         {"redirect_uri": "http://ci.example.com/oauth"},
		"sibling path":         {"redirect_uri": "https://ci.example.com/oauth-evil"},
		"path that climbs out": {"redirect_uri": "https://ci.example.com/oauth/../evil"},
	} {
		t.Run(name, func(t *testing.T) {
			shown := newBrowser(t, p).open(t, address(change))
			if shown.status != http.StatusBadRequest || shown.location != nil {
				t.Errorf("%d %v, want 400 and no redirect", shown.status, shown.location)
			}
		})
	}
	for name, change := range map[string]map[string]string{
		"unsupported_response_type": {"response_type": "token"},
		"invalid_request":           {"code_challenge": "x", "code_challenge_method": "plain"},
	} {
		t.Run(name, func(t *testing.T) {
			shown := newBrowser(t, p).open(t, address(change))
			if shown.location == nil || shown.location.Query().Get("error") != name {
				t.Errorf("%d %v, want a redirect with the error", shown.status, shown.location)
			}
		})
	}
}

func TestFormsNeedTheirToken(t *testing.T) {
	p := newPlace(t)
	b := newBrowser(t, p)
	signIn := b.open(t, p.config().AuthCodeURL("s"))
	forged := b.submit(
		t,
		signIn,
		map[string]string{"username": "alice", "password": "alice's password", "csrfmiddlewaretoken": "x"},
	)
	if forged.status != http.StatusForbidden {
		t.Errorf("forged log-in: %d", forged.status)
	}
	wrong := b.submit(t, signIn, map[string]string{"username": "alice", "password": "guess"})
	if wrong.status != http.StatusUnauthorized || !strings.Contains(wrong.text, "Incorrect username or password") {
		t.Errorf("wrong password: %d %s", wrong.status, wrong.text)
	}
	p.RevokeGrant(p.alice, p.consumer)
	grant := b.submit(t, wrong, map[string]string{"username": "alice", "password": "alice's password"})
	forged = b.submit(t, grant, map[string]string{"action": "grant", "csrfmiddlewaretoken": ""})
	if forged.status != http.StatusForbidden {
		t.Errorf("forged grant: %d", forged.status)
	}
	elsewhere := b.submit(
		t,
		b.open(t, p.URL()+"/account/signin/?next=https://evil.example"),
		map[string]string{"username": "alice", "password": "alice's password"},
	)
	if elsewhere.location != nil || !strings.Contains(elsewhere.text, "logged in as") {
		t.Errorf("log-in with a foreign next: %v %s", elsewhere.location, elsewhere.text)
	}
}

func TestTokenErrors(t *testing.T) {
	clock := newClock()
	p := newPlace(t, func(o *bitbuckettest.Options) { o.Now = clock.now })
	code := func() string { return link(t, p, newBrowser(t, p), oauth2.S256ChallengeOption("right")) }
	p.RevokeGrant(p.alice, p.consumer)
	late := code()
	p.RevokeGrant(p.alice, p.consumer)
	challenged := code()
	for name, row := range map[string]struct {
		form          url.Values
		key, password string
		want          string
	}{
		"no client":      {form: url.Values{"grant_type": {"refresh_token"}}, want: "Invalid OAuth client credentials"},
		"wrong secret":   {url.Values{"grant_type": {"refresh_token"}}, p.consumer.Key, "x", "Invalid OAuth client credentials"},
		"unknown code":   {url.Values{"grant_type": {"authorization_code"}, "code": {"x"}}, "", "", "The specified code is not valid."},
		"wrong verifier": {url.Values{"grant_type": {"authorization_code"}, "code": {challenged}, "code_verifier": {"wrong"}}, "", "", "The specified code is not valid."},
		"password":       {url.Values{"grant_type": {"password"}}, "", "", "Unsupported grant type: password"},
		"no grant type":  {url.Values{}, "", "", "Unsupported grant type: None"},
	} {
		t.Run(name, func(t *testing.T) {
			key, password := row.key, row.password
			if key == "" && name != "no client" {
				key, password = p.consumer.Key, p.consumer.Secret.Reveal()
			}
			status, answer := p.askToken(t, key, password, "application/x-www-form-urlencoded", row.form.Encode())
			if status != 400 || answer["error_description"] != row.want {
				t.Errorf("%d %v, want %q", status, answer, row.want)
			}
		})
	}
	status, answer := p.askToken(
		t,
		p.consumer.Key,
		p.consumer.Secret.Reveal(),
		"application/json",
		`{"grant_type":"refresh_token"}`,
	)
	if status != 400 || answer["error"] != "invalid_grant" ||
		answer["error_description"] != "Unsupported grant type: None" {
		t.Errorf("JSON body: %d %v", status, answer)
	}
	clock.advance(5 * time.Minute)
	if _, err := p.config().
		Exchange(t.Context(), late, oauth2.VerifierOption("right")); !isRetrieveError(
		err,
		"invalid_grant",
	) {
		t.Errorf("late code: %v", err)
	}
}

func (p *place) askToken(t *testing.T, key, password, kind, body string) (int, map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(
		t.Context(),
		"POST",
		p.URL()+"/site/oauth2/access_token",
		strings.NewReader(body),
	)
	must(t, err)
	request.Header.Set("Content-Type", kind)
	if key != "" {
		request.SetBasicAuth(key, password)
	}
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	defer response.Body.Close()
	var answer map[string]any
	must(t, json.NewDecoder(response.Body).Decode(&answer))
	return response.StatusCode, answer
}

func TestClientCredentialsAreABotOfTheWorkspace(t *testing.T) {
	p := newPlace(t, func(o *bitbuckettest.Options) { o.LegacyScopesField = true })
	elsewhere := p.AddWorkspace("elsewhere", p.alice)
	_, err := p.AddRepository(elsewhere, "hidden", bitbuckettest.Private)
	must(t, err)
	config := clientcredentials.Config{
		ClientID:     p.consumer.Key,
		ClientSecret: p.consumer.Secret.Reveal(),
		TokenURL:     p.URL() + "/site/oauth2/access_token",
	}
	token, err := config.Token(t.Context())
	must(t, err)
	if token.RefreshToken != "" || token.Extra("scopes") != "account repository webhook" {
		t.Errorf("refresh token %q, scopes %v", token.RefreshToken, token.Extra("scopes"))
	}
	if _, user := p.callAs(t, token.AccessToken, "GET", "/2.0/user", nil); user["type"] != "app_user" {
		t.Errorf("user: %v", user)
	}
	if status, _ := p.callAs(t, token.AccessToken, "GET", "/2.0/repositories/acme/app", nil); status != 200 {
		t.Errorf("its own workspace: %d", status)
	}
	if status, _ := p.callAs(t, token.AccessToken, "GET", "/2.0/repositories/elsewhere/hidden", nil); status != 404 {
		t.Errorf("another workspace: %d", status)
	}
	p.consumer.Public = true
	if _, err := config.Token(context.Background()); err == nil || !isRetrieveError(err, "unauthorized_client") {
		t.Errorf("public consumer: %v", err)
	}
}

// clock is a time that tests move.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }
