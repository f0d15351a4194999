package bitbuckettest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/plugin/bitbucket/bitbuckettest"
)

// names follows next verbatim until it is absent, and gives the value at a path of each item.
func (e *env) names(t *testing.T, address string, at ...any) []string {
	t.Helper()
	var names []string
	for address != "" {
		status, response := e.call(t, "GET", address, nil)
		if status != http.StatusOK {
			t.Fatalf("GET %s: got status %d %v, want %d", address, status, response, http.StatusOK)
		}
		values, _ := response["values"].([]any)
		for _, value := range values {
			names = append(names, fmt.Sprint(dig(value, at...)))
		}
		address, _ = response["next"].(string)
	}
	return names
}

func TestRepositoriesArePagedSortedAndSearched(t *testing.T) {
	clock := newClock()
	e := newEnv(t, func(o *bitbuckettest.Options) { o.Now = clock.now })
	for i := range 6 {
		clock.advance(1e9)
		_, err := e.AddRepository(e.acme, fmt.Sprintf("repo-%d", i), bitbuckettest.Private)
		must.Succeed(t, err)
	}
	other := e.AddWorkspace("bobs", e.bob)
	open, err := e.AddRepository(other, "open", bitbuckettest.Public)
	must.Succeed(t, err)
	shared, err := e.AddRepository(other, "shared", bitbuckettest.Private)
	must.Succeed(t, err)
	_, err = e.AddRepository(other, "closed", bitbuckettest.Private)
	must.Succeed(t, err)
	shared.Grant(e.alice, bitbuckettest.Write)

	list := "/2.0/repositories/acme?pagelen=2&role=admin&sort="
	for _, row := range []struct {
		path string
		at   string
		want []string
	}{
		{list + "-updated_on", "name", []string{"repo-5", "repo-4", "repo-3", "repo-2", "repo-1", "repo-0", "app"}},
		{list + "name&q=" + url.QueryEscape(`name~"REPO-" AND (name!="repo-1" OR scm="hg")`), "full_name", []string{"acme/repo-0", "acme/repo-2", "acme/repo-3", "acme/repo-4", "acme/repo-5"}},
		{"/2.0/repositories/bobs?sort=name", "name", []string{"open", "shared"}},
		{"/2.0/repositories/bobs?role=contributor", "name", []string{"shared"}},
		{"/2.0/repositories/bobs?role=admin", "name", nil},
		{"/2.0/repositories/" + url.PathEscape(other.UUID) + "?q=is_private%3Dfalse", "uuid", []string{open.UUID}},
	} {
		if diff := cmp.Diff(row.want, e.names(t, row.path, row.at)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.path, diff)
		}
	}
	if diff := cmp.Diff(
		[]string{"acme", "bobs"},
		e.names(t, "/2.0/user/workspaces?sort=slug", "workspace", "slug"),
	); diff != "" {
		t.Errorf("workspaces (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(
		[]string{"acme"},
		e.names(t, "/2.0/user/workspaces?administrator=true", "workspace", "slug"),
	); diff != "" {
		t.Errorf("own workspaces (-want +got):\n%s", diff)
	}
	for _, filter := range []string{`permission="write"`, `repository.slug="shared"`} {
		permissions := "/2.0/user/workspaces/bobs/permissions/repositories?q=" + url.QueryEscape(filter)
		if diff := cmp.Diff([]string{"bobs/shared"}, e.names(t, permissions, "repository", "full_name")); diff != "" {
			t.Errorf("permissions by %s (-want +got):\n%s", filter, diff)
		}
	}
	if _, response := e.call(t, "GET", "/2.0/user", nil); response["username"] != "alice" {
		t.Errorf("username of the caller's own account: got %v, want alice", response["username"])
	}
	for workspace, want := range map[string]string{"acme": "owner", "bobs": "member"} {
		_, response := e.call(t, "GET", "/2.0/user/workspaces/"+workspace+"/permission", nil)
		if response["permission"] != want {
			t.Errorf("permission in %s: got %v, want %s", workspace, response, want)
		}
	}
	_, selected := e.call(t, "GET", "/2.0/repositories/acme?fields=values.slug,next&pagelen=1&sort=slug", nil)
	if slug := dig(selected, "values", 0, "slug"); slug != "app" {
		t.Errorf("selected fields: got slug %v, want app", slug)
	}
	if selected["size"] != nil {
		t.Errorf("selected fields: got size %v, want none", selected["size"])
	}
	if first := dig(selected, "values", 0).(map[string]any); len(first) != 1 {
		t.Errorf("selected fields: got %v, want only the slug", first)
	}
	_, reduced := e.call(t, "GET", "/2.0/repositories/acme/app?fields=-links.clone,-owner", nil)
	if clone := dig(reduced, "links", "clone"); clone != nil {
		t.Errorf("removed fields: got clone links %v, want none", clone)
	}
	if reduced["owner"] != nil {
		t.Errorf("removed fields: got owner %v, want none", reduced["owner"])
	}
	if dig(reduced, "links", "self") == nil {
		t.Errorf("removed fields: got links %v, want links.self", reduced["links"])
	}
}

