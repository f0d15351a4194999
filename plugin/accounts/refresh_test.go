package accounts_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
)

func (w *world) secretOf(name string) secret.Secret { return secret.New(name + "-password") }

// all runs f at once, many times, and returns what failed.
func all(n int, f func() error) error {
	var wg sync.WaitGroup
	failures := make([]error, n)
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			failures[i] = f()
		})
	}
	close(start)
	wg.Wait()
	return errors.Join(failures...)
}

// F12: fifty callers with an expired token make one refresh, whether its end was foreseen or
// the API told of it.
func TestF12FiftyCallersOneRefresh(t *testing.T) {
	for name, expire := range map[string]func(*world){
		"foreseen": func(w *world) { w.clock.pass(3 * time.Hour) },
		"told":     func(w *world) { w.server.ExpireTokens() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(
				t,
				func(o *bitbuckettest.Options) { o.RefreshGrace = -1 },
			) // a second use of a refresh token fails
			account := w.linked()
			expire(w)
			refreshes := w.count("POST", tokenPath)
			err := all(50, func() error {
				c, err := w.Connect(t.Context(), account.ID)
				if err != nil {
					return err
				}
				_, err = c.Repositories.Workspaces(t.Context())
				return err
			})
			if err != nil || refreshes.Hits() != 1 {
				t.Errorf("%d refreshes, %v", refreshes.Hits(), err)
			}
			after := w.account(account.ID)
			if after.Version != account.Version+1 || after.State != autobuild.AccountLinked {
				t.Errorf("version %d → %d, %s", account.Version, after.Version, after.State)
			}
		})
	}
}

// stored sees to it that no credential is used that is not in the database.
type stored struct {
	w  *world
	id string
}

func (s stored) RoundTrip(r *http.Request) (*http.Response, error) {
	if token, ok := strings.CutPrefix(
		r.Header.Get("Authorization"),
		"Bearer ",
	); ok &&
		token != s.w.account(s.id).AccessToken.Reveal() {
		s.w.t.Error("a token is used that is not stored")
	}
	return http.DefaultTransport.RoundTrip(r)
}

// F12: rotated tokens are stored before they are used, every time.
func TestF12StoredBeforeUse(t *testing.T) {
	w := newWorld(t, func(o *bitbuckettest.Options) { o.RefreshGrace = -1 })
	account := w.linked()
	c, err := w.another(stored{w, account.ID}).Connect(t.Context(), account.ID)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{account.RefreshToken.Reveal(): true}
	for range 3 {
		w.clock.pass(3 * time.Hour)
		if _, err := c.Repositories.Workspaces(t.Context()); err != nil {
			t.Fatal(err)
		}
		refresh := w.account(account.ID).RefreshToken.Reveal()
		if seen[refresh] {
			t.Error("the refresh token did not rotate")
		}
		seen[refresh] = true
	}
}

// H7: hours later the webhook, the clone and the status still find a good token.
func TestH7HoursLater(t *testing.T) {
	w := newWorld(t)
	account := w.linked()
	hash, err := w.repo.Commit(t.Context(), "main", map[string]string{"a": "b"}, "m")
	if err != nil {
		t.Fatal(err)
	}
	c := w.connect(account.ID)
	r := autobuild.Repository{ID: w.repo.UUID, WorkspaceID: w.acme.UUID, FullName: "acme/app"}
	webhook := autobuild.Webhook{URL: "https://ci.example.com/hooks/bitbucket/h", Secret: secret.New("s")}
	w.clock.pass(3 * time.Hour)
	credential, err := c.Git.GitCredential(t.Context(), r)
	after := w.account(account.ID)
	if err != nil || !credential.Password.Equal(after.AccessToken) ||
		after.ExpiresAt.Before(w.clock.Now().Add(5*time.Minute)) {
		t.Errorf("clone: %v, token until %s", err, after.ExpiresAt)
	}
	w.clock.pass(4 * time.Hour)
	status := autobuild.Status{Key: "k", State: autobuild.StatusSuccessful, URL: "https://ci.example.com/builds/1"}
	if err := c.Statuses.Put(t.Context(), r, hash, status); err != nil || len(w.repo.Statuses(hash)) != 1 {
		t.Errorf("status: %v", err)
	}
	w.clock.pass(4 * time.Hour)
	if _, err := c.Hooks.Ensure(t.Context(), r, webhook); err != nil && !errors.Is(err, autobuild.ErrHookRefused) {
		t.Errorf("webhook: %v", err)
	}
}

