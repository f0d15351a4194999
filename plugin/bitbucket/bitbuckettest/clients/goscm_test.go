package clients_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/drone/go-scm/scm"
	"github.com/drone/go-scm/scm/driver/bitbucket"
	"github.com/drone/go-scm/scm/transport"
	"github.com/google/go-cmp/cmp"
)

// testGoSCM makes the calls of Drone, and those of a build service.
func testGoSCM(t *testing.T, w world) {
	client, err := bitbucket.New(w.URL)
	succeed(t, "New", err)
	client.Client = &http.Client{Transport: &transport.BearerToken{Token: w.Token}}
	t.Run("accounts", func(t *testing.T) { scmAccounts(t, client, w) })
	t.Run("refs", func(t *testing.T) { scmRefs(t, client, w) })
	t.Run("commits", func(t *testing.T) { scmCommits(t, client, w) })
	t.Run("contents", func(t *testing.T) { scmContents(t, client, w) })
	t.Run("webhooks", func(t *testing.T) { scmHooks(t, client, w) })
	t.Run("statuses", func(t *testing.T) { scmStatuses(t, client, w) })
	t.Run("pull requests", func(t *testing.T) { scmPulls(t, client, w) })
	t.Run("not allowed", func(t *testing.T) { scmNotAllowed(t, client, w) })
}

func scmAccounts(t *testing.T, client *scm.Client, w world) {
	user, _, err := client.Users.Find(t.Context())
	succeed(t, "Users.Find", err)
	equal(t, "login", user.Login, "alice")
	other, _, err := client.Users.FindLogin(t.Context(), w.User)
	succeed(t, "Users.FindLogin", err)
	equal(t, "name of another user", other.Name, "alice")
	_, response, err := client.Users.FindLogin(t.Context(), "alice")
	equal(t, "status of a user by name", response.Status, http.StatusNotFound)
	equal(t, "error of a user by name", err != nil && err.Error() != "", true)
	email, _, err := client.Users.FindEmail(t.Context())
	succeed(t, "Users.FindEmail", err)
	equal(t, "email", email, w.Email)

	workspaces, _, err := client.Organizations.List(t.Context(), scm.ListOptions{Page: 1, Size: 30})
	succeed(t, "Organizations.List", err)
	equal(t, "workspaces", len(workspaces), 1)
	workspace, _, err := client.Organizations.Find(t.Context(), "acme")
	succeed(t, "Organizations.Find", err)
	equal(t, "workspace", workspace.Name, "acme")

	repositories, _, err := client.Repositories.List(t.Context(), scm.ListOptions{Page: 1, Size: 30})
	succeed(t, "Repositories.List", err)
	equal(t, "repositories", len(repositories), 1)
	found, _, err := client.Repositories.Find(t.Context(), w.Repository)
	succeed(t, "Repositories.Find", err)
	equal(t, "default branch", found.Branch, "main")
	equal(t, "private", found.Private, true)
	equal(t, "time of creation", found.Created.IsZero(), false)
	permissions, _, err := client.Repositories.FindPerms(t.Context(), w.Repository)
	succeed(t, "Repositories.FindPerms", err)
	equal(t, "administrator", permissions.Admin, true)
}

func scmRefs(t *testing.T, client *scm.Client, w world) {
	git := client.Git
	branch, _, err := git.FindBranch(t.Context(), w.Repository, "topic/1")
	succeed(t, "FindBranch", err)
	equal(t, "commit of the branch", branch.Sha, w.Topic)
	tag, _, err := git.FindTag(t.Context(), w.Repository, "v10")
	succeed(t, "FindTag", err)
	equal(t, "commit of the tag", tag.Sha, w.First)
	branches, _, err := git.ListBranches(t.Context(), w.Repository, scm.ListOptions{Page: 1, Size: 30})
	succeed(t, "ListBranches", err)
	var names []string
	for _, one := range branches {
		names = append(names, one.Name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"main", "topic/1"}, names); diff != "" {
		t.Errorf("branches (-want +got):\n%s", diff)
	}
	tags, _, err := git.ListTags(t.Context(), w.Repository, scm.ListOptions{Size: 100})
	succeed(t, "ListTags", err)
	equal(t, "tags", len(tags), w.Tags)

	filtered, _, err := git.ListBranchesV2(t.Context(), w.Repository, scm.BranchListOptions{SearchTerm: "topic"})
	succeed(t, "ListBranchesV2", err)
	equal(t, "filtered branches", len(filtered), 1)
	// A number of a page is no page of a filtered list.
	_, response, err := git.ListBranchesV2(t.Context(), w.Repository, scm.BranchListOptions{
		SearchTerm: "topic", PageListOptions: scm.ListOptions{Page: 1, Size: 30},
	})
	equal(t, "status of page 1 of a filtered list", response.Status, http.StatusBadRequest)
	equal(t, "error of page 1 of a filtered list", err.Error(), "Invalid page")
}

