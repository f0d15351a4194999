package accounts_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
)

// A response without a new refresh token keeps the old one.
func TestRefreshWithoutRotation(t *testing.T) {
	e := newEnv(t)
	account := e.linked()
	e.clock.pass(3 * time.Hour)
	e.faults.Add(
		faults.Rule{
			Path:  tokenPath,
			Fault: faults.Status(200, `{"access_token":"new","token_type":"bearer","scope":"account"}`),
		},
	)
	credential, err := e.connect(account.ID).Git.GitCredential(t.Context(), app)
	if err != nil {
		t.Fatalf("git credential: got error %v, want none", err)
	}
	if credential.Password.Reveal() != "new" {
		t.Fatalf(`password: got %q, want "new"`, credential.Password.Reveal())
	}
	after := e.account(account.ID)
	if !after.RefreshToken.Equal(account.RefreshToken) {
		t.Errorf("refresh token: got %v, want %v", after.RefreshToken, account.RefreshToken)
	}
	if !after.ExpiresAt.Equal(e.clock.Now().Add(time.Hour).Truncate(time.Millisecond)) {
		t.Errorf("expiry: got %v, want %v", after.ExpiresAt, e.clock.Now().Add(time.Hour).Truncate(time.Millisecond))
	}
}

// H8: each kind of rejection of a refresh token breaks the link. The account shows the problem.
func TestH8RefreshRefused(t *testing.T) {
	for _, body := range []string{
		`{"error":"invalid_request","error_description":"Invalid refresh_token"}`, `{"error":"invalid_grant"}`,
	} {
		e := newEnv(t)
		account := e.linked()
		c := e.connect(account.ID)
		e.clock.pass(3 * time.Hour)
		refreshes := e.faults.Add(faults.Rule{Path: tokenPath, Fault: faults.Status(400, body)})
		for range 2 {
			if _, err := c.Git.GitCredential(t.Context(), app); !errors.Is(err, autobuild.ErrUnauthorized) {
				t.Errorf("git credential: got error %v, want ErrUnauthorized", err)
			}
		}
		after := e.account(account.ID)
		if after.State != autobuild.AccountBroken {
			t.Errorf("state: got %v, want %v", after.State, autobuild.AccountBroken)
		}
		if !strings.Contains(after.Problem, "alice") {
			t.Errorf(`problem: got %q, want it to contain "alice"`, after.Problem)
		}
		if refreshes.Hits() != 1 {
			t.Errorf("refreshes: got %v, want 1", refreshes.Hits())
		}
	}
}

// F11: an unavailable token endpoint breaks no link.
func TestF11TokenEndpointInTrouble(t *testing.T) {
	redirect := func(rw http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(rw, r, "https://elsewhere.invalid/", http.StatusFound)
	}
	emptyPage := func(rw http.ResponseWriter, _ *http.Request, _ http.Handler) {
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	}
	e := newEnv(t)
	account := e.linked()
	c := e.connect(account.ID)
	e.clock.pass(3 * time.Hour)
	for name, fault := range map[string]faults.Fault{
		"503": faults.Status(503, ""), "html": faults.HTML(200), "429": faults.RateLimited(""), "reset": faults.ResetBefore(),
		"cut": faults.Truncate(10), "redirect": redirect, "empty": faults.Status(200, "{}"),
		"form": faults.Status(200, "ok=1"), "204": faults.Status(204, ""), "empty html": emptyPage,
	} {
		script := e.faults.Add(faults.Rule{Path: tokenPath, Fault: fault})
		_, err := c.Git.GitCredential(t.Context(), app)
		script.Stop()
		if !errors.Is(err, autobuild.ErrUnavailable) {
			t.Errorf("%s: got error %v, want %v", name, err, autobuild.ErrUnavailable)
		}
		if e.account(account.ID).State != autobuild.AccountLinked {
			t.Errorf("%s: got State %v, want %v", name, e.account(account.ID).State, autobuild.AccountLinked)
		}
	}
	if _, err := c.Git.GitCredential(t.Context(), app); err != nil {
		t.Errorf("afterwards: got error %v, want none", err)
	}
}

// A changed secret of the consumer breaks no account.
func TestRefreshWithAWrongConsumer(t *testing.T) {
	e := newEnv(t)
	account := e.linked()
	p := e.provider
	p.ClientSecret = secret.New("changed")
	if _, err := e.store.SaveProvider(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	e.clock.pass(3 * time.Hour)
	_, err := e.connect(account.ID).Git.GitCredential(t.Context(), app)
	if !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("git credential: got error %v, want %v", err, autobuild.ErrUnauthorized)
	}
	if !strings.Contains(err.Error(), "OAuth consumer") {
		t.Errorf(`git credential: got %q, want it to contain "OAuth consumer"`, err.Error())
	}
	if e.account(account.ID).State != autobuild.AccountLinked {
		t.Errorf("state: got %v, want %v", e.account(account.ID).State, autobuild.AccountLinked)
	}
}

func TestConnectWithoutAProvider(t *testing.T) {
	e := newEnv(t)
	account := e.linked()
	p := e.provider
	p.APIURL = "nowhere"
	if _, err := e.store.SaveProvider(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Connect(t.Context(), account.ID); err == nil {
		t.Fatal("connect: got no error, want one")
	} else if !strings.Contains(err.Error(), p.Name) {
		t.Errorf("connect: got %q, want it to contain %q", err.Error(), p.Name)
	}
	p.Kind = autobuild.DataCenter
	if _, err := e.store.SaveProvider(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Connect(t.Context(), account.ID); !errors.Is(err, accounts.ErrNotConfigured) {
		t.Errorf("connect: got error %v, want ErrNotConfigured", err)
	}
	if _, err := e.Connect(t.Context(), "none"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("connect: got error %v, want ErrNotFound", err)
	}
}

// S5, H10: logs and errors contain no secrets after any failure.
func TestS5NoSecretInLogsAndErrors(t *testing.T) {
	e := newEnv(t)
	account := e.linked()
	c := e.connect(account.ID)
	e.server.ExpireTokens()
	_, err1 := c.Repositories.Workspaces(t.Context())
	refreshed := e.account(account.ID)
	e.server.RevokeGrant(e.alice, e.consumer)
	_, err2 := c.Repositories.Workspaces(t.Context())
	text := e.log.String()
	if err1 != nil {
		t.Fatalf("first call: got error %v, want none", err1)
	}
	if err2 == nil {
		t.Fatal("second call: got no error, want one")
	}
	if !strings.Contains(text, "linked account is broken") {
		t.Fatalf(`log: got %q, want it to contain "linked account is broken"`, text)
	}
	for _, s := range []secret.Secret{
		account.AccessToken, account.RefreshToken, refreshed.AccessToken, refreshed.RefreshToken, e.consumer.Secret,
	} {
		if strings.Contains(text+err2.Error(), s.Reveal()) {
			t.Error("log: got a secret in it, want none")
		}
	}
}
