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

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/cloud"
)

const (
	callbackPath = "/oauth/bitbucket/callback"
	oauthTimeout = 30 * time.Second

	// defaultLifetime stands in when a token answer has no expires_in: the documentation says
	// an hour, Cloud gives two.
	defaultLifetime = time.Hour
)

// Why the token endpoint gave no token, besides autobuild.ErrUnavailable.
var (
	errGrant  = errors.New("the grant is not accepted")
	errClient = errors.New(
		"the OAuth consumer's key or secret is not accepted; compare both with the consumer at Bitbucket",
	)
)

// oauthClient follows no redirects: they would carry the consumer's secret elsewhere.
func oauthClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: transport, Timeout: oauthTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// CallbackURL is what the OAuth consumer must have as its callback.
func (a *Accounts) CallbackURL() string { return a.url + callbackPath }

// consumer is the OAuth client of a provider. No scopes are asked for: they are ticked on the
// consumer, and cannot be widened by a request.
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
			"source provider %s: %w: its URL is not of the form https://host",
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

// A grant is one answer of the token endpoint.
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
	return granted(token, asked), refusal(p, err)
}

// refreshGrant uses a refresh token; afterwards the provider knows another one.
func (a *Accounts) refreshGrant(ctx context.Context, p autobuild.Provider, refresh secret.Secret) (grant, error) {
	consumer, err := a.consumer(p)
	if err != nil {
		return grant{}, err
	}
	asked := a.now()
	token, err := consumer.TokenSource(a.withHTTP(ctx), &oauth2.Token{RefreshToken: refresh.Reveal()}).Token()
	return granted(token, asked), refusal(p, err)
}

func (a *Accounts) withHTTP(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, a.oauthHTTP)
}

// granted reads a token answer. The scopes are in "scope" since May 2026, before that they
// were in "scopes".
func granted(token *oauth2.Token, asked time.Time) grant {
	if token == nil {
		return grant{}
	}
	lifetime := cmp.Or(time.Duration(token.ExpiresIn)*time.Second, defaultLifetime)
	return grant{
		access: secret.New(token.AccessToken), refresh: secret.New(token.RefreshToken), expires: asked.Add(lifetime),
		scopes: firstSet(scopesOf(token, "scope"), scopesOf(token, "scopes")),
	}
}

func scopesOf(token *oauth2.Token, field string) []string {
	text, _ := token.Extra(field).(string)
	return cloud.Scopes(text)
}

// firstSet returns the first list that is not empty.
func firstSet(lists ...[]string) []string {
	for _, l := range lists {
		if len(l) > 0 {
			return l
		}
	}
	return nil
}

// refusal sorts an error of the token endpoint. What the endpoint sent is not repeated, but
// for the two fields that RFC 6749 §5.2 has for people.
func refusal(p autobuild.Provider, err error) error {
	var answer *oauth2.RetrieveError
	switch {
	case err == nil || errors.Is(err, ErrNotConfigured):
		return err
	case !errors.As(err, &answer):
		return fmt.Errorf("%w: %s gives no tokens: %w", autobuild.ErrUnavailable, p.Name, err)
	}
	said := strings.TrimSpace(fmt.Sprintf("%.100s %.200s", answer.ErrorCode, answer.ErrorDescription))
	switch answer.ErrorCode {
	case "invalid_grant", "invalid_request":
		return fmt.Errorf("%w: %s", errGrant, said)
	case "invalid_client", "unauthorized_client":
		return fmt.Errorf("%w: source provider %s: %w", autobuild.ErrUnauthorized, p.Name, errClient)
	}
	if answer.Response != nil && answer.Response.StatusCode == http.StatusUnauthorized {
		return fmt.Errorf("%w: source provider %s: %w", autobuild.ErrUnauthorized, p.Name, errClient)
	}
	status := ""
	if answer.Response != nil {
		status = answer.Response.Status
	}
	return fmt.Errorf(
		"%w: %s gives no tokens: %s",
		autobuild.ErrUnavailable,
		p.Name,
		strings.TrimSpace(status+" "+said),
	)
}

// ProviderReady checks a provider's OAuth client without a user: the token endpoint is shown a
// refresh token that cannot exist, and answers differently to a consumer that it knows.
func (a *Accounts) ProviderReady(ctx context.Context, p autobuild.Provider) error {
	for name, value := range map[string]string{"key": p.ClientID, "secret": p.ClientSecret.Reveal()} {
		if strings.TrimSpace(value) != value {
			return fmt.Errorf(
				"source provider %s: %w: the consumer's %s has blanks around it",
				p.Name,
				ErrNotConfigured,
				name,
			)
		}
	}
	_, err := a.refreshGrant(ctx, p, secret.New("none-such"))
	if err == nil || errors.Is(err, errGrant) {
		return nil
	}
	return err
}