func TestARepositoryIsFoundByUUIDAfterARename(t *testing.T) {
	e := newEnv(t)
	byUUID := "/2.0/repositories/" + url.PathEscape(e.acme.UUID) + "/" + url.PathEscape(e.app.UUID)
	if !strings.Contains(byUUID, "%7B") {
		t.Fatalf("path of the UUID: got %s, want escaped braces", byUUID)
	}
	e.app.Rename("renamed")
	status, response := e.call(t, "GET", byUUID, nil)
	if status != 200 {
		t.Errorf("by UUID: got status %d, want 200", status)
	}
	if response["full_name"] != "acme/renamed" {
		t.Errorf("by UUID: got name %v, want acme/renamed", response["full_name"])
	}
	if response["uuid"] != e.app.UUID {
		t.Errorf("by UUID: got UUID %v, want %s", response["uuid"], e.app.UUID)
	}
	href := fmt.Sprint(dig(response, "links", "clone", 0, "href"))
	if !strings.Contains(href, "//alice@") || !strings.HasSuffix(href, "/acme/renamed.git") {
		t.Errorf("clone link: got %s, want alice@ and acme/renamed.git", href)
	}
	if status, _ = e.call(t, "GET", "/2.0/repositories/acme/app", nil); status != 404 {
		t.Errorf("by the old slug: got %d, want 404", status)
	}
}

func TestErrorsHaveTheDocumentedFormat(t *testing.T) {
	e := newEnv(t)
	_, err := e.app.Commit(t.Context(), "main", map[string]string{"f": "1"}, "First")
	must.Succeed(t, err)
	narrow, err := e.AddAccessToken(bitbuckettest.AccessToken{
		Kind: bitbuckettest.WorkspaceToken, Name: "narrow", Workspace: e.acme, Scopes: []string{"team"},
	})
	must.Succeed(t, err)
	bob, _ := e.Link(e.bob, e.consumer)
	const removed = "CHANGE-2770 - Functionality has been deprecated"
	const noAccess = "You may not have access to this repository or it no longer exists in this workspace. " +
		"If you think this repository exists and you have access, make sure you are authenticated."
	for name, row := range map[string]struct {
		token, path string
		status      int
		message     string
	}{
		"410 workspaces":             {e.token, "/2.0/workspaces", 410, removed},
		"410 repositories":           {e.token, "/2.0/repositories?role=admin", 410, removed},
		"410 workspace permissions":  {e.token, "/2.0/user/permissions/workspaces", 410, removed},
		"410 repository permissions": {e.token, "/2.0/user/permissions/repositories", 410, removed},
		"no API":                     {e.token, "/2.0/nothing", 404, "Resource not found"},
		"anonymous":                  {"", "/2.0/user", 401, "This API endpoint requires authentication."},
		"unknown token":              {"x", "/2.0/user", 401, "Token is invalid, expired, or not supported for this endpoint."},
		"missing scope":              {narrow.Reveal(), "/2.0/user", 403, "Your credentials lack one or more required privilege scopes."},
		"private":                    {bob.Reveal(), "/2.0/repositories/acme/app", 404, noAccess},
		"token in the query":         {"", "/2.0/repositories/acme/app?access_token=" + e.token, 404, noAccess},
		"workspace":                  {e.token, "/2.0/repositories/nobody", 404, "No workspace with identifier 'nobody'."},
		"foreign workspace":          {bob.Reveal(), "/2.0/user/workspaces/acme/permission", 404, "No workspace with identifier 'acme'."},
		"branch":                     {e.token, "/2.0/repositories/acme/app/refs/branches/no/such", 404, "No branch with name 'no/such'."},
		"commit":                     {e.token, "/2.0/repositories/acme/app/commit/0123456", 404, "Commit not found"},
		"expression":                 {e.token, "/2.0/repositories/acme/app/commit/main%5E", 404, "Changeset not found."},
		"no revision":                {e.token, "/2.0/repositories/acme/app/commit/none", 404, "Changeset not found."},
		"webhook":                    {e.token, "/2.0/repositories/acme/app/hooks/1", 404, "app is not a valid hook"},
		"query":                      {e.token, "/2.0/repositories/acme?q=name", 400, "Invalid query: name"},
		"role":                       {e.token, "/2.0/repositories/acme?role=god", 400, "Invalid role"},
		"page":                       {e.token, "/2.0/repositories/acme?page=0", 400, "Invalid page"},
		"pagelen":                    {e.token, "/2.0/repositories/acme?pagelen=101", 400, "Invalid pagelen"},
	} {
		t.Run(name, func(t *testing.T) {
			status, response := e.callAs(t, row.token, "GET", row.path, nil)
			if status != row.status {
				t.Errorf("status: got %d, want %d", status, row.status)
			}
			if response["type"] != "error" {
				t.Errorf("type: got %v, want error", response["type"])
			}
			if message := dig(response, "error", "message"); message != row.message {
				t.Errorf("message: got %v, want %s", message, row.message)
			}
		})
	}
	_, response := e.callAs(t, narrow.Reveal(), "GET", "/2.0/user", nil)
	if got := fmt.Sprint(dig(response, "error", "detail")); got != "map[granted:[team] required:[account]]" {
		t.Errorf("detail: got %s, want the granted and required scopes", got)
	}
	_, response = e.call(t, "GET", "/2.0/workspaces", nil)
	const announcement = "https://developer.atlassian.com/cloud/bitbucket/changelog#CHANGE-2770"
	if got := dig(response, "error", "data", "announcement_url"); got != announcement {
		t.Errorf("announcement: got %v, want %s", got, announcement)
	}
}