func scmCommits(t *testing.T, client *scm.Client, w world) {
	git := client.Git
	for _, ref := range []string{w.Second, "main"} {
		commit, _, err := git.FindCommit(t.Context(), w.Repository, ref)
		succeed(t, "FindCommit "+ref, err)
		equal(t, "commit", commit.Sha, w.Second)
		equal(t, "message", strings.TrimSpace(commit.Message), "Second")
		equal(t, "author", commit.Author.Name, "alice")
	}
	_, response, err := git.FindCommit(t.Context(), w.Repository, strings.Repeat("1", 40))
	equal(t, "status of an unknown commit", response.Status, http.StatusNotFound)
	equal(t, "error of an unknown commit", err.Error(), "Commit not found")
	for path, want := range map[string]int{"": 2, "Dockerfile": 1} {
		options := scm.CommitListOptions{Ref: "main", Path: path, Page: 1, Size: 30}
		commits, _, err := git.ListCommits(t.Context(), w.Repository, options)
		succeed(t, "ListCommits", err)
		equal(t, "commits of "+path, len(commits), want)
	}
	changes, _, err := git.ListChanges(t.Context(), w.Repository, w.Second, scm.ListOptions{Page: 1, Size: 30})
	succeed(t, "ListChanges", err)
	want := []*scm.Change{{Path: "src/main.py", Added: true}}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	changes, _, err = git.CompareChanges(t.Context(), w.Repository, w.First, w.Second, scm.ListOptions{})
	succeed(t, "CompareChanges", err)
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("compared changes (-want +got):\n%s", diff)
	}
}

