package provider_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
)

func building() autobuild.Status {
	return autobuild.Status{
		Key: autobuild.StatusKey("i", strings.Repeat("a", 120), strings.Repeat("r", 120), "branch",
			"refs/heads/main"), State: autobuild.StatusInProgress,
		Name: "acme/app:latest", Description: "Build 7 runs", URL: "https://ci.example.com/builds/7", RefName: "main",
	}
}

// S2: The key is the status's identity and has 40 characters for names of any length.
func TestS2KeyIsTheIdentity(t *testing.T) {
	w := newEnv(t)
	hash := w.commit(t, "main", map[string]string{"a": "1"})
	c, s := w.as(t, w.bob), building() // reading is enough
	if len(s.Key) != 40 {
		t.Fatalf("length of the key: got %d, want 40", len(s.Key))
	}
	for _, state := range []autobuild.StatusState{autobuild.StatusInProgress, autobuild.StatusInProgress,
		autobuild.StatusSuccessful} {
		s.State = state
		if err := c.Statuses.Put(t.Context(), w.app(), hash, s); err != nil {
			t.Fatal(err)
		}
	}
	want := []bitbuckettest.Status{
		{Key: s.Key, State: "SUCCESSFUL", Name: s.Name, Description: s.Description, URL: s.URL,
			Refname: "main"},
	}
	if diff := cmp.Diff(
		want,
		w.repo.Statuses(hash),
		cmpopts.IgnoreFields(
			bitbuckettest.Status{},
			"CreatedOn",
			"UpdatedOn",
		),
		cmpopts.IgnoreUnexported(bitbuckettest.Status{}),
	); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	s.Key += "x"
	if err := c.Statuses.Put(t.Context(), w.app(), hash, s); err == nil {
		t.Error("a key of 41 characters: got no error, want one")
	}
}

func TestStatusesAreFittedIntoTheLimits(t *testing.T) {
	w := newEnv(t)
	hash := w.commit(t, "main", map[string]string{"a": "1"})
	c, s := w.as(t, w.alice), building()
	s.Name, s.Description = strings.Repeat("ü", 300), strings.Repeat("b", 254)+"\xff"+"ccc"
	s.URL, s.RefName = "https://ci.example.com/{repository.full_name}/"+strings.Repeat("x", 395), ""
	if err := c.Statuses.Put(t.Context(), w.app(), hash, s); err != nil {
		t.Fatal(err)
	}
	got := w.repo.Statuses(hash)[0]
	for _, text := range []string{got.Name, got.Description} {
		if !utf8.ValidString(text) {
			t.Errorf("text: got %q, want valid UTF-8", text)
		}
		if n := utf8.RuneCountInString(text); n != 255 {
			t.Errorf("characters: got %d, want 255", n)
		}
		if !strings.HasSuffix(text, "…") {
			t.Errorf("text: got %q, want it to end with …", text)
		}
	}
	if !strings.Contains(got.URL, "/%7Brepository.full_name%7D/") || got.Refname != "" {
		t.Errorf("status: got %+v, want an escaped URL and no ref", got)
	}
}

func TestStatusesThatCannotBeSent(t *testing.T) {
	c := answering(t, 200, "", "{}")
	for name, change := range map[string]func(*autobuild.Status){
		"long link":     func(s *autobuild.Status) { s.URL = "https://ci.example.com/" + strings.Repeat("x", 430) },
		"relative link": func(s *autobuild.Status) { s.URL = "/builds/7" },
		"odd link":      func(s *autobuild.Status) { s.URL = "javascript://x" },
		"no state":      func(s *autobuild.Status) { s.State = "" },
		"no key":        func(s *autobuild.Status) { s.Key = "" },
	} {
		s := building()
		change(&s)
		if err := c.Statuses.Put(t.Context(), autobuild.Repository{FullName: "acme/app"}, "c", s); err == nil ||
			!strings.Contains(err.Error(), "acme/app@c") {
			t.Errorf(`%s: got error %v, want one with "acme/app@c"`, name, err)
		}
	}
}

// S5, S6: Errors are distinguishable, so that the reporter retries some and reports others.
func TestS6StatusRefused(t *testing.T) {
	for code, want := range map[int]error{404: autobuild.ErrNotFound, 403: autobuild.ErrForbidden,
		401: autobuild.ErrUnauthorized, 503: autobuild.ErrUnavailable, 410: autobuild.ErrRemoved} {
		err := answering(
			t,
			code,
			"",
			`{"type":"error","error":{"message":"no"}}`,
		).Statuses.Put(
			t.Context(),
			autobuild.Repository{FullName: "acme/app"},
			"c",
			building(),
		)
		if !errors.Is(err, want) {
			t.Errorf("%d: got %v, want %v", code, err, want)
		}
	}
}

func TestStatusOfACommitThatIsGone(t *testing.T) {
	w := newEnv(t)
	w.commit(t, "main", map[string]string{"a": "1"})
	err := w.as(t, w.alice).Statuses.Put(t.Context(), w.app(), strings.Repeat("0", 40), building())
	if !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("put status: got error %v, want ErrNotFound", err)
	}
}
