package provider_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/provider"
)

const removed = `{"type":"error","error":{"message":"CHANGE-2770 - Functionality has been deprecated",` +
	`"detail":"Please read the changelog entry for more details.","data":` +
	`{"announcement_url":"https://developer.atlassian.com/cloud/bitbucket/changelog#CHANGE-2770"}}}`

// H6: The error of a removed API states that the API was removed.
func TestH6RemovedAPIIsShownAsSuch(t *testing.T) {
	c := answering(t, 410, "", removed)
	_, err := c.Repositories.Workspaces(t.Context())
	if !errors.Is(err, autobuild.ErrRemoved) {
		t.Fatalf("workspaces: got error %v, want %v", err, autobuild.ErrRemoved)
	}
	for _, text := range []string{"CHANGE-2770 - ", "changelog#CHANGE-2770"} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("workspaces: got error %v, want it to contain %q", err, text)
		}
	}
	if _, _, err := c.Repositories.List(t.Context(), "acme", "", ""); !errors.Is(err, autobuild.ErrRemoved) {
		t.Errorf("list repositories: got error %v, want ErrRemoved", err)
	}
}

// S5, F11: A rate limit error has the time of the next try, and counts as unavailable.
func TestS5RateLimit(t *testing.T) {
	for header, want := range map[string]time.Duration{"600": 10 * time.Minute, "": time.Minute} {
		err := answering(t, http.StatusTooManyRequests, header, "Rate limit for this resource has been exceeded").
			Statuses.Put(t.Context(), autobuild.Repository{FullName: "acme/app"}, "c", building())
		var limit *autobuild.RateLimitError
		if !errors.As(err, &limit) {
			t.Fatalf("Retry-After %q: got error %v, want a RateLimitError", header, err)
		}
		if limit.RetryAfter != want {
			t.Errorf("Retry-After %q: got %s, want %s", header, limit.RetryAfter, want)
		}
		if !errors.Is(err, autobuild.ErrUnavailable) {
			t.Errorf("Retry-After %q: got error %v, want %v", header, err, autobuild.ErrUnavailable)
		}
	}
}

// F11: A broken connection counts as unavailable, and not as an error of the repository.
func TestF11NoConnection(t *testing.T) {
	c := connect(t, "http://127.0.0.1:1", secret.New("t"))
	if _, err := c.Commits.Heads(t.Context(), autobuild.Repository{FullName: "acme/app"}); !errors.Is(err,
		autobuild.ErrUnavailable) {
		t.Errorf("heads: got error %v, want ErrUnavailable", err)
	}
}

func TestEveryCallNeedsAName(t *testing.T) {
	c, ctx, r := answering(t, 500, "", ""), t.Context(), autobuild.Repository{ID: "{x}"} // no workspace, no name
	ref := autobuild.Ref{Kind: autobuild.Branch, Name: "main"}
	calls := map[string]func() error{
		"Dockerfiles":  func() error { _, err := c.Repositories.Dockerfiles(ctx, r, "c"); return err },
		"Resolve":      func() error { _, err := c.Commits.Resolve(ctx, r, ref); return err },
		"Commit":       func() error { _, err := c.Commits.Commit(ctx, r, "c"); return err },
		"Heads":        func() error { _, err := c.Commits.Heads(ctx, r); return err },
		"ChangedPaths": func() error { _, err := c.History.ChangedPaths(ctx, r, "a", "b"); return err },
		"IsAncestor":   func() error { _, err := c.History.IsAncestor(ctx, r, "a", "b"); return err },
		"Ensure":       func() error { _, err := c.Hooks.Ensure(ctx, r, ours); return err },
		"Remove":       func() error { return c.Hooks.Remove(ctx, r, ours) },
		"Put":          func() error { return c.Statuses.Put(ctx, r, "c", building()) },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, autobuild.ErrNotFound) {
			t.Errorf("%s: got %v, want ErrNotFound", name, err)
		}
	}
}

func TestTranslateLeavesOthersAlone(t *testing.T) {
	odd := errors.New("odd")
	if provider.Translate(nil) != nil || !errors.Is(provider.Translate(odd), odd) {
		t.Error("error: got a changed one, want the same")
	}
	err := answering(t, 418, "", "{}").Statuses.Put(t.Context(), autobuild.Repository{FullName: "a/b"}, "c", building())
	if err == nil || errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("put status: got error %v, want one other than ErrUnavailable", err)
	}
}
