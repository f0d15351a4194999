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
	// margin is how long a token that is handed out is good for at least, so that a clone or
	// an upload that begins with it can finish its first requests.
	margin         = 5 * time.Minute
	refreshTimeout = time.Minute
	maxStores      = 3
)

// token returns an account's credential, refreshed when it ends within the margin.
func (a *Accounts) token(ctx context.Context, id string) (secret.Secret, error) {
	account, err := a.usable(ctx, id)
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

// renew returns another credential than the one that the API refused.
func (a *Accounts) renew(ctx context.Context, id string, refused secret.Secret) (secret.Secret, error) {
	account, err := a.usable(ctx, id)
	if err != nil {
		return secret.Secret{}, err
	}
	if account.Kind != autobuild.AccountOAuth {
		return a.recheck(ctx, account)
	}
	return a.refresh(ctx, id, refused)
}

// refresh replaces the stale token of an account.
func (a *Accounts) refresh(ctx context.Context, id string, stale secret.Secret) (secret.Secret, error) {
	return a.refreshShared(ctx, id, stale, func(ctx context.Context) (secret.Secret, error) {
		return a.refreshOnce(ctx, id, stale)
	})
}

// refreshShared runs once for all callers that hold the same stale token of an owner. It goes on
// when they give up: its answer ends the old refresh token, so it must be stored.
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

// refreshOnce is one flight. The tokens are stored before they are used: a crash in between
// leaves the old refresh token, which works for some minutes after its first use.
func (a *Accounts) refreshOnce(ctx context.Context, id string, stale secret.Secret) (secret.Secret, error) {
	account, err := a.usable(ctx, id)
	if err != nil {
		return secret.Secret{}, err
	}
	if !account.AccessToken.Equal(stale) {
		return account.AccessToken, nil // somebody was faster
	}
	p, err := a.provider(ctx, account.ProviderID)
	if err != nil {
		return secret.Secret{}, err
	}
	tokens, err := a.refreshGrant(ctx, p, account.RefreshToken)
	if errors.Is(err, errGrant) {
		return a.refused(ctx, account, err)
	}
	if err != nil {
		return secret.Secret{}, fmt.Errorf("refresh the link of %s: %w", account.Name, err)
	}
	if tokens.refresh.IsZero() {
		tokens.refresh = account.RefreshToken // not rotated
	}
	return a.keep(ctx, account, tokens)
}

// keep stores refreshed tokens, or takes those that another process stored first.
func (a *Accounts) keep(ctx context.Context, account autobuild.Account, tokens grant) (secret.Secret, error) {
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
		theirs, err := a.usable(ctx, account.ID)
		return theirs.AccessToken, err
	}
	if err != nil {
		return secret.Secret{}, fmt.Errorf("store the tokens of %s: %w", account.Name, err)
	}
	logctx.Log(ctx, a.log).WithField("account", account.ID).Debug("tokens refreshed")
	return updated.AccessToken, nil
}

// refused handles a refresh token that the provider does not take: unless another process
// rotated it, the link is broken until somebody links again.
func (a *Accounts) refused(ctx context.Context, account autobuild.Account, cause error) (secret.Secret, error) {
	problem := fmt.Sprintf(
		"Bitbucket no longer accepts the link of %s (%v). Link the account again under Settings → Source providers; what waits for it goes on then.",
		account.Name,
		cause,
	)
	return a.broken(ctx, account, problem)
}

// broken marks an account whose credential is refused and returns what its callers get from
// now on. An account that has another credential by now, of a new link or of another
// process's refresh, stays as it is, and its callers get that one.
func (a *Accounts) broken(ctx context.Context, account autobuild.Account, problem string) (secret.Secret, error) {
	err := a.store.BreakAccount(ctx, account.ID, account.Version, problem)
	if errors.Is(err, autobuild.ErrConflict) {
		now, err := a.usable(ctx, account.ID)
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
