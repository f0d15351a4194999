package drone_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/drone/dronetest"
	"slipway/plugin/engine/pipeline"
)

// Each error is reported in one line with its fix, and the other findings stay good.
func TestInspect(t *testing.T) {
	for name, c := range map[string]struct {
		path          string
		response      http.HandlerFunc
		clock         time.Duration
		subject       string
		good, problem string // parts of the finding
	}{
		"all is well":      {subject: "server", good: "Drone 2.28.1 at http://127.0.0.1:"},
		"a trial license":  {subject: "edition", good: "5000 builds"},
		"an administrator": {subject: "token", good: "slipway's, an administrator"},
		"an idle builder": {
			subject: "builder repository", good: "acme/builder is not active; the first build activates it",
		},
		"an active builder": {
			path:     "/acme/builder",
			response: respond(`{"name":"builder","slug":"acme/builder","active":true,"default_branch":"main"}`),
			subject:  "builder repository", good: "builds run on main",
		},
		"an empty builder": {
			path:     "/acme/builder",
			response: respond(`{"name":"builder","slug":"acme/builder","active":true}`),
			subject:  "builder repository", problem: "no default branch",
		},
		"a lost builder": {
			path: "/acme/builder", response: respondStatus(404, "Not Found"),
			subject: "builder repository", problem: "press Sync",
		},
		"an old server": {
			path: "/version", response: respond(`{"version":"2.27.2"}`), subject: "server", problem: "upgrade to 2.28",
		},
		"the newest server": {
			path: "/version", response: respond(`{"version":"v3.0.0-rc.1"}`), subject: "server",
			good: "Drone v3.0.0-rc.1",
		},
		"a server of one's": {
			path: "/version", response: respond(`{"version":"latest"}`), subject: "server", good: "Drone latest",
		},
		"another server": {
			path: "/version", response: respond(`{"name":"gitea"}`), subject: "server", problem: "SLIPWAY_DRONE_SERVER",
		},
		"a page": {
			path: "/version", response: respond(`<html>`), subject: "server", problem: "SLIPWAY_DRONE_SERVER",
		},
		"a broken server": {path: "/version", response: respondStatus(502, ""), subject: "server", problem: "502"},
		"a slow clock":    {clock: -2 * time.Minute, subject: "server", problem: "start a time service"},
		"open source": {
			path: "/system/stats", response: respondStatus(501, "Not Implemented"),
			subject: "edition", problem: "drone/drone:2",
		},
		"open source's own": {
			path: "/varz", response: respond(`{"license":{"kind":"foss"}}`), subject: "edition", problem: "drone/drone:2",
		},
		"a license ended": {
			path: "/varz", response: respond(`{"license":{"expire_at":"2020-01-02T00:00:00Z"}}`),
			subject: "edition", problem: "expired on 2020-01-02",
		},
		"a license": {
			path: "/varz", response: respond(`{"license":{"expire_at":"2999-01-02T00:00:00Z"}}`),
			subject: "edition", good: "valid until 2999-01-02",
		},
		"no administrator": {
			path: "/system/stats", response: respondStatus(403, "Forbidden"), subject: "edition", good: "5000 builds",
		},
		"no edition": {path: "/varz", response: respondStatus(404, ""), subject: "edition", good: "unknown"},
		"a wrong token": {
			path: "/api/user", response: respondStatus(401, "Unauthorized"), subject: "token",
			problem: "SLIPWAY_DRONE_TOKEN",
		},
		"another user": {
			path: "/api/user", response: respond(`{"login":"bot"}`), subject: "token", good: "needs write access",
		},
		"no user": {
			path: "/api/user", response: respond(`null`), subject: "token", problem: "SLIPWAY_DRONE_SERVER",
		},
		"no config request":  {subject: "config extension", good: "DRONE_YAML_ENDPOINT"},
		"no secret request":  {subject: "secret extension", good: "DRONE_SECRET_PLUGIN_ENDPOINT"},
		"no webhook request": {subject: "webhook extension", good: "polls"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(
				t,
				drone.Options{Repository: "acme/builder", Now: func() time.Time { return time.Now().Add(c.clock) }},
			)
			e.server.AddRepository("acme/builder", "main")
			if c.response != nil {
				e.instead("GET", c.path, c.response)
			}
			all := e.Inspect(t.Context())
			i := slices.IndexFunc(all, func(f pipeline.Finding) bool { return f.Subject == c.subject })
			if i < 0 || len(all) < 7 { // one more for the timeout of an active repository
				t.Fatalf("findings: got %d, %s at %d, want 7 or 8 with this one", len(all), c.subject, i)
			}
			f := all[i]
			if (f.Problem != "") != (c.problem != "") || !strings.Contains(f.Problem, c.problem) {
				t.Errorf("problem: got %q, want %q", f.Problem, c.problem)
			}
			if !strings.Contains(f.Good, c.good) {
				t.Errorf("good: got %q, want %q", f.Good, c.good)
			}
			if (f.Good == "") == (f.Problem == "") {
				t.Errorf("inspect: got %+v, want either a good result or a problem", f)
			}
			for _, f := range all {
				if strings.ContainsAny(f.Good+f.Problem, "\n") || strings.Contains(f.Good+f.Problem, e.token) {
					t.Errorf("finding %s: got %q, want one line of text", f.Subject, f.Good+f.Problem)
				}
			}
		})
	}
}

