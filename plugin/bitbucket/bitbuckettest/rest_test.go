package bitbuckettest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/bitbucket/bitbuckettest"
)

// names follows next verbatim until it is absent, and gives the value at a path of each item.
func (p *place) names(t *testing.T, address string, at ...any) []string {
	t.Helper()
	var names []string
	for address != "" {
		status, answer := p.call(t, "GET", address, nil)
		if status != http.StatusOK {
			t.Fatalf("GET %s: %d %v", address, status, answer)
		}
		values, _ := answer["values"].([]any)
		for _, value := range values {
			names = append(names, fmt.Sprint(dig(value, at...)))
		}
		address, _ = answer["next"].(string)
	}
	return names
}

func TestRepositoriesArePagedSortedAndSearched(t *testing.T) {
	clock := newClock()
	p := newPlace(t, func(o *bitbuckettest.Options) { o.Now = clock.now })
	for i := range 6 {
		clock.advance(1e9)
		_, err := p.AddRepository(p.acme, fmt.Sprintf("repo-%d", i), bitbuckettest.Private)
		must(t, err)
	}
	other := p.AddWorkspace("bobs", p.bob)
	open, err := p.AddRepository(other, "open", bitbuckettest.Public)
	must(t, err)
	shared, err := p.AddRepository(other, "shared", bitbuckettest.Private)
	must(t, err)
	_, err = p.AddRepository(other, "closed", bitbuckettest.Private)
	must(t, err)
	shared.Grant(p.alice, bitbuckettest.Write)

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
		if diff := cmp.Diff(row.want, p.names(t, row.path, row.at)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.path, diff)
		}
	}
	if diff := cmp.Diff(
		[]string{"acme", "bobs"},
		p.names(t, "/2.0/user/workspaces?sort=slug", "workspace", "slug"),
	); diff != "" {
		t.Errorf("workspaces (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(
		[]string{"acme"},
		p.names(t, "/2.0/user/workspaces?administrator=true", "workspace", "slug"),
	); diff != "" {
		t.Errorf("own workspaces (-want +got):\n%s", diff)
	}
	for _, filter := range []string{`permission="write"`, `repository.slug="shared"`} {
		permissions := "/2.0/user/workspaces/bobs/permissions/repositories?q=" + url.QueryEscape(filter)
		if diff := cmp.Diff([]string{"bobs/shared"}, p.names(t, permissions, "repository", "full_name")); diff != "" {
			t.Errorf("permissions by %s (-want +got):\n%s", filter, diff)
		}
	}
	if _, answer := p.call(t, "GET", "/2.0/user", nil); answer["username"] != "alice" {
		t.Errorf("the caller's own account has the username %v", answer["username"])
	}
	for workspace, want := range map[string]string{"acme": "owner", "bobs": "member"} {
		if _, answer := p.call(
			t,
			"GET",
			"/2.0/user/workspaces/"+workspace+"/permission",
			nil,
		); answer["permission"] != want {
			t.Errorf("permission in %s: %v", workspace, answer)
		}
	}
	if _, answer := p.call(
		t,
		"GET",
		"/2.0/repositories/acme?fields=values.slug,next&pagelen=1&sort=slug",
		nil,
	); dig(answer, "values", 0, "slug") != "app" || answer["size"] != nil ||
		len(dig(answer, "values", 0).(map[string]any)) != 1 {
		t.Errorf("partial answer: %v", answer)
	}
	if _, answer := p.call(
		t,
		"GET",
		"/2.0/repositories/acme/app?fields=-links.clone,-owner",
		nil,
	); dig(answer, "links", "clone") != nil || answer["owner"] != nil ||
		dig(answer, "links", "self") == nil {
		t.Errorf("answer with fields left out: %v", answer)
	}
}

