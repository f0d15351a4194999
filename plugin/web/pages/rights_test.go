package pages_test

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages/pagestest"
)

// Lists, counters and pages show nothing of a repository that the user may not read.
func TestNothingOfOtherRepositoriesIsShown(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	dave := s.Users[autobuild.RoleNone]
	s.Rights.Grant(dave.ID, autobuild.PermissionRead, "{docs}")
	hidden := []string{
		"acme/app", "acme/worker", "registry.example.com", "Tidy the build", "Bump the base image", "Jane Doe",
		s.App.ID, s.Worker.ID, s.Delivery, s.Hook.ID, "of 3", "Show all 3",
	}
	for _, address := range []string{
		"/automated-builds", "/automated-builds?search=app", "/automated-builds?search=acme",
		"/automated-builds?state=failed",
		"/builds", "/builds?state=failed", "/builds?state=active", fmt.Sprintf("/builds?before=%d", s.Done.Number),
		"/deliveries", "/deliveries?before=" + s.Delivery,
	} {
		r := s.get(t, autobuild.RoleNone, address)
		r.want(t, http.StatusOK)
		for _, text := range hidden {
			if strings.Contains(r.Text, text) && !strings.Contains(address, text) {
				t.Errorf("%s: got %q on the page, want nothing of other repositories", address, text)
			}
		}
	}
	s.get(t, autobuild.RoleNone, "/automated-builds").want(t, http.StatusOK, "acme/docs")
}

// The permission at Bitbucket decides at each request, up and down.
func TestPermissionsFollowBitbucket(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	dave, cookie := s.Users[autobuild.RoleNone], s.Cookie(t, autobuild.RoleNone)
	page := func() reply {
		return s.do(t, httptest.NewRequest(http.MethodGet, "/automated-builds/"+s.App.ID, nil), cookie)
	}
	page().want(t, http.StatusNotFound)
	for _, step := range []struct {
		permission autobuild.Permission
		shown      []string
		missing    []string
	}{
		{autobuild.PermissionRead, nil, []string{"Start a build", "Show secret", "/hooks/bitbucket/", "Edit"}},
		{autobuild.PermissionWrite, []string{"Start a build"}, []string{"Show secret", "/hooks/bitbucket/", "Edit"}},
		{autobuild.PermissionAdmin, []string{"Start a build", "Show secret", "/hooks/bitbucket/", "Edit"}, nil},
	} {
		s.Rights.Grant(dave.ID, step.permission, "{app}")
		r := page()
		r.want(t, http.StatusOK, step.shown...)
		for _, text := range step.missing {
			if strings.Contains(words(r.main()), text) {
				t.Errorf("with %s: got %q on the page, want it missing", step.permission, text)
			}
		}
	}
	s.Rights.Grant(dave.ID, autobuild.PermissionNone, "{app}")
	page().want(t, http.StatusNotFound)
}

// If Bitbucket does not respond, nothing is shown and every address returns the same error.
func TestUnknownPermissionsShowNothing(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	for name, c := range map[string]struct {
		err    error
		status int
		text   string
	}{
		"an outage":         {autobuild.ErrUnavailable, http.StatusServiceUnavailable, "Try again in a minute"},
		"a missing scope":   {autobuild.ErrForbidden, http.StatusBadGateway, "select Account: Read"},
		"a revoked sign-in": {autobuild.ErrUnauthorized, http.StatusForbidden, "sign in again"},
	} {
		s.Rights.Fail(c.err)
		for _, address := range []string{
			"/automated-builds", "/builds", "/deliveries", path(s.Done, ""), path(s.Done, "/log"), "/builds/99999",
			"/automated-builds/" + s.App.ID, "/automated-builds/none",
		} {
			r := s.get(t, pagestest.Reader, address)
			if r.StatusCode != c.status {
				t.Errorf("%s at %s: got StatusCode %v, want %v", name, address, r.StatusCode, c.status)
			}
			if !strings.Contains(r.Text, c.text) {
				t.Errorf("%s at %s: got %q, want it to contain %q", name, address, r.Text, c.text)
			}
		}
		s.get(t, autobuild.RoleAdmin, "/builds").want(t, http.StatusOK, "Build 15")
	}
}

func TestRefreshMyPermissions(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	s.get(t, pagestest.Reader, "/builds").want(t, http.StatusOK)
	s.post(t, pagestest.Reader, "/permissions/refresh", "return_to", "/builds").
		wantRedirect(t, "/builds?done=permissions")
	if got := s.Rights.Renewed(); got != 1 {
		t.Errorf("checks: got %d, want 1", got)
	}
	s.post(t, pagestest.Reader, "/permissions/refresh", "return_to", "//evil.example").
		wantRedirect(t, "/automated-builds?done=permissions")
	s.post(t, "", "/permissions/refresh").want(t, http.StatusUnauthorized)
	s.Rights.Fail(autobuild.ErrUnavailable)
	s.post(t, pagestest.Reader, "/permissions/refresh").want(t, http.StatusServiceUnavailable)
}

