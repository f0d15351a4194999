package provider_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/cloud"
	"slipway/plugin/provider"
)

// env is a Bitbucket with the repository acme/app, its owner alice, and bob with read access.
type env struct {
	url        string
	workspace  *bitbuckettest.Workspace
	repo       *bitbuckettest.Repository
	server     *bitbuckettest.Server
	consumer   *bitbuckettest.Consumer
	alice, bob *bitbuckettest.User
}

func newEnv(t *testing.T, change ...func(*bitbuckettest.Options)) *env {
	t.Helper()
	o := bitbuckettest.Options{Root: t.TempDir(), AllowPrivateHooks: true, UnstableOrder: true}
	for _, c := range change {
		c(&o)
	}
	server, err := bitbuckettest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(server)
	t.Cleanup(func() { server.Close(); listener.Close() })
	server.SetURL(listener.URL)
	w := &env{url: listener.URL, server: server, alice: server.AddUser("alice"), bob: server.AddUser("bob")}
	w.workspace = server.AddWorkspace("acme", w.alice)
	w.repo, err = server.AddRepository(w.workspace, "app", bitbuckettest.Private)
	if err != nil {
		t.Fatal(err)
	}
	w.repo.Grant(w.bob, bitbuckettest.Read)
	w.consumer, err = server.AddConsumer(w.workspace, "https://ci.example/cb", "account", "repository", "webhook")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// as returns a connection with a user's token.
func (w *env) as(t *testing.T, u *bitbuckettest.User) autobuild.Connection {
	t.Helper()
	token, _ := w.server.Link(u, w.consumer)
	return connect(t, w.url, token)
}

func connect(
	t *testing.T, url string, token secret.Secret, change ...func(*provider.CloudOptions),
) autobuild.Connection {
	t.Helper()
	source := func(context.Context) (secret.Secret, error) { return token, nil }
	api, err := bitbucket.New(bitbucket.Options{
		BaseURL: url, Token: source, Limiter: rate.NewLimiter(rate.Inf, 0),
		Backoff: func() backoff.BackOff { return &backoff.ZeroBackOff{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	o := provider.CloudOptions{Client: cloud.New(api), ProviderID: "p1", WebURL: url, Token: source}
	for _, c := range change {
		c(&o)
	}
	return provider.Cloud(o)
}

// app returns the repository in the planner's form.
func (w *env) app() autobuild.Repository {
	return autobuild.Repository{ProviderID: "p1", ID: w.repo.UUID, WorkspaceID: w.workspace.UUID, FullName: "acme/app",
		DefaultBranch: "main", Private: true}
}

func (w *env) commit(t *testing.T, branch string, files map[string]string) string {
	t.Helper()
	hash, err := w.repo.Commit(t.Context(), branch, files, "Change "+branch)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// answering returns a connection to a server that answers every request in the same way.
func answering(t *testing.T, status int, header, body string) autobuild.Connection {
	t.Helper()
	return handled(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if header != "" {
			w.Header().Set("Retry-After", header)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func handled(t *testing.T, h http.HandlerFunc) autobuild.Connection {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return connect(t, server.URL, secret.New("t"))
}

func same(t *testing.T, err error, want, got any) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

func names(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%03d", prefix, i)
	}
	return out
}