func TestARepositoryIsFoundBySlugAndUUIDAndSurvivesRenaming(t *testing.T) {
	p := newPlace(t)
	byUUID := "/2.0/repositories/" + url.PathEscape(p.acme.UUID) + "/" + url.PathEscape(p.app.UUID)
	if !strings.Contains(byUUID, "%7B") {
		t.Fatalf("the braces are not escaped: %s", byUUID)
	}
	p.app.Rename("renamed")
	status, answer := p.call(t, "GET", byUUID, nil)
	if status != 200 || answer["full_name"] != "acme/renamed" || answer["uuid"] != p.app.UUID {
		t.Errorf("by UUID: %d %v", status, answer)
	}
	if href := fmt.Sprint(
		dig(answer, "links", "clone", 0, "href"),
	); !strings.Contains(href, "//alice@") ||
		!strings.HasSuffix(href, "/acme/renamed.git") {
		t.Errorf("clone link: %s", href)
	}
	if status, _ = p.call(t, "GET", "/2.0/repositories/acme/app", nil); status != 404 {
		t.Errorf("by the old slug: %d", status)
	}
}

func TestErrorsHaveTheDocumentedShape(t *testing.T) {
	p := newPlace(t)
	_, err := p.app.Commit(t.Context(), "main", map[string]string{"f": "1"}, "First")
	must(t, err)
	narrow, err := p.AddAccessToken(
		bitbuckettest.AccessToken{
			Kind:      bitbuckettest.WorkspaceToken,
			Name:      "narrow",
			Workspace: p.acme,
			Scopes:    []string{"team"},
		},
	)
	must(t, err)
	bob, _ := p.Link(p.bob, p.consumer)
	for name, row := range map[string]struct {
		token, path string
		status      int
		message     string
	}{
		"410 workspaces":             {p.token, "/2.0/workspaces", 410, "CHANGE-2770 - Functionality has been deprecated"},
		"410 repositories":           {p.token, "/2.0/repositories?role=admin", 410, "CHANGE-2770 - Functionality has been deprecated"},
		"410 workspace permissions":  {p.token, "/2.0/user/permissions/workspaces", 410, "CHANGE-2770 - Functionality has been deprecated"},
		"410 repository permissions": {p.token, "/2.0/user/permissions/repositories", 410, "CHANGE-2770 - Functionality has been deprecated"},
		"no API":                     {p.token, "/2.0/nothing", 404, "Resource not found"},
		"anonymous":                  {"", "/2.0/user", 401, "This API endpoint requires authentication."},
		"unknown token":              {"x", "/2.0/user", 401, "Token is invalid, expired, or not supported for this endpoint."},
		"missing scope":              {narrow.Reveal(), "/2.0/user", 403, "Your credentials lack one or more required privilege scopes."},
		"private":                    {bob.Reveal(), "/2.0/repositories/acme/app", 404, "You may not have access to this repository or it no longer exists in this workspace. If you think this repository exists and you have access, make sure you are authenticated."},
		"token in the query":         {"", "/2.0/repositories/acme/app?access_token=" + p.token, 404, "You may not have access to this repository or it no longer exists in this workspace. If you think this repository exists and you have access, make sure you are authenticated."},
		"workspace":                  {p.token, "/2.0/repositories/nobody", 404, "No workspace with identifier 'nobody'."},
		"foreign workspace":          {bob.Reveal(), "/2.0/user/workspaces/acme/permission", 404, "No workspace with identifier 'acme'."},
		"branch":                     {p.token, "/2.0/repositories/acme/app/refs/branches/no/such", 404, "No branch with name 'no/such'."},
		"commit":                     {p.token, "/2.0/repositories/acme/app/commit/0123456", 404, "Commit not found"},
		"expression":                 {p.token, "/2.0/repositories/acme/app/commit/main%5E", 404, "Commit not found"},
		"query":                      {p.token, "/2.0/repositories/acme?q=name", 400, "Invalid query: name"},
		"role":                       {p.token, "/2.0/repositories/acme?role=god", 400, "Invalid role"},
		"page":                       {p.token, "/2.0/repositories/acme?page=0", 400, "Invalid page"},
		"pagelen":                    {p.token, "/2.0/repositories/acme?pagelen=101", 400, "Invalid pagelen"},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := p.callAs(t, row.token, "GET", row.path, nil)
			if status != row.status || answer["type"] != "error" || dig(answer, "error", "message") != row.message {
				t.Errorf("%d %v\nwant %d %s", status, answer, row.status, row.message)
			}
		})
	}
	_, answer := p.callAs(t, narrow.Reveal(), "GET", "/2.0/user", nil)
	if got := fmt.Sprint(dig(answer, "error", "detail")); got != "map[granted:[team] required:[account]]" {
		t.Errorf("detail of the missing scope: %s", got)
	}
	_, answer = p.call(t, "GET", "/2.0/workspaces", nil)
	if got := dig(
		answer,
		"error",
		"data",
		"announcement_url",
	); got != "https://developer.atlassian.com/cloud/bitbucket/changelog#CHANGE-2770" {
		t.Errorf("announcement of the removal: %v", got)
	}
}

