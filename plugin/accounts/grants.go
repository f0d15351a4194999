package accounts

import (
	"context"
	"errors"
	"fmt"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/cloud"
)

// userClient returns a client that acts as the user of a session. It uses the grant of the
// sign-in, or the linked account if the account took over the grant. A refresh token works once, so
// only one of the two has it. It returns ErrUnauthorized if the user has neither.
func (a *Accounts) userClient(
	ctx context.Context, p autobuild.Provider, session autobuild.Session, user autobuild.User,
) (*cloud.Client, error) {
	if session.Grant.IsZero() {
		account, err := a.accountOf(ctx, identity{User: cloud.User{UUID: user.RemoteID}, provider: p})
		usable := err == nil && account.UserID == user.ID && account.State == autobuild.AccountLinked
		if err != nil && !errors.Is(err, autobuild.ErrNotFound) {
			return nil, err
		}
		if !usable {
			return nil, fmt.Errorf("%w: the session of %s has no grant", autobuild.ErrUnauthorized, user.Name)
		}
		return a.accountClient(p, account)
	}
	id := session.ID
	api, err := bitbucket.New(bitbucket.Options{
		BaseURL: p.APIURL, Transport: a.transport, Log: a.log,
		Limiter: a.limiter(autobuild.Account{Kind: autobuild.AccountOAuth, ProviderID: p.ID}),
		Token:   func(ctx context.Context) (secret.Secret, error) { return a.sessionToken(ctx, p, id) },
		Renew: func(ctx context.Context, refused secret.Secret) (secret.Secret, error) {
			return a.refreshSession(ctx, p, id, refused)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("source provider %s: %w", p.Name, err)
	}
	return cloud.New(api), nil
}

// sessionGrant returns the grant of a session, or ErrUnauthorized if the session has none.
func (a *Accounts) sessionGrant(ctx context.Context, sessionID string) (autobuild.Grant, error) {
	session, err := a.store.Session(ctx, sessionID)
	switch {
	case errors.Is(err, autobuild.ErrNotFound):
		return autobuild.Grant{}, fmt.Errorf("%w: the session has ended", autobuild.ErrUnauthorized)
	case err != nil:
		return autobuild.Grant{}, err
	case session.Grant.IsZero():
		return autobuild.Grant{}, fmt.Errorf("%w: the session has no grant", autobuild.ErrUnauthorized)
	}
	return session.Grant, nil
}

// sessionToken returns a session's access token. It refreshes a token that expires within margin.
func (a *Accounts) sessionToken(ctx context.Context, p autobuild.Provider, sessionID string) (secret.Secret, error) {
	current, err := a.sessionGrant(ctx, sessionID)
	if err != nil {
		return secret.Secret{}, err
	}
	if a.now().Add(margin).Before(current.ExpiresAt) {
		return current.AccessToken, nil
	}
	return a.refreshSession(ctx, p, sessionID, current.AccessToken)
}

// refreshSession replaces the stale token of a session.
func (a *Accounts) refreshSession(
	ctx context.Context, p autobuild.Provider, sessionID string, stale secret.Secret,
) (secret.Secret, error) {
	return a.refreshShared(ctx, "session/"+sessionID, stale, func(ctx context.Context) (secret.Secret, error) {
		return a.refreshSessionOnce(ctx, p, sessionID, stale)
	})
}

func (a *Accounts) refreshSessionOnce(
	ctx context.Context, p autobuild.Provider, sessionID string, stale secret.Secret,
) (secret.Secret, error) {
	current, err := a.sessionGrant(ctx, sessionID)
	if err != nil {
		return secret.Secret{}, err
	}
	if !current.AccessToken.Equal(stale) {
		return current.AccessToken, nil // another caller has refreshed it
	}
	tokens, err := a.refreshGrant(ctx, p, current.RefreshToken)
	renewed := autobuild.Grant{Version: current.Version}
	switch {
	case errors.Is(err, errGrant): // store an empty grant in its place
		err = fmt.Errorf("%w: Bitbucket no longer accepts this sign-in: %w", autobuild.ErrUnauthorized, err)
	case errors.Is(err, errClient): // the consumer is wrong; the user's grant may be fine
		return secret.Secret{}, fmt.Errorf("refresh a sign-in: %w: %w", autobuild.ErrUnavailable, err)
	case err != nil:
		return secret.Secret{}, fmt.Errorf("refresh a sign-in: %w", err)
	default:
		renewed = tokens.forSession()
		renewed.Version = current.Version
		if renewed.RefreshToken.IsZero() {
			renewed.RefreshToken = current.RefreshToken // not rotated
		}
	}
	stored, storeErr := a.store.UpdateGrant(ctx, sessionID, renewed)
	if errors.Is(storeErr, autobuild.ErrConflict) { // another process refreshed it first
		theirs, err := a.sessionGrant(ctx, sessionID)
		return theirs.AccessToken, err
	}
	if storeErr != nil {
		return secret.Secret{}, fmt.Errorf("store a refreshed sign-in: %w", storeErr)
	}
	return stored.AccessToken, err
}

// forSession returns the grant in the form that a session stores.
func (g grant) forSession() autobuild.Grant {
	return autobuild.Grant{AccessToken: g.access, RefreshToken: g.refresh, ExpiresAt: g.expires}
}
