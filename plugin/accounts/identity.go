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

// An identity is who granted access, and where.
type identity struct {
	cloud.User
	provider autobuild.Provider
}

func (i identity) name() string { return cmp.Or(i.Nickname, i.DisplayName, i.UUID) }

// settle makes of a grant what the flow was for.
func (a *Accounts) settle(ctx context.Context, flow autobuild.OAuthFlow, who identity, tokens grant) (Linked, error) {
	if flow.UserID == "" {
		return a.signIn(ctx, who, tokens)
	}
	user, taken, err := a.linker(ctx, flow.UserID, who)
	if err != nil {
		return Linked{}, err
	}
	account, err := a.link(ctx, user, who, tokens)
	if err != nil {
		return Linked{}, err
	}
	return Linked{User: user, Account: account, SignedIn: taken}, nil
}

// signIn finds the user of an identity; an unknown one becomes a user without a role, whose
// rights are those of the identity at Bitbucket. The grant is for the session, which reads them
// with it. No account is linked by it, but one that the user linked before gets the tokens in
// the session's place, which mends a broken link; one that was unlinked stays so until somebody
// links it.
func (a *Accounts) signIn(ctx context.Context, who identity, tokens grant) (Linked, error) {
	user, err := a.store.UserByRemote(ctx, who.provider.ID, who.UUID)
	if errors.Is(err, autobuild.ErrNotFound) {
		user, err = a.store.SaveUser(ctx, autobuild.User{
			ProviderID: who.provider.ID,
			RemoteID:   who.UUID,
			Name:       who.name(),
			Role:       autobuild.RoleNone,
			CreatedAt:  a.now(),
		})
	}
	if err != nil {
		return Linked{}, fmt.Errorf("sign in %s: %w", who.name(), err)
	}
	linked := Linked{User: user, SignedIn: true, Grant: tokens.forSession()}
	known, err := a.accountOf(ctx, who)
	if errors.Is(err, autobuild.ErrNotFound) || (err == nil && known.UserID != user.ID) {
		return linked, nil
	}
	if err != nil {
		return Linked{}, err
	}
	if unlinked := known.AccessToken.IsZero(); unlinked {
		return linked, nil
	}
	linked.Account, err = a.link(ctx, user, who, tokens)
	linked.Grant = autobuild.Grant{} // a refresh token works once: the account has it
	return linked, err
}

// linker decides whose the linked account becomes. The first administrator, who came by the
// one-time token, takes the identity; if the same person signed in with it before, without
// being anybody here, that user becomes the administrator instead (taken).
func (a *Accounts) linker(
	ctx context.Context,
	userID string,
	who identity,
) (user autobuild.User, taken bool, err error) {
	user, err = a.store.User(ctx, userID)
	if err != nil {
		return user, false, fmt.Errorf("user %s: %w", userID, err)
	}
	owner, err := a.store.UserByRemote(ctx, who.provider.ID, who.UUID)
	unknown := errors.Is(err, autobuild.ErrNotFound)
	switch {
	case err != nil && !unknown:
		return user, false, fmt.Errorf("identity %s: %w", who.name(), err)
	case unknown && user.RemoteID == "":
		user.ProviderID, user.RemoteID, user.Name = who.provider.ID, who.UUID, who.name()
		user, err = a.store.SaveUser(ctx, user)
		return user, false, err
	case unknown, owner.ID == user.ID:
		return user, false, nil
	case user.RemoteID == "" && owner.Role == autobuild.RoleNone:
		owner.Role = user.Role
		owner, err = a.store.SaveUser(ctx, owner)
		return owner, true, err
	default:
		return user, false, taking(who, owner)
	}
}

func taking(who identity, owner autobuild.User) error {
	return fmt.Errorf(
		"link %s: %w (%s); sign in as that user, or sign out at Bitbucket and link your own",
		who.name(),
		ErrIdentityTaken,
		owner.Name,
	)
}

// link stores the tokens. An identity that was linked before keeps its account, so that its
// automated builds go on.
func (a *Accounts) link(
	ctx context.Context,
	user autobuild.User,
	who identity,
	tokens grant,
) (autobuild.Account, error) {
	account, err := a.accountOf(ctx, who)
	if err != nil && !errors.Is(err, autobuild.ErrNotFound) {
		return account, err
	}
	if account.UserID != "" && account.UserID != user.ID {
		owner, err := a.store.User(ctx, account.UserID)
		if err != nil {
			return account, fmt.Errorf("user %s: %w", account.UserID, err)
		}
		return autobuild.Account{}, taking(who, owner)
	}
	account.ProviderID, account.Kind, account.UserID = who.provider.ID, autobuild.AccountOAuth, user.ID
	account.Name, account.RemoteID, account.Scopes = who.name(), who.UUID, tokens.scopes
	account.AccessToken, account.RefreshToken, account.ExpiresAt = tokens.access, tokens.refresh, tokens.expires
	return a.save(ctx, account)
}

// save stores an account with a credential that has just worked.
func (a *Accounts) save(ctx context.Context, account autobuild.Account) (autobuild.Account, error) {
	account.State, account.Problem, account.LinkedAt = autobuild.AccountLinked, "", a.now()
	saved, err := a.store.SaveAccount(ctx, account)
	if err != nil {
		return saved, fmt.Errorf("linked account %s: %w", account.Name, err)
	}
	logctx.Log(ctx, a.log).WithField("account", saved.ID).WithField("kind", string(saved.Kind)).Info("account linked")
	return saved, nil
}

// accountOf finds the OAuth link of an identity, whoever made it.
func (a *Accounts) accountOf(ctx context.Context, who identity) (autobuild.Account, error) {
	all, err := a.store.Accounts(ctx)
	if err != nil {
		return autobuild.Account{}, fmt.Errorf("linked accounts: %w", err)
	}
	for _, account := range all {
		if account.Kind == autobuild.AccountOAuth && account.ProviderID == who.provider.ID &&
			account.RemoteID == who.UUID {
			return account, nil
		}
	}
	return autobuild.Account{}, autobuild.ErrNotFound
}