func TestHeadersTellOfTheCredential(t *testing.T) {
	p := newPlace(t)
	access, err := p.AddAccessToken(
		bitbuckettest.AccessToken{
			Kind:      bitbuckettest.ProjectToken,
			Name:      "ci",
			Workspace: p.acme,
			Project:   "PROJ",
			Scopes:    []string{"repository:write"},
		},
	)
	must(t, err)
	head := func(token string) http.Header {
		request, err := http.NewRequestWithContext(t.Context(), "GET", p.URL()+"/2.0/repositories/acme/app", nil)
		must(t, err)
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		must(t, err)
		defer response.Body.Close()
		if response.StatusCode != 200 {
			t.Errorf("status %d", response.StatusCode)
		}
		return response.Header
	}
	of := head(p.token)
	if of.Get("X-OAuth-Scopes") != "account, repository, webhook" ||
		of.Get("X-Accepted-OAuth-Scopes") != "repository" ||
		of.Get("X-Credential-Type") != "oauth2" ||
		of.Get("X-RateLimit-Limit") != "" {
		t.Errorf("of a consumer's token: %v", of)
	}
	of = head(access.Reveal())
	if of.Get("X-Credential-Type") != "project_access_token" || of.Get("X-RateLimit-Limit") != "1000" {
		t.Errorf("of an access token: %v", of)
	}
	p.app.SetProject("OTHER")
	if status, _ := p.callAs(t, access.Reveal(), "GET", "/2.0/repositories/acme/app", nil); status != 404 {
		t.Errorf("a project token outside of its project: %d", status)
	}
	p.app.SetProject("PROJ")
	p.RevokeAccessToken(access)
	if status, _ := p.callAs(t, access.Reveal(), "GET", "/2.0/repositories/acme/app", nil); status != 401 {
		t.Errorf("a revoked access token: %d", status)
	}
	p.ExpireTokens()
	if status, _ := p.call(t, "GET", "/2.0/repositories/acme/app", nil); status != 401 {
		t.Errorf("an expired token: %d", status)
	}
}

