package accounts_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
)

// accessToken makes one at Bitbucket, and what a person would type of it.
func (w *world) accessToken(kind autobuild.AccountKind) accounts.Token {
	w.t.Helper()
	remote := bitbuckettest.AccessToken{Name: "ci", Workspace: w.acme, Scopes: []string{"repository", "webhook"}}
	typed := accounts.Token{ProviderID: w.provider.ID, Kind: kind, Workspace: "acme"}
	switch kind {
	case autobuild.AccountWorkspaceToken:
		remote.Kind = bitbuckettest.WorkspaceToken
	case autobuild.AccountProjectToken:
		remote.Kind, remote.Project = bitbuckettest.ProjectToken, "PROJ"
	case autobuild.AccountRepositoryToken:
		remote.Kind, remote.Repository = bitbuckettest.RepositoryToken, w.repo
		typed.Workspace, typed.Repository = "", "acme/app"
	}
	token, err := w.server.AddAccessToken(remote)
	if err != nil {
		w.t.Fatal(err)
	}
	typed.Token = secret.New(" " + token.Reveal() + "\n") // as pasted
	return typed
}

func (w *world) add(typed accounts.Token) autobuild.Account {
	w.t.Helper()
	account, err := w.AddToken(w.t.Context(), typed)
	if err != nil {
		w.t.Fatal(err)
	}
	return account
}

func TestAccessTokens(t *testing.T) {
	for kind, place := range map[autobuild.AccountKind]string{
		autobuild.AccountWorkspaceToken: "acme", autobuild.AccountProjectToken: "acme", autobuild.AccountRepositoryToken: "acme/app",
	} {
		t.Run(string(kind), func(t *testing.T) {
			w := newWorld(t)
			account := w.add(w.accessToken(kind))
			if account.Name != place || account.UserID != "" || account.State != autobuild.AccountLinked ||
				account.RemoteID == "" {
				t.Errorf("%+v", account)
			}
			if diff := cmp.Diff([]string{"repository", "webhook"}, account.Scopes); diff != "" {
				t.Errorf("scopes (-want +got):\n%s", diff)
			}
			c := w.connect(account.ID)
			workspaces, err := c.Repositories.Workspaces(t.Context())
			if err != nil || len(workspaces) != 1 || workspaces[0].Slug != "acme" {
				t.Errorf("%v, %v", workspaces, err)
			}
			repos, _, err := c.Repositories.List(t.Context(), "acme", "", "")
			if err != nil || len(repos) != 1 || repos[0].ID != w.repo.UUID {
				t.Errorf("%v, %v", repos, err)
			}
			again := w.add(w.accessToken(kind))
			if again.ID != account.ID || again.AccessToken.Equal(account.AccessToken) ||
				again.Version != account.Version+1 {
				t.Errorf("replaced: %+v", again)
			}
		})
	}
}

func TestAccessTokensThatAreRefused(t *testing.T) {
	w := newWorld(t)
	change := func(f func(*accounts.Token)) error {
		typed := w.accessToken(autobuild.AccountRepositoryToken)
		f(&typed)
		_, err := w.AddToken(t.Context(), typed)
		return err
	}
	for field, f := range map[string]func(*accounts.Token){
		"repository": func(a *accounts.Token) { a.Repository = "acme" },
		"workspace":  func(a *accounts.Token) { a.Kind = autobuild.AccountWorkspaceToken; a.Workspace = "https://x" },
		"kind":       func(a *accounts.Token) { a.Kind = autobuild.AccountOAuth },
		"token":      func(a *accounts.Token) { a.Token = secret.New(" ") },
		"expires":    func(a *accounts.Token) { a.Expires = w.clock.Now().Add(-time.Hour) },
	} {
		var fault autobuild.FieldError
		if err := change(f); !errors.As(err, &fault) || fault.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := change(
		func(a *accounts.Token) { a.Token = secret.New("wrong") },
	); !errors.Is(
		err,
		autobuild.ErrUnauthorized,
	) {
		t.Errorf("wrong token: %v", err)
	}
	if err := change(
		func(a *accounts.Token) { a.Repository = "acme/other" },
	); !errors.Is(err, autobuild.ErrNotFound) ||
		!strings.Contains(err.Error(), "acme/other") {
		t.Errorf("another repository: %v", err)
	}
	if err := change(func(a *accounts.Token) { a.ProviderID = "none" }); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("another provider: %v", err)
	}
	if all, err := w.store.Accounts(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("stored: %v, %v", all, err)
	}
}