// Fix changes the timeout of the builder repository. Drone ignores it without a word if our user is no
// administrator.
func TestFixChangesTheTimeout(t *testing.T) {
	e := newEnv(t, drone.Options{Repository: "acme/builder", BuildTimeout: 4 * time.Hour})
	r := e.server.AddRepository("acme/builder", "main")
	r.Active = true
	timeout := func() pipeline.Finding {
		all := e.Inspect(t.Context())
		i := slices.IndexFunc(all, func(f pipeline.Finding) bool { return f.Subject == "timeout" })
		if i < 0 {
			t.Fatalf("findings: got %+v, want one for the timeout", all)
		}
		return all[i]
	}
	const want = "has a timeout of 60 minutes on Drone, but a build may take 4h0m0s"
	if f := timeout(); !strings.Contains(f.Problem, want) || !f.Fixable {
		t.Errorf("timeout: got %+v, want a fixable problem: %s", f, want)
	}
	e.server.WithoutAdmins()
	if err := e.Fix(t.Context()); err == nil || !strings.Contains(err.Error(), "make our user an administrator") {
		t.Errorf("Fix without administrators: got %v, want an error with the fix", err)
	}
	e.server.WithAdmins()
	if err := e.Fix(t.Context()); err != nil {
		t.Errorf("Fix: got %v, want no error", err)
	}
	if f := timeout(); f.Problem != "" || !strings.Contains(f.Good, "allows 245 minutes") {
		t.Errorf("timeout after Fix: got %+v, want 245 minutes", f)
	}
}

// The printed settings are those that the extensions accept.
func TestPrintedSettingsWork(t *testing.T) {
	e := newEnv(
		t,
		drone.Options{
			Repository: "acme/builder",
			Step: pipeline.Step{
				Image:  script(t, "echo token of ${#SLIPWAY_RUNNER_TOKEN}"),
				Labels: map[string]string{"b": "2", "a": "1"},
			},
		},
	)
	r := e.server.AddRepository("acme/builder", "main")
	values, keys := map[string]string{}, map[string]secret.Secret{}
	for _, s := range append(e.ServerSettings(e.gateway), e.RunnerSettings(e.gateway)...) {
		if values[s.Name] = s.Value; !s.Secret.IsZero() {
			keys[s.Name] = s.Secret
		}
		if s.Why == "" || (s.Value == "") == s.Secret.IsZero() {
			t.Errorf(
				"setting %s: got %q, %q, want either a value or a secret, and an explanation",
				s.Name,
				s.Value,
				s.Why,
			)
		}
	}
	e.server.SetExtensions(dronetest.Extensions{
		Config: dronetest.Extension{URL: values["DRONE_YAML_ENDPOINT"], Secret: keys["DRONE_YAML_SECRET"]},
		Secret: dronetest.Extension{
			URL:    values["DRONE_SECRET_PLUGIN_ENDPOINT"],
			Secret: keys["DRONE_SECRET_PLUGIN_TOKEN"],
		},
		Webhook: dronetest.Extension{URL: values["DRONE_WEBHOOK_ENDPOINT"], Secret: keys["DRONE_WEBHOOK_SECRET"]},
	})
	e.started(t)
	if status := e.waitFinished(t, r, 1); status != "success" {
		t.Errorf("status: got %s, want success", status)
	}
	if log := e.server.Log(r, 1); !strings.Contains(log, "token of 43") {
		t.Errorf(`log of the step: got %s, want "token of 43" in it`, log)
	}
	if got := len(e.rechecked); got < 3 {
		t.Errorf("rechecks: got %d, want at least 3", got)
	}
	if values["DRONE_RUNNER_LABELS"] != "a:1,b:2" {
		t.Errorf("labels: got %q, want a:1,b:2", values["DRONE_RUNNER_LABELS"])
	}
	for _, kind := range []string{"config", "secret", "webhook"} {
		if f := e.finding(t, kind); !strings.Contains(f.Good, "with a valid signature") {
			t.Errorf("finding: got %+v, want a valid signature", f)
		}
	}
}
