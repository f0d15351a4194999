package accounts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
	"slipway/plugin/provider"
)

// A Token is an access token of a workspace, a project or a repository, as entered in a form.
// Source: https://support.atlassian.com/bitbucket-cloud/docs/access-tokens/.
type Token struct {
	ProviderID string
	Kind       autobuild.AccountKind
	Name       string // shown on pages; empty means the workspace or the repository
	Workspace  string // slug; of workspace and project tokens
	Repository string // full name; of repository tokens
	Token      secret.Secret
	Expires    time.Time // zero means never
}

// slug matches the name of a workspace or a repository in URLs.
var slug = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// AddToken checks an access token at Bitbucket and stores it as an account of the installation. A
// token with the same name for the same workspace or repository replaces the earlier token and
// keeps its account. An invalid field is an autobuild.FieldError.
func (a *Accounts) AddToken(ctx context.Context, t Token) (autobuild.Account, error) {
	account, err := t.account()
	if err != nil {
		return autobuild.Account{}, err
	}
	if !account.ExpiresAt.IsZero() && !a.now().Before(account.ExpiresAt) {
		return autobuild.Account{}, autobuild.FieldError{Field: "expires", Message: "the date is in the past"}
	}
	p, err := a.provider(ctx, t.ProviderID)
	if err != nil {
		return autobuild.Account{}, err
	}
	if err := a.checkToken(ctx, p, &account); err != nil {
		return autobuild.Account{}, fmt.Errorf("access token for %s: %w", tokenTarget(account), err)
	}
	account, err = a.replaceToken(ctx, account)
	if err != nil {
		return autobuild.Account{}, err
	}
	return a.saveLinked(ctx, account)
}

// account validates the fields, without a request.
func (t Token) account() (autobuild.Account, error) {
	account := autobuild.Account{
		ProviderID:  t.ProviderID,
		Kind:        t.Kind,
		AccessToken: secret.New(strings.TrimSpace(t.Token.Reveal())),
		ExpiresAt:   t.Expires,
	}
	fault := func(field, message string) (autobuild.Account, error) {
		return autobuild.Account{}, autobuild.FieldError{Field: field, Message: message}
	}
	switch t.Kind {
	case autobuild.AccountRepositoryToken:
		workspace, name, _ := strings.Cut(t.Repository, "/")
		if !slug.MatchString(workspace) || !slug.MatchString(name) {
			return fault("repository", "write the repository as workspace/repository")
		}
		account.Repository = t.Repository
	case autobuild.AccountWorkspaceToken, autobuild.AccountProjectToken:
		if !slug.MatchString(t.Workspace) {
			return fault("workspace", "write the workspace's name as in its URL")
		}
		account.Workspace = t.Workspace
	default:
		return fault("kind", "choose a workspace, project or repository access token")
	}
	if account.AccessToken.IsZero() {
		return fault("token", "enter the token")
	}
	account.Name = cmp.Or(strings.TrimSpace(t.Name), tokenTarget(account))
	return account, nil
}

// tokenTarget returns the repository or the workspace that an access token is for.
func tokenTarget(account autobuild.Account) string {
	return cmp.Or(account.Repository, account.Workspace)
}

// workspaceOf returns the workspace that an access token is limited to. It is zero for links.
func workspaceOf(account autobuild.Account) autobuild.Workspace {
	switch account.Kind {
	case autobuild.AccountRepositoryToken:
		workspace, _, _ := strings.Cut(account.Repository, "/")
		return autobuild.Workspace{Slug: workspace}
	case autobuild.AccountWorkspaceToken, autobuild.AccountProjectToken:
		return autobuild.Workspace{ID: account.RemoteID, Slug: account.Workspace}
	default:
		return autobuild.Workspace{}
	}
}

// checkToken sends a request that the kind of token permits, and fills in the account's scopes and
// remote id from the response.
func (a *Accounts) checkToken(ctx context.Context, p autobuild.Provider, account *autobuild.Account) error {
	client, err := a.tokenClient(p, account.AccessToken)
	if err != nil {
		return err
	}
	_, name, _ := strings.Cut(account.Repository, "/")
	access, err := client.Access(ctx, workspaceOf(*account).Slug, name)
	if errors.Is(err, bitbucket.ErrNotFound) {
		return fmt.Errorf("%w: it does not exist, or the token has no access to it", autobuild.ErrNotFound)
	}
	if err != nil {
		return provider.Translate(err)
	}
	account.Scopes = access.Scopes
	account.RemoteID = cmp.Or(access.RepositoryUUID, access.WorkspaceUUID)
	return nil
}

// replaceToken gives account the id and version of the stored token that it replaces.
func (a *Accounts) replaceToken(ctx context.Context, account autobuild.Account) (autobuild.Account, error) {
	all, err := a.store.Accounts(ctx)
	if err != nil {
		return account, fmt.Errorf("linked accounts: %w", err)
	}
	for _, known := range all {
		if known.ProviderID == account.ProviderID && known.Kind == account.Kind &&
			tokenTarget(known) == tokenTarget(account) &&
			known.Name == account.Name {
			account.ID, account.Version = known.ID, known.Version
		}
	}
	return account, nil
}

// accessToken returns an access token unless it has expired.
func (a *Accounts) accessToken(ctx context.Context, account autobuild.Account) (secret.Secret, error) {
	if account.ExpiresAt.IsZero() || a.now().Before(account.ExpiresAt) {
		return account.AccessToken, nil
	}
	return a.markBroken(ctx, account, fmt.Sprintf(
		"The access token %s expired on %s. Enter a new one under Settings → Source providers.",
		account.Name,
		account.ExpiresAt.Format(time.DateOnly),
	))
}

// recheckToken checks a rejected access token again before it is marked as broken, because
// Bitbucket may reject a single request by mistake.
func (a *Accounts) recheckToken(ctx context.Context, account autobuild.Account) (secret.Secret, error) {
	p, err := a.provider(ctx, account.ProviderID)
	if err != nil {
		return secret.Secret{}, err
	}
	if err := a.checkToken(ctx, p, &account); !errors.Is(err, autobuild.ErrUnauthorized) {
		return account.AccessToken, err
	}
	return a.markBroken(ctx, account, fmt.Sprintf(
		"Bitbucket no longer accepts the access token %s. Enter a new one under Settings → Source providers.",
		account.Name,
	))
}
