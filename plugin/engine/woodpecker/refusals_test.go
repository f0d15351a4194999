package woodpecker_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/store/storetest"
)

// Each case is a reason why a pipeline cannot start, and its fix. An error of the builder
// repository affects all builds, so they wait (ErrForbidden). An error of one repository fails its
// builds (ErrNotFound).
func TestCreateReportsEachRefusal(t *testing.T) {
	for name, c := range map[string]struct {
		builder  string // builder repository
		change   func(*env)
		want     error
		wantText string
	}{
		"token revoked": {
			"acme/builder", func(e *env) { e.server.RevokeTokens() }, autobuild.ErrUnauthorized,
			"set SLIPWAY_WOODPECKER_TOKEN",
		},
		"builder may not be pushed": {
			"acme/builder", func(e *env) { e.server.Permit(e.builder, false, false) },
			autobuild.ErrForbidden, "give it write access",
		},
		"may not be pushed": {
			"", func(e *env) { e.server.Activate(e.app); e.server.Permit(e.app, false, false) },
			autobuild.ErrNotFound, "give it write access",
		},
		"may not be activated": {
			"", func(e *env) { e.server.Permit(e.app, true, false) }, autobuild.ErrNotFound,
			"must be an administrator of the repository",
		},
		"is not seen": {
			"", func(e *env) { e.server.Permit(e.app, false, false) }, autobuild.ErrNotFound, "or activate it by hand",
		},
		"renamed": {
			"", func(e *env) { e.server.Rename(e.app, "acme/app2") }, autobuild.ErrNotFound,
			"has acme/app under the name acme/app2",
		},
		"builder in another case": {
			"Acme/Builder", func(*env) {}, autobuild.ErrForbidden, "has Acme/Builder under the name acme/builder",
		},
		"builder unknown": {"acme/none", func(*env) {}, autobuild.ErrForbidden, "the builder repository"},
		"no config extension": {
			"acme/builder", func(e *env) { e.server.SetExtensions("", "") }, autobuild.ErrForbidden,
			"set WOODPECKER_CONFIG_EXTENSION_ENDPOINT",
		},
		"no secret extension": {
			"acme/builder", withoutSecrets, autobuild.ErrForbidden, `secret "slipway_runner_token" not found`,
		},
		"its own workflow": {
			"", func(e *env) { e.server.SetExtensions("", ""); e.server.SetConfig(e.app, own) },
			autobuild.ErrForbidden, "ran the repository's own workflow",
		},
		"config extension fails": {
			"acme/builder", func(e *env) { e.faults.lookUp = 1000 }, autobuild.ErrUnavailable,
			"failed to fetch config via http (status: 503)",
		},
		"server fails": {
			"acme/builder", func(e *env) { e.server.FailNext(1000) }, autobuild.ErrUnavailable, "returned 500",
		},
		"redirected": {
			"acme/builder", func(e *env) { e.proxy.respond(redirect) }, autobuild.ErrForbidden,
			"set SLIPWAY_WOODPECKER_SERVER",
		},
		"received too many requests": {
			"acme/builder", func(e *env) { e.proxy.respond(status(http.StatusTooManyRequests, "")) },
			autobuild.ErrUnavailable, "received too many requests",
		},
		"403": {
			"acme/builder", func(e *env) { e.proxy.respond(status(http.StatusForbidden, "")) },
			autobuild.ErrForbidden, "give it push access",
		},
		"proxy without server": {
			"acme/builder",
			func(e *env) { e.proxy.respond(status(http.StatusBadGateway, "<h1>Bad\xff gateway")) },
			autobuild.ErrUnavailable, "returned 502 <h1>Bad? gateway",
		},
		"connection dropped": {
			"acme/builder", func(e *env) { e.proxy.respond(drop) }, autobuild.ErrUnavailable, "does not respond",
		},
		"it is another sort of thing": {
			"acme/builder", func(e *env) { e.proxy.respond(status(http.StatusOK, "<html>")) }, nil,
			"decode Woodpecker's response",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, c.builder, "")
			c.change(e)
			number, err := e.CI().Create(t.Context(), e.order(storetest.Main()))
			wantError(t, err, c.want, c.wantText)
			if number != 0 {
				t.Errorf("started pipeline: got %d, want 0", number)
			}
			if err != nil && strings.Contains(err.Error(), e.token.Reveal()) {
				t.Error("error: got the token in it, want none")
			}
			for _, p := range append(e.of(e.builder), e.of(e.app)...) {
				if p.Status != "error" && p.Status != "canceled" {
					t.Errorf("state of pipeline %d: got %s, want error or canceled", p.Number, p.Status)
				}
			}
		})
	}
}

func withoutSecrets(e *env) {
	e.server.SetExtensions(e.extensions+"config", "")
}

func redirect(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "http://127.0.0.1:1/elsewhere", http.StatusFound)
}

func drop(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}