// An admin of a repository can edit the rules. Only an administrator of the installation can change
// the image, the engine and the account.
func TestRepositoryAdminCannotMoveTheImage(t *testing.T) {
	s := newEnv(pagestest.Open(t))
	edit := "/automated-builds/" + s.App.ID + "/edit"
	form := s.get(t, pagestest.Owner, edit)
	form.want(t, http.StatusOK, "An administrator of this Slipway can change these.")
	for _, secretive := range []string{"docs token", "docker.io/acme", `name="image"`, `name="account"`, `name="engine"`} {
		if strings.Contains(form.Text, secretive) {
			t.Errorf("form: got %q, want it missing", secretive)
		}
	}
	s.post(t, pagestest.Owner, edit, draft(
		s,
		"repository",
		"acme/worker",
		"image",
		"registry.example.com/acme/worker",
		"engine",
		"drone",
		"account",
		s.Token.ID,
		"rules[0].tags",
		"edge",
	)...).wantRedirect(t, "/automated-builds/"+s.App.ID+"?done=saved")
	after, err := s.Store.AutomatedBuild(t.Context(), s.App.ID)
	if err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string][2]string{
		"image": {after.Image, s.App.Image}, "engine": {after.Engine, s.App.Engine},
		"account":    {after.AccountID, s.App.AccountID},
		"repository": {after.Repository.ID, s.App.Repository.ID}, "tags": {after.Rules[0].Tags, "edge"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %s, want %s", what, pair[0], pair[1])
		}
	}
}

// stream opens a log's stream and returns its lines, which end with the stream.
func (s *env) stream(t *testing.T, address string, cookie *http.Cookie) <-chan string {
	t.Helper()
	server := httptest.NewServer(s.engine)
	t.Cleanup(server.Close)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(cookie)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	if response.StatusCode != http.StatusOK {
		t.Fatalf("stream: got %d, want 200", response.StatusCode)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(response.Body); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	return lines
}

// A log stream ends when the permission or the session ends, without an end event.
func TestStreamEndsWithTheRight(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, s *env){
		"the permission ends": func(_ *testing.T, s *env) {
			s.Rights.Grant(s.Users[pagestest.Reader].ID, autobuild.PermissionNone, s.Live.Repository.ID)
		},
		"the session ends": func(t *testing.T, s *env) {
			if err := s.Store.EndSessions(t.Context(), s.Users[pagestest.Reader].ID); err != nil {
				t.Error(err)
			}
		},
		"the sign-in is revoked": func(_ *testing.T, s *env) { s.Rights.Fail(autobuild.ErrUnauthorized) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newEnv(pagestest.Open(t))
			s.Pages.Recheck = 10 * time.Millisecond
			lines := s.stream(t, path(s.Live, "/log/stream"), s.Cookie(t, pagestest.Reader))
			if got := <-lines; got != ": following" {
				t.Fatalf("first line: got %q, want : following", got)
			}
			end(t, s)
			limit := time.After(10 * time.Second)
			for {
				select {
				case line, open := <-lines:
					if !open {
						return
					}
					if strings.HasPrefix(line, "event: end") {
						t.Error("events: got the end of a build, want none")
					}
				case <-limit:
					t.Fatal("stream: got no end, want one")
				}
			}
		})
	}
}

// Handlers read rows of repositories only through a View.
func TestHandlersReadThroughTheView(t *testing.T) {
	whole := []string{
		"AutomatedBuild", "AutomatedBuilds", "AutomatedBuildsOf", "Build", "BuildByNumber", "Builds", "LatestBuild",
		"Deliveries", "Delivery", "Hook", "Hooks", "Repositories",
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, f.Name(), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		read++
		ast.Inspect(parsed, func(n ast.Node) bool {
			method, ok := n.(*ast.SelectorExpr)
			if !ok || !slices.Contains(whole, method.Sel.Name) {
				return true
			}
			if on, ok := method.X.(*ast.SelectorExpr); ok && on.Sel.Name == "Store" {
				t.Errorf(
					"%s: got Store.%s, which ignores the person's rights, want view(c)",
					set.Position(n.Pos()),
					method.Sel.Name,
				)
			}
			return true
		})
	}
	if read == 0 {
		t.Error("files: got none, want at least 1")
	}
}
