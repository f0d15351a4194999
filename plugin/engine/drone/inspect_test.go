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

// Each fault is told in one line that says what mends it, and the others' stay good.
func TestInspect(t *testing.T) {
	for name, c := range map[string]struct {
		path          string
		answer        http.HandlerFunc
		clock         time.Duration
		subject       string
		good, problem string // words of the finding
	}{
		"all is well":       {subject: "server", good: "Drone 2.28.1 at http://127.0.0.1:"},
		"a trial licence":   {subject: "edition", good: "5000 builds"},
		"an administrator":  {subject: "token", good: "slipway's, an administrator"},
		"an idle builder":   {subject: "builder repository", good: "acme/builder is not active, and will be with the first build"},
		"an active builder": {path: "/acme/builder", answer: says(`{"name":"builder","slug":"acme/builder","active":true,"default_branch":"main"}`), subject: "builder repository", good: "builds run on main"},
		"an empty builder":  {path: "/acme/builder", answer: says(`{"name":"builder","slug":"acme/builder","active":true}`), subject: "builder repository", problem: "no default branch"},
		"a lost builder":    {path: "/acme/builder", answer: status(404, "Not Found"), subject: "builder repository", problem: "press Sync"},
		"an old server":     {path: "/version", answer: says(`{"version":"2.27.2"}`), subject: "server", problem: "2.28 is needed"},
		"the newest server": {path: "/version", answer: says(`{"version":"v3.0.0-rc.1"}`), subject: "server", good: "Drone v3.0.0-rc.1"},
		"a server of one's": {path: "/version", answer: says(`{"version":"latest"}`), subject: "server", good: "Drone latest"},
		"another server":    {path: "/version", answer: says(`{"name":"gitea"}`), subject: "server", problem: "SLIPWAY_DRONE_SERVER"},
		"a page":            {path: "/version", answer: says(`<html>`), subject: "server", problem: "SLIPWAY_DRONE_SERVER"},
		"a broken server":   {path: "/version", answer: status(502, ""), subject: "server", problem: "502"},
		"a slow clock":      {clock: -2 * time.Minute, subject: "server", problem: "start a time service"},
		"open source":       {path: "/system/stats", answer: status(501, "Not Implemented"), subject: "edition", problem: "drone/drone:2"},
		"open source's own": {path: "/varz", answer: says(`{"license":{"kind":"foss"}}`), subject: "edition", problem: "drone/drone:2"},
		"a licence ended":   {path: "/varz", answer: says(`{"license":{"expire_at":"2020-01-02T00:00:00Z"}}`), subject: "edition", problem: "ended on 2020-01-02"},
		"a licence":         {path: "/varz", answer: says(`{"license":{"expire_at":"2999-01-02T00:00:00Z"}}`), subject: "edition", good: "good until 2999-01-02"},
		"no administrator":  {path: "/system/stats", answer: status(403, "Forbidden"), subject: "edition", good: "5000 builds"},
		"nothing told":      {path: "/varz", answer: status(404, ""), subject: "edition", good: "is not told"},
		"a wrong token":     {path: "/api/user", answer: status(401, "Unauthorized"), subject: "token", problem: "SLIPWAY_DRONE_TOKEN"},
		"another user":      {path: "/api/user", answer: says(`{"login":"bot"}`), subject: "token", good: "needs write access"},
		"no user":           {path: "/api/user", answer: says(`null`), subject: "token", problem: "SLIPWAY_DRONE_SERVER"},
		"config unasked":    {subject: "config extension", good: "DRONE_YAML_ENDPOINT"},
		"secret unasked":    {subject: "secret extension", good: "DRONE_SECRET_PLUGIN_ENDPOINT"},
		"webhook unasked":   {subject: "webhook extension", good: "polls"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, drone.Options{Repository: "acme/builder", Now: func() time.Time { return time.Now().Add(c.clock) }})
			b.server.AddRepository("acme/builder", "main")
			if c.answer != nil {
				b.instead("GET", c.path, c.answer)
			}
			all := b.Inspect(t.Context())
			i := slices.IndexFunc(all, func(f pipeline.Finding) bool { return f.Subject == c.subject })
			if i < 0 || len(all) != 7 {
				t.Fatalf("%d findings, %s at %d", len(all), c.subject, i)
			}
			f := all[i]
			if (f.Problem != "") != (c.problem != "") || !strings.Contains(f.Problem, c.problem) || !strings.Contains(f.Good, c.good) || (f.Good == "") == (f.Problem == "") {
				t.Errorf("%+v, want %q %q", f, c.good, c.problem)
			}
			for _, f := range all {
				if strings.ContainsAny(f.Good+f.Problem, "\n") || strings.Contains(f.Good+f.Problem, b.token) {
					t.Errorf("%s is no line for people: %q", f.Subject, f.Good+f.Problem)
				}
			}
		})
	}
}

// The settings that are shown are those with which the extensions are asked.
func TestSettingsAreThoseThatWork(t *testing.T) {
	b := newBench(t, drone.Options{Repository: "acme/builder", Step: pipeline.Step{Image: script(t, "echo token of ${#SLIPWAY_RUNNER_TOKEN}"), Labels: map[string]string{"b": "2", "a": "1"}}})
	r := b.server.AddRepository("acme/builder", "main")
	values, keys := map[string]string{}, map[string]secret.Secret{}
	for _, s := range append(b.ServerSettings(b.gateway), b.RunnerSettings(b.gateway)...) {
		if values[s.Name] = s.Value; !s.Secret.IsZero() {
			keys[s.Name] = s.Secret
		}
		if s.Why == "" || (s.Value == "") == s.Secret.IsZero() {
			t.Errorf("%s: %q, %q", s.Name, s.Value, s.Why)
		}
	}
	b.server.SetExtensions(dronetest.Extensions{
		Config:  dronetest.Extension{URL: values["DRONE_YAML_ENDPOINT"], Secret: keys["DRONE_YAML_SECRET"]},
		Secret:  dronetest.Extension{URL: values["DRONE_SECRET_PLUGIN_ENDPOINT"], Secret: keys["DRONE_SECRET_PLUGIN_TOKEN"]},
		Webhook: dronetest.Extension{URL: values["DRONE_WEBHOOK_ENDPOINT"], Secret: keys["DRONE_WEBHOOK_SECRET"]},
	})
	b.started(t)
	if status := b.over(t, r, 1); status != "success" || !strings.Contains(b.server.Log(r, 1), "token of 43") || len(b.nudged) < 3 {
		t.Errorf("%s with %d hints: %s", status, len(b.nudged), b.server.Log(r, 1))
	}
	if values["DRONE_RUNNER_LABELS"] != "a:1,b:2" {
		t.Errorf("labels %q", values["DRONE_RUNNER_LABELS"])
	}
	for _, kind := range []string{"config", "secret", "webhook"} {
		if f := b.finding(t, kind); !strings.Contains(f.Good, "well signed") {
			t.Errorf("%+v", f)
		}
	}
}
