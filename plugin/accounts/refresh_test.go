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
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
)

func (e *env) secretOf(name string) secret.Secret { return secret.New(name + "-password") }

// all runs f n times concurrently and returns the errors.
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

// F12: fifty callers with an expired token cause one refresh, whether the token's expiry was known or
// the API rejected the token.
func TestF12FiftyCallersOneRefresh(t *testing.T) {
	for name, expire := range map[string]func(*env){
		"expiry is known":   func(e *env) { e.clock.pass(3 * time.Hour) },
		"API rejects token": func(e *env) { e.server.ExpireTokens() },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(
				t,
				func(o *bitbuckettest.Options) { o.RefreshGrace = -1 },
			) // a second use of a refresh token fails
			account := e.linked()
			expire(e)
			refreshes := e.count("POST", tokenPath)
			err := all(50, func() error {
				c, err := e.Connect(t.Context(), account.ID)
				if err != nil {
					return err
				}
				_, err = c.Repositories.Workspaces(t.Context())
				return err
			})
			if err != nil {
				t.Fatalf("workspaces: got error %v, want none", err)
			}
			if refreshes.Hits() != 1 {
				t.Errorf("refreshes: got %v, want 1", refreshes.Hits())
			}
			after := e.account(account.ID)
			if after.Version != account.Version+1 {
				t.Errorf("version: got %v, want %v", after.Version, account.Version+1)
			}
			if after.State != autobuild.AccountLinked {
				t.Errorf("state: got %v, want %v", after.State, autobuild.AccountLinked)
			}
		})
	}
}

// stored is a transport that rejects credentials that are not in the database.
type stored struct {
	e  *env
	id string
}

func (s stored) RoundTrip(r *http.Request) (*http.Response, error) {
	if token, ok := strings.CutPrefix(
		r.Header.Get("Authorization"),
		"Bearer ",
	); ok &&
		token != s.e.account(s.id).AccessToken.Reveal() {
		s.e.t.Error("token of a request: got one that is not stored, want the stored one")
	}
	return http.DefaultTransport.RoundTrip(r)
}

// F12: rotated tokens are stored before they are used, every time.
func TestF12StoredBeforeUse(t *testing.T) {
	e := newEnv(t, func(o *bitbuckettest.Options) { o.RefreshGrace = -1 })
	account := e.linked()
	c, err := e.another(stored{e, account.ID}).Connect(t.Context(), account.ID)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{account.RefreshToken.Reveal(): true}
	for range 3 {
		e.clock.pass(3 * time.Hour)
		if _, err := c.Repositories.Workspaces(t.Context()); err != nil {
			t.Fatal(err)
		}
		refresh := e.account(account.ID).RefreshToken.Reveal()
		if seen[refresh] {
			t.Error("refresh token: got the old one, want a new one")
		}
		seen[refresh] = true
	}
}

// H7: hours later, the webhook, the clone and the status still get a valid token.
func TestH7HoursLater(t *testing.T) {
	e := newEnv(t)
	account := e.linked()
	hash, err := e.repo.Commit(t.Context(), "main", map[string]string{"a": "b"}, "m")
	if err != nil {
		t.Fatal(err)
	}
	c := e.connect(account.ID)
	r := autobuild.Repository{ID: e.repo.UUID, WorkspaceID: e.acme.UUID, FullName: "acme/app"}
	webhook := autobuild.Webhook{URL: "https://ci.example.com/hooks/bitbucket/h", Secret: secret.New("s")}
	e.clock.pass(3 * time.Hour)
	credential, err := c.Git.GitCredential(t.Context(), r)
	after := e.account(account.ID)
	if err != nil {
		t.Fatalf("git credential: got error %v, want none", err)
	}
	if !credential.Password.Equal(after.AccessToken) {
		t.Errorf("password: got %v, want %v", credential.Password, after.AccessToken)
	}
	if after.ExpiresAt.Before(e.clock.Now().Add(5 * time.Minute)) {
		t.Error("expiry of the token: got less than 5 minutes, want more")
	}
	e.clock.pass(4 * time.Hour)
	status := autobuild.Status{Key: "k", State: autobuild.StatusSuccessful, URL: "https://ci.example.com/builds/1"}
	if err := c.Statuses.Put(t.Context(), r, hash, status); err != nil {
		t.Fatalf("put status: got error %v, want none", err)
	} else if len(e.repo.Statuses(hash)) != 1 {
		t.Errorf("number of statuses: got %d, want 1 (%v)", len(e.repo.Statuses(hash)), e.repo.Statuses(hash))
	}
	e.clock.pass(4 * time.Hour)
	if _, err := c.Hooks.Ensure(t.Context(), r, webhook); err != nil && !errors.Is(err, autobuild.ErrHookRefused) {
		t.Errorf("webhook: %v", err)
	}
}

