package tenanttest

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

var parameter = regexp.MustCompile(`[:*][a-z]+`)

// address fills the parameters of a route with the IDs of a tenant.
func (e *env) address(route string, of *tenant) (method, path string) {
	method, path, _ = strings.Cut(route, " ")
	value := map[string]string{
		"/automated-builds/": of.automatedBuild, "/builds/": fmt.Sprint(of.build.Number), "/deliveries/": of.delivery,
		"/hooks/": of.hook.ID, "/runner/v1/builds/": of.build.ID, "/runner/v1/automated/": of.automatedBuild,
		gitPrefix: of.build.ID + discovery, "/settings/people/": of.userID, "/settings/accounts/": e.accountID,
		"/settings/providers/": e.provider, "/setup/": e.provider, "/settings/engines/": e.engine,
		"/settings/registries/": "unknown", "/results/": "unknown", "/static/": "style.css", "/extensions/": "config",
	}
	for prefix, id := range value {
		if strings.HasPrefix(path, prefix) {
			return method, parameter.ReplaceAllLiteralString(path, id)
		}
	}
	return method, path
}

// routesBySession calls every route with the session of one tenant and the IDs of the other tenant.
func routesBySession(e *env, from, to *tenant) {
	routes := e.Gateway.Routes()
	if len(routes) < 40 {
		e.T.Fatalf("routes: got %d, want at least 40", len(routes))
	}
	for _, route := range routes {
		kind := kindOf(route)
		if kind == "" {
			e.T.Errorf("route %s: got no kind, want one in routesByKind", route)
			continue
		}
		method, path := e.address(route, to)
		if parameter.MatchString(path) {
			e.T.Errorf("route %s: got an unknown parameter, want it in address", route)
			continue
		}
		session := from
		if kind == public {
			session = nil // signing out would end the session of this test
		}
		response := e.person(session, method, path)
		what := fmt.Sprintf("%s %s as %s", method, path, from.person.Name)
		e.hidesOf(to, what, response)
		e.checkStatus(kind, what, response.Status)
		if kind == list && !strings.Contains(response.Body, from.canaries["repository"]) {
			e.T.Errorf(
				"%s: got status %d %s, want a repository of their own",
				what,
				response.Status,
				brief(response.Body),
			)
		}
		if kind == hidden {
			e.sameAsUnknown(what, route, from, to)
		}
	}
}

// checkStatus checks that a kind of route may return this status.
func (e *env) checkStatus(kind, what string, status int) {
	e.T.Helper()
	allowed := map[string][]int{
		hidden: {http.StatusForbidden, http.StatusNotFound},
		admin:  {http.StatusForbidden, http.StatusNotFound},
		list:   {http.StatusOK},
		person: {http.StatusOK, http.StatusSeeOther},
		public: {
			http.StatusOK, http.StatusSeeOther, http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound,
			http.StatusGone, http.StatusTooManyRequests,
		},
		program: {
			http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusBadRequest,
			http.StatusMethodNotAllowed,
		},
	}
	if !slices.Contains(allowed[kind], status) {
		e.T.Errorf("%s: got status %d, want one of %v", what, status, allowed[kind])
	}
}

// sameAsUnknown checks that the response for an object of the other tenant is the same as for an
// object that does not exist.
func (e *env) sameAsUnknown(what, route string, from, to *tenant) {
	e.T.Helper()
	nothing := *to
	nothing.automatedBuild, nothing.delivery, nothing.build.Number = "unknown", "unknown", 999_999
	method, known := e.address(route, to)
	_, unknown := e.address(route, &nothing)
	got, want := e.person(from, method, known), e.person(from, method, unknown)
	now := regexp.MustCompile(`data-now="[^"]*"`) // the time of the response
	strip := func(body, path, request string) string {
		return strings.NewReplacer(path, "PATH", request, "REQUEST").Replace(now.ReplaceAllString(body, ""))
	}
	gotBody := strip(got.Body, known, got.Header.Get("X-Request-Id"))
	wantBody := strip(want.Body, unknown, want.Header.Get("X-Request-Id"))
	if got.Status != want.Status || gotBody != wantBody {
		e.T.Errorf("%s: got %d %s, want the response for an unknown object, %d %s",
			what, got.Status, brief(gotBody), want.Status, brief(wantBody))
	}
}

// routesOwn checks that the IDs are correct: each tenant can use their own objects at the same routes.
func routesOwn(e *env, from, _ *tenant) {
	for _, route := range []string{
		"GET /automated-builds/:id", "GET /automated-builds/:id/edit", "GET /builds/:number", "GET /builds/:number/log",
		"GET /deliveries/:id",
	} {
		method, path := e.address(route, from)
		if response := e.person(from, method, path); response.Status != http.StatusOK {
			e.T.Errorf("%s %s as %s, an administrator of the repository: got status %d, want 200: %s",
				method, path, from.person.Name, response.Status, brief(response.Body))
		}
	}
}

// brief returns the start of a page's main part, or of another response, in one line.
func brief(body string) string {
	if _, main, ok := strings.Cut(body, "<main"); ok {
		body = main
	}
	body = strings.Join(strings.Fields(body), " ")
	return body[:min(len(body), 300)]
}
