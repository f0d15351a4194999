package drone_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/pipeline"
)

// Only our own builds get our pipeline and token.
func TestOtherBuildsGetNothing(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		secret   int
		config   int
	}{
		"a copy by another user":       {`"trigger":"slipway"`, `"trigger":"mallory"`, 404, 204},
		"a push with our parameters":   {`"event":"custom"`, `"event":"push"`, 404, 204},
		"a promotion":                  {`"event":"custom"`, `"event":"promote"`, 404, 204},
		"another nonce":                {`"SLIPWAY_NONCE":"`, `"SLIPWAY_NONCE":"x`, 404, 204},
		"another repository":           {`"name":"builder"`, `"name":"evil"`, 404, 204},
		"no parameters":                {`"SLIPWAY_BUILD"`, `"OTHER"`, 404, 204},
		"another secret's name":        {`"name":"runner_token"`, `"name":"password"`, 404, 200},
		"another secret's path":        {`"path":"slipway"`, `"path":"other"`, 404, 200},
		"one without a number":         {`"number":1`, `"number":0`, 404, 200},
		"one whose attempt is no more": {"", "", 404, 200},
	} {
		t.Run(name, func(t *testing.T) {
			e := quiet(t)
			for _, kind := range []string{"config", "secret"} {
				want := map[string]int{"config": c.config, "secret": c.secret}[kind]
				v := e.requestFor(t, kind, kind)
				if kind == "secret" {
					c.old = strings.ReplaceAll(c.old, `"number":1`, `"number":2`)
				}
				if c.old == "" {
					e.end(t, v)
				} else if !bytes.Contains(v.body, []byte(c.old)) {
					t.Fatalf("body: got no %s, want it to replace: %s", c.old, v.body)
				} else {
					v.body = bytes.ReplaceAll(v.body, []byte(c.old), []byte(c.new))
				}
				if status, body := send(t, v.request(t, e.gateway)); status != want ||
					status != 200 && strings.Contains(body, "runner_url") {
					t.Errorf("%s: got status %d %s, want %d", kind, status, body, want)
				}
			}
			if log := e.log.String(); strings.Contains(log, "its-own-key") || strings.Contains(log, "forge-access") {
				t.Errorf("log: got the secrets of a body, want none:\n%s", log)
			}
		})
	}
}

// end cancels the build of a request.
func (e *env) end(t *testing.T, v extensionRequest) {
	t.Helper()
	var content struct {
		Build struct{ Params map[string]string }
	}
	if err := json.Unmarshal(v.body, &content); err != nil {
		t.Fatal(err)
	}
	id := content.Build.Params["SLIPWAY_BUILD"]
	if _, err := e.store.CancelBuild(t.Context(), id, autobuild.ReasonUser, ""); err != nil {
		t.Fatal(err)
	}
}

// Webhooks about other builds are accepted and have no effect.
func TestWebhooksAboutOtherBuildsAreIgnored(t *testing.T) {
	e := quiet(t)
	for i, body := range []string{
		`{}`, `null`, `{"event":"build"}`,
		`{"event":"repo","action":"enabled","repo":{"name":"x"}}`,
		`{"event":"user","action":"created"}`,
		`{"event":"build","build":{"number":1}}`,
		`{"event":"build","build":{"number":1,"params":{"SLIPWAY_BUILD":"b"}}}`,
	} {
		v := extensionRequest{
			kind: "webhook",
			body: []byte(body),
			key:  secrets()["webhook"].Reveal(),
			at:   time.Now().Add(time.Duration(i) * time.Second),
		}
		if status, response := send(t, v.request(t, e.gateway)); status != 204 {
			t.Errorf("%s: got status %d %s, want 204", body, status, response)
		}
	}
	if n := len(e.rechecked); n != 0 {
		t.Errorf("hints: got %d, want none", n)
	}
}

