package pages_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"golang.org/x/net/html"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages"
	"slipway/plugin/web/pages/pagestest"
)

// refresh loads a part of a page again, as the script does, with the version of its list.
func (s *env) refresh(t *testing.T, role autobuild.Role, path, version string) reply {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("X-Part", "list")
	r.Header.Set("If-None-Match", `"`+version+`"`)
	return s.do(t, r, s.cookie(t, role))
}

// version returns the version of the list on a page.
func (r reply) version(t *testing.T) string {
	t.Helper()
	var found []string
	for _, n := range find(r.main(), "div") {
		if has(n, "data-version") {
			found = append(found, attr(n, "data-version"))
		}
	}
	if len(found) != 1 || found[0] == "" {
		t.Fatalf("versions on the page: got %q, want one", found)
	}
	return found[0]
}

// An onlyVersion is a View that can be asked for the version of the lists alone.
type onlyVersion struct {
	pages.View
	version func(context.Context) (string, error)
}

func (v onlyVersion) ListVersion(ctx context.Context) (string, error) { return v.version(ctx) }

// A refresh of a list that did not change reads the version of the lists and nothing else, and has no page.
func TestAnUnchangedListIsNotReadAgain(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	view := s.Pages.ViewAs
	for _, path := range []string{"/automated-builds", "/automated-builds?search=app", "/builds?state=failed", "/automated-builds/" + s.App.ID} {
		s.Pages.ViewAs = view
		page := s.get(t, autobuild.RoleAdmin, path)
		version := page.version(t)
		if got := page.Header.Get("ETag"); got != `"`+version+`"` {
			t.Errorf("%s: ETag: got %s, want the version %q", path, got, version)
		}
		s.Pages.ViewAs = func(v autobuild.Viewer) pages.View { return onlyVersion{nil, view(v).ListVersion} }
		again := s.refresh(t, autobuild.RoleAdmin, path, version)
		if again.StatusCode != http.StatusNotModified {
			t.Errorf("%s: status of a refresh: got %d, want 304", path, again.StatusCode)
		}
		if again.Text != "" {
			t.Errorf("%s: body of a refresh: got %d bytes, want none", path, len(again.Text))
		}
	}
}

// A refresh after a change has the page. So has one of another user, or with another version.
func TestAChangedListIsReadAgain(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	last := ""
	for i, change := range []func() error{
		func() error { return nil },
		func() error {
			_, err := s.Store.CancelBuild(t.Context(), s.Waiting.ID, autobuild.ReasonUser, "")
			return err
		},
		func() error {
			r := s.App.Repository
			r.FullName = "acme/renamed"
			return s.Store.RenameRepository(t.Context(), r)
		},
		func() error { return s.Store.DeleteHook(t.Context(), s.Hook.ID) },
		func() error { return s.Store.DeleteAutomatedBuild(t.Context(), s.Worker.ID) },
	} {
		must.Succeed(t, change())
		r := s.refresh(t, autobuild.RoleAdmin, "/automated-builds", last)
		r.want(t, http.StatusOK, "Automated builds")
		if r.version(t) == last {
			t.Errorf("version after change %d: got the same, %s", i, last)
		}
		last = r.version(t)
	}
	s.refresh(t, pagestest.Reader, "/automated-builds", last).want(t, http.StatusOK, "acme/renamed")
	for name, header := range map[string]string{"X-Part": "list", "If-None-Match": fmt.Sprintf("%q", last)} {
		r := httptest.NewRequest(http.MethodGet, "/automated-builds", nil)
		r.Header.Set(name, header)
		s.do(t, r, s.cookie(t, autobuild.RoleAdmin)).want(t, http.StatusOK, "acme/renamed")
	}
}

// The time of the server is on each page, so that the script can count on.
func TestPagesHaveTheTimeOfTheServer(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	r := s.get(t, autobuild.RoleAdmin, "/builds")
	var root *html.Node
	for _, n := range find(r.Page, "html") {
		root = n
	}
	if got, want := attr(root, "data-now"), s.Clock.Now().UTC().Format("2006-01-02T15:04:05Z"); got != want {
		t.Errorf("time of the server: got %q, want %q", got, want)
	}
}
