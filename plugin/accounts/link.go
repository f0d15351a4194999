package accounts

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"golang.org/x/oauth2"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/cloud"
	"slipway/plugin/provider"
)

const flowLifetime = 10 * time.Minute

// BeginLink starts to link an account to a user, or to sign in if userID is empty. It returns the
// URL of the provider's page that the browser has to open. browserID is the value of a cookie of
// this browser: only this browser can finish the flow, once, within ten minutes. returnTo is the
// local path to open afterwards; anything else becomes "/".
func (a *Accounts) BeginLink(ctx context.Context, providerID, userID, browserID, returnTo string) (string, error) {
	if browserID == "" {
		return "", fmt.Errorf("start linking: %w: the browser sent no cookie", ErrFlow)
	}
	p, err := a.provider(ctx, providerID)
	if err != nil {
		return "", err
	}
	consumer, err := a.consumer(p)
	if err != nil {
		return "", err
	}
	state, verifier := autobuild.NewToken().Reveal(), oauth2.GenerateVerifier()
	err = a.store.SaveOAuthFlow(ctx, autobuild.OAuthFlow{
		State: digest(state), BrowserID: digest(browserID), ProviderID: p.ID, UserID: userID,
		CodeVerifier: secret.New(verifier), ReturnTo: LocalPath(returnTo), ExpiresAt: a.now().Add(flowLifetime),
	})
	if err != nil {
		return "", fmt.Errorf("start linking: %w", err)
	}
	return consumer.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier)), nil
}

func digest(s string) string { return autobuild.TokenHash(secret.New(s)) }

// Linked is the result of a flow.
type Linked struct {
	User     autobuild.User
	Account  autobuild.Account // zero after a sign-in of a user without a linked account
	ReturnTo string            // a local path
	SignedIn bool              // the browser now belongs to a session of User
	Grant    autobuild.Grant   // for the session; zero if Account has the tokens
}

// Finish completes a flow with the values that the provider's page sent back. It checks that the
// flow belongs to this browser, exchanges the code, and stores the account or the user. A state
// works once, even if a check fails. ErrFlow, ErrDenied and ErrIdentityTaken are errors that the
// person can fix.
func (a *Accounts) Finish(ctx context.Context, state, code, browserID string) (Linked, error) {
	flow, err := a.takeFlow(ctx, state, browserID)
	if err != nil {
		return Linked{}, err
	}
	if code == "" {
		return Linked{}, fmt.Errorf("finish linking: %w", ErrDenied)
	}
	p, err := a.provider(ctx, flow.ProviderID)
	if err != nil {
		return Linked{}, err
	}
	tokens, err := a.exchange(ctx, p, code, flow.CodeVerifier)
	if errors.Is(err, errGrant) {
		return Linked{}, fmt.Errorf("finish linking: %w: %w", ErrFlow, err)
	}
	if err != nil {
		return Linked{}, fmt.Errorf("finish linking: %w", err)
	}
	user, err := a.fetchUser(ctx, p, tokens)
	if err != nil {
		return Linked{}, err
	}
	tokens.scopes = firstNonEmpty(tokens.scopes, user.Scopes)
	linked, err := a.completeFlow(ctx, flow, identity{User: user, provider: p}, tokens)
	linked.ReturnTo = flow.ReturnTo
	return linked, err
}

// takeFlow deletes and returns the flow of a state. It returns ErrFlow if the flow does not belong
// to this browser or has expired.
func (a *Accounts) takeFlow(ctx context.Context, state, browserID string) (autobuild.OAuthFlow, error) {
	flow, err := a.store.TakeOAuthFlow(ctx, digest(state))
	if errors.Is(err, autobuild.ErrNotFound) {
		return flow, fmt.Errorf("finish linking: %w", ErrFlow)
	}
	if err != nil {
		return flow, fmt.Errorf("finish linking: %w", err)
	}
	sameBrowser := subtle.ConstantTimeCompare([]byte(flow.BrowserID), []byte(digest(browserID))) == 1
	if !sameBrowser || !a.now().Before(flow.ExpiresAt) {
		return flow, fmt.Errorf("finish linking: %w", ErrFlow)
	}
	return flow, nil
}

func (a *Accounts) fetchUser(ctx context.Context, p autobuild.Provider, tokens grant) (cloud.User, error) {
	client, err := a.tokenClient(p, tokens.access)
	if err != nil {
		return cloud.User{}, err
	}
	user, err := client.User(ctx)
	if errors.Is(err, bitbucket.ErrForbidden) {
		return user, fmt.Errorf(
			"read the user: %w: the OAuth consumer of %s has no permission Account: select it at Bitbucket and link again: %w",
			autobuild.ErrForbidden,
			p.Name,
			err,
		)
	}
	if err != nil {
		return user, fmt.Errorf("read the user: %w", provider.Translate(err))
	}
	if user.UUID == "" {
		return user, fmt.Errorf(
			"read the user: %w: the response of %s contains no user",
			autobuild.ErrUnavailable,
			p.Name,
		)
	}
	return user, nil
}
