package accounts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/logctx"
)

const (
	// margin is the shortest remaining lifetime of a token that callers get, so that a clone or
	// an upload can finish its first requests.
	margin         = 5 * time.Minute
	refreshTimeout = time.Minute
	maxStores      = 3
)

// token returns an account's credential. It refreshes a token that expires within margin.
func (a *Accounts) token(ctx context.Context, id string) (secret.Secret, error) {
	account, err := a.usableAccount(ctx, id)
	switch {
	case err != nil:
		return secret.Secret{}, err
	case account.Kind != autobuild.AccountOAuth:
		return a.accessToken(ctx, account)
	case a.now().Add(margin).Before(account.ExpiresAt) || account.ExpiresAt.IsZero():
		return account.AccessToken, nil
	}
	return a.refresh(ctx, id, account.AccessToken)
}

// renew returns a new credential after the API has rejected the given one.
func (a *Accounts) renew(ctx context.Context, id string, refused secret.Secret) (secret.Secret, error) {
	account, err := a.usableAccount(ctx, id)
	if err != nil {
		return secret.Secret{}, err
	}
	if account.Kind != autobuild.AccountOAuth {
		return a.recheckToken(ctx, account)
	}
	return a.refresh(ctx, id, refused)
}

// refresh replaces the stale token of an account.
func (a *Accounts) refresh(ctx context.Context, id string, stale secret.Secret) (secret.Secret, error) {
	return a.refreshShared(ctx, id, stale, func(ctx context.Context) (secret.Secret, error) {
		return a.refreshOnce(ctx, id, stale)
	})
}

// refreshShared calls once for all callers that have the same stale token of an owner. The call
// continues when the callers give up: the response invalidates the old refresh token, so the new
// tokens must be stored.
func (a *Accounts) refreshShared(
	ctx context.Context, owner string, stale secret.Secret, once func(context.Context) (secret.Secret, error),
) (secret.Secret, error) {
	flight := a.flights.DoChan(owner+"/"+digest(stale.Reveal()), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
		defer cancel()
		return once(ctx)
	})
	select {
	case <-ctx.Done():
		return secret.Secret{}, context.Cause(ctx)
	case result := <-flight:
		token, _ := result.Val.(secret.Secret)
		return token, result.Err
	}
}

// refreshOnce refreshes the token of an account. It stores the new tokens before they are used. A
// crash in between leaves the old refresh token, which works for some minutes after its first use.
func (a *Accounts) refreshOnce(ctx context.Context, id string, stale secret.Secret) (secret.Secret, error) {
	account, err := a.usableAccount(ctx, id)
	if err != nil {
		return secret.Secret{}, err
	}
	if !account.AccessToken.Equal(stale) {
		return account.AccessToken, nil // another caller has refreshed it
	}
	p, err := a.provider(ctx, account.ProviderID)
	if err != nil {
		return secret.Secret{}, err
	}
	tokens, err := a.refreshGrant(ctx, p, account.RefreshToken)
	if errors.Is(err, errGrant) {
		return a.breakLink(ctx, account, err)
	}
	if err != nil {
		return secret.Secret{}, fmt.Errorf("refresh the link of %s: %w", account.Name, err)
	}
	if tokens.refresh.IsZero() {
		tokens.refresh = account.RefreshToken // not rotated
	}
	return a.storeTokens(ctx, account, tokens)
}

// storeTokens stores refreshed tokens. If another process stored new tokens first, it returns those.
func (a *Accounts) storeTokens(ctx context.Context, account autobuild.Account, tokens grant) (secret.Secret, error) {
	updated, err := backoff.Retry(ctx, func() (autobuild.Account, error) {
		updated, err := a.store.UpdateTokens(
			ctx,
			account.ID,
			account.Version,
			tokens.access,
			tokens.refresh,
			tokens.expires,
		)
		if errors.Is(err, autobuild.ErrConflict) || errors.Is(err, autobuild.ErrNotFound) {
			err = backoff.Permanent(err)
		}
		return updated, err
	}, backoff.WithMaxTries(maxStores), backoff.WithMaxElapsedTime(refreshTimeout))
	if errors.Is(err, autobuild.ErrConflict) {
		theirs, err := a.usableAccount(ctx, account.ID)
		return theirs.AccessToken, err
	}
	if err != nil {
		return secret.Secret{}, fmt.Errorf("store the tokens of %s: %w", account.Name, err)
	}
	logctx.Log(ctx, a.log).WithField("account", account.ID).Debug("tokens refreshed")
	return updated.AccessToken, nil
}

// breakLink handles a refresh token that the provider rejects. Unless another process rotated the
// token, the link is broken until the account is linked again.
func (a *Accounts) breakLink(ctx context.Context, account autobuild.Account, cause error) (secret.Secret, error) {
	problem := fmt.Sprintf(
		"Bitbucket no longer accepts the link of %s (%v). Link the account again under Settings → Source providers. "+
			"Waiting builds continue then.",
		account.Name,
		cause,
	)
	return a.markBroken(ctx, account, problem)
}

// markBroken marks an account whose credential is rejected, and returns the error for its callers.
// If the account has a new credential by now, from a new link or from another process, it returns
// that credential and changes nothing.
func (a *Accounts) markBroken(ctx context.Context, account autobuild.Account, problem string) (secret.Secret, error) {
	err := a.store.BreakAccount(ctx, account.ID, account.Version, problem)
	if errors.Is(err, autobuild.ErrConflict) {
		now, err := a.usableAccount(ctx, account.ID)
		return now.AccessToken, err
	}
	if err != nil {
		return secret.Secret{}, fmt.Errorf("linked account %s: %w", account.Name, err)
	}
	logctx.Log(ctx, a.log).
		WithField("account", account.ID).
		WithField("problem", problem).
		Warn("linked account is broken")
	return secret.Secret{}, fmt.Errorf("linked account %s: %w: %s", account.Name, autobuild.ErrUnauthorized, problem)
}
