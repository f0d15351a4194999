package accounts_test

import (
	"errors"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
)

func TestForget(t *testing.T) {
	e := newEnv(t)
	account := e.linked()
	if err := e.Forget(t.Context(), account.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Connect(t.Context(), account.ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("connect: got error %v, want %v", err, autobuild.ErrNotFound)
	}
	if err := e.Forget(t.Context(), account.ID); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("twice: got error %v, want %v", err, autobuild.ErrNotFound)
	}
}

// Unlinking deletes the tokens at once. Automated builds keep the account, and linking it again
// resumes them.
func TestForgetAnAccountOfAutomatedBuilds(t *testing.T) {
	e := newEnv(t)
	account := e.linked()
	_, err := e.store.SaveAutomatedBuild(t.Context(), autobuild.AutomatedBuild{
		AccountID: account.ID,
		Image:     "registry.example.com/acme/app",
		Engine:    "embedded",
		Repository: autobuild.Repository{
			ProviderID:  e.provider.ID,
			ID:          e.repo.UUID,
			WorkspaceID: e.acme.UUID,
			FullName:    "acme/app",
		},
		Rules: []autobuild.Rule{autobuild.DefaultRule("main")},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := e.connect(account.ID)
	if err := e.Forget(t.Context(), account.ID); err != nil {
		t.Fatal(err)
	}
	after := e.account(account.ID)
	if !after.AccessToken.IsZero() {
		t.Errorf("access token: got %v, want the zero value", after.AccessToken)
	}
	if !after.RefreshToken.IsZero() {
		t.Errorf("refresh token: got %v, want the zero value", after.RefreshToken)
	}
	if after.State != autobuild.AccountBroken {
		t.Errorf("state: got %v, want %v", after.State, autobuild.AccountBroken)
	}
	if !strings.Contains(after.Problem, "link it again") {
		t.Errorf(`problem: got %q, want it to contain "link it again"`, after.Problem)
	}
	if _, err := c.Repositories.Workspaces(t.Context()); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("used: got error %v, want %v", err, autobuild.ErrUnauthorized)
	}
	if _, err := e.run(e.alice, ""); err != nil {
		t.Fatal(err)
	}
	if after := e.account(account.ID); after.State != autobuild.AccountBroken {
		t.Errorf("state: got %v, want %v", after.State, autobuild.AccountBroken)
	} else if !after.AccessToken.IsZero() {
		t.Errorf("access token: got %v, want the zero value", after.AccessToken)
	}
	if again := e.linked(); again.ID != account.ID {
		t.Errorf("ID: got %v, want %v", again.ID, account.ID)
	} else if again.State != autobuild.AccountLinked {
		t.Errorf("state: got %v, want %v", again.State, autobuild.AccountLinked)
	}
}