// A token is renewed while it still works, five minutes before its end.
func TestRefreshMargin(t *testing.T) {
	w := newWorld(t)
	account := w.linked()
	refreshes := w.count("POST", tokenPath)
	for _, step := range []struct {
		pass time.Duration
		want int
	}{{0, 0}, {2*time.Hour - 6*time.Minute, 0}, {time.Minute + time.Second, 1}, {time.Minute, 1}} {
		w.clock.pass(step.pass)
		if _, err := w.connect(
			account.ID,
		).Git.GitCredential(
			t.Context(),
			app,
		); err != nil ||
			refreshes.Hits() != step.want {
			t.Errorf("after another %s: %d refreshes, %v", step.pass, refreshes.Hits(), err)
		}
	}
}

// Two processes refresh at once. The second is always faster; the first must end up with
// the second's tokens, whether or not the provider still took its own.
func TestF12TwoProcesses(t *testing.T) {
	for name, grace := range map[string]time.Duration{"both refreshes taken": time.Hour, "the second refused": -1} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *bitbuckettest.Options) { o.RefreshGrace = grace })
			account := w.linked()
			other, err := w.another(nil).Connect(t.Context(), account.ID)
			if err != nil {
				t.Fatal(err)
			}
			w.clock.pass(3 * time.Hour)
			var first atomic.Bool
			w.faults.Add(
				faults.Rule{Path: tokenPath, Fault: func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
					if first.CompareAndSwap(false, true) {
						if _, err := other.Git.GitCredential(t.Context(), app); err != nil {
							t.Errorf("the other process: %v", err)
						}
					}
					next.ServeHTTP(rw, r)
				}},
			)
			credential, err := w.connect(account.ID).Git.GitCredential(t.Context(), app)
			after := w.account(account.ID)
			if err != nil || !credential.Password.Equal(after.AccessToken) || after.Version != account.Version+1 ||
				after.State != autobuild.AccountLinked {
				t.Errorf("%v, version %d, %s", err, after.Version, after.State)
			}
		})
	}
}

// Another process that saw the old token refused may break the account just before this one
// stores the new tokens: that mends it.
func TestF12StoringMendsAWrongVerdict(t *testing.T) {
	w := newWorld(t)
	account := w.linked()
	w.clock.pass(3 * time.Hour)
	w.faults.Add(faults.Rule{Path: tokenPath, Fault: func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if err := w.store.BreakAccount(t.Context(), account.ID, account.Version, "refused"); err != nil {
			t.Error(err)
		}
		next.ServeHTTP(rw, r)
	}})
	if _, err := w.connect(account.ID).Git.GitCredential(t.Context(), app); err != nil {
		t.Error(err)
	}
	if after := w.account(account.ID); after.State != autobuild.AccountLinked || after.Problem != "" {
		t.Errorf("%s %q", after.State, after.Problem)
	}
}

// A caller who gives up in the middle does not lose the rotated token.
func TestF12CallerGivesUp(t *testing.T) {
	w := newWorld(t, func(o *bitbuckettest.Options) { o.RefreshGrace = -1 })
	account := w.linked()
	c := w.connect(account.ID)
	w.clock.pass(3 * time.Hour)
	arrived, release := make(chan struct{}), make(chan struct{})
	refreshes := w.faults.Add(
		faults.Rule{Path: tokenPath, Fault: func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			close(arrived)
			<-release
			next.ServeHTTP(rw, r)
		}},
	)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if _, err := c.Git.GitCredential(ctx, app); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(release)
	if _, err := c.Git.GitCredential(t.Context(), app); err != nil || refreshes.Hits() != 1 {
		t.Errorf("%d refreshes, %v", refreshes.Hits(), err)
	}
}

// An answer without a new refresh token leaves the old one in place.
func TestRefreshWithoutRotation(t *testing.T) {
	w := newWorld(t)
	account := w.linked()
	w.clock.pass(3 * time.Hour)
	w.faults.Add(
		faults.Rule{
			Path:  tokenPath,
			Fault: faults.Status(200, `{"access_token":"new","token_type":"bearer","scope":"account"}`),
		},
	)
	credential, err := w.connect(account.ID).Git.GitCredential(t.Context(), app)
	if err != nil || credential.Password.Reveal() != "new" {
		t.Fatalf("%v", err)
	}
	after := w.account(account.ID)
	if !after.RefreshToken.Equal(account.RefreshToken) ||
		!after.ExpiresAt.Equal(w.clock.Now().Add(time.Hour).Truncate(time.Millisecond)) {
		t.Errorf("refresh token changed, or until %s", after.ExpiresAt)
	}
}

