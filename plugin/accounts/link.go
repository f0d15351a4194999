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

// BeginLink starts linking an account to a user, or with an empty userID signing in, and
// returns the provider's page to send the browser to. browserID is the value of a cookie that
// only this browser has: the flow can be finished nowhere else, once, within ten minutes.
// returnTo is where the browser wants to be afterwards; anything but a local path becomes "/".
func (a *Accounts) BeginLink(ctx context.Context, providerID, userID, browserID, returnTo string) (string, error) {
	if browserID == "" {
		return "", fmt.Errorf("begin a link: %w: the browser keeps no cookie", ErrFlow)
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
		return "", fmt.Errorf("begin a link: %w", err)
	}
	return consumer.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier)), nil
}

func digest(s string) string { return autobuild.TokenHash(secret.New(s)) }

// Linked is how a flow ended.
type Linked struct {
	User     autobuild.User
	Account  autobuild.Account // zero after a sign-in by somebody who linked nothing
	ReturnTo string            // a local path
	SignedIn bool              // the browser's session is User's from now on
	Grant    autobuild.Grant   // for the session; zero if Account took the tokens
}

// Finish ends a flow with what the provider's page sent back: it checks that the flow is this
// browser's, takes it (even when a check fails: a state is good for one try), exchanges the
// code and stores what came of it. ErrFlow, ErrDenied and ErrIdentityTaken are for the person.
func (a *Accounts) Finish(ctx context.Context, state, code, browserID string) (Linked, error) {
	flow, err := a.take(ctx, state, browserID)
	if err != nil {
		return Linked{}, err
	}
	if code == "" {
		return Linked{}, fmt.Errorf("finish a link: %w", ErrDenied)
	}
	p, err := a.provider(ctx, flow.ProviderID)
	if err != nil {
		return Linked{}, err
	}
	tokens, err := a.exchange(ctx, p, code, flow.CodeVerifier)
	if errors.Is(err, errGrant) {
		return Linked{}, fmt.Errorf("finish a link: %w: %w", ErrFlow, err)
	}
	if err != nil {
		return Linked{}, fmt.Errorf("finish a link: %w", err)
	}
	who, err := a.whoAmI(ctx, p, tokens)
	if err != nil {
		return Linked{}, err
	}
	tokens.scopes = firstSet(tokens.scopes, who.Scopes)
	linked, err := a.settle(ctx, flow, identity{User: who, provider: p}, tokens)
	linked.ReturnTo = flow.ReturnTo
	return linked, err
}

// take takes the flow of a state, and checks that it is this browser's.
func (a *Accounts) take(ctx context.Context, state, browserID string) (autobuild.OAuthFlow, error) {
	flow, err := a.store.TakeOAuthFlow(ctx, digest(state))
	if errors.Is(err, autobuild.ErrNotFound) {
		return flow, fmt.Errorf("finish a link: %w", ErrFlow)
	}
	if err != nil {
		return flow, fmt.Errorf("finish a link: %w", err)
	}
	sameBrowser := subtle.ConstantTimeCompare([]byte(flow.BrowserID), []byte(digest(browserID))) == 1
	if !sameBrowser || !a.now().Before(flow.ExpiresAt) {
		return flow, fmt.Errorf("finish a link: %w", ErrFlow)
	}
	return flow, nil
}

func (a *Accounts) whoAmI(ctx context.Context, p autobuild.Provider, tokens grant) (cloud.User, error) {
	client, err := a.bare(p, tokens.access)
	if err != nil {
		return cloud.User{}, err
	}
	who, err := client.User(ctx)
	if errors.Is(err, bitbucket.ErrForbidden) {
		return who, fmt.Errorf(
			"who am I: %w: the OAuth consumer of %s lacks the permission account; tick it there and link again: %w",
			autobuild.ErrForbidden,
			p.Name,
			err,
		)
	}
	if err != nil {
		return who, fmt.Errorf("who am I: %w", provider.Translate(err))
	}
	if who.UUID == "" {
		return who, fmt.Errorf("who am I: %w: the answer of %s names nobody", autobuild.ErrUnavailable, p.Name)
	}
	return who, nil
}
