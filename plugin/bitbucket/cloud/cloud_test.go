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
	"time"

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
		t.Errorf("(-want +got):\n%s", diff)
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
	if err != nil || len(got.Repositories) != 1 || got.Next != "page=2" {
		t.Fatalf("%+v, %v", got, err)
	}
	check(t, nil, url.Values{"pagelen": {"100"}, "sort": {"-updated_on"}, "q": {`name ~ "a\"p\\p"`}}, asked)
	_, err = c.Repositories(t.Context(), "acme", "", got.Next)
	check(t, err, url.Values{"pagelen": {"100"}, "sort": {"-updated_on"}, "page": {"2"}}, asked)
}

func TestTokensOfPagesCannotChangeTheList(t *testing.T) {
	c := serve(t, map[string]http.HandlerFunc{
		"GET /2.0/repositories/acme": func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL) },
	})
	for _, token := range []string{"sort=name", "pagelen=1", "role=owner", "fields=-values", "%zz",
		strings.Repeat("a", 3000)} {
		if _, err := c.Repositories(t.Context(), "acme", "", token); err == nil {
			t.Errorf("%.20q is taken", token)
		}
	}
	c = serve(t, map[string]http.HandlerFunc{"GET /2.0/repositories/acme": body(`{"values":[],"next":":"}`)})
	if _, err := c.Repositories(t.Context(), "acme", "", ""); err == nil {
		t.Error("a link that is none is taken")
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
		t.Errorf("got %v", err)
	}
}

func target(hash, author string) string {
	return fmt.Sprintf(
		`{"type":"commit","hash":%q,"date":"2026-03-04T05:06:07+00:00","message":"Fix\n","author":%s}`,
		hash,
		author,
	)
}

