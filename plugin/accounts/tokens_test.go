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

// accessToken creates an access token at Bitbucket, and the form for it.
func (e *env) accessToken(kind autobuild.AccountKind) accounts.Token {
	e.t.Helper()
	remote := bitbuckettest.AccessToken{Name: "ci", Workspace: e.acme, Scopes: []string{"repository", "webhook"}}
	typed := accounts.Token{ProviderID: e.provider.ID, Kind: kind, Workspace: "acme"}
	switch kind {
	case autobuild.AccountWorkspaceToken:
		remote.Kind = bitbuckettest.WorkspaceToken
	case autobuild.AccountProjectToken:
		remote.Kind, remote.Project = bitbuckettest.ProjectToken, "PROJ"
	case autobuild.AccountRepositoryToken:
		remote.Kind, remote.Repository = bitbuckettest.RepositoryToken, e.repo
		typed.Workspace, typed.Repository = "", "acme/app"
	}
	token, err := e.server.AddAccessToken(remote)
	if err != nil {
		e.t.Fatal(err)
	}
	typed.Token = secret.New(" " + token.Reveal() + "\n") // as pasted
	return typed
}

func (e *env) add(typed accounts.Token) autobuild.Account {
	e.t.Helper()
	account, err := e.AddToken(e.t.Context(), typed)
	if err != nil {
		e.t.Fatal(err)
	}
	return account
}

func TestAccessTokens(t *testing.T) {
	for kind, place := range map[autobuild.AccountKind]string{
		autobuild.AccountWorkspaceToken: "acme", autobuild.AccountProjectToken: "acme",
		autobuild.AccountRepositoryToken: "acme/app",
	} {
		t.Run(string(kind), func(t *testing.T) {
			e := newEnv(t)
			account := e.add(e.accessToken(kind))
			if account.Name != place {
				t.Errorf("name: got %v, want %v", account.Name, place)
			}
			if account.UserID != "" {
				t.Errorf(`user ID: got %q, want ""`, account.UserID)
			}
			if account.State != autobuild.AccountLinked {
				t.Errorf("state: got %v, want %v", account.State, autobuild.AccountLinked)
			}
			if account.RemoteID == "" {
				t.Error("remote ID: got none, want one")
			}
			if diff := cmp.Diff([]string{"repository", "webhook"}, account.Scopes); diff != "" {
				t.Errorf("scopes (-want +got):\n%s", diff)
			}
			c := e.connect(account.ID)
			workspaces, err := c.Repositories.Workspaces(t.Context())
			if err != nil {
				t.Fatalf("workspaces: got error %v, want none", err)
			}
			if len(workspaces) != 1 {
				t.Fatalf("number of workspaces: got %d, want 1 (%v)", len(workspaces), workspaces)
			}
			if workspaces[0].Slug != "acme" {
				t.Errorf(`slug: got %q, want "acme"`, workspaces[0].Slug)
			}
			repos, _, err := c.Repositories.List(t.Context(), "acme", "", "")
			if err != nil {
				t.Fatalf("list repositories: got error %v, want none", err)
			}
			if len(repos) != 1 {
				t.Fatalf("number of repos: got %d, want 1 (%v)", len(repos), repos)
			}
			if repos[0].ID != e.repo.UUID {
				t.Errorf("ID: got %v, want %v", repos[0].ID, e.repo.UUID)
			}
			again := e.add(e.accessToken(kind))
			if again.ID != account.ID {
				t.Errorf("ID: got %v, want %v", again.ID, account.ID)
			}
			if again.AccessToken.Equal(account.AccessToken) {
				t.Errorf("access token: got the old one (%v), want a new one", again.AccessToken)
			}
			if again.Version != account.Version+1 {
				t.Errorf("version: got %v, want %v", again.Version, account.Version+1)
			}
		})
	}
}

func TestAccessTokensThatAreRefused(t *testing.T) {
	e := newEnv(t)
	change := func(f func(*accounts.Token)) error {
		typed := e.accessToken(autobuild.AccountRepositoryToken)
		f(&typed)
		_, err := e.AddToken(t.Context(), typed)
		return err
	}
	for field, f := range map[string]func(*accounts.Token){
		"repository": func(a *accounts.Token) { a.Repository = "acme" },
		"workspace":  func(a *accounts.Token) { a.Kind = autobuild.AccountWorkspaceToken; a.Workspace = "https://x" },
		"kind":       func(a *accounts.Token) { a.Kind = autobuild.AccountOAuth },
		"token":      func(a *accounts.Token) { a.Token = secret.New(" ") },
		"expires":    func(a *accounts.Token) { a.Expires = e.clock.Now().Add(-time.Hour) },
	} {
		var fault autobuild.FieldError
		if err := change(f); !errors.As(err, &fault) {
			t.Fatalf("%s: got error %T (%v), want another type", field, err, err)
		} else if fault.Field != field {
			t.Errorf("%s: got Field %v, want %v", field, fault.Field, field)
		}
	}
	if err := change(
		func(a *accounts.Token) { a.Token = secret.New("wrong") },
	); !errors.Is(
		err,
		autobuild.ErrUnauthorized,
	) {
		t.Errorf("wrong token: got error %v, want %v", err, autobuild.ErrUnauthorized)
	}
	if err := change(
		func(a *accounts.Token) { a.Repository = "acme/other" },
	); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("change: got error %v, want %v", err, autobuild.ErrNotFound)
	} else if !strings.Contains(err.Error(), "acme/other") {
		t.Errorf(`change: got %q, want it to contain "acme/other"`, err.Error())
	}
	if err := change(func(a *accounts.Token) { a.ProviderID = "none" }); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("another provider: got error %v, want %v", err, autobuild.ErrNotFound)
	}
	if all, err := e.store.Accounts(t.Context()); err != nil {
		t.Fatalf("accounts: got error %v, want none", err)
	} else if len(all) != 0 {
		t.Errorf("number of rows: got %d, want 0 (%v)", len(all), all)
	}
}