// H8: each way of refusing a refresh token breaks the link, and says so to people.
func TestH8RefreshRefused(t *testing.T) {
	for _, body := range []string{`{"error":"invalid_request","error_description":"Invalid refresh_token"}`, `{"error":"invalid_grant"}`} {
		w := newWorld(t)
		account := w.linked()
		c := w.connect(account.ID)
		w.clock.pass(3 * time.Hour)
		refreshes := w.faults.Add(faults.Rule{Path: tokenPath, Fault: faults.Status(400, body)})
		for range 2 {
			if _, err := c.Git.GitCredential(t.Context(), app); !errors.Is(err, autobuild.ErrUnauthorized) {
				t.Errorf("got %v", err)
			}
		}
		after := w.account(account.ID)
		if after.State != autobuild.AccountBroken || !strings.Contains(after.Problem, "alice") ||
			refreshes.Hits() != 1 {
			t.Errorf("%s %q after %d refreshes", after.State, after.Problem, refreshes.Hits())
		}
	}
}

// F11: a token endpoint in trouble breaks no link.
func TestF11TokenEndpointInTrouble(t *testing.T) {
	redirect := func(rw http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(rw, r, "https://elsewhere.invalid/", http.StatusFound)
	}
	w := newWorld(t)
	account := w.linked()
	c := w.connect(account.ID)
	w.clock.pass(3 * time.Hour)
	for name, fault := range map[string]faults.Fault{
		"503": faults.Status(503, ""), "html": faults.HTML(200), "429": faults.RateLimited(""), "reset": faults.ResetBefore(),
		"cut": faults.Truncate(10), "redirect": redirect, "empty": faults.Status(200, "{}"), "form": faults.Status(200, "ok=1"),
	} {
		script := w.faults.Add(faults.Rule{Path: tokenPath, Fault: fault})
		_, err := c.Git.GitCredential(t.Context(), app)
		script.Stop()
		if !errors.Is(err, autobuild.ErrUnavailable) || w.account(account.ID).State != autobuild.AccountLinked {
			t.Errorf("%s: %v, %s", name, err, w.account(account.ID).State)
		}
	}
	if _, err := c.Git.GitCredential(t.Context(), app); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A consumer whose secret was changed is the installation's fault, not the account's.
func TestRefreshWithAWrongConsumer(t *testing.T) {
	w := newWorld(t)
	account := w.linked()
	p := w.provider
	p.ClientSecret = secret.New("changed")
	if _, err := w.store.SaveProvider(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(3 * time.Hour)
	_, err := w.connect(account.ID).Git.GitCredential(t.Context(), app)
	if !errors.Is(err, autobuild.ErrUnauthorized) || !strings.Contains(err.Error(), "OAuth consumer") ||
		w.account(account.ID).State != autobuild.AccountLinked {
		t.Errorf("got %v", err)
	}
}

func TestConnectWithoutAProvider(t *testing.T) {
	w := newWorld(t)
	account := w.linked()
	p := w.provider
	p.APIURL = "nowhere"
	if _, err := w.store.SaveProvider(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Connect(t.Context(), account.ID); err == nil || !strings.Contains(err.Error(), p.Name) {
		t.Errorf("got %v", err)
	}
	p.Kind = autobuild.DataCenter
	if _, err := w.store.SaveProvider(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Connect(t.Context(), account.ID); !errors.Is(err, accounts.ErrNotConfigured) {
		t.Errorf("got %v", err)
	}
	if _, err := w.Connect(t.Context(), "none"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// S5, H10: nothing secret is written, whatever goes wrong.
func TestS5NoSecretInLogsAndErrors(t *testing.T) {
	w := newWorld(t)
	account := w.linked()
	c := w.connect(account.ID)
	w.server.ExpireTokens()
	_, err1 := c.Repositories.Workspaces(t.Context())
	refreshed := w.account(account.ID)
	w.server.RevokeGrant(w.alice, w.consumer)
	_, err2 := c.Repositories.Workspaces(t.Context())
	text := w.log.String()
	if err1 != nil || err2 == nil || !strings.Contains(text, "linked account is broken") {
		t.Fatalf("%v, %v, log:\n%s", err1, err2, text)
	}
	for _, s := range []secret.Secret{account.AccessToken, account.RefreshToken, refreshed.AccessToken, refreshed.RefreshToken, w.consumer.Secret} {
		if strings.Contains(text+err2.Error(), s.Reveal()) {
			t.Error("a secret is written")
		}
	}
}