func TestRefs(t *testing.T) {
	anna := `{"type":"author","raw":"Anna <anna@example.com>"}`
	when := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	commit := cloud.Commit{Hash: hash1, Message: "Fix\n", Author: "Anna", Date: when}
	c := serve(t, map[string]http.HandlerFunc{
		"GET " + appPath + "/refs/branches/feature%2Fx%23y": body(
			`{"type":"branch","name":"feature/x#y","target":` + target(hash1, anna) + `}`,
		),
		"GET " + appPath + "/refs/tags/v1.2": body(
			`{"type":"tag","name":"v1.2","message":"annotated","target":` + target(hash1, anna) + `}`,
		),
		"GET " + appPath + "/refs/branches": body(
			`{"values":[{"name":"main","target":` + target(hash1, anna) + `}]}`,
		),
		"GET " + appPath + "/refs/tags":   body(`{"values":[]}`),
		"GET " + appPath + "/commit/1111": body(target(hash1, anna)),
	})
	ctx := t.Context()
	branch, err := c.Branch(ctx, app, "feature/x#y")
	check(t, err, cloud.Ref{Name: "feature/x#y", Commit: commit}, branch)
	tag, err := c.Tag(ctx, app, "v1.2")
	check(t, err, cloud.Ref{Name: "v1.2", Commit: commit}, tag)
	branches, err := c.Branches(ctx, app)
	check(t, err, []cloud.Ref{{Name: "main", Commit: commit}}, branches)
	tags, err := c.Tags(ctx, app)
	check(t, err, []cloud.Ref{}, tags)
	one, err := c.Commit(ctx, app, "1111")
	check(t, err, commit, one)
	if _, err := c.Branch(ctx, app, "gone"); !errors.Is(err, bitbucket.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestAuthors(t *testing.T) {
	for author, want := range map[string]string{
		`{"raw":"Anna <anna@example.com>","user":{"display_name":"Anna of Bitbucket"}}`: "Anna of Bitbucket",
		`{"raw":"Anna <anna@example.com>"}`:                                             "Anna",
		`{"raw":"A. (odd) nna <not an address>"}`:                                       "A. (odd) nna",
		`{"raw":"only a name"}`:                                                         "only a name",
		`{}`:                                                                            "",
		`null`:                                                                          "",
	} {
		c := serve(t, map[string]http.HandlerFunc{"GET " + appPath + "/commit/" + hash1: body(target(hash1, author))})
		got, err := c.Commit(t.Context(), app, hash1)
		if err != nil || got.Author != want {
			t.Errorf("%s: %q, %v", author, got.Author, err)
		}
	}
}

func TestAnswersWithoutAFullHashAreRefused(t *testing.T) {
	bad := target("1111111", "{}")
	c := serve(t, map[string]http.HandlerFunc{
		"GET " + appPath + "/refs/tags/v1":  body(`{"name":"v1","target":` + bad + `}`),
		"GET " + appPath + "/refs/branches": body(`{"values":[{"name":"main","target":null}]}`),
		"GET " + appPath + "/commit/1111":   body(bad),
	})
	_, errTag := c.Tag(t.Context(), app, "v1")
	_, errList := c.Branches(t.Context(), app)
	_, errCommit := c.Commit(t.Context(), app, "1111")
	for _, err := range []error{errTag, errList, errCommit} {
		if err == nil || !strings.Contains(err.Error(), "not 40 hex digits") {
			t.Errorf("got %v", err)
		}
	}
}

// A partial list of refs would look like deletions of the others.
func TestRefListsAreCompleteOrAnError(t *testing.T) {
	c := serve(
		t,
		map[string]http.HandlerFunc{"GET " + appPath + "/refs/branches": func(w http.ResponseWriter, r *http.Request) {
			n, _ := strconv.Atoi(r.URL.Query().Get("page"))
			_, _ = fmt.Fprintf(
				w,
				`{"values":[{"name":"b%d","target":%s}],"next":"http://%s%s?page=%d"}`,
				n,
				target(hash1, "{}"),
				r.Host,
				r.URL.EscapedPath(),
				n+1,
			)
		}},
	)
	got, err := c.Branches(t.Context(), app)
	if !errors.Is(err, bitbucket.ErrTooMany) || got != nil {
		t.Errorf("%d refs, %v", len(got), err)
	}
}

func TestChangedPaths(t *testing.T) {
	route := "GET " + appPath + "/diffstat/" + hash2 + ".." + hash1
	var query url.Values
	c := serve(t, map[string]http.HandlerFunc{route: func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.Query()
		body(
			`{"values":[{"status":"renamed","old":{"path":"b"},"new":{"path":"a"}},{"status":"added","old":null,"new":{"path":"c"}},{"status":"removed","old":{"path":"a"},"new":null}]}`,
		)(
			w,
			r,
		)
	}})
	got, err := c.ChangedPaths(t.Context(), app, hash1, hash2)
	check(t, err, []string{"a", "b", "c"}, got)
	check(t, nil, url.Values{"topic": {"false"}, "renames": {"false"}, "pagelen": {"100"}}, query)

	c = serve(t, map[string]http.HandlerFunc{route: body(`{"values":[]}`)})
	got, err = c.ChangedPaths(t.Context(), app, hash1, hash2)
	check(t, err, []string{}, got)
	c = serve(t, map[string]http.HandlerFunc{route: status(555, `{"type":"error","error":{"message":"timed out"}}`)})
	_, err = c.ChangedPaths(t.Context(), app, hash1, hash2)
	if !errors.Is(err, bitbucket.ErrTooMuch) {
		t.Errorf("got %v", err)
	}
}

func TestHookCalls(t *testing.T) {
	var sent []string
	record := func(answer string, code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			text, _ := io.ReadAll(io.LimitReader(r.Body, 1<<16))
			sent = append(sent, r.Method+" "+string(text))
			status(code, answer)(w, r)
		}
	}
	hook := `{"uuid":"{h}","url":"https://ci.example/h","active":true,"events":["repo:push"],"secret_set":true}`
	one := appPath + "/hooks/%7Bh%7D"
	c := serve(t, map[string]http.HandlerFunc{
		"GET " + appPath + "/hooks": body(`{"values":[` + hook + `]}`),
		"POST " + appPath + "/hooks": record(
			hook,
			201,
		),
		"PUT " + one:    record(hook, 200),
		"DELETE " + one: record("", 204),
	})
	want := cloud.Hook{UUID: "{h}", URL: "https://ci.example/h", Active: true, Events: []string{"repo:push"},
		SecretSet: true}
	s := cloud.HookSettings{Description: "d", URL: "https://ci.example/h", Events: []string{"repo:push"},
		Secret: secret.New("s")}
	all, err := c.Hooks(t.Context(), app)
	check(t, err, []cloud.Hook{want}, all)
	made, err := c.CreateHook(t.Context(), app, s)
	check(t, err, want, made)
	s.Secret = secret.Secret{}
	updated, err := c.UpdateHook(t.Context(), app, "{h}", s)
	check(t, err, want, updated)
	check(t, c.DeleteHook(t.Context(), app, "{h}"), []string{
		`POST {"description":"d","url":"https://ci.example/h","active":true,"events":["repo:push"],"secret":"s"}`,
		`PUT {"description":"d","url":"https://ci.example/h","active":true,"events":["repo:push"]}`,
		`DELETE `,
	}, sent)
}

func TestPutStatus(t *testing.T) {
	var sent string
	c := serve(
		t,
		map[string]http.HandlerFunc{
			"POST " + appPath + "/commit/" + hash1 + "/statuses/build": func(w http.ResponseWriter, r *http.Request) {
				text, _ := io.ReadAll(io.LimitReader(r.Body, 1<<16))
				sent = string(text)
				status(201, `{"type":"build"}`)(w, r)
			},
		},
	)
	err := c.PutStatus(
		t.Context(),
		app,
		hash1,
		cloud.Status{Key: "k", State: "INPROGRESS", URL: "https://ci.example/b/1"},
	)
	check(t, err, `{"key":"k","state":"INPROGRESS","url":"https://ci.example/b/1"}`, sent)
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
		t.Errorf("got %v", err)
	}
	_, err = c.Access(t.Context(), "foreign", "x")
	if !errors.Is(err, bitbucket.ErrNotFound) {
		t.Errorf("got %v", err)
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
		"Files":        func() error { _, err := c.Files(ctx, app, hash1, "x"); return err },
		"Hooks":        func() error { _, err := c.Hooks(ctx, app); return err },
		"CreateHook":   func() error { _, err := c.CreateHook(ctx, app, cloud.HookSettings{}); return err },
		"UpdateHook":   func() error { _, err := c.UpdateHook(ctx, app, "{h}", cloud.HookSettings{}); return err },
		"DeleteHook":   func() error { return c.DeleteHook(ctx, app, "{h}") },
		"PutStatus":    func() error { return c.PutStatus(ctx, app, hash1, cloud.Status{}) },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, bitbucket.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
