package woodpecker_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"slipway/plugin/engine/pipeline"
)

// inspect returns the findings by subject.
func (e *env) inspect() map[string]pipeline.Finding {
	found := map[string]pipeline.Finding{}
	for _, f := range e.Inspect(e.t.Context()) {
		found[f.Subject] = f
		if strings.Contains(f.Good+f.Problem, "\n") {
			e.t.Errorf("inspect: got %+v, want one line", f)
		}
		if (f.Good == "") == (f.Problem == "") {
			e.t.Errorf("inspect: got %+v, want either a good result or a problem", f)
		}
		if strings.Contains(f.Problem, e.token.Reveal()) {
			e.t.Errorf("problem: got the token in %+v, want none", f)
		}
	}
	return found
}

func TestInspectWithoutErrors(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	e.start()
	for subject, wantText := range map[string]string{
		"server": "Woodpecker 3.17.0 at http://127.0.0.1", "token": "is slipway's",
		"builder repository": "acme/builder is active",
		"config extension":   "with a valid signature", "secret extension": "with a valid signature",
	} {
		if f := e.inspect()[subject]; f.Problem != "" || !strings.Contains(f.Good, wantText) {
			t.Errorf("%s: got %+v, want good: %s", subject, f, wantText)
		}
	}
}

func TestInspectNamesTheFix(t *testing.T) {
	version := func(v string) func(*env) {
		return func(e *env) {
			e.proxy.respond(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/version" {
					status(http.StatusOK, `{"version":"`+v+`"}`)(w, r)
					return
				}
				e.server.ServeHTTP(w, r)
			})
		}
	}
	for name, c := range map[string]struct {
		builder string
		change  func(*env)
		subject string
		problem string
	}{
		"too old":         {"acme/builder", version("3.13.9"), "server", "upgrade to 3.14 or later"},
		"much too old":    {"acme/builder", version("2.8.0"), "server", "upgrade to 3.14 or later"},
		"just new enough": {"acme/builder", version("3.14.0-rc.1"), "server", ""},
		"next":            {"acme/builder", version("next-1a2b3c"), "server", ""},
		"version 4":       {"acme/builder", version("4.0.0"), "server", ""},
		"another program": {
			"acme/builder", func(e *env) { e.proxy.respond(status(http.StatusOK, "<html>")) },
			"server", "check SLIPWAY_WOODPECKER_SERVER",
		},
		"down": {"acme/builder", func(e *env) { e.proxy.respond(drop) }, "server", "does not respond"},
		"clock": {
			"acme/builder", func(e *env) { e.clock.add(time.Hour) }, "server", "start a time service on both",
		},
		"clock a bit": {"acme/builder", func(e *env) { e.clock.add(20 * time.Second) }, "server", ""},
		"token revoked": {
			"acme/builder", func(e *env) { e.server.RevokeTokens() }, "token", "set SLIPWAY_WOODPECKER_TOKEN",
		},
		"no builder":       {"acme/none", func(*env) {}, "builder repository", "activate it on Woodpecker"},
		"builder inactive": {"acme/app", func(*env) {}, "builder repository", "activate it on Woodpecker"},
		"builder's case":   {"ACME/builder", func(*env) {}, "builder repository", "under the name acme/builder"},
		"cannot push": {
			"acme/builder", func(e *env) { e.server.Permit(e.builder, false, false) },
			"builder repository", "give it write access",
		},
		"never asked": {"acme/builder", func(*env) {}, "config extension", ""},
		"refused": {"acme/builder", func(e *env) {
			e.ask(secretPath, pushed, func(r *http.Request) { r.Header.Del("Signature") })
		}, "secret extension", "was refused: header Signature is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, c.builder, "")
			c.change(e)
			f, found := e.inspect()[c.subject]
			if !found {
				t.Fatalf("finding of %s: got none, want one", c.subject)
			}
			if (f.Problem == "") != (c.problem == "") || !strings.Contains(f.Problem, c.problem) {
				t.Errorf("%s: got %+v, want the problem %q", c.subject, f, c.problem)
			}
		})
	}
}

func TestInspectWithoutABuilderRepository(t *testing.T) {
	e := newEnv(t, "", "")
	found := e.inspect()
	if _, there := found["builder repository"]; there || len(found) != 4 {
		t.Errorf("findings: got %+v, want 4 without the builder repository", found)
	}
	if good := found["config extension"].Good; !strings.Contains(good, "WOODPECKER_CONFIG_EXTENSION_ENDPOINT") {
		t.Errorf(`before any request: got %q, want it to contain "WOODPECKER_CONFIG_EXTENSION_ENDPOINT"`, good)
	}
}