// H8: revoked and expired access tokens break their account, and a new token repairs it.
func TestH8AccessTokenRevoked(t *testing.T) {
	e := newEnv(t)
	typed := e.accessToken(autobuild.AccountWorkspaceToken)
	account := e.add(typed)
	c := e.connect(account.ID)
	e.server.RevokeAccessToken(account.AccessToken)
	if _, err := c.Commits.Heads(t.Context(), app); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("heads: got error %v, want ErrUnauthorized", err)
	}
	if after := e.account(
		account.ID,
	); after.State != autobuild.AccountBroken {
		t.Errorf("state: got %v, want %v", after.State, autobuild.AccountBroken)
	} else if !strings.Contains(after.Problem, "Enter a new one") {
		t.Errorf(`problem: got %q, want it to contain "Enter a new one"`, after.Problem)
	}
	renewed := e.add(e.accessToken(autobuild.AccountWorkspaceToken))
	if _, err := c.Commits.Heads(t.Context(), app); err != nil {
		t.Fatalf("heads: got error %v, want none", err)
	} else if renewed.ID != account.ID {
		t.Errorf("ID: got %v, want %v", renewed.ID, account.ID)
	}
}

func TestAccessTokenExpires(t *testing.T) {
	e := newEnv(t)
	typed := e.accessToken(autobuild.AccountWorkspaceToken)
	typed.Expires = e.clock.Now().Add(time.Hour)
	c := e.connect(e.add(typed).ID)
	if _, err := c.Git.GitCredential(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	e.clock.pass(2 * time.Hour)
	if _, err := c.Git.GitCredential(
		t.Context(),
		app,
	); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("git credential: got error %v, want %v", err, autobuild.ErrUnauthorized)
	} else if !strings.Contains(err.Error(), "expired on") {
		t.Errorf(`git credential: got %q, want it to contain "expired on"`, err.Error())
	}
}

// One rejected request does not break an access token.
func TestAccessTokenRefusedOnce(t *testing.T) {
	e := newEnv(t)
	account := e.add(e.accessToken(autobuild.AccountWorkspaceToken))
	e.faults.Add(
		faults.Rule{Path: "/2.0/repositories/acme/app/refs/branches", Times: 1, Fault: faults.Status(401, "{}")},
	)
	_, err := e.connect(account.ID).Commits.Heads(t.Context(), app)
	if err != nil {
		t.Fatalf("heads: got error %v, want none", err)
	}
	if e.account(account.ID).State != autobuild.AccountLinked {
		t.Errorf("state: got %v, want %v", e.account(account.ID).State, autobuild.AccountLinked)
	}
}

// A token that is replaced while the old token is rejected is not marked as broken.
func TestH8AccessTokenReplacedMeanwhile(t *testing.T) {
	e := newEnv(t)
	account := e.add(e.accessToken(autobuild.AccountRepositoryToken))
	replacement := e.accessToken(autobuild.AccountRepositoryToken)
	c := e.connect(account.ID)
	refused := 0
	e.faults.Add(
		faults.Rule{
			Path:  "/2.0/repositories/**",
			Times: 2,
			Fault: func(rw http.ResponseWriter, _ *http.Request, _ http.Handler) {
				if refused++; refused == 2 { // the check before an account is marked as broken
					account.AccessToken = secret.New(strings.TrimSpace(replacement.Token.Reveal()))
					if _, err := e.store.SaveAccount(t.Context(), account); err != nil {
						t.Error(err)
					}
				}
				rw.WriteHeader(http.StatusUnauthorized)
			},
		},
	)
	_, err := c.Commits.Heads(t.Context(), app)
	if after := e.account(account.ID); err != nil {
		t.Fatalf("heads: got error %v, want none", err)
	} else if after.State != autobuild.AccountLinked {
		t.Errorf("state: got %v, want %v", after.State, autobuild.AccountLinked)
	} else if refused != 2 {
		t.Errorf("refused requests: got %v, want 2", refused)
	}
}

func TestMissingScopes(t *testing.T) {
	e := newEnv(t)
	for _, tc := range []struct {
		kind          autobuild.AccountKind
		granted, want []string
	}{
		{autobuild.AccountOAuth, nil, nil}, // scopes unknown
		{autobuild.AccountOAuth, []string{"account", "repository", "webhook"}, nil},
		{autobuild.AccountOAuth, []string{"account:write", "pullrequest", "webhook"}, nil},
		{autobuild.AccountOAuth, []string{"email"}, []string{"account", "repository", "webhook"}},
		{autobuild.AccountOAuth, []string{"account", "repository:admin", "webhook"}, []string{"repository"}},
		{autobuild.AccountRepositoryToken, []string{"repository:write"}, []string{"webhook"}},
	} {
		got := e.MissingScopes(autobuild.Account{Kind: tc.kind, Scopes: tc.granted})
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("scopes of %v (-want +got):\n%s", tc.granted, diff)
		}
	}
}
