package datacenter_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/bitbuckettest/datacentertest"
	"slipway/plugin/bitbucket/datacenter"
)

const (
	commit    = "fb522a6f00000000000000000000000000000001"
	tagObject = "118cc36500000000000000000000000000000002"
)

var (
	app   = datacenter.RepositoryID{Project: "~ann", Slug: "app"}
	token = secret.New("token-canary-1")
)

func newServer() *datacentertest.Server {
	return &datacentertest.Server{
		Context: "/bitbucket", Project: "~ann", Slug: "app", Token: token, User: "ann",
		Commits: []string{commit}, Tags: map[string]string{tagObject: commit},
	}
}

// open serves s and returns a client with a credential.
func open(t *testing.T, s http.Handler, user string, credential secret.Secret) *datacenter.Client {
	t.Helper()
	front := httptest.NewServer(s)
	t.Cleanup(front.Close)
	wire, err := bitbucket.New(bitbucket.Options{
		BaseURL: front.URL + "/bitbucket", User: user,
		Token:   func(context.Context) (secret.Secret, error) { return credential, nil },
		Backoff: func() backoff.BackOff { return &backoff.ZeroBackOff{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	return datacenter.New(wire)
}

func building() datacenter.Status {
	return datacenter.Status{Key: "k", State: "INPROGRESS", Name: "acme/app", Description: "builds",
		URL: "https://ci.example.com/7", Ref: "refs/heads/main", Parent: "p"}
}

func TestStatusArrivesWithATokenOrAPassword(t *testing.T) {
	for _, user := range []string{"", "ann"} {
		s := newServer()
		c, one := open(t, s, user, token), building()
		for _, state := range []string{"INPROGRESS", "SUCCESSFUL", datacenter.Cancelled} {
			one.State = state
			if c.PutStatus(t.Context(), app, commit, one) != nil {
				t.Fatalf("put status of user %q: got an error for state %s, want none", user, state)
			}
		}
		got := s.StatusHistory(commit)
		want := datacentertest.Status{Key: "k", State: "CANCELLED", Name: "acme/app", Description: "builds",
			URL: "https://ci.example.com/7", Ref: "refs/heads/main", Parent: "p"}
		if len(got) != 3 || !cmp.Equal(want, got[2]) {
			t.Errorf("statuses of user %q: got %+v, want 3 that end with %+v", user, got, want)
		}
	}
}

// An answer without content is no web page, whatever a proxy says of its type.
func TestAnEmptyAnswerIsASuccess(t *testing.T) {
	s := newServer()
	labeled := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html;charset=UTF-8")
		s.ServeHTTP(w, r)
	})
	if err := open(t, labeled, "", token).PutStatus(t.Context(), app, commit, building()); err != nil {
		t.Errorf("put status: got error %v, want none", err)
	}
	if got := len(s.StatusHistory(commit)); got != 1 {
		t.Errorf("statuses: got %d, want 1", got)
	}
}

func TestCancelledBecomesFailedWhereItIsNotKnown(t *testing.T) {
	s := newServer()
	s.WithoutCancelled = true
	one := building()
	one.State = datacenter.Cancelled
	if err := open(t, s, "", token).PutStatus(t.Context(), app, commit, one); err != nil {
		t.Fatal(err)
	}
	if got := s.StatusHistory(commit); len(got) != 1 || got[0].State != "FAILED" {
		t.Errorf("statuses: got %+v, want one FAILED", got)
	}
}

func TestRefusalsAreTyped(t *testing.T) {
	for _, c := range []struct {
		name       string
		credential secret.Secret
		user       string
		id         datacenter.RepositoryID
		commit     string
		edit       func(*datacenter.Status)
		is         error
		text       string
	}{
		{"a wrong token", secret.New("other-canary-2"), "", app, commit, nil, bitbucket.ErrUnauthorized,
			"Authentication failed"},
		{"a wrong user", token, "bob", app, commit, nil, bitbucket.ErrUnauthorized, "Authentication failed"},
		{"another repository", token, "", datacenter.RepositoryID{Project: "PRJ", Slug: "app"}, commit, nil,
			bitbucket.ErrNotFound, "does not exist"},
		{"a short hash", token, "", app, commit[:12], nil, bitbucket.ErrInvalid, "full commit hash"},
		{"no link", token, "", app, commit, func(s *datacenter.Status) { s.URL = "/7" }, bitbucket.ErrInvalid, "valid url"},
		{"a branch by its name", token, "", app, commit, func(s *datacenter.Status) { s.Ref = "main" }, bitbucket.ErrInvalid,
			"invalid branch"},
		{"a long key", token, "", app, commit, func(s *datacenter.Status) { s.Key = strings.Repeat("k", 256) },
			bitbucket.ErrInvalid, "between 1 and 255"},
		{"cancelled with a bad link", token, "", app, commit,
			func(s *datacenter.Status) { s.State, s.URL = "CANCELLED", "x" }, bitbucket.ErrInvalid, "valid url"},
	} {
		t.Run(c.name, func(t *testing.T) {
			one := building()
			if c.edit != nil {
				c.edit(&one)
			}
			err := open(t, newServer(), c.user, c.credential).PutStatus(t.Context(), c.id, c.commit, one)
			if !errors.Is(err, c.is) {
				t.Fatalf("put status: got error %v, want %v", err, c.is)
			}
			if !strings.Contains(err.Error(), c.text) {
				t.Errorf("put status: got error %v, want it to contain %q", err, c.text)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("put status: got error %v, want it without the credential", err)
			}
		})
	}
}

func TestCommitOfAnAnnotatedTag(t *testing.T) {
	c := open(t, newServer(), "", token)
	for _, revision := range []string{commit, tagObject} {
		if got, err := c.Commit(t.Context(), app, revision); got != commit || err != nil {
			t.Errorf("%s: got %q, %v, want %v", revision, got, err, commit)
		}
	}
	if _, err := c.Commit(t.Context(), app, "main"); !errors.Is(err, bitbucket.ErrNotFound) {
		t.Errorf("commit: got error %v, want ErrNotFound", err)
	}
}

// A POST is never repeated at another origin, and the credential stays at its own.
func TestCredentialIsNotSentAfterARedirect(t *testing.T) {
	var asked int
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked++
		if r.Header.Get("Authorization") != "" {
			t.Errorf("%s to another origin: got the credential, want none", r.Method)
		}
	}))
	defer other.Close()
	moved := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	for _, user := range []string{"", "ann"} {
		c := open(t, moved, user, token)
		if err := c.PutStatus(t.Context(), app, commit, building()); err == nil || asked != 0 {
			t.Errorf(
				"put status of user %q: got error %v, and %d requests to another origin, want an error and none",
				user,
				err,
				asked,
			)
		}
		if _, err := c.Commit(t.Context(), app, commit); err == nil {
			t.Errorf("commit of user %q: got one from an empty response, want an error", user)
		}
		asked = 0
	}
}