// A token is renewed five minutes before it expires.
func TestRefreshMargin(t *testing.T) {
	e := newEnv(t)
	account := e.linked()
	refreshes := e.count("POST", tokenPath)
	for _, step := range []struct {
		pass time.Duration
		want int
	}{{0, 0}, {2*time.Hour - 6*time.Minute, 0}, {time.Minute + time.Second, 1}, {time.Minute, 1}} {
		e.clock.pass(step.pass)
		if _, err := e.connect(
			account.ID,
		).Git.GitCredential(
			t.Context(),
			app,
		); err != nil {
			t.Fatalf("git credential: got error %v, want none", err)
		} else if refreshes.Hits() != step.want {
			t.Errorf("refreshes: got %v, want %v", refreshes.Hits(), step.want)
		}
	}
}

// Two processes refresh at once, and the second is always faster. The first must end with the
// second's tokens, whether or not the provider still accepts its own.
func TestF12TwoProcesses(t *testing.T) {
	for name, grace := range map[string]time.Duration{"both refreshes taken": time.Hour, "the second refused": -1} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, func(o *bitbuckettest.Options) { o.RefreshGrace = grace })
			account := e.linked()
			other, err := e.another(nil).Connect(t.Context(), account.ID)
			if err != nil {
				t.Fatal(err)
			}
			e.clock.pass(3 * time.Hour)
			var first atomic.Bool
			e.faults.Add(
				faults.Rule{Path: tokenPath, Fault: func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
					if first.CompareAndSwap(false, true) {
						if _, err := other.Git.GitCredential(t.Context(), app); err != nil {
							t.Errorf("the other process: got error %v, want none", err)
						}
					}
					next.ServeHTTP(rw, r)
				}},
			)
			credential, err := e.connect(account.ID).Git.GitCredential(t.Context(), app)
			after := e.account(account.ID)
			if err != nil {
				t.Fatalf("git credential: got error %v, want none", err)
			}
			if !credential.Password.Equal(after.AccessToken) {
				t.Errorf("password: got %v, want %v", credential.Password, after.AccessToken)
			}
			if after.Version != account.Version+1 {
				t.Errorf("version: got %v, want %v", after.Version, account.Version+1)
			}
			if after.State != autobuild.AccountLinked {
				t.Errorf("state: got %v, want %v", after.State, autobuild.AccountLinked)
			}
		})
	}
}

// Another process may mark the account as broken just before this one stores the new tokens. Storing
// them repairs the account.
func TestF12StoringRepairsAWrongBreak(t *testing.T) {
	e := newEnv(t)
	account := e.linked()
	e.clock.pass(3 * time.Hour)
	e.faults.Add(faults.Rule{Path: tokenPath, Fault: func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if err := e.store.BreakAccount(t.Context(), account.ID, account.Version, "refused"); err != nil {
			t.Error(err)
		}
		next.ServeHTTP(rw, r)
	}})
	if _, err := e.connect(account.ID).Git.GitCredential(t.Context(), app); err != nil {
		t.Error(err)
	}
	if after := e.account(account.ID); after.State != autobuild.AccountLinked {
		t.Errorf("state: got %v, want %v", after.State, autobuild.AccountLinked)
	} else if after.Problem != "" {
		t.Errorf(`problem: got %q, want ""`, after.Problem)
	}
}

// A caller that gives up does not lose the rotated token.
func TestF12ACallerGivesUp(t *testing.T) {
	e := newEnv(t, func(o *bitbuckettest.Options) { o.RefreshGrace = -1 })
	account := e.linked()
	c := e.connect(account.ID)
	e.clock.pass(3 * time.Hour)
	arrived, release := make(chan struct{}), make(chan struct{})
	refreshes := e.faults.Add(
		faults.Rule{Path: tokenPath, Fault: func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			close(arrived)
			<-release
			next.ServeHTTP(rw, r)
		}},
	)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if _, err := c.Git.GitCredential(ctx, app); !errors.Is(err, context.Canceled) {
		t.Errorf("git credential: got error %v, want Canceled", err)
	}
	close(release)
	if _, err := c.Git.GitCredential(t.Context(), app); err != nil {
		t.Fatalf("git credential: got error %v, want none", err)
	} else if refreshes.Hits() != 1 {
		t.Errorf("refreshes: got %v, want 1", refreshes.Hits())
	}
}
