// Package accounts keeps linked accounts: it links and signs in over OAuth 2, refreshes
// tokens, takes access tokens, and opens connections with them.
//
// Refresh tokens rotate at every use, so a refresh is made once: callers in this process
// share one flight per token, other processes are noticed by the account's version in the
// store, and the new tokens are stored before anybody uses them.
//
// Source: https://support.atlassian.com/bitbucket-cloud/docs/use-oauth-on-bitbucket-cloud/.
package accounts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/cloud"
	"slipway/plugin/provider"
)

// Options are what Accounts stand on. Store and URL are required.
type Options struct {
	Store     Store
	URL       string            // public base URL of the gateway, without a trailing slash
	Transport http.RoundTripper // to providers; nil = http.DefaultTransport
	Now       func() time.Time  // nil = time.Now
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
	limiters map[string]*rate.Limiter // by what Cloud counts together
	failures map[string]failedCheck   // of permissions, by session
}

var _ autobuild.Connector = (*Accounts)(nil)

// New wires Accounts; it makes no call.
func New(o Options) *Accounts {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		o.Log = silent
	}
	return &Accounts{
		store: o.Store, url: strings.TrimSuffix(o.URL, "/"), transport: o.Transport, now: o.Now, log: o.Log,
		oauthHTTP: oauthClient(o.Transport), limiters: map[string]*rate.Limiter{}, failures: map[string]failedCheck{},
	}
}

// Connect opens a connection with an account's current credential, without a network call.
// ErrNotFound: there is no such account; ErrUnauthorized: its link is broken.
func (a *Accounts) Connect(ctx context.Context, accountID string) (autobuild.Connection, error) {
	account, err := a.usable(ctx, accountID)
	if err != nil {
		return autobuild.Connection{}, err
	}
	p, err := a.provider(ctx, account.ProviderID)
	if err != nil {
		return autobuild.Connection{}, err
	}
	client, err := a.client(p, account)
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

// usable returns an account that is not broken.
func (a *Accounts) usable(ctx context.Context, id string) (autobuild.Account, error) {
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

// client calls with an account's token, renewed as needed.
func (a *Accounts) client(p autobuild.Provider, account autobuild.Account) (*cloud.Client, error) {
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

// bare calls with a token that stands in no account yet.
func (a *Accounts) bare(p autobuild.Provider, token secret.Secret) (*cloud.Client, error) {
	api, err := bitbucket.New(bitbucket.Options{
		BaseURL: p.APIURL, Transport: a.transport, Log: a.log,
		Token: func(context.Context) (secret.Secret, error) { return token, nil },
	})
	if err != nil {
		return nil, fmt.Errorf("source provider %s: %w", p.Name, err)
	}
	return cloud.New(api), nil
}

// limiter is shared as Cloud shares allowances: all links of one OAuth consumer have one, and
// each access token has its own.
// Source: https://support.atlassian.com/bitbucket-cloud/docs/api-request-limits/.
func (a *Accounts) limiter(account autobuild.Account) *rate.Limiter {
	key := "account/" + account.ID
	if account.Kind == autobuild.AccountOAuth {
		key = "provider/" + account.ProviderID
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.limiters[key] == nil {
		a.limiters[key] = bitbucket.NewLimiter()
	}
	return a.limiters[key]
}

// Forget drops an account and its tokens. One that automated builds stand on stays, without
// tokens and broken, so that linking it again resumes them. Bitbucket documents no way to
// revoke the grant; its owner does that under Personal settings → App authorizations.
func (a *Accounts) Forget(ctx context.Context, accountID string) error {
	err := a.store.DeleteAccount(ctx, accountID)
	if errors.Is(err, autobuild.ErrConflict) {
		err = a.blank(ctx, accountID)
	}
	if err != nil {
		return fmt.Errorf("linked account %s: %w", accountID, err)
	}
	return nil
}

func (a *Accounts) blank(ctx context.Context, accountID string) error {
	account, err := a.store.Account(ctx, accountID)
	if err != nil {
		return err
	}
	account.AccessToken, account.RefreshToken, account.ExpiresAt = secret.Secret{}, secret.Secret{}, time.Time{}
	account.State, account.Problem = autobuild.AccountBroken, "it was unlinked; link it again and its automated builds go on"
	_, err = a.store.SaveAccount(ctx, account)
	return err
}