func scmContents(t *testing.T, client *scm.Client, w world) {
	file, _, err := client.Contents.Find(t.Context(), w.Repository, "docs/a.md", w.Second)
	succeed(t, "Contents.Find", err)
	equal(t, "content", string(file.Data), "# A\n")
	equal(t, "commit", file.Sha, w.Second)
	_, response, err := client.Contents.Find(t.Context(), w.Repository, "none", w.Second)
	equal(t, "status of a missing file", response.Status, http.StatusNotFound)
	equal(t, "error of a missing file", err.Error(), "No such file or directory: none")

	// The list goes on with the link of a page, whose "page" is no number.
	var names []string
	options := scm.ListOptions{Size: 2}
	for {
		entries, response, err := client.Contents.List(t.Context(), w.Repository, "", w.Second, options)
		succeed(t, "Contents.List", err)
		for _, entry := range entries {
			names = append(names, entry.Path)
		}
		if response.Page.NextURL == "" {
			break
		}
		equal(t, "number of the next page", response.Page.Next, 0)
		options = scm.ListOptions{URL: strings.TrimPrefix(response.Page.NextURL, w.URL)}
	}
	if diff := cmp.Diff([]string{"docs", "src", "Dockerfile"}, names); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func scmHooks(t *testing.T, client *scm.Client, w world) {
	service := client.Repositories
	input := &scm.HookInput{
		Name: "ci", Target: "https://ci.example.com/hook", Secret: "s", Events: scm.HookEvents{Push: true},
	}
	made, _, err := service.CreateHook(t.Context(), w.Repository, input)
	succeed(t, "CreateHook", err)
	equal(t, "active", made.Active, true)
	input.Name = "renamed"
	for _, id := range []string{made.ID, strings.Trim(made.ID, "{}")} {
		changed, _, err := service.UpdateHook(t.Context(), w.Repository, id, input)
		succeed(t, "UpdateHook "+id, err)
		equal(t, "ID after an update", changed.ID, made.ID)
		found, _, err := service.FindHook(t.Context(), w.Repository, id)
		succeed(t, "FindHook "+id, err)
		equal(t, "name", found.Name, "renamed")
	}
	hooks, _, err := service.ListHooks(t.Context(), w.Repository, scm.ListOptions{Page: 1, Size: 30})
	succeed(t, "ListHooks", err)
	equal(t, "webhooks", len(hooks), 1)
	_, err = service.DeleteHook(t.Context(), w.Repository, made.ID)
	succeed(t, "DeleteHook", err)
	response, err := service.DeleteHook(t.Context(), w.Repository, made.ID)
	equal(t, "status of a second deletion", response.Status, http.StatusNotFound)
	equal(t, "error of a second deletion", err.Error(), "app is not a valid hook")
}

func scmStatuses(t *testing.T, client *scm.Client, w world) {
	for _, state := range []scm.State{scm.StateRunning, scm.StateSuccess} {
		made, _, err := client.Repositories.CreateStatus(t.Context(), w.Repository, w.Second, &scm.StatusInput{
			State: state, Label: "slipway-1", Title: "app", Desc: "builds", Target: "https://ci.example.com/1",
		})
		succeed(t, "CreateStatus", err)
		equal(t, "label", made.Label, "slipway-1")
	}
	statuses, _, err := client.Repositories.ListStatus(
		t.Context(),
		w.Repository,
		w.Second,
		scm.ListOptions{Page: 1, Size: 30},
	)
	succeed(t, "ListStatus", err)
	equal(t, "statuses", len(statuses), 1)
	equal(t, "state", statuses[0].State, scm.StateSuccess)
	long := &scm.StatusInput{
		State:  scm.StateSuccess,
		Label:  strings.Repeat("k", 41),
		Target: "https://ci.example.com/1",
	}
	_, response, err := client.Repositories.CreateStatus(t.Context(), w.Repository, w.Second, long)
	equal(t, "status of a long key", response.Status, http.StatusBadRequest)
	equal(t, "error of a long key", err.Error(), "key: Ensure this value has at most 40 characters (it has 41).")
}

func scmPulls(t *testing.T, client *scm.Client, w world) {
	pulls, _, err := client.PullRequests.List(t.Context(), w.Repository, scm.PullRequestListOptions{Page: 1, Size: 30})
	succeed(t, "PullRequests.List", err)
	equal(t, "pull requests", len(pulls), 1)
	one, _, err := client.PullRequests.Find(t.Context(), w.Repository, w.PullRequest)
	succeed(t, "PullRequests.Find", err)
	equal(t, "source", one.Source, "topic/1")
	equal(t, "short commit", one.Sha, w.Topic[:12])
	equal(t, "time of creation", one.Created.IsZero(), false)
	commits, _, err := client.PullRequests.ListCommits(t.Context(), w.Repository, w.PullRequest, scm.ListOptions{})
	succeed(t, "PullRequests.ListCommits", err)
	equal(t, "commits", len(commits), 1)
	changes, _, err := client.PullRequests.ListChanges(t.Context(), w.Repository, w.PullRequest, scm.ListOptions{})
	succeed(t, "PullRequests.ListChanges", err)
	want := []*scm.Change{{Path: "src/topic.py", Added: true}}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	comment, _, err := client.PullRequests.CreateComment(
		t.Context(),
		w.Repository,
		w.PullRequest,
		&scm.CommentInput{Body: "b"},
	)
	succeed(t, "PullRequests.CreateComment", err)
	equal(t, "comment", comment.Body, "b")
	_, response, err := client.PullRequests.Find(t.Context(), w.Repository, 100)
	equal(t, "status of a missing pull request", response.Status, http.StatusNotFound)
	equal(t, "a missing pull request is an error", err != nil, true)
}

// A build service has no scope for these calls.
func scmNotAllowed(t *testing.T, client *scm.Client, w world) {
	ctx := t.Context()
	const lacks = "Your credentials lack one or more required privilege scopes."
	params := &scm.ContentParams{Branch: "main", Message: "m", Data: []byte("x")}
	for name, call := range map[string]func() (*scm.Response, error){
		"CreateBranch": func() (*scm.Response, error) {
			return client.Git.CreateBranch(ctx, w.Repository, &scm.ReferenceInput{Name: "b", Sha: w.First})
		},
		"Contents.Create": func() (*scm.Response, error) {
			return client.Contents.Create(ctx, w.Repository, "f", params)
		},
		"Contents.Delete": func() (*scm.Response, error) {
			return client.Contents.Delete(ctx, w.Repository, "f", params)
		},
		"PullRequests.Merge": func() (*scm.Response, error) {
			return client.PullRequests.Merge(ctx, w.Repository, w.PullRequest)
		},
		"PullRequests.Create": func() (*scm.Response, error) {
			_, response, err := client.PullRequests.Create(ctx, w.Repository, &scm.PullRequestInput{Title: "t"})
			return response, err
		},
	} {
		response, err := call()
		equal(t, name+": status", response.Status, http.StatusForbidden)
		var answer *bitbucket.Error
		if !errors.As(err, &answer) {
			t.Errorf("%s: got error %v, want one of the API", name, err)
			continue
		}
		equal(t, name+": error", answer.Data.Message, lacks)
	}
}
