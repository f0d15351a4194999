package accounts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/cloud"
)

const (
	callbackPath = "/oauth/bitbucket/callback"
	oauthTimeout = 30 * time.Second

	// defaultLifetime is used if a token response has no expires_in. Cloud documents one hour,
	// and returns two.
	defaultLifetime = time.Hour
)

// Errors of the token endpoint, besides autobuild.ErrUnavailable.
var (
	errGrant  = errors.New("the provider rejects the grant")
	errClient = errors.New(
		"the OAuth consumer's key or secret is wrong: compare both with the consumer at Bitbucket",
	)
)

// oauthClient returns a client that follows no redirects, because they would send the consumer's
// secret to another server.
func oauthClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: transport, Timeout: oauthTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// CallbackURL returns the callback URL that the OAuth consumer must have.
func (a *Accounts) CallbackURL() string { return a.url + callbackPath }

// consumer returns the OAuth client of a provider. It requests no scopes: they are set on the
// consumer at Bitbucket, and a request cannot add any.
func (a *Accounts) consumer(p autobuild.Provider) (*oauth2.Config, error) {
	web, err := url.Parse(p.WebURL)
	switch {
	case !p.Configured():
		return nil, fmt.Errorf(
			"source provider %s: %w: enter the key and the secret of an OAuth consumer",
			p.Name,
			ErrNotConfigured,
		)
	case err != nil || web.Host == "" || (web.Scheme != "https" && web.Scheme != "http"):
		return nil, fmt.Errorf(
			"source provider %s: %w: write its URL as https://host",
			p.Name,
			ErrNotConfigured,
		)
	}
	origin := strings.TrimSuffix(p.WebURL, "/")
	return &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret.Reveal(), RedirectURL: a.CallbackURL(),
		Endpoint: oauth2.Endpoint{
			AuthURL: origin + "/site/oauth2/authorize", TokenURL: origin + "/site/oauth2/access_token",
			AuthStyle: oauth2.AuthStyleInHeader,
		},
	}, nil
}

// A grant is one response of the token endpoint.
type grant struct {
	access, refresh secret.Secret
	expires         time.Time
	scopes          []string
}

func (a *Accounts) exchange(
	ctx context.Context,
	p autobuild.Provider,
	code string,
	verifier secret.Secret,
) (grant, error) {
	consumer, err := a.consumer(p)
	if err != nil {
		return grant{}, err
	}
	asked := a.now()
	token, err := consumer.Exchange(a.withHTTP(ctx), code, oauth2.VerifierOption(verifier.Reveal()))
	return newGrant(token, asked), mapTokenError(p, err)
}

// refreshGrant exchanges a refresh token for new tokens. The old refresh token is invalid then.
func (a *Accounts) refreshGrant(ctx context.Context, p autobuild.Provider, refresh secret.Secret) (grant, error) {
	consumer, err := a.consumer(p)
	if err != nil {
		return grant{}, err
	}
	asked := a.now()
	token, err := consumer.TokenSource(a.withHTTP(ctx), &oauth2.Token{RefreshToken: refresh.Reveal()}).Token()
	return newGrant(token, asked), mapTokenError(p, err)
}

func (a *Accounts) withHTTP(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, a.oauthHTTP)
}

// newGrant reads a token response. The scopes are in "scope" since May 2026, and were in "scopes"
// before.
func newGrant(token *oauth2.Token, asked time.Time) grant {
	if token == nil {
		return grant{}
	}
	lifetime := cmp.Or(time.Duration(token.ExpiresIn)*time.Second, defaultLifetime)
	return grant{
		access: secret.New(token.AccessToken), refresh: secret.New(token.RefreshToken), expires: asked.Add(lifetime),
		scopes: firstNonEmpty(scopesOf(token, "scope"), scopesOf(token, "scopes")),
	}
}

func scopesOf(token *oauth2.Token, field string) []string {
	text, _ := token.Extra(field).(string)
	return cloud.Scopes(text)
}

// firstNonEmpty returns the first list that is not empty.
func firstNonEmpty(lists ...[]string) []string {
	for _, l := range lists {
		if len(l) > 0 {
			return l
		}
	}
	return nil
}

// mapTokenError maps an error of the token endpoint to errors of this package. Of the response it
// quotes only the two fields that RFC 6749 §5.2 defines for people.
func mapTokenError(p autobuild.Provider, err error) error {
	var response *oauth2.RetrieveError
	switch {
	case err == nil || errors.Is(err, ErrNotConfigured):
		return err
	case !errors.As(err, &response):
		return fmt.Errorf("%w: %s returned no tokens: %w", autobuild.ErrUnavailable, p.Name, err)
	}
	description := strings.TrimSpace(fmt.Sprintf("%.100s %.200s", response.ErrorCode, response.ErrorDescription))
	switch response.ErrorCode {
	case "invalid_grant", "invalid_request":
		return fmt.Errorf("%w: %s", errGrant, description)
	case "invalid_client", "unauthorized_client":
		return fmt.Errorf("%w: source provider %s: %w", autobuild.ErrUnauthorized, p.Name, errClient)
	}
	if response.Response != nil && response.Response.StatusCode == http.StatusUnauthorized {
		return fmt.Errorf("%w: source provider %s: %w", autobuild.ErrUnauthorized, p.Name, errClient)
	}
	status := ""
	if response.Response != nil {
		status = response.Response.Status
	}
	return fmt.Errorf(
		"%w: %s returned no tokens: %s",
		autobuild.ErrUnavailable,
		p.Name,
		strings.TrimSpace(status+" "+description),
	)
}

// ProviderReady checks a provider's OAuth consumer without a user, with the grant client_credentials. A
// consumer that is not private has no such grant. For it, ProviderReady sends a refresh token that cannot
// exist: the token endpoint returns another error for a known consumer than for an unknown one.
// Source: https://www.rfc-editor.org/rfc/rfc6749#section-4.4
func (a *Accounts) ProviderReady(ctx context.Context, p autobuild.Provider) error {
	for name, value := range map[string]string{"key": p.ClientID, "secret": p.ClientSecret.Reveal()} {
		if strings.TrimSpace(value) != value {
			return fmt.Errorf(
				"source provider %s: %w: the consumer's %s has spaces around it: remove them",
				p.Name,
				ErrNotConfigured,
				name,
			)
		}
	}
	consumer, err := a.consumer(p)
	if err != nil {
		return err
	}
	_, err = (&clientcredentials.Config{
		ClientID: consumer.ClientID, ClientSecret: consumer.ClientSecret, TokenURL: consumer.Endpoint.TokenURL,
		AuthStyle: consumer.Endpoint.AuthStyle,
	}).Token(a.withHTTP(ctx))
	if err == nil || errors.Is(mapTokenError(p, err), autobuild.ErrUnavailable) {
		return mapTokenError(p, err)
	}
	_, err = a.refreshGrant(ctx, p, secret.New("none-such"))
	if err == nil || errors.Is(err, errGrant) {
		return nil
	}
	return err
}
