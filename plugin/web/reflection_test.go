package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
)

// A8: redirects do not depend on request headers or on unknown paths.
func TestA8NoHeaderChangesARedirect(t *testing.T) {
	e := newEnv(t)
	_, admin := e.session(t, autobuild.RoleAdmin)
	for _, prefix := range []string{"", "//evil.example", "/evil.example", `/\evil.example`, "https://evil.example"} {
		forged := admin.Clone()
		forged.Set("X-Forwarded-Prefix", prefix)
		forged.Set("X-Forwarded-Host", "evil.example")
		for _, path := range []string{
			"/builds/", "/automated-builds/", "/signin/", "/healthz/", "//evil.example/builds", "/BUILDS",
			"/x/../builds", "//evil.example/%2e%2e",
		} {
			for _, method := range []string{"GET", "POST"} {
				reply := e.do(method, path, "", forged)
				if to := reply.Header.Get("Location"); to != "" {
					t.Errorf(
						"%s %s with prefix %q: got %d to %q, want no redirect",
						method,
						path,
						prefix,
						reply.StatusCode,
						to,
					)
				}
			}
		}
		for _, path := range []string{"/", "/builds", "/signin"} {
			if to := e.do(
				"GET",
				path,
				"",
				http.Header{"X-Forwarded-Prefix": {prefix}},
			).Header.Get(
				"Location",
			); strings.Contains(
				to,
				"evil",
			) {
				t.Errorf("%s with prefix %q: got a link to %q, want none", path, prefix, to)
			}
		}
	}
}

// A8: responses do not contain the Host header of the request. URLs start with SLIPWAY_URL.
func TestA8TheHostIsNotReflected(t *testing.T) {
	e := newEnv(t)
	_, admin := e.session(t, autobuild.RoleAdmin)
	for _, route := range append(e.routes(), gin.RouteInfo{Method: "GET", Path: "/none"}) {
		for _, header := range []http.Header{nil, admin} {
			r := httptest.NewRequest(route.Method, route.Path, nil)
			r.Host = "evil.example"
			for name, values := range header {
				r.Header[name] = values
			}
			rec := httptest.NewRecorder()
			e.ServeHTTP(rec, r)
			if strings.Contains(rec.Body.String(), "evil.example") {
				t.Errorf("%s %s: got the Host in the body, want none", route.Method, route.Path)
			}
			if got := fmt.Sprint(rec.Header()); strings.Contains(got, "evil.example") {
				t.Errorf("%s %s: got the Host in a header, want none: %s", route.Method, route.Path, got)
			}
		}
	}
}
