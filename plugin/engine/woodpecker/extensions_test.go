package woodpecker_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/store/storetest"
)

// requestBody returns the body of the extensions' request about the pipeline of an order.
func (e *env) requestBody(number int64, change func(pipelineOf map[string]any)) string {
	e.t.Helper()
	o := e.order(storetest.Main())
	p := map[string]any{"number": number, "event": "manual", "author": "slipway", "variables": o.Params.Map()}
	if change != nil {
		change(p)
	}
	text, err := json.Marshal(map[string]any{
		"repo": map[string]any{
			"full_name": o.Repository,
		}, "pipeline": p, "netrc": map[string]string{"password": "hunter2"},
	})
	must.Succeed(e.t, err)
	return string(text)
}

// token returns the runner's token in a response, or an empty one.
func token(t *testing.T, w *httptest.ResponseRecorder) secret.Secret {
	t.Helper()
	var reply struct {
		Secrets []struct {
			Name, Value string
			Events      []string
		}
	}
	if w.Code == http.StatusNoContent {
		return secret.Secret{}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil || len(reply.Secrets) != 1 {
		t.Fatalf("response: got status %d %s, want one secret", w.Code, w.Body)
	}
	one := reply.Secrets[0]
	if one.Name != pipeline.TokenSecret {
		t.Errorf("secret: got %q, want %q", one.Name, pipeline.TokenSecret)
	}
	if len(one.Events) != 1 || one.Events[0] != "manual" {
		t.Errorf("events: got %v, want manual", one.Events)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control: got %q, want no-store", got)
	}
	return secret.New(one.Value)
}

func TestOurPipelineGetsItsToken(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	got := token(t, e.ask(secretPath, e.requestBody(1, nil), nil))
	a, err := e.store.AttemptByToken(t.Context(), e.build.ID, autobuild.TokenHash(got))
	must.Succeed(t, err)
	if a.Number != 1 || a.EngineRef != "acme/builder#1" {
		t.Errorf("attempt: got %+v, want number 1 in acme/builder#1", a)
	}
	for _, secret := range []string{got.Reveal(), "hunter2"} {
		if strings.Contains(e.log.String(), secret) {
			t.Errorf("log: got the secret %q in it, want none", secret)
		}
	}
}

// Other pipelines run as if the gateway did not exist, whatever parameters they have.
func TestOtherPipelinesGetNothing(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	for name, change := range map[string]func(p map[string]any){
		"a push":                func(p map[string]any) { p["event"], p["variables"] = "push", nil },
		"a manual one":          func(p map[string]any) { p["variables"] = map[string]string{"DEPLOY": "yes"} },
		"ours copied by a user": func(p map[string]any) { p["author"] = "mallory" },
		"ours copied to a push": func(p map[string]any) { p["event"] = "push" },
		"a nonce that was guessed": func(p map[string]any) {
			p["variables"] = pipeline.Params{BuildID: e.build.ID, Attempt: 1, Nonce: "guess"}.Map()
		},
		"our nonce for another build": func(p map[string]any) {
			p["variables"] = pipeline.Params{BuildID: "other", Attempt: 1, Nonce: "nonce"}.Map()
		},
		"our nonce for a later attempt": func(p map[string]any) {
			p["variables"] = pipeline.Params{BuildID: e.build.ID, Attempt: 2, Nonce: "nonce"}.Map()
		},
	} {
		for _, path := range []string{configPath, secretPath} {
			if w := e.ask(path, e.requestBody(1, change), nil); w.Code != http.StatusNoContent || w.Body.Len() != 0 {
				t.Errorf("%s: %s: got status %d %s, want an empty 204", name, path, w.Code, w.Body)
			}
		}
	}
	elsewhere := strings.Replace(e.requestBody(1, nil), "acme/builder", "acme/evil", 1)
	if w := e.ask(configPath, elsewhere, nil); w.Code != http.StatusNoContent {
		t.Errorf("in another repository: got status %d %s, want %d", w.Code, w.Body, http.StatusNoContent)
	}
	log := e.log.String()
	if !strings.Contains(log, "mallory") {
		t.Errorf("log: got\n%s\nwant the user who copied our parameters", log)
	}
	for _, secret := range []string{"hunter2", "DEPLOY"} {
		if strings.Contains(log, secret) {
			t.Errorf("log: got %q in it, want none:\n%s", secret, log)
		}
	}
}

// A pipeline that a user restarts on the server's page is a new one with our variables and our
// name. It runs our workflow and gets no token.
func TestARestartedPipelineGetsNoToken(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	body := e.requestBody(1, nil)
	if token(t, e.ask(secretPath, body, nil)).Reveal() == "" {
		t.Fatal("token of the first response: got none, want one")
	}
	restarted := strings.Replace(body, `"number":1`, `"number":2`, 1)
	if w := e.ask(configPath, restarted, nil); w.Code != http.StatusOK {
		t.Errorf("its workflow: got %d, want %d", w.Code, http.StatusOK)
	}
	if w := e.ask(secretPath, restarted, nil); w.Code != http.StatusNoContent {
		t.Errorf("its token: got status %d %s, want %d", w.Code, w.Body, http.StatusNoContent)
	}
}

// A pipeline of a finished attempt runs our workflow, and not the repository's own with our
// variables.
func TestALatePipelineGetsOurWorkflowAndNoToken(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	body := e.requestBody(1, nil)
	_, err := e.store.CancelBuild(t.Context(), e.build.ID, autobuild.ReasonUser, "")
	must.Succeed(t, err)
	if w := e.ask(configPath, body, nil); w.Code != http.StatusOK {
		t.Errorf("its workflow: got %d, want %d", w.Code, http.StatusOK)
	}
	if w := e.ask(secretPath, body, nil); w.Code != http.StatusNoContent {
		t.Errorf("its token: got status %d %s, want %d", w.Code, w.Body, http.StatusNoContent)
	}
}

func TestAReplayGetsNothing(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	body := e.requestBody(1, nil)
	var recorded http.Header
	first := token(t, e.ask(secretPath, body, func(r *http.Request) { recorded = r.Header.Clone() }))
	again := func(r *http.Request) { r.Header = recorded.Clone() }
	if w := e.ask(secretPath, body, again); w.Code != http.StatusUnauthorized ||
		!strings.Contains(w.Body.String(), "was used before") {
		t.Errorf("response to a replay: got status %d %s, want 401 with the reason", w.Code, w.Body)
	}
	if _, err := e.store.AttemptByToken(t.Context(), e.build.ID, autobuild.TokenHash(first)); err != nil {
		t.Errorf("the token after a rejected replay: %v", err)
	}
	e.clock.add(time.Second) // Woodpecker lost the response and signs again
	second := token(t, e.ask(secretPath, body, nil))
	if _, err := e.store.AttemptByToken(t.Context(), e.build.ID, autobuild.TokenHash(second)); err != nil ||
		first == second {
		t.Errorf("after another request: %v", err)
	}
}

// Woodpecker sends up to three requests within two seconds after a 204 or a 5xx. Those within one
// second have the same signature.
func TestARetryWithinASecondIsNoReplay(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	at := e.clock.now()
	within := func(body string) func(*http.Request) {
		return func(r *http.Request) { e.server.Sign(r, []byte(body), at) }
	}
	for range 3 {
		if w := e.ask(configPath, pushed, within(pushed)); w.Code != http.StatusNoContent {
			t.Errorf("response without a configuration: got status %d %s, want %d",
				w.Code, w.Body, http.StatusNoContent)
		}
	}
	body := e.requestBody(1, nil)
	e.faults.lookUp, e.faults.handOver = 1, 1
	for range 2 {
		if w := e.ask(secretPath, body, within(body)); w.Code != http.StatusServiceUnavailable ||
			w.Body.String() != "the gateway cannot respond now\n" {
			t.Errorf("response while the store fails: got status %d %s, want 503", w.Code, w.Body)
		}
	}
	if token(t, e.ask(secretPath, body, within(body))).Reveal() == "" {
		t.Error("token after the store works again: got none, want one")
	}
}

// The response to another pipeline does not wait for the gateway's store or the server's API.
func TestOtherPipelinesAreNotAffectedByOurErrors(t *testing.T) {
	e := newEnv(t, "acme/builder", "")
	if w := e.ask(configPath, pushed, nil); w.Code != http.StatusNoContent {
		t.Fatalf("response: got status %d, want %d", w.Code, http.StatusNoContent)
	}
	e.faults.lookUp = 1000
	e.proxy.respond(drop)
	if w := e.ask(configPath, pushed, nil); w.Code != http.StatusNoContent {
		t.Errorf("response: got status %d %s, want %d", w.Code, w.Body, http.StatusNoContent)
	}
	if w := e.ask(configPath, e.requestBody(1, nil), nil); w.Code != http.StatusServiceUnavailable {
		t.Errorf("response for our repository: got status %d %s, want %d",
			w.Code, w.Body, http.StatusServiceUnavailable)
	}
}

// End to end: a push runs the repository's own workflow besides ours.
func TestAPushRunsTheRepositorysOwnWorkflow(t *testing.T) {
	e := newEnv(t, "", "")
	e.server.SetConfig(e.app, own)
	if p := e.server.Push(e.app, "main"); p == nil || p.Workflows[0].Name != "woodpecker" {
		t.Errorf("pipelines of a push: got %+v, want none", p)
	}
	a := e.start()
	if a.EngineRef != "acme/app#2" {
		t.Errorf("pipeline: got %s, want acme/app#2", a.EngineRef)
	}
	if got := e.of(e.app); len(got) != 2 || got[1].Workflows[0].Name != "slipway" {
		t.Errorf("pipelines: got %+v, want a second one with our workflow", got)
	}
}
