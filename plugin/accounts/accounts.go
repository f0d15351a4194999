// Package accounts links Bitbucket accounts and signs users in with OAuth 2. It refreshes tokens,
// stores access tokens, and opens connections with both.
//
// A refresh token changes at every use, so each token is refreshed only once. Callers in one
// process share the request. Other processes are detected by the account's version in the store.
// New tokens are stored before they are used.
//
// Source: https://support.atlassian.com/bitbucket-cloud/docs/use-oauth-on-bitbucket-cloud/.
package accounts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"slipway/config/discard"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/cloud"
	"slipway/plugin/provider"
)

// Options configure Accounts. Store and URL are required.
type Options struct {
	Store     Store
	URL       string            // public base URL of the gateway, without a trailing slash
	Transport http.RoundTripper // to providers; nil means http.DefaultTransport
	Now       func() time.Time  // nil means time.Now
	Log       logrus.FieldLogger
}

// Accounts is safe for concurrent use.
type Accounts struct {
	store     Store
	url       string
	transport http.RoundTripper
	oauthHTTP *http.Client
	now       func() time.Time
	log       logrus.FieldLogger

	flights  singleflight.Group
	mu       sync.Mutex
	limiters map[string]*rate.Limiter // "provider/ID" of OAuth links, "account/ID" of access tokens
	failures map[string]failedCheck   // of permission checks, by session id
}

var _ autobuild.Connector = (*Accounts)(nil)

// New returns Accounts. It sends no request.
func New(o Options) *Accounts {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = discard.Logger()
	}
	return &Accounts{
		store: o.Store, url: strings.TrimSuffix(o.URL, "/"), transport: o.Transport, now: o.Now, log: o.Log,
		oauthHTTP: oauthClient(o.Transport), limiters: map[string]*rate.Limiter{}, failures: map[string]failedCheck{},
	}
}

// Connect returns a connection that uses the account's current credential. It sends no request.
// It returns ErrNotFound for an unknown account, and ErrUnauthorized if the link is broken.
func (a *Accounts) Connect(ctx context.Context, accountID string) (autobuild.Connection, error) {
	account, err := a.usableAccount(ctx, accountID)
	if err != nil {
		return autobuild.Connection{}, err
	}
	p, err := a.provider(ctx, account.ProviderID)
	if err != nil {
		return autobuild.Connection{}, err
	}
	client, err := a.accountClient(p, account)
	if err != nil {
		return autobuild.Connection{}, err
	}
	return provider.Cloud(provider.CloudOptions{
		Client: client, ProviderID: p.ID, WebURL: p.WebURL,
		Token: func(ctx context.Context) (secret.Secret, error) { return a.token(ctx, accountID) },
		Renew: func(ctx context.Context, refused secret.Secret) (secret.Secret, error) {
			return a.renew(ctx, accountID, refused)
		},
		Workspace: workspaceOf(account), RepositoryName: account.Repository,
	}), nil
}

// usableAccount returns an account, or ErrUnauthorized if the account is broken.
func (a *Accounts) usableAccount(ctx context.Context, id string) (autobuild.Account, error) {
	account, err := a.store.Account(ctx, id)
	switch {
	case err != nil:
		return autobuild.Account{}, fmt.Errorf("linked account %s: %w", id, err)
	case account.State == autobuild.AccountBroken:
		return autobuild.Account{}, fmt.Errorf(
			"linked account %s: %w: %s",
			account.Name,
			autobuild.ErrUnauthorized,
			account.Problem,
		)
	}
	return account, nil
}

func (a *Accounts) provider(ctx context.Context, id string) (autobuild.Provider, error) {
	p, err := a.store.Provider(ctx, id)
	if err != nil {
		return autobuild.Provider{}, fmt.Errorf("source provider %s: %w", id, err)
	}
	if p.Kind != autobuild.Cloud {
		return autobuild.Provider{}, fmt.Errorf(
			"source provider %s: %w: %s is not supported yet",
			p.Name,
			ErrNotConfigured,
			p.Kind,
		)
	}
	return p, nil
}

// accountClient returns a client that sends the account's token and renews it as needed.
func (a *Accounts) accountClient(p autobuild.Provider, account autobuild.Account) (*cloud.Client, error) {
	id := account.ID
	api, err := bitbucket.New(bitbucket.Options{
		BaseURL: p.APIURL, Transport: a.transport, Limiter: a.limiter(account), Log: a.log,
		Token: func(ctx context.Context) (secret.Secret, error) { return a.token(ctx, id) },
		Renew: func(ctx context.Context, refused secret.Secret) (secret.Secret, error) {
			return a.renew(ctx, id, refused)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("source provider %s: %w", p.Name, err)
	}
	return cloud.New(api), nil
}

// tokenClient returns a client that sends the given token, which belongs to no account yet.
func (a *Accounts) tokenClient(p autobuild.Provider, token secret.Secret) (*cloud.Client, error) {
	api, err := bitbucket.New(bitbucket.Options{
		BaseURL: p.APIURL, Transport: a.transport, Log: a.log,
		Token: func(context.Context) (secret.Secret, error) { return token, nil },
	})
	if err != nil {
		return nil, fmt.Errorf("source provider %s: %w", p.Name, err)
	}
	return cloud.New(api), nil
}

// Allowance names the allowance of API requests that an account uses, e.g. "provider/p1". Accounts
// with the same name are limited together.
func (a *Accounts) Allowance(ctx context.Context, accountID string) string {
	account, err := a.store.Account(ctx, accountID)
	if err != nil {
		return "account/" + accountID
	}
	return allowance(account)
}

// allowance names the allowance of an account. Cloud counts all links of one OAuth consumer together,
// and each access token by itself.
// Source: https://support.atlassian.com/bitbucket-cloud/docs/api-request-limits/.
func allowance(account autobuild.Account) string {
	if account.Kind == autobuild.AccountOAuth {
		return "provider/" + account.ProviderID
	}
	return "account/" + account.ID
}

// limiter returns the rate limiter of an account's allowance.
func (a *Accounts) limiter(account autobuild.Account) *rate.Limiter {
	key := allowance(account)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.limiters[key] == nil {
		a.limiters[key] = bitbucket.NewLimiter()
	}
	return a.limiters[key]
}

// Forget deletes an account and its tokens. An account that automated builds use is kept without
// tokens and marked as broken, so that linking it again resumes the builds. Bitbucket documents no
// way to revoke the grant. The account's owner can revoke it under Personal settings → App
// authorizations.
func (a *Accounts) Forget(ctx context.Context, accountID string) error {
	err := a.store.DeleteAccount(ctx, accountID)
	if errors.Is(err, autobuild.ErrConflict) {
		err = a.clearTokens(ctx, accountID)
	}
	if err != nil {
		return fmt.Errorf("linked account %s: %w", accountID, err)
	}
	return nil
}

func (a *Accounts) clearTokens(ctx context.Context, accountID string) error {
	account, err := a.store.Account(ctx, accountID)
	if err != nil {
		return err
	}
	account.AccessToken, account.RefreshToken, account.ExpiresAt = secret.Secret{}, secret.Secret{}, time.Time{}
	account.State, account.Problem = autobuild.AccountBroken, "it was unlinked: link it again to resume its "+
		"automated builds"
	_, err = a.store.SaveAccount(ctx, account)
	return err
}
