package provider_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/provider"
)

// H6: Listing works for workspaces and for repositories on more than one page.
func TestH6RepositoriesOfMoreThanOnePage(t *testing.T) {
	w := newEnv(t)
	for _, name := range names("lib", 100) {
		if _, err := w.server.AddRepository(w.workspace, name, bitbuckettest.Public); err != nil {
			t.Fatal(err)
		}
	}
	c, ctx := w.as(t, w.alice), t.Context()
	workspaces, err := c.Repositories.Workspaces(ctx)
	same(t, err, []autobuild.Workspace{{ID: w.workspace.UUID, Slug: "acme"}}, workspaces)

	var found []string
	pages := 0
	for next := ""; pages == 0 || next != ""; pages++ {
		var repos []autobuild.Repository
		repos, next, err = c.Repositories.List(ctx, "acme", "", next)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range repos {
			found = append(found, r.FullName)
		}
	}
	slices.Sort(found)
	if pages != 2 || len(slices.Compact(found)) != 101 {
		t.Errorf("repositories: got %d on %d pages, want 101 on 2", len(found), pages)
	}
	some, next, err := c.Repositories.List(ctx, "acme", "LIB00", "")
	if err != nil {
		t.Fatal(err)
	}
	if len(some) != 10 {
		t.Errorf("repositories: got %d, want 10", len(some))
	}
	if next != "" {
		t.Errorf("next page: got %q, want none", next)
	}
}

func TestRepository(t *testing.T) {
	w := newEnv(t)
	w.commit(t, "main", map[string]string{"a": "b"})
	c := w.as(t, w.alice)
	got, err := c.Repositories.Repository(t.Context(), "acme/app")
	same(t, err, w.app(), got)
	for _, name := range []string{"acme/none", "none", "", "a/b/c", "/x", "x/"} {
		if _, err := c.Repositories.Repository(t.Context(), name); !errors.Is(err, autobuild.ErrNotFound) {
			t.Errorf("%q: got %v, want ErrNotFound", name, err)
		}
	}
	if _, err := c.Repositories.Repository(t.Context(), "../user"); err == nil {
		t.Error("a name with ..: got no error, want one")
	}
}

// Dockerfiles recognizes all names of a Dockerfile and sorts those nearest to the root first.
func TestDockerfiles(t *testing.T) {
	for _, depth := range []int{0, 3} { // 0: Cloud lists any depth at once; 3: it gives up on more
		t.Run(fmt.Sprint(depth), func(t *testing.T) {
			w := newEnv(t, func(o *bitbuckettest.Options) { o.MaxSourceDepth = depth })
			hash := w.commit(t, "main", map[string]string{
				"z/Dockerfile":            "x",
				"Dockerfile":              "x",
				"build/api.Dockerfile":    "x",
				"a/b/c/d/e/DOCKERFILE":    "x",
				"dev.dockerfile":          "x",
				"a b/ü/Dockerfile.prod":   "x",
				"Dockerfile.dockerignore": "x",
				"Dockerfiles":             "x",
				"myDockerfile":            "x",
				"dockerfile/readme.md":    "x",
				"main.go":                 "x",
			})
			got, err := w.as(t, w.alice).Repositories.Dockerfiles(t.Context(), w.app(), hash)
			same(
				t,
				err,
				[]string{
					"Dockerfile",
					"dev.dockerfile",
					"build/api.Dockerfile",
					"z/Dockerfile",
					"a b/ü/Dockerfile.prod",
					"a/b/c/d/e/DOCKERFILE",
				},
				got,
			)
		})
	}
}

func TestDockerfilesAreCapped(t *testing.T) {
	w := newEnv(t)
	files := map[string]string{}
	for _, dir := range names("d", 250) {
		files[dir+"/Dockerfile"] = "x"
	}
	hash := w.commit(t, "main", files)
	got, err := w.as(t, w.alice).Repositories.Dockerfiles(t.Context(), w.app(), hash)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 200 {
		t.Fatalf("Dockerfiles: got %d, want 200", len(got))
	}
	if got[0] != "d000/Dockerfile" {
		t.Errorf("first Dockerfile: got %s, want d000/Dockerfile", got[0])
	}
}

// Access tokens list only their workspace or repository.
func TestAccessTokensSeeTheirPlace(t *testing.T) {
	w := newEnv(t)
	if _, err := w.server.AddRepository(w.workspace, "other", bitbuckettest.Private); err != nil {
		t.Fatal(err)
	}
	token, err := w.server.AddAccessToken(bitbuckettest.AccessToken{Kind: bitbuckettest.RepositoryToken, Name: "t",
		Repository: w.repo, Scopes: []string{"repository"}})
	if err != nil {
		t.Fatal(err)
	}
	acme := autobuild.Workspace{Slug: "acme"}
	c := connect(t, w.url, token, func(o *provider.CloudOptions) { o.Workspace, o.RepositoryName = acme, "acme/app" })
	workspaces, err := c.Repositories.Workspaces(t.Context())
	same(t, err, []autobuild.Workspace{acme}, workspaces)
	want := w.app()
	want.DefaultBranch = "" // nothing was pushed
	repos, next, err := c.Repositories.List(t.Context(), "acme", "APP", "")
	same(t, err, []autobuild.Repository{want}, repos)
	if next != "" {
		t.Errorf("next page: got %q, want none", next)
	}
	repos, _, err = c.Repositories.List(t.Context(), "acme", "nothing", "")
	same(t, err, []autobuild.Repository(nil), repos)

	gone := connect(t, w.url, token, func(o *provider.CloudOptions) { o.RepositoryName = "acme/gone" })
	if _, _, err := gone.Repositories.List(t.Context(), "acme", "", ""); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("list repositories: got error %v, want ErrNotFound", err)
	}
}

// O1, S5: The clone URL has the configured origin. The token is a separate value and not part of
// it.
func TestO1GitCredential(t *testing.T) {
	c := connect(t, "https://bitbucket.example", secret.New("canary"),
		func(o *provider.CloudOptions) { o.WebURL = "https://bitbucket.example/" })
	got, err := c.Git.GitCredential(t.Context(), autobuild.Repository{FullName: "acme/app"})
	same(t, err, autobuild.GitCredential{Username: "x-token-auth", Password: secret.New("canary")}, got)
	address, err := c.Git.CloneURL(autobuild.Repository{FullName: "acme/app"})
	same(t, err, "https://bitbucket.example/acme/app.git", address)
	if _, err := c.Git.CloneURL(autobuild.Repository{FullName: "https://evil.example"}); err == nil {
		t.Error("an invalid name: got no error, want one")
	}
	failing := connect(t, "https://bitbucket.example", secret.New(""), func(o *provider.CloudOptions) {
		o.Token = func(context.Context) (secret.Secret, error) { return secret.Secret{}, autobuild.ErrUnauthorized }
	})
	if _, err := failing.Git.GitCredential(t.Context(), autobuild.Repository{FullName: "acme/app"}); !errors.Is(err,
		autobuild.ErrUnauthorized) {
		t.Errorf("git credential: got error %v, want ErrUnauthorized", err)
	}
}
