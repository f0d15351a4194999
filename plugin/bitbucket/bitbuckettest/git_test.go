package bitbuckettest_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/config/must"
	"slipway/plugin/bitbucket/bitbuckettest"
)

func TestWhoMayCloneAndPush(t *testing.T) {
	e := newEnv(t)
	_, err := e.app.Commit(t.Context(), "main", map[string]string{"f": "1"}, "First")
	must.Succeed(t, err)
	accessToken := func(scopes ...string) string {
		token, err := e.AddAccessToken(
			bitbuckettest.AccessToken{
				Kind:       bitbuckettest.RepositoryToken,
				Name:       "bot",
				Repository: e.app,
				Scopes:     scopes,
			},
		)
		must.Succeed(t, err)
		return token.Reveal()
	}
	for name, row := range map[string]struct {
		user, password string
		bob            bitbuckettest.Permission
		clones, pushes bool
	}{
		"anonymous":                   {},
		"owner":                       {user: "alice", password: "alice's git password", clones: true, pushes: true},
		"owner by API token":          {user: "x-bitbucket-api-token-auth", password: "alice's git password", clones: true, pushes: true},
		"owner with a wrong password": {user: "alice", password: "guess"},
		"user without a permission":   {user: "bob", password: "bob's git password"},
		"reader":                      {user: "bob", password: "bob's git password", bob: bitbuckettest.Read, clones: true},
		"writer":                      {user: "bob", password: "bob's git password", bob: bitbuckettest.Write, clones: true, pushes: true},
		"token of scope repository":   {user: "x-token-auth", password: e.token, clones: true},
		"repository access token":     {user: "x-token-auth", password: accessToken("repository:write"), clones: true, pushes: true},
		"access token that reads":     {user: "x-token-auth", password: accessToken("repository"), clones: true},
		"access token without either": {user: "x-token-auth", password: accessToken("account")},
		"unknown token":               {user: "x-token-auth", password: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			e.app.Grant(e.bob, row.bob)
			address := e.app.CloneURL()
			if row.user != "" {
				address = e.cloneURL(row.user, row.password)
			}
			work := filepath.Join(t.TempDir(), "work")
			out, err := git(t, "/", "clone", address, work)
			if (err == nil) != row.clones {
				t.Fatalf("clone: got error %v, want success %t\n%s", err, row.clones, out)
			}
			if !row.clones {
				return
			}
			mustGit(t, work, "commit", "--allow-empty", "-m", "More")
			if out, err = git(
				t,
				work,
				"push",
				"origin",
				"HEAD:refs/heads/"+strings.ReplaceAll(name, " ", "-"),
			); (err == nil) != row.pushes {
				t.Errorf("push: got error %v, want success %t\n%s", err, row.pushes, out)
			}
		})
	}
}

func TestACommitIsFetchedByItsHash(t *testing.T) {
	e := newEnv(t)
	first, err := e.app.Commit(t.Context(), "main", map[string]string{"f": "1"}, "First")
	must.Succeed(t, err)
	_, err = e.app.Commit(t.Context(), "main", map[string]string{"f": "2", "run.sh": "#!/bin/sh\n"}, "Second")
	must.Succeed(t, err)
	dir := t.TempDir()
	mustGit(t, dir, "init", "-q")
	mustGit(t, dir, "-c", "protocol.version=2", "fetch", "--depth=1", e.cloneURL("x-token-auth", e.token), first)
	if got := mustGit(t, dir, "rev-parse", "FETCH_HEAD"); got != first {
		t.Errorf("fetched commit: got %s, want %s", got, first)
	}
	work := filepath.Join(dir, "work")
	mustGit(t, dir, "-c", "protocol.version=2", "clone", "-q", e.cloneURL("x-token-auth", e.token), work)
	if info, err := os.Stat(filepath.Join(work, "run.sh")); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("mode of the script: got %v, error %v, want it executable", info, err)
	}
}

func TestProtocolVersion2IsPassedOn(t *testing.T) {
	e := newEnv(t)
	_, err := e.app.Commit(t.Context(), "main", map[string]string{"f": "1"}, "First")
	must.Succeed(t, err)
	request, err := http.NewRequestWithContext(
		t.Context(),
		"GET",
		e.app.CloneURL()+"/info/refs?service=git-upload-pack",
		nil,
	)
	must.Succeed(t, err)
	request.Header.Set("Git-Protocol", "version=2")
	request.SetBasicAuth("x-token-auth", e.token)
	response, err := http.DefaultClient.Do(request)
	must.Succeed(t, err)
	defer response.Body.Close()
	head := make([]byte, 64)
	n, _ := response.Body.Read(head)
	if response.StatusCode != 200 || !strings.Contains(string(head[:n]), "version 2") {
		t.Errorf("response: got status %d, body %q, want 200 with version 2", response.StatusCode, head[:n])
	}
}

func TestPublicRepositoriesAreClonedByAnyone(t *testing.T) {
	e := newEnv(t)
	open, err := e.AddRepository(e.acme, "open", bitbuckettest.Public)
	must.Succeed(t, err)
	_, err = open.Commit(t.Context(), "main", map[string]string{"f": "1"}, "First")
	must.Succeed(t, err)
	work := filepath.Join(t.TempDir(), "work")
	mustGit(t, "/", "clone", open.CloneURL(), work)
	mustGit(t, work, "commit", "--allow-empty", "-m", "More")
	if out, err := git(t, work, "push", "origin", "main"); err == nil {
		t.Errorf("push without a login: got success %s, want an error", out)
	}
}

func TestGitAnswersInItsOwnWords(t *testing.T) {
	e := newEnv(t, func(o *bitbuckettest.Options) { o.MaxPush = 1 << 10 })
	for name, row := range map[string]struct {
		path   string
		signed bool
		want   int
	}{
		"challenge":     {"/acme/app.git/info/refs?service=git-upload-pack", false, 401},
		"dumb protocol": {"/acme/app.git/info/refs", true, 403},
		"unknown":       {"/acme/nothing.git/info/refs?service=git-upload-pack", true, 404},
		"other path":    {"/acme/app.git/objects/info/packs", true, 404},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), "GET", e.URL()+row.path, nil)
			must.Succeed(t, err)
			if row.signed {
				request.SetBasicAuth("alice", "alice's git password")
			}
			response, err := http.DefaultClient.Do(request)
			must.Succeed(t, err)
			defer response.Body.Close()
			challenged := response.Header.Get("WWW-Authenticate") != ""
			if response.StatusCode != row.want || challenged != (row.want == 401) {
				t.Errorf("status: got %d, challenge %t, want %d", response.StatusCode, challenged, row.want)
			}
		})
	}
	work := filepath.Join(t.TempDir(), "work")
	mustGit(t, "/", "init", "-q", work)
	must.Succeed(t, os.WriteFile(filepath.Join(work, "big"), incompressible(256<<10), 0o600))
	mustGit(t, work, "add", ".")
	mustGit(t, work, "commit", "-q", "-m", "Big")
	if out, err := git(
		t,
		work,
		"push",
		e.cloneURL("alice", "alice's git password"),
		"HEAD:refs/heads/main",
	); err == nil {
		t.Errorf("push over the limit: got success %s, want an error", out)
	}
}