// H8 for access tokens: revoked and expired ones break their account; a new one mends it.
func TestH8AccessTokenRevoked(t *testing.T) {
	w := newWorld(t)
	typed := w.accessToken(autobuild.AccountWorkspaceToken)
	account := w.add(typed)
	c := w.connect(account.ID)
	w.server.RevokeAccessToken(account.AccessToken)
	if _, err := c.Commits.Heads(t.Context(), app); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("got %v", err)
	}
	if after := w.account(
		account.ID,
	); after.State != autobuild.AccountBroken ||
		!strings.Contains(after.Problem, "Enter a new one") {
		t.Errorf("%s %q", after.State, after.Problem)
	}
	mended := w.add(w.accessToken(autobuild.AccountWorkspaceToken))
	if _, err := c.Commits.Heads(t.Context(), app); err != nil || mended.ID != account.ID {
		t.Errorf("mended: %v", err)
	}
}

func TestAccessTokenExpires(t *testing.T) {
	w := newWorld(t)
	typed := w.accessToken(autobuild.AccountWorkspaceToken)
	typed.Expires = w.clock.Now().Add(time.Hour)
	c := w.connect(w.add(typed).ID)
	if _, err := c.Git.GitCredential(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(2 * time.Hour)
	if _, err := c.Git.GitCredential(
		t.Context(),
		app,
	); !errors.Is(err, autobuild.ErrUnauthorized) ||
		!strings.Contains(err.Error(), "expired on") {
		t.Errorf("got %v", err)
	}
}

// One refusal by mistake does not break an access token.
func TestAccessTokenRefusedOnce(t *testing.T) {
	w := newWorld(t)
	account := w.add(w.accessToken(autobuild.AccountWorkspaceToken))
	w.faults.Add(
		faults.Rule{Path: "/2.0/repositories/acme/app/refs/branches", Times: 1, Fault: faults.Status(401, "{}")},
	)
	_, err := w.connect(account.ID).Commits.Heads(t.Context(), app)
	if err != nil || w.account(account.ID).State != autobuild.AccountLinked {
		t.Errorf("%v, %s", err, w.account(account.ID).State)
	}
}

// A token that is replaced while the old one is being refused is not marked broken for it.
func TestH8AccessTokenReplacedMeanwhile(t *testing.T) {
	w := newWorld(t)
	account := w.add(w.accessToken(autobuild.AccountRepositoryToken))
	replacement := w.accessToken(autobuild.AccountRepositoryToken)
	c := w.connect(account.ID)
	refused := 0
	w.faults.Add(
		faults.Rule{
			Path:  "/2.0/repositories/**",
			Times: 2,
			Fault: func(rw http.ResponseWriter, _ *http.Request, _ http.Handler) {
				if refused++; refused == 2 { // the check before an account is given up
					account.AccessToken = secret.New(strings.TrimSpace(replacement.Token.Reveal()))
					if _, err := w.store.SaveAccount(t.Context(), account); err != nil {
						t.Error(err)
					}
				}
				rw.WriteHeader(http.StatusUnauthorized)
			},
		},
	)
	_, err := c.Commits.Heads(t.Context(), app)
	if after := w.account(account.ID); err != nil || after.State != autobuild.AccountLinked || refused != 2 {
		t.Errorf("%v, %s %q after %d refusals", err, after.State, after.Problem, refused)
	}
}

func TestMissingScopes(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		kind          autobuild.AccountKind
		granted, want []string
	}{
		{autobuild.AccountOAuth, nil, nil}, // not told
		{autobuild.AccountOAuth, []string{"account", "repository", "webhook"}, nil},
		{autobuild.AccountOAuth, []string{"account:write", "pullrequest", "webhook"}, nil},
		{autobuild.AccountOAuth, []string{"email"}, []string{"account", "repository", "webhook"}},
		{autobuild.AccountOAuth, []string{"account", "repository:admin", "webhook"}, []string{"repository"}},
		{autobuild.AccountRepositoryToken, []string{"repository:write"}, []string{"webhook"}},
	} {
		got := w.MissingScopes(autobuild.Account{Kind: tc.kind, Scopes: tc.granted})
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.granted, diff)
		}
	}
}