func TestHeadersDescribeTheCredential(t *testing.T) {
	e := newEnv(t)
	access, err := e.AddAccessToken(bitbuckettest.AccessToken{
		Kind: bitbuckettest.ProjectToken, Name: "ci", Workspace: e.acme, Project: "PROJ",
		Scopes: []string{"repository:write"},
	})
	must.Succeed(t, err)
	head := func(token string) http.Header {
		request, err := http.NewRequestWithContext(t.Context(), "GET", e.URL()+"/2.0/repositories/acme/app", nil)
		must.Succeed(t, err)
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		must.Succeed(t, err)
		defer response.Body.Close()
		if response.StatusCode != 200 {
			t.Errorf("status: got %d, want 200", response.StatusCode)
		}
		return response.Header
	}
	check := func(header http.Header, want map[string]string) {
		t.Helper()
		for name, value := range want {
			if got := header.Get(name); got != value {
				t.Errorf("response header %s: got %q, want %q", name, got, value)
			}
		}
	}
	check(head(e.token), map[string]string{
		"X-OAuth-Scopes":          "account, repository, webhook",
		"X-Accepted-OAuth-Scopes": "repository",
		"X-Credential-Type":       "oauth2",
		"X-RateLimit-Limit":       "",
	})
	check(head(access.Reveal()), map[string]string{
		"X-Credential-Type": "project_access_token",
		"X-RateLimit-Limit": "1000",
	})
	e.app.SetProject("OTHER")
	if status, _ := e.callAs(t, access.Reveal(), "GET", "/2.0/repositories/acme/app", nil); status != 404 {
		t.Errorf("project token outside of its project: got %d, want 404", status)
	}
	e.app.SetProject("PROJ")
	e.RevokeAccessToken(access)
	if status, _ := e.callAs(t, access.Reveal(), "GET", "/2.0/repositories/acme/app", nil); status != 401 {
		t.Errorf("revoked access token: got %d, want 401", status)
	}
	e.ExpireTokens()
	if status, _ := e.call(t, "GET", "/2.0/repositories/acme/app", nil); status != 401 {
		t.Errorf("expired token: got %d, want 401", status)
	}
}

func TestWorkspaceTokensListTheirWorkspace(t *testing.T) {
	e := newEnv(t)
	access, err := e.AddAccessToken(bitbuckettest.AccessToken{
		Kind: bitbuckettest.WorkspaceToken, Name: "ci", Workspace: e.acme,
		Scopes: []string{"account", "repository"},
	})
	must.Succeed(t, err)
	e.token = access.Reveal()
	if diff := cmp.Diff([]string{"acme"}, e.names(t, "/2.0/user/workspaces", "workspace", "slug")); diff != "" {
		t.Errorf("workspaces (-want +got):\n%s", diff)
	}
	permissions := e.names(t, "/2.0/user/workspaces/acme/permissions/repositories", "permission")
	if diff := cmp.Diff([]string{"admin"}, permissions); diff != "" {
		t.Errorf("permissions (-want +got):\n%s", diff)
	}
	if _, response := e.call(
		t,
		"GET",
		"/2.0/user",
		nil,
	); response["type"] != "app_user" ||
		response["display_name"] != "ci" {
		t.Errorf("user: got %v, want the app_user ci", response)
	}
	_, err = e.AddAccessToken(bitbuckettest.AccessToken{Kind: bitbuckettest.ProjectToken, Workspace: e.acme})
	if err == nil {
		t.Error("add a project token without a project: got no error, want one")
	}
}