func TestOnlyPostIsAccepted(t *testing.T) {
	e := quiet(t)
	for _, method := range []string{"GET", "PUT", "HEAD", "OPTIONS"} {
		req, err := http.NewRequest(method, e.gateway+"/extensions/drone/config", nil)
		if err != nil {
			t.Fatal(err)
		}
		if status, _ := send(t, req); status != 405 {
			t.Errorf("%s: got status %d, want 405", method, status)
		}
	}
}

// If the gateway fails, the user who starts the build gets a hint to the gateway's log.
func TestAFailureOfTheGatewayIsReportedToTheUser(t *testing.T) {
	e := newEnv(t, drone.Options{Repository: "acme/builder", Handovers: broken{}})
	r := e.server.AddRepository("acme/builder", "main")
	_, err := e.server.Custom(r, "slipway", pipeline.Params{BuildID: "b1", Attempt: 1, Nonce: "n"}.Map())
	if err == nil || !strings.Contains(err.Error(), "the gateway refused the request: see its log") {
		t.Errorf(`error of the start: got %v, want an error with "the gateway refused the request: see its log"`, err)
	}
	if got := e.finding(t, "config").Problem; !strings.Contains(got, "disk full") {
		t.Errorf(`problem of the finding: got %q, want it to contain "disk full"`, got)
	}
}

// broken is a store that fails.
type broken struct{ pipeline.Handovers }

func (broken) AttemptByNonce(context.Context, string) (autobuild.Attempt, error) {
	return autobuild.Attempt{}, errors.New("disk full")
}

// A repository's own pipelines run as if the gateway did not exist.
func TestAPushRunsTheRepositorysOwnPipeline(t *testing.T) {
	e := newEnv(t, drone.Options{})
	r := e.server.AddRepository("acme/app", "main")
	e.server.SetConfig(
		r, "kind: pipeline\ntype: exec\nname: own\nsteps:\n- name: a\n  commands: ['echo own $DRONE_COMMIT']",
	)
	built, err := e.server.Push(r, "main", "cafe")
	if err != nil || built == nil {
		t.Fatalf("push: got build %v, error %v, want a build", built, err)
	}
	e.waitFinished(t, r, 1)
	if log := e.server.Log(r, 1); !strings.Contains(log, "own cafe") {
		t.Errorf(`log: got %s, want it to contain "own cafe"`, log)
	}
}

func TestNewRefusesInvalidOptions(t *testing.T) {
	valid := drone.Secrets{Config: secret.New("a"), Secret: secret.New("b"), Webhook: secret.New("c")}
	for name, c := range map[string]struct {
		change   func(*drone.Options)
		wantText string
	}{
		"no config secret":  {func(o *drone.Options) { o.Secrets.Config = secret.Secret{} }, "no secret"},
		"no secret secret":  {func(o *drone.Options) { o.Secrets.Secret = secret.Secret{} }, "no secret"},
		"no webhook secret": {func(o *drone.Options) { o.Secrets.Webhook = secret.Secret{} }, "no secret"},
		"one for two":       {func(o *drone.Options) { o.Secrets.Webhook = o.Secrets.Config }, "same secret"},
		"an unknown type":   {func(o *drone.Options) { o.Type = "ssh" }, "SLIPWAY_DRONE_TYPE"},
		"two words": {
			func(o *drone.Options) { o.Type, o.Step.Image = drone.TypeExec, "slipway; rm" }, "SLIPWAY_DRONE_IMAGE",
		},
		"a flag": {
			func(o *drone.Options) { o.Type, o.Step.Image = drone.TypeExec, "-c" }, "SLIPWAY_DRONE_IMAGE",
		},
		"a variable": {
			func(o *drone.Options) { o.Type, o.Step.Image = drone.TypeExec, "$HOME/slipway" }, "SLIPWAY_DRONE_IMAGE",
		},
	} {
		o := drone.Options{Type: drone.TypeDocker, Secrets: valid, Log: logrus.New()}
		c.change(&o)
		if _, err := drone.New(o); err == nil || !strings.Contains(err.Error(), c.wantText) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
