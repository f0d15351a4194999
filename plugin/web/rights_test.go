package web

import (
	"net/http"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages"
	"slipway/plugin/web/pages/pagestest"
)

// people are the users for whom every route is tested, fewest permissions first.
type person struct {
	name   string
	cookie *http.Cookie // nil means no session
	has    autobuild.Permission
	admin  bool // of the installation
}

func (w *env) persons(t *testing.T) []person {
	t.Helper()
	w.Rights.Grant(
		w.Users[autobuild.RoleNone].ID,
		autobuild.PermissionAdmin,
		"{another}",
	) // of a repository that is not the sample's
	return []person{
		{"no session", nil, autobuild.PermissionNone, false},
		{"the admin of another repository", w.Cookie(t, autobuild.RoleNone), autobuild.PermissionNone, false},
		{"a reader", w.Cookie(t, pagestest.Reader), autobuild.PermissionRead, false},
		{"a writer", w.Cookie(t, pagestest.Writer), autobuild.PermissionWrite, false},
		{"a repository's admin", w.Cookie(t, pagestest.Owner), autobuild.PermissionAdmin, false},
		{"an administrator", w.Cookie(t, autobuild.RoleAdmin), autobuild.PermissionAdmin, true},
	}
}

// refusal returns the status for a user without the route's right. It is 0 if the user has the right.
func refusal(r pages.Route, p person) int {
	onRepository := r.Needs == pages.Read || r.Needs == pages.Write || r.Needs == pages.Admin
	switch {
	case r.Needs == pages.Anybody || p.admin:
		return 0
	case p.cookie == nil && r.Method == http.MethodGet:
		return http.StatusSeeOther
	case p.cookie == nil:
		return http.StatusUnauthorized
	case r.Needs == pages.Installation:
		return http.StatusForbidden
	case onRepository && p.has == autobuild.PermissionNone:
		return http.StatusNotFound
	case onRepository && !p.has.Includes(autobuild.Permission(r.Needs)):
		return http.StatusForbidden
	}
	return 0
}

func TestEveryRouteNeedsItsRight(t *testing.T) {
	w := newEnv(t, nil)
	persons := w.persons(t)
	for _, r := range w.Pages.Routes() {
		switch r.Needs {
		case pages.Anybody, pages.SignedIn, pages.Visible, pages.Read, pages.Write, pages.Admin, pages.Installation:
		default:
			t.Errorf("%s %s: got the right %q, want a known one", r.Method, r.Path, r.Needs)
		}
		for _, p := range persons {
			if r.Path == "/signout" && p.cookie != nil {
				continue // ends the session, which the next routes need
			}
			reply := w.do(r.Method, w.at(r), ours, p.cookie)
			checkHeaders(t, reply)
			want := refusal(r, p)
			switch got := reply.StatusCode; {
			case want != 0 && got != want:
				t.Errorf("%s %s as %s: got %d, want %d", r.Method, r.Path, p.name, got, want)
			case want == 0 && (got == http.StatusForbidden && r.Needs != pages.Anybody || got >= 500):
				t.Errorf("%s %s as %s: got %d, want no refusal", r.Method, r.Path, p.name, got)
			case want == http.StatusSeeOther && !strings.HasPrefix(reply.Header.Get("Location"), "/signin?"):
				t.Errorf(
					"%s %s as %s: got a redirect to %s, want the sign-in page",
					r.Method,
					r.Path,
					p.name,
					reply.Header.Get("Location"),
				)
			}
		}
	}
}

// The response for an unreadable row is identical to the response for a missing row.
func TestUnreadableRowsLookMissing(t *testing.T) {
	w := newEnv(t, nil)
	outsider := w.Cookie(t, autobuild.RoleNone)
	tried := 0
	for _, r := range w.Pages.Routes() {
		if !strings.Contains(r.Path, ":id") && !strings.Contains(r.Path, ":number") || r.Needs == pages.Installation {
			continue
		}
		tried++
		unknown := strings.NewReplacer(":id", "nosuchthing", ":number", "4000000").Replace(r.Path)
		want, got := w.do(r.Method, unknown, ours, outsider), w.do(r.Method, w.at(r), ours, outsider)
		if got.StatusCode != want.StatusCode {
			t.Errorf("%s %s: got %d, want %d", r.Method, r.Path, got.StatusCode, want.StatusCode)
		}
		body := func(reply *http.Response) string {
			return strings.ReplaceAll(read(t, reply), reply.Header.Get("X-Request-Id"), "its id")
		}
		if got, want := body(got), body(want); got != want {
			t.Errorf("%s %s: got %s, want %s", r.Method, r.Path, got, want)
		}
		got.Header.Del("X-Request-Id")
		want.Header.Del("X-Request-Id")
		if len(got.Header) != len(want.Header) {
			t.Errorf("%s %s: got headers %v, want %v", r.Method, r.Path, got.Header, want.Header)
		}
	}
	if tried < 15 {
		t.Errorf("routes with an item: got %d, want at least 15", tried)
	}
}