func TestWorkspaceTokensListTheirWorkspace(t *testing.T) {
	p := newPlace(t)
	access, err := p.AddAccessToken(
		bitbuckettest.AccessToken{
			Kind:      bitbuckettest.WorkspaceToken,
			Name:      "ci",
			Workspace: p.acme,
			Scopes:    []string{"account", "repository"},
		},
	)
	must(t, err)
	p.token = access.Reveal()
	if diff := cmp.Diff([]string{"acme"}, p.names(t, "/2.0/user/workspaces", "workspace", "slug")); diff != "" {
		t.Errorf("workspaces (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(
		[]string{"admin"},
		p.names(t, "/2.0/user/workspaces/acme/permissions/repositories", "permission"),
	); diff != "" {
		t.Errorf("permissions (-want +got):\n%s", diff)
	}
	if _, answer := p.call(t, "GET", "/2.0/user", nil); answer["type"] != "app_user" || answer["display_name"] != "ci" {
		t.Errorf("user: %v", answer)
	}
	if _, err := p.AddAccessToken(
		bitbuckettest.AccessToken{Kind: bitbuckettest.ProjectToken, Workspace: p.acme},
	); err == nil {
		t.Error("a project token without a project was made")
	}
}

// A history is main at third, which follows first, a branch at second, and tags.
type history struct {
	*place
	first, second, third string
}

func newHistory(t *testing.T) history {
	t.Helper()
	p := newPlace(t)
	ctx := t.Context()
	first, err := p.app.Commit(ctx, "main", map[string]string{"a": "1"}, "First <b>\n\nWith a body")
	must(t, err)
	second, err := p.app.Commit(ctx, "feature/x+y", map[string]string{"a": "2"}, "Second")
	must(t, err)
	third, err := p.app.Write(
		ctx,
		bitbuckettest.NewCommit{
			Parent:  first,
			Files:   map[string]string{"b": "3"},
			Remove:  []string{"a"},
			Message: "Third",
			Author:  p.bob,
		},
	)
	must(t, err)
	must(t, p.app.Push(ctx, map[string]string{"refs/heads/main": third}))
	must(t, p.app.Tag(ctx, "v1", first, ""))
	must(t, p.app.Tag(ctx, "v2", third, "Two"))
	object, err := p.app.Annotate(ctx, "v2", third, "again")
	must(t, err)
	must(t, p.app.Push(ctx, map[string]string{"refs/tags/v3/of/v2": object}))
	return history{p, first, second, third}
}

// app is the address of the history's repository.
const app = "/2.0/repositories/acme/app"

func TestRefs(t *testing.T) {
	p := newHistory(t)
	for _, row := range []struct {
		path string
		want []string
	}{
		{"/refs", []string{"feature/x+y " + p.second, "main " + p.third, "v1 " + p.first, "v2 " + p.third, "v3/of/v2 " + p.third}},
		{"/refs/branches?sort=-name&pagelen=1", []string{"main " + p.third, "feature/x+y " + p.second}},
		{"/refs/tags?q=" + url.QueryEscape(`name~"V1"`), []string{"v1 " + p.first}},
	} {
		names, hashes := p.names(t, app+row.path, "name"), p.names(t, app+row.path, "target", "hash")
		var got []string
		for i := range names {
			got = append(got, names[i]+" "+hashes[i])
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.path, diff)
		}
	}
	for path, want := range map[string]string{
		"/refs/branches/feature/x+y": p.second, "/refs/branches/feature%2Fx%2By": p.second, "/refs/tags/v2": p.third, "/refs/tags/v3/of/v2": p.third,
	} {
		if status, answer := p.call(t, "GET", app+path, nil); status != 200 || dig(answer, "target", "hash") != want {
			t.Errorf("%s: %d %v", path, status, answer)
		}
	}
}

