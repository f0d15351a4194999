package clients_test

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ktrysmt/go-bitbucket"
)

// The owner and the slug of the repository.
const owner, slug = "acme", "app"

// testGoBitbucket makes the calls of a build service with go-bitbucket.
func testGoBitbucket(t *testing.T, w world) {
	client := goBitbucket(t, w)
	t.Run("tokens", func(t *testing.T) { bbTokens(t, w) })
	t.Run("accounts", func(t *testing.T) { bbAccounts(t, client, w) })
	t.Run("refs", func(t *testing.T) { bbRefs(t, client, w) })
	t.Run("commits", func(t *testing.T) { bbCommits(t, client, w) })
	t.Run("files", func(t *testing.T) { bbFiles(t, client, w) })
	t.Run("diffs", func(t *testing.T) { bbDiffs(t, client, w) })
	t.Run("webhooks", func(t *testing.T) { bbHooks(t, client) })
	t.Run("statuses", func(t *testing.T) { bbStatuses(t, client, w) })
	t.Run("pull requests", func(t *testing.T) { bbPulls(t, client, w) })
	t.Run("not allowed", func(t *testing.T) { bbNotAllowed(t, client) })
}

func goBitbucket(t *testing.T, w world) *bitbucket.Client {
	t.Helper()
	client, err := bitbucket.NewOAuthbearerTokenWithBaseUrlStr(w.Token, w.URL+"/2.0")
	succeed(t, "NewOAuthbearerTokenWithBaseUrlStr", err)
	return client
}

// bbTokens checks each way to authenticate.
func bbTokens(t *testing.T, w world) {
	t.Setenv("BITBUCKET_API_BASE_URL", w.URL+"/2.0")
	const path = "/site/oauth2/access_token"
	bot, err := bitbucket.NewOAuthClientCredentialsWithEndpoint(w.ClientID, w.ClientSecret, w.URL+path)
	succeed(t, "NewOAuthClientCredentialsWithEndpoint", err)
	profile, err := bot.User.Profile()
	succeed(t, "Profile of a bot", err)
	equal(t, "the bot has a name of its own", profile.DisplayName != "alice", true)

	personal, err := bitbucket.NewAPITokenAuthWithBaseUrlStr(w.Email, w.APIToken, w.URL+"/2.0")
	succeed(t, "NewAPITokenAuthWithBaseUrlStr", err)
	_, err = personal.Repositories.Repository.Get(&bitbucket.RepositoryOptions{Owner: owner, RepoSlug: slug})
	succeed(t, "Repository.Get with an API token", err)

	unknown, err := bitbucket.NewOAuthbearerTokenWithBaseUrlStr("unknown", w.URL+"/2.0")
	succeed(t, "NewOAuthbearerTokenWithBaseUrlStr", err)
	_, err = unknown.User.Profile()
	answered(
		t,
		"Profile with an unknown token",
		err,
		401,
		"Token is invalid, expired, or not supported for this endpoint.",
	)
}

func bbAccounts(t *testing.T, client *bitbucket.Client, w world) {
	profile, err := client.User.Profile()
	succeed(t, "User.Profile", err)
	equal(t, "UUID", profile.Uuid, w.User)
	_, err = client.User.Emails()
	succeed(t, "User.Emails", err)
	other, err := client.Users.Get(w.User)
	succeed(t, "Users.Get", err)
	equal(t, "state of the account", other.AccountStatus, "active")
	_, err = client.Users.Get("alice")
	answered(t, "Users.Get by name", err, 404, "alice")

	workspaces, err := client.Workspaces.List()
	succeed(t, "Workspaces.List", err)
	equal(t, "workspaces", len(workspaces.Workspaces), 1)
	workspace, err := client.Workspaces.Get(owner)
	succeed(t, "Workspaces.Get", err)
	equal(t, "workspace", workspace.Slug, owner)
	members, err := client.Workspaces.Members(owner)
	succeed(t, "Workspaces.Members", err)
	equal(t, "members", len(members.Members), 1)
	projects, err := client.Workspaces.Projects(owner)
	succeed(t, "Workspaces.Projects", err)
	equal(t, "projects", len(projects.Items), 1)
	permission, err := client.Workspaces.Permissions.GetUserPermissions(owner, "alice")
	succeed(t, "GetUserPermissions", err)
	equal(t, "permission", permission.Type, "owner")
	permission, err = client.Workspaces.Permissions.GetUserPermissionsByUuid(owner, w.User)
	succeed(t, "GetUserPermissionsByUuid", err)
	equal(t, "permission by UUID", permission.Type, "owner")

	keyword := "acme/a"
	found, err := client.Repositories.ListForAccount(&bitbucket.RepositoriesOptions{
		Owner: owner, Role: "admin", Keyword: &keyword,
	})
	succeed(t, "ListForAccount", err)
	equal(t, "repositories", len(found.Items), 1)
	_, err = client.Repositories.ListProject(&bitbucket.RepositoriesOptions{Owner: owner, Project: "PROJ"})
	succeed(t, "ListProject", err)
	_, err = client.Repositories.ListPublic()
	answered(t, "ListPublic", err, 410, "CHANGE-2770 - Functionality has been deprecated")
	one, err := client.Repositories.Repository.Get(&bitbucket.RepositoryOptions{Owner: owner, RepoSlug: slug})
	succeed(t, "Repository.Get", err)
	equal(t, "main branch", one.Mainbranch.Name, "main")
	equal(t, "time of creation", one.CreatedOnTime.IsZero(), false) // parsed only with microseconds
}

