package drone_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/engine/drone"
)

// Each refusal of a start has its own sentinel, which decides which builds wait, and names the fix.
func TestCreateReportsEachRefusal(t *testing.T) {
	const builds, repo = "/builds", "/acme/builder"
	for name, c := range map[string]struct {
		repository   string // the builder repository; empty = the build's own
		method, path string
		response     http.HandlerFunc
		want         error
		wantText     string
	}{
		"wrong token": {
			"acme/builder", "GET", "/user", respondStatus(401, "Unauthorized"),
			autobuild.ErrUnauthorized, "SLIPWAY_DRONE_TOKEN",
		},
		"license": {
			"acme/builder", "POST", builds, respondStatus(402, "Build limit exceeded"),
			autobuild.ErrForbidden, "license is used up (Build limit exceeded)",
		},
		"builder repository closed": {
			"acme/builder", "POST", builds, respondStatus(403, "Forbidden"), autobuild.ErrForbidden,
			"administration at Bitbucket",
		},
		"own repository closed": {
			"", "POST", builds, respondStatus(403, "Forbidden"), autobuild.ErrNotFound, "administration at Bitbucket",
		},
		"no webhook in the builder": {
			"acme/builder", "POST", repo, respondStatus(500, "Forbidden"), autobuild.ErrForbidden,
			"could not add its webhook",
		},
		"no webhook in one repository": {
			"", "POST", "/acme/app", respondStatus(500, "Forbidden"), autobuild.ErrNotFound,
			"could not add its webhook",
		},
		"activation beyond a license": {
			"", "POST", "/acme/app", respondStatus(402, "Repository limit exceeded"),
			autobuild.ErrForbidden, "license is used up",
		},
		"activation unanswered": {
			"", "POST", "/acme/app", respondStatus(502, ""), autobuild.ErrUnavailable, "activate acme/app",
		},
		"commit gone": {
			"", "POST", builds, respondStatus(404, "Commit not found"), autobuild.ErrNotFound, "Commit not found",
		},
		"builder's branch gone": {
			"acme/builder", "POST", builds, respondStatus(404, "Not Found"), autobuild.ErrForbidden,
			"builder repository",
		},
		"no configuration": {
			"acme/builder", "POST", builds, respondStatus(500, "Not Found"),
			autobuild.ErrUnavailable, "are DRONE_YAML_ENDPOINT",
		},
		"refused by us": {
			"acme/builder", "POST", builds,
			respondStatus(500, "the gateway refused the request: see its log"), autobuild.ErrUnavailable,
			"see its log",
		},
		"in front of it": {
			"acme/builder", "POST", builds, respondStatus(503, "upstream"), autobuild.ErrUnavailable, "503 (upstream)",
		},
		"too much": {
			"acme/builder", "POST", builds, respondStatus(429, "slow down"),
			autobuild.ErrUnavailable, "429 (slow down)",
		},
		"not understood": {"acme/builder", "POST", builds, respondStatus(400, "bad"), nil, "400 (bad)"},
		"nothing matched": {
			"acme/builder", "POST", builds, respond("null"), autobuild.ErrForbidden, "DRONE_YAML_ENDPOINT",
		},
		"lint": {
			"acme/builder", "POST", builds,
			respond(`{"number":7,"status":"error","error":"linter: no"}`), autobuild.ErrForbidden,
			"does not run build 7 of acme/builder: linter: no",
		},
		"a login before it": {
			"acme/builder", "GET", "/user",
			http.RedirectHandler("http://sso/", http.StatusFound).ServeHTTP, autobuild.ErrForbidden,
			"redirects (302)",
		},
		"a page": {
			"acme/builder", "GET", "/user", respond("<html>"), autobuild.ErrUnavailable,
			"is not a Drone server",
		},
		"no user": {
			"acme/builder", "GET", "/user", respond("null"), autobuild.ErrUnavailable, "is not a Drone server",
		},
		"no repository": {
			"acme/builder", "GET", repo, respond("null"), autobuild.ErrUnavailable, "is not a Drone server",
		},
		"activated nothing": {
			"acme/builder", "POST", repo, respond("null"), autobuild.ErrUnavailable, "is not a Drone server",
		},
		"endless": {
			"acme/builder", "GET", builds, endless, autobuild.ErrUnavailable, "longer than 8388608 bytes",
		},
		"sync fails": {
			"", "POST", "/user/repos", respondStatus(500, "Not Authorized"),
			autobuild.ErrUnavailable, "sync Drone's repositories",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, drone.Options{Repository: c.repository})
			if name != "sync fails" {
				e.server.AddRepository("acme/app", "main")
			}
			e.server.AddRepository("acme/builder", "main")
			e.instead(c.method, c.path, c.response)
			p := e.pipeline(t)
			_, err := e.Start(shortly(t), p)
			switch {
			case err == nil || c.want != nil && !errors.Is(err, c.want):
				t.Errorf("start: got %v, want %v", err, c.want)
			case c.want == nil && (errors.Is(err, autobuild.ErrUnavailable) || errors.Is(err, autobuild.ErrForbidden)):
				t.Errorf("error: got %v, want one that fails the build at once", err)
			//nolint:errorlint // the table's own value
			case c.want == autobuild.ErrNotFound && errors.Is(err, autobuild.ErrForbidden):
				t.Errorf("error: got %v, want one that does not stop all builds", err)
			case !strings.Contains(err.Error(), c.wantText):
				t.Errorf("start: got error %q, want %q in it", err, c.wantText)
			}
			if name == "refused by us" && strings.Contains(err.Error(), "DRONE_YAML_ENDPOINT") {
				t.Errorf("error: got %v, want no hint at a missing endpoint", err)
			}
		})
	}
}

func endless(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte("["))
	for range 9 << 10 {
		if _, err := fmt.Fprint(w, strings.Repeat(" ", 1<<10)); err != nil {
			return
		}
	}
}