func TestCommits(t *testing.T) {
	p := newHistory(t)
	for revision, want := range map[string]string{p.first: p.first, p.first[:7]: p.first, "main": p.third, "v2": p.third, "feature%2Fx+y": p.second} {
		if status, answer := p.call(t, "GET", app+"/commit/"+revision, nil); status != 200 || answer["hash"] != want {
			t.Errorf("commit %s: %d %v, want %s", revision, status, answer["hash"], want)
		}
	}
	_, answer := p.call(t, "GET", app+"/commit/"+p.third, nil)
	if answer["message"] != "Third\n" || dig(answer, "author", "user", "nickname") != "bob" ||
		dig(answer, "parents", 0, "hash") != p.first ||
		len(fmt.Sprint(answer["date"])) != len("2026-11-22T12:00:00+00:00") {
		t.Errorf("commit: %v", answer)
	}
	if _, answer = p.call(
		t,
		"GET",
		app+"/commit/"+p.first,
		nil,
	); dig(
		answer,
		"summary",
		"html",
	) != "<p>First &lt;b&gt;\n\nWith a body</p>" {
		t.Errorf("summary: %v", answer["summary"])
	}
	for path, want := range map[string][]string{
		"/commits": {p.third, p.first}, "/commits/feature/x+y": {p.second},
		"/commits?include=main&exclude=" + p.first: {p.third},
	} {
		if diff := cmp.Diff(want, p.names(t, app+path, "hash")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

func TestDiffstat(t *testing.T) {
	p := newHistory(t)
	changed := p.names(t, app+"/diffstat/"+p.third+".."+p.first, "status")
	slices.Sort(changed)
	if diff := cmp.Diff([]string{"added", "removed"}, changed); diff != "" {
		t.Errorf("diffstat (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a"}, p.names(t, app+"/diffstat/"+p.first, "new", "path")); diff != "" {
		t.Errorf("diffstat of one commit (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a"}, p.names(t, app+"/diffstat/feature%2Fx+y.."+p.first, "old", "path")); diff != "" {
		t.Errorf("diffstat of a modification (-want +got):\n%s", diff)
	}
}

func TestSources(t *testing.T) {
	p := newPlace(t, func(o *bitbuckettest.Options) { o.MaxSourceDepth = 3 })
	commit, err := p.app.Commit(t.Context(), "main", map[string]string{
		"Dockerfile":             "FROM scratch\n",
		"run.sh":                 "#!/bin/sh\n",
		"svc/api/Dockerfile":     "FROM a\n",
		"svc/web/dockerfile.dev": "FROM b\n",
		"svc/a b#c/Dockerfile":   "FROM c\n",
		"docs/x/y/z/Dockerfile":  "FROM deep\n",
		"--help":                 "a file\n",
	}, "First")
	must(t, err)
	base := "/2.0/repositories/acme/app/src/" + commit + "/"
	dockerfiles := url.QueryEscape(`type="commit_file" AND path~"ockerfile"`)
	for _, row := range []struct {
		path string
		want []string
	}{
		{"", []string{"--help", "Dockerfile", "docs", "run.sh", "svc"}},
		{"?max_depth=3&pagelen=2&fields=values.path,values.type,next&q=" + dockerfiles, []string{"Dockerfile", "svc/a b#c/Dockerfile", "svc/api/Dockerfile", "svc/web/dockerfile.dev"}},
		{"svc/", []string{"svc/a b#c", "svc/api", "svc/web"}},
		{"docs?max_depth=2", []string{"docs/x", "docs/x/y"}},
	} {
		if diff := cmp.Diff(row.want, p.names(t, base+row.path, "path")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.path, diff)
		}
	}
	if status, answer := p.call(t, "GET", base+"?max_depth=4", nil); status != 555 {
		t.Errorf("too deep: %d %v", status, answer)
	}
	for path, want := range map[string]string{
		"Dockerfile": "map[attributes:[] path:Dockerfile size:13 type:commit_file]",
		"run.sh":     "map[attributes:[executable] path:run.sh size:10 type:commit_file]",
		"svc":        "map[path:svc type:commit_directory]",
		"":           "map[path: type:commit_directory]",
	} {
		if _, answer := p.call(
			t,
			"GET",
			base+path+"?format=meta&fields=type,path,size,attributes",
			nil,
		); fmt.Sprint(
			answer,
		) != want {
			t.Errorf("meta of %q: %v, want %s", path, answer, want)
		}
	}
	for path, message := range map[string]string{"nothing": "No such file or directory: nothing", "svc/api/nothing": "No such file or directory: svc/api/nothing"} {
		if status, answer := p.call(
			t,
			"GET",
			base+path,
			nil,
		); status != 404 ||
			dig(answer, "error", "message") != message {
			t.Errorf("%s: %d %v", path, status, answer)
		}
	}
	raw := func(path, known string) (int, string, string) {
		request, err := http.NewRequestWithContext(t.Context(), "GET", p.URL()+base+path, nil)
		must(t, err)
		request.Header.Set("Authorization", "Bearer "+p.token)
		request.Header.Set("If-None-Match", known)
		response, err := http.DefaultClient.Do(request)
		must(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		must(t, err)
		return response.StatusCode, string(text), response.Header.Get("ETag")
	}
	status, text, tag := raw("svc/a%20b%23c/Dockerfile", "")
	if status != 200 || text != "FROM c\n" || tag == "" {
		t.Errorf("raw: %d %q %s", status, text, tag)
	}
	if status, text, _ = raw("svc/a%20b%23c/Dockerfile", tag); status != 304 || text != "" {
		t.Errorf("raw once more: %d %q", status, text)
	}
	if status, text, _ = raw("--help", ""); status != 200 || text != "a file\n" {
		t.Errorf("a file with the name of an option: %d %q", status, text)
	}
	if diff := cmp.Diff(
		[]string{"--help"},
		p.names(t, "/2.0/repositories/acme/app/src?pagelen=1", "path")[:1],
	); diff != "" {
		t.Errorf("src without a commit (-want +got):\n%s", diff)
	}
}
