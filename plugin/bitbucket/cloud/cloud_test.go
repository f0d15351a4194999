package cloud_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"

	"slipway/config/secret"
	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/cloud"
)

const (
	hash1 = "1111111111111111111111111111111111111111"
	hash2 = "2222222222222222222222222222222222222222"
)

var app = cloud.RepositoryID{Workspace: "{w-1}", Repository: "{r-1}"}

const appPath = "/2.0/repositories/%7Bw-1%7D/%7Br-1%7D"

// serve starts a server that answers requests by "METHOD escaped-path", and all others with 404.
func serve(t *testing.T, routes map[string]http.HandlerFunc) *cloud.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if h := routes[r.Method+" "+r.URL.EscapedPath()]; h != nil {
			h(w, r)
			return
		}
		w.WriteHeader(404)
		_, _ = fmt.Fprintf(w, `{"type":"error","error":{"message":"no %s %s"}}`, r.Method, r.URL.EscapedPath())
	}))
	t.Cleanup(server.Close)
	api, err := bitbucket.New(bitbucket.Options{
		BaseURL: server.URL,
		Token:   func(context.Context) (secret.Secret, error) { return secret.New("t"), nil },
		Backoff: func() backoff.BackOff { return &backoff.ZeroBackOff{} },
		Limiter: rate.NewLimiter(rate.Inf, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	return cloud.New(api)
}

func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func status(code int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
	}
}

func check(t *testing.T, err error, want, got any) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("commit (-want +got):\n%s", diff)
	}
}

func TestUser(t *testing.T) {
	c := serve(t, map[string]http.HandlerFunc{"GET /2.0/user": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-OAuth-Scopes", "account, repository,webhook")
		_, _ = io.WriteString(w, `{"uuid":"{u}","nickname":"alice","display_name":"Alice A.","type":"user"}`)
	}})
	got, err := c.User(t.Context())
	check(t, err,
		cloud.User{UUID: "{u}", Nickname: "alice", DisplayName: "Alice A.",
			Scopes: []string{"account", "repository", "webhook"}}, got)
}

// H6: Workspaces reads all pages of /2.0/user/workspaces.
func TestH6Workspaces(t *testing.T) {
	c := serve(t, map[string]http.HandlerFunc{"GET /2.0/user/workspaces": func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("page"))
		next := ""
		if n < 2 {
			next = fmt.Sprintf(`,"next":"http://%s/2.0/user/workspaces?pagelen=100&page=%d"`, r.Host, n+1)
		}
		_, _ = fmt.Fprintf(
			w,
			`{"values":[{"type":"workspace_access","administrator":true,"workspace":{"uuid":"{w%d}","slug":"ws%d"}}]%s}`,
			n,
			n,
			next,
		)
	}})
	got, err := c.Workspaces(t.Context())
	check(t, err,
		[]cloud.Workspace{{UUID: "{w0}", Slug: "ws0"}, {UUID: "{w1}", Slug: "ws1"}, {UUID: "{w2}", Slug: "ws2"}}, got)
}

const repositoryBody = `{"uuid":"{r-1}","full_name":"acme/app","is_private":true,"mainbranch":%s,"workspace":{"uuid":"{w-1}","slug":"acme"},"links":{"clone":[{"href":"https://evil.example/x"}]}}`

func TestRepository(t *testing.T) {
	branch := `{"type":"branch","name":"main"}`
	c := serve(t, map[string]http.HandlerFunc{
		"GET " + appPath:                       body(fmt.Sprintf(repositoryBody, branch)),
		"GET /2.0/repositories/acme/brand-new": body(fmt.Sprintf(repositoryBody, "null")),
	})
	got, err := c.Repository(t.Context(), app)
	check(
		t,
		err,
		cloud.Repository{
			UUID:          "{r-1}",
			WorkspaceUUID: "{w-1}",
			FullName:      "acme/app",
			MainBranch:    "main",
			Private:       true,
		},
		got,
	)
	got, err = c.Repository(t.Context(), cloud.RepositoryID{Workspace: "acme", Repository: "brand-new"})
	check(t, err, cloud.Repository{UUID: "{r-1}", WorkspaceUUID: "{w-1}", FullName: "acme/app", Private: true}, got)
}

// H6: Repositories are listed by workspace and page. The token that goes through the browser is
// not a link.
func TestH6RepositoriesPageByPage(t *testing.T) {
	var asked url.Values
	c := serve(
		t,
		map[string]http.HandlerFunc{"GET /2.0/repositories/acme": func(w http.ResponseWriter, r *http.Request) {
			asked = r.URL.Query()
			_, _ = fmt.Fprintf(
				w,
				`{"values":[%s],"next":"http://%s/2.0/repositories/acme?%s&page=2"}`,
				fmt.Sprintf(repositoryBody, "null"),
				r.Host,
				r.URL.RawQuery,
			)
		}},
	)
	got, err := c.Repositories(t.Context(), "acme", `a"p\p`, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Repositories) != 1 {
		t.Errorf("repositories: got %+v, want one", got.Repositories)
	}
	if got.Next != "page=2" {
		t.Fatalf("next page: got %q, want page=2", got.Next)
	}
	check(t, nil, url.Values{"pagelen": {"100"}, "sort": {"-updated_on"}, "q": {`name ~ "a\"p\\p"`}}, asked)
	_, err = c.Repositories(t.Context(), "acme", "", got.Next)
	check(t, err, url.Values{"pagelen": {"100"}, "sort": {"-updated_on"}, "page": {"2"}}, asked)
}

