package accounts

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/cloud"
	"slipway/plugin/logctx"
)

// An identity is the Bitbucket user who granted access, and the source provider.
type identity struct {
	cloud.User
	provider autobuild.Provider
}

func (i identity) name() string { return cmp.Or(i.Nickname, i.DisplayName, i.UUID) }

// completeFlow signs in with the grant, or links the account, depending on the flow.
func (a *Accounts) completeFlow(
	ctx context.Context, flow autobuild.OAuthFlow, id identity, tokens grant,
) (Linked, error) {
	if flow.UserID == "" {
		return a.signIn(ctx, id, tokens)
	}
	user, taken, err := a.resolveOwner(ctx, flow.UserID, id)
	if err != nil {
		return Linked{}, err
	}
	account, err := a.link(ctx, user, id, tokens)
	if err != nil {
		return Linked{}, err
	}
	return Linked{User: user, Account: account, SignedIn: taken}, nil
}

// signIn returns the user of an identity. It creates a user without a role for a new identity. The
// user's permissions are those of the identity at Bitbucket, and the session reads them with the
// grant. Signing in links no account. If the user linked the account before, the account gets the
// tokens instead of the session, which repairs a broken link. An unlinked account stays unlinked.
func (a *Accounts) signIn(ctx context.Context, id identity, tokens grant) (Linked, error) {
	user, err := a.store.UserByRemote(ctx, id.provider.ID, id.UUID)
	if errors.Is(err, autobuild.ErrNotFound) {
		user, err = a.store.SaveUser(ctx, autobuild.User{
			ProviderID: id.provider.ID,
			RemoteID:   id.UUID,
			Name:       id.name(),
			Role:       autobuild.RoleNone,
			CreatedAt:  a.now(),
		})
	}
	if err != nil {
		return Linked{}, fmt.Errorf("sign in %s: %w", id.name(), err)
	}
	linked := Linked{User: user, SignedIn: true, Grant: tokens.forSession()}
	known, err := a.accountOf(ctx, id)
	if errors.Is(err, autobuild.ErrNotFound) || (err == nil && known.UserID != user.ID) {
		return linked, nil
	}
	if err != nil {
		return Linked{}, err
	}
	if unlinked := known.AccessToken.IsZero(); unlinked {
		return linked, nil
	}
	linked.Account, err = a.link(ctx, user, id, tokens)
	linked.Grant = autobuild.Grant{} // a refresh token works once: the account has it
	return linked, err
}

// resolveOwner decides which user gets the linked account. The first administrator signed in with
// the one-time token and has no identity yet, so it gets this one. If a user without a role has the
// identity already, that user becomes the administrator instead, and taken is true.
func (a *Accounts) resolveOwner(
	ctx context.Context,
	userID string,
	id identity,
) (user autobuild.User, taken bool, err error) {
	user, err = a.store.User(ctx, userID)
	if err != nil {
		return user, false, fmt.Errorf("user %s: %w", userID, err)
	}
	owner, err := a.store.UserByRemote(ctx, id.provider.ID, id.UUID)
	unknown := errors.Is(err, autobuild.ErrNotFound)
	switch {
	case err != nil && !unknown:
		return user, false, fmt.Errorf("identity %s: %w", id.name(), err)
	case unknown && user.RemoteID == "":
		user.ProviderID, user.RemoteID, user.Name = id.provider.ID, id.UUID, id.name()
		user, err = a.store.SaveUser(ctx, user)
		return user, false, err
	case unknown, owner.ID == user.ID:
		return user, false, nil
	case user.RemoteID == "" && owner.Role == autobuild.RoleNone:
		owner.Role = user.Role
		owner, err = a.store.SaveUser(ctx, owner)
		return owner, true, err
	default:
		return user, false, identityTaken(id, owner)
	}
}

func identityTaken(id identity, owner autobuild.User) error {
	return fmt.Errorf(
		"link %s: %w (%s): sign in as that user, or sign out at Bitbucket and link your own account",
		id.name(),
		ErrIdentityTaken,
		owner.Name,
	)
}

// link stores the tokens as a linked account. An identity that was linked before keeps its
// account, so that its automated builds continue.
func (a *Accounts) link(
	ctx context.Context,
	user autobuild.User,
	id identity,
	tokens grant,
) (autobuild.Account, error) {
	account, err := a.accountOf(ctx, id)
	if err != nil && !errors.Is(err, autobuild.ErrNotFound) {
		return account, err
	}
	if account.UserID != "" && account.UserID != user.ID {
		owner, err := a.store.User(ctx, account.UserID)
		if err != nil {
			return account, fmt.Errorf("user %s: %w", account.UserID, err)
		}
		return autobuild.Account{}, identityTaken(id, owner)
	}
	account.ProviderID, account.Kind, account.UserID = id.provider.ID, autobuild.AccountOAuth, user.ID
	account.Name, account.RemoteID, account.Scopes = id.name(), id.UUID, tokens.scopes
	account.AccessToken, account.RefreshToken, account.ExpiresAt = tokens.access, tokens.refresh, tokens.expires
	return a.saveLinked(ctx, account)
}

// saveLinked stores an account with a credential that has just worked.
func (a *Accounts) saveLinked(ctx context.Context, account autobuild.Account) (autobuild.Account, error) {
	account.State, account.Problem, account.LinkedAt = autobuild.AccountLinked, "", a.now()
	saved, err := a.store.SaveAccount(ctx, account)
	if err != nil {
		return saved, fmt.Errorf("linked account %s: %w", account.Name, err)
	}
	logctx.Log(ctx, a.log).WithField("account", saved.ID).WithField("kind", string(saved.Kind)).Info("account linked")
	return saved, nil
}

// accountOf returns the OAuth link of an identity, of any user. It returns ErrNotFound if there is
// no link.
func (a *Accounts) accountOf(ctx context.Context, id identity) (autobuild.Account, error) {
	all, err := a.store.Accounts(ctx)
	if err != nil {
		return autobuild.Account{}, fmt.Errorf("linked accounts: %w", err)
	}
	for _, account := range all {
		if account.Kind == autobuild.AccountOAuth && account.ProviderID == id.provider.ID &&
			account.RemoteID == id.UUID {
			return account, nil
		}
	}
	return autobuild.Account{}, autobuild.ErrNotFound
}