func bbRefs(t *testing.T, client *bitbucket.Client, w world) {
	repository := client.Repositories.Repository
	// All pages: without a sort the order can change between them.
	tags, err := repository.ListTags(&bitbucket.RepositoryTagOptions{Owner: owner, RepoSlug: slug, Sort: "name"})
	succeed(t, "ListTags", err)
	var got, want []string
	for i, tag := range tags.Tags {
		got = append(got, tag.Name)
		want = append(want, "v"+strconv.Itoa(i+1))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	equal(t, "number of tags", len(tags.Tags), w.Tags)
	tags, err = repository.ListTags(&bitbucket.RepositoryTagOptions{
		Owner: owner, RepoSlug: slug, Sort: "name", Query: `name ~ "v2"`, Pagelen: 3,
	})
	succeed(t, "ListTags by name", err)
	equal(t, "tags by name", len(tags.Tags), 7) // v2 and v20 to v25
	branches, err := repository.ListBranches(
		&bitbucket.RepositoryBranchOptions{Owner: owner, RepoSlug: slug, PageNum: 1},
	)
	succeed(t, "ListBranches", err)
	equal(t, "branches", len(branches.Branches), 2)
	_, err = repository.ListBranches(&bitbucket.RepositoryBranchOptions{
		Owner: owner, RepoSlug: slug, PageNum: 1, Query: "topic",
	})
	answered(t, "ListBranches by name with page=1", err, 400, "Invalid page")
	branch, err := repository.GetBranch(&bitbucket.RepositoryBranchOptions{
		Owner: owner, RepoSlug: slug, BranchName: "topic/1",
	})
	succeed(t, "GetBranch", err)
	equal(t, "commit of the branch", branch.Target["hash"], any(w.Topic))
	refs, err := repository.ListRefs(&bitbucket.RepositoryRefOptions{Owner: owner, RepoSlug: slug, Pagelen: 100})
	succeed(t, "ListRefs", err)
	equal(t, "refs", len(refs.Refs), w.Tags+2)
}

func bbCommits(t *testing.T, client *bitbucket.Client, w world) {
	commits := client.Repositories.Commits
	one, err := commits.GetCommit(&bitbucket.CommitsOptions{Owner: owner, RepoSlug: slug, Revision: w.First[:7]})
	succeed(t, "GetCommit", err)
	equal(t, "hash", one.(map[string]any)["hash"], any(w.First))
	_, err = commits.GetCommit(&bitbucket.CommitsOptions{Owner: owner, RepoSlug: slug, Revision: "none"})
	answered(t, "GetCommit of no commit", err, 404, "Changeset not found.")
	list, err := commits.GetCommits(&bitbucket.CommitsOptions{
		Owner: owner, RepoSlug: slug, Branchortag: "topic/1", Exclude: w.First,
	})
	succeed(t, "GetCommits", err)
	equal(t, "commits", len(list.(map[string]any)["values"].([]any)), 2)
	comments, err := commits.GetCommitComments(
		&bitbucket.CommitsOptions{Owner: owner, RepoSlug: slug, Revision: w.First},
	)
	succeed(t, "GetCommitComments", err)
	equal(t, "comments", len(comments.(map[string]any)["values"].([]any)), 0)
}

func bbFiles(t *testing.T, client *bitbucket.Client, w world) {
	repository := client.Repositories.Repository
	client.Pagelen = 2 // so that the list has several pages
	defer func() { client.Pagelen = bitbucket.DEFAULT_PAGE_LENGTH }()
	files, err := repository.ListFiles(&bitbucket.RepositoryFilesOptions{
		Owner: owner, RepoSlug: slug, Ref: w.Second, Path: "", MaxDepth: 3,
	})
	succeed(t, "ListFiles", err)
	var paths []string
	for _, file := range files {
		paths = append(paths, file.Path)
	}
	if diff := cmp.Diff([]string{"docs", "src", "Dockerfile", "docs/a.md", "src/main.py"}, paths); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	content, err := repository.GetFileContent(&bitbucket.RepositoryFilesOptions{
		Owner: owner, RepoSlug: slug, Ref: w.Second, Path: "Dockerfile",
	})
	succeed(t, "GetFileContent", err)
	equal(t, "content", string(content), "FROM scratch\n")
	_, err = repository.GetFileBlob(&bitbucket.RepositoryBlobOptions{
		Owner: owner, RepoSlug: slug, Ref: w.Second, Path: "none",
	})
	answered(t, "GetFileBlob of a missing file", err, 404, "No such file or directory: none")
}

func bbDiffs(t *testing.T, client *bitbucket.Client, w world) {
	diff := client.Repositories.Diff
	spec := w.Topic + ".." + w.First
	stat, err := diff.GetDiffStat(&bitbucket.DiffStatOptions{Owner: owner, RepoSlug: slug, Spec: spec, Topic: true})
	succeed(t, "GetDiffStat", err)
	equal(t, "changed files", len(stat.DiffStats), 2)
	for name, call := range map[string]func() (any, error){
		"GetDiff": func() (any, error) {
			return diff.GetDiff(&bitbucket.DiffOptions{Owner: owner, RepoSlug: slug, Spec: spec, Path: "src/main.py"})
		},
		"GetPatch": func() (any, error) {
			return diff.GetPatch(&bitbucket.DiffOptions{Owner: owner, RepoSlug: slug, Spec: w.Second})
		},
	} {
		reply, err := call()
		succeed(t, name, err)
		text, err := io.ReadAll(reply.(io.Reader))
		succeed(t, "read "+name, err)
		equal(t, name+" contains the change", strings.Contains(string(text), "+print('two')"), true)
	}
}

func bbHooks(t *testing.T, client *bitbucket.Client) {
	hooks := client.Repositories.Webhooks
	options := &bitbucket.WebhooksOptions{
		Owner: owner, RepoSlug: slug, Description: "ci", Url: "https://ci.example.com/hook", Secret: "s", Active: true,
		Events: []string{"repo:push", "pullrequest:created"},
	}
	made, err := hooks.Create(options)
	succeed(t, "Webhooks.Create", err)
	options.Uuid, options.Description = made.Uuid, "renamed"
	changed, err := hooks.Update(options)
	succeed(t, "Webhooks.Update", err)
	equal(t, "description", changed.Description, "renamed")
	options.Uuid = strings.Trim(made.Uuid, "{}")
	found, err := hooks.Get(options)
	succeed(t, "Webhooks.Get without braces", err)
	equal(t, "UUID", found.Uuid, made.Uuid)
	all, err := hooks.List(options)
	succeed(t, "Webhooks.List", err)
	equal(t, "webhooks", len(all), 1)
	_, err = hooks.Delete(options)
	succeed(t, "Webhooks.Delete", err)
	_, err = hooks.Delete(options)
	answered(t, "second Webhooks.Delete", err, 404, "app is not a valid hook")
}

func bbStatuses(t *testing.T, client *bitbucket.Client, w world) {
	commits := client.Repositories.Commits
	options := &bitbucket.CommitsOptions{Owner: owner, RepoSlug: slug, Revision: w.Second}
	_, err := commits.CreateCommitStatus(options, &bitbucket.CommitStatusOptions{
		Key: "slipway-1", Url: "https://ci.example.com/1", State: "SUCCESSFUL", Name: "app", Description: "built",
	})
	succeed(t, "CreateCommitStatus", err)
	one, err := commits.GetCommitStatus(options, "slipway-1")
	succeed(t, "GetCommitStatus", err)
	equal(t, "state", one.(map[string]any)["state"], any("SUCCESSFUL"))
	all, err := commits.GetCommitStatuses(options)
	succeed(t, "GetCommitStatuses", err)
	equal(t, "statuses", all.(map[string]any)["size"], any(1.0))
}

func bbPulls(t *testing.T, client *bitbucket.Client, w world) {
	pulls := client.Repositories.PullRequests
	options := &bitbucket.PullRequestsOptions{Owner: owner, RepoSlug: slug, ID: strconv.Itoa(w.PullRequest)}
	count := func(name string, call func(*bitbucket.PullRequestsOptions) (any, error), want int) {
		t.Helper()
		list, err := call(options)
		succeed(t, name, err)
		equal(t, name, len(list.(map[string]any)["values"].([]any)), want)
	}
	count("List", pulls.List, 1)
	count("Commits", pulls.Commits, 1)
	count("GetCommits", pulls.GetCommits, 1)
	count("Statuses", pulls.Statuses, 0)
	count("Activity", pulls.Activity, 0)
	count("GetComments", pulls.GetComments, 0)
	one, err := pulls.Get(options)
	succeed(t, "Get", err)
	equal(t, "state", one.(map[string]any)["state"], any("OPEN"))
	diff, err := pulls.Diff(options)
	succeed(t, "Diff", err)
	text, err := io.ReadAll(diff.(io.Reader))
	succeed(t, "read Diff", err)
	equal(t, "Diff contains the change", strings.Contains(string(text), "+print('topic')"), true)

	comment := &bitbucket.PullRequestCommentOptions{
		Owner: owner, RepoSlug: slug, PullRequestID: options.ID, Content: "hello",
	}
	made, err := pulls.AddComment(comment)
	succeed(t, "AddComment", err)
	comment.CommentId = strconv.Itoa(int(made.(map[string]any)["id"].(float64)))
	_, err = pulls.UpdateComment(comment)
	succeed(t, "UpdateComment", err)
	_, err = pulls.DeleteComment(comment)
	succeed(t, "DeleteComment", err)
	_, err = pulls.DeleteComment(comment)
	answered(t, "second DeleteComment", err, 404, comment.CommentId)
}

// A build service has no scope for these calls.
func bbNotAllowed(t *testing.T, client *bitbucket.Client) {
	const lacks = "Your credentials lack one or more required privilege scopes."
	r := client.Repositories
	for name, call := range map[string]func() error{
		"DeleteBranch": func() error {
			return r.Repository.DeleteBranch(&bitbucket.RepositoryBranchDeleteOptions{
				Owner: owner, RepoSlug: slug, RefName: "topic/1",
			})
		},
		"Repository.Delete": func() error {
			_, err := r.Repository.Delete(&bitbucket.RepositoryOptions{Owner: owner, RepoSlug: slug})
			return err
		},
		"Issues.Gets": func() error {
			_, err := r.Issues.Gets(&bitbucket.IssuesOptions{Owner: owner, RepoSlug: slug})
			return err
		},
		"Pipelines.List": func() error {
			_, err := r.Pipelines.List(&bitbucket.PipelinesOptions{Owner: owner, RepoSlug: slug})
			return err
		},
		"BranchRestrictions.Gets": func() error {
			_, err := r.BranchRestrictions.Gets(&bitbucket.BranchRestrictionsOptions{Owner: owner, RepoSlug: slug})
			return err
		},
		"PullRequests.Approve": func() error {
			_, err := r.PullRequests.Approve(&bitbucket.PullRequestsOptions{Owner: owner, RepoSlug: slug, ID: "1"})
			return err
		},
	} {
		answered(t, name, call(), 403, lacks)
	}
}

// answered checks the status and the message of an error of the API.
func answered(t *testing.T, call string, err error, status int, message string) {
	t.Helper()
	var answer *bitbucket.UnexpectedResponseStatusError
	if !errors.As(err, &answer) {
		t.Errorf("%s: got error %v, want one with status %d", call, err, status)
		return
	}
	equal(t, call+": status", answer.StatusCode, status)
	if want := `"message":"` + message + `"`; !strings.Contains(string(answer.Body), want) {
		t.Errorf("%s: got body %s, want %s", call, answer.Body, want)
	}
}

// testRateLimit checks the response to the third request of an hour.
func testRateLimit(t *testing.T, w world) {
	client := goBitbucket(t, w)
	for range 2 {
		_, err := client.User.Profile()
		succeed(t, "User.Profile", err)
	}
	_, err := client.User.Profile()
	var answer *bitbucket.UnexpectedResponseStatusError
	if !errors.As(err, &answer) {
		t.Fatalf("third request: got error %v, want 429", err)
	}
	equal(t, "status", answer.StatusCode, 429)
	equal(t, "body", string(answer.Body), "Rate limit for this resource has been exceeded")
}