func TestTokensOfPagesCannotChangeTheList(t *testing.T) {
	c := serve(t, map[string]http.HandlerFunc{
		"GET /2.0/repositories/acme": func(_ http.ResponseWriter, r *http.Request) { t.Errorf("requests: got one for %s, want none", r.URL) },
	})
	for _, token := range []string{"sort=name", "pagelen=1", "role=owner", "fields=-values", "%zz",
		strings.Repeat("a", 3000)} {
		if _, err := c.Repositories(t.Context(), "acme", "", token); err == nil {
			t.Errorf("token %.20q: got no error, want one", token)
		}
	}
	c = serve(t, map[string]http.HandlerFunc{"GET /2.0/repositories/acme": body(`{"values":[],"next":":"}`)})
	if _, err := c.Repositories(t.Context(), "acme", "", ""); err == nil {
		t.Error("an invalid link: got no error, want one")
	}
}

// H6: The error of CHANGE-2770 names the removed API.
func TestH6RemovedAPI(t *testing.T) {
	gone := status(
		410,
		`{"type":"error","error":{"message":"CHANGE-2770 - Functionality has been deprecated","detail":"Please read the changelog entry for more details."}}`,
	)
	c := serve(t, map[string]http.HandlerFunc{"GET /2.0/user/workspaces": gone})
	_, err := c.Workspaces(t.Context())
	if !errors.Is(err, bitbucket.ErrRemoved) || !strings.Contains(err.Error(), "CHANGE-2770") {
		t.Errorf(`workspaces: got error %v, want ErrRemoved with "CHANGE-2770"`, err)
	}
}

func TestAccess(t *testing.T) {
	scoped := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-OAuth-Scopes", "repository, webhook")
			_, _ = io.WriteString(w, text)
		}
	}
	c := serve(t, map[string]http.HandlerFunc{
		"GET /2.0/repositories/acme/app": scoped(fmt.Sprintf(repositoryBody, "null")),
		"GET /2.0/repositories/acme":     scoped(`{"values":[` + fmt.Sprintf(repositoryBody, "null") + `]}`),
		"GET /2.0/repositories/empty":    scoped(`{"values":[]}`),
	})
	scopes := []string{"repository", "webhook"}
	got, err := c.Access(t.Context(), "acme", "app")
	check(t, err, cloud.Access{WorkspaceUUID: "{w-1}", RepositoryUUID: "{r-1}", Scopes: scopes}, got)
	got, err = c.Access(t.Context(), "acme", "")
	check(t, err, cloud.Access{WorkspaceUUID: "{w-1}", Scopes: scopes}, got)
	got, err = c.Access(t.Context(), "empty", "")
	check(t, err, cloud.Access{Scopes: scopes}, got)
	_, err = c.Access(t.Context(), "foreign", "")
	if !errors.Is(err, bitbucket.ErrNotFound) {
		t.Errorf("access: got error %v, want ErrNotFound", err)
	}
	_, err = c.Access(t.Context(), "foreign", "x")
	if !errors.Is(err, bitbucket.ErrNotFound) {
		t.Errorf("access: got error %v, want ErrNotFound", err)
	}
}

// Every call returns the typed error.
func TestFailuresAreTyped(t *testing.T) {
	c, ctx := serve(t, nil), t.Context()
	calls := map[string]func() error{
		"User":         func() error { _, err := c.User(ctx); return err },
		"Repository":   func() error { _, err := c.Repository(ctx, app); return err },
		"Repositories": func() error { _, err := c.Repositories(ctx, "x", "", ""); return err },
		"Tags":         func() error { _, err := c.Tags(ctx, app); return err },
		"Commit":       func() error { _, err := c.Commit(ctx, app, hash1); return err },
		"ChangedPaths": func() error { _, err := c.ChangedPaths(ctx, app, hash1, hash2); return err },
		"IsAncestor":   func() error { _, err := c.IsAncestor(ctx, app, hash1, hash2); return err },
		"Files":        func() error { _, err := c.Files(ctx, app, hash1, "x"); return err },
		"Hooks":        func() error { _, err := c.Hooks(ctx, app); return err },
		"CreateHook":   func() error { _, err := c.CreateHook(ctx, app, cloud.HookSettings{}); return err },
		"UpdateHook":   func() error { _, err := c.UpdateHook(ctx, app, "{h}", cloud.HookSettings{}); return err },
		"DeleteHook":   func() error { return c.DeleteHook(ctx, app, "{h}") },
		"PutStatus":    func() error { return c.PutStatus(ctx, app, hash1, cloud.Status{}) },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, bitbucket.ErrNotFound) {
			t.Errorf("%s: got %v, want ErrNotFound", name, err)
		}
	}
}
