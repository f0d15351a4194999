package pages_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages"
	"slipway/plugin/web/pages/pagestest"
)

// A success is final. Retry of a failed build is offered, and refused if a newer build holds the tags.
func TestRetryIsOfferedWhereItMakesSense(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	for state, row := range map[string]struct {
		build autobuild.Build
		want  bool
	}{
		"succeeded": {s.Done, false}, "failed": {s.Broken, true}, "error": {s.Errored, true},
		"cancelled": {s.Undone, true}, "running": {s.Live, false}, "queued": {s.Waiting, false},
	} {
		r := s.get(t, pagestest.Writer, path(row.build, ""))
		if got := strings.Contains(r.Text, path(row.build, "/retry")); got != row.want {
			t.Errorf("%s: got a Retry button %t, want %t", state, got, row.want)
		}
	}
	refused := s.post(t, pagestest.Writer, path(s.Done, "/retry"))
	refused.want(t, http.StatusConflict, "has succeeded, so it is not retried. Choose Rebuild")
	checkPage(t, refused)
	done, err := s.Store.Build(t.Context(), s.Done.ID)
	if err != nil {
		t.Fatal(err)
	}
	if done.State != autobuild.Succeeded {
		t.Errorf("state: got %s, want succeeded", done.State)
	}
}

// G6: a build step of another version than the gateway's.
func TestABuildShowsTheVersionOfAnotherStep(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	for version, want := range map[string]bool{"": false, pagestest.Version: false, "0.0.9": true} {
		if err := s.Store.SetRunnerVersion(t.Context(), s.Broken.ID, 1, version); err != nil {
			t.Fatal(err)
		}
		r := s.get(t, pagestest.Reader, path(s.Broken, ""))
		text := "The build step has version " + version + ", and the gateway has " + pagestest.Version
		if got := strings.Contains(words(r.main()), text); got != want {
			t.Errorf("version %q: got the warning %t, want %t", version, got, want)
		}
	}
	s.Clock.Pass(time.Hour)
	upgraded, err := pages.New(s.Pages.Options)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Store.SetRunnerVersion(t.Context(), s.Broken.ID, 1, "0.0.9"); err != nil {
		t.Fatal(err)
	}
	s.Pages = upgraded
	r := newEnv(s.Sample).get(t, pagestest.Reader, path(s.Broken, ""))
	if text := words(r.main()); strings.Contains(text, "The build step has version") {
		t.Errorf("build of an earlier gateway: got %s, want no warning", text)
	}
}
