package woodpecker_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/store/storetest"
)

// ours is what the extensions are asked about the pipeline of an order.
func (b *bench) ours(number int64, change func(pipelineOf map[string]any)) string {
	b.t.Helper()
	o := b.order(storetest.Main())
	p := map[string]any{"number": number, "event": "manual", "author": "slipway", "variables": o.Params.Map()}
	if change != nil {
		change(p)
	}
	text, err := json.Marshal(map[string]any{
		"repo": map[string]any{"full_name": o.Repository}, "pipeline": p, "netrc": map[string]string{"password": "hunter2"},
	})
	must(b.t, err)
	return string(text)
}

// token reads the runner's token out of an answer; empty when it has none.
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
		t.Fatalf("answered %d %s", w.Code, w.Body)
	}
	one := reply.Secrets[0]
	if one.Name != pipeline.TokenSecret || len(one.Events) != 1 || one.Events[0] != "manual" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("secret %q for %v, headers %v", one.Name, one.Events, w.Header())
	}
	return secret.New(one.Value)
}

func TestOurPipelineGetsItsToken(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	got := token(t, b.ask(secretPath, b.ours(1, nil), nil))
	a, err := b.store.AttemptByToken(t.Context(), b.build.ID, autobuild.TokenHash(got))
	if err != nil || a.Number != 1 || a.EngineRef != "acme/builder#1" {
		t.Errorf("attempt %+v, %v", a, err)
	}
	if strings.Contains(b.log.String(), got.Reveal()) || strings.Contains(b.log.String(), "hunter2") {
		t.Error("the log shows what nobody may see")
	}
}

// Everything that is not ours runs on as if we were not there, whatever it says of itself.
func TestOtherPipelinesGetNothing(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	for name, change := range map[string]func(p map[string]any){
		"a push":                  func(p map[string]any) { p["event"], p["variables"] = "push", nil },
		"a manual one":            func(p map[string]any) { p["variables"] = map[string]string{"DEPLOY": "yes"} },
		"ours copied by somebody": func(p map[string]any) { p["author"] = "mallory" },
		"ours copied to a push":   func(p map[string]any) { p["event"] = "push" },
		"a nonce that was guessed": func(p map[string]any) {
			p["variables"] = pipeline.Params{BuildID: b.build.ID, Attempt: 1, Nonce: "guess"}.Map()
		},
		"our nonce for another build": func(p map[string]any) {
			p["variables"] = pipeline.Params{BuildID: "other", Attempt: 1, Nonce: "nonce"}.Map()
		},
		"our nonce for a later attempt": func(p map[string]any) {
			p["variables"] = pipeline.Params{BuildID: b.build.ID, Attempt: 2, Nonce: "nonce"}.Map()
		},
	} {
		for _, path := range []string{configPath, secretPath} {
			if w := b.ask(path, b.ours(1, change), nil); w.Code != http.StatusNoContent || w.Body.Len() != 0 {
				t.Errorf("%s: %s answered %d %s", name, path, w.Code, w.Body)
			}
		}
	}
	elsewhere := strings.Replace(b.ours(1, nil), "acme/builder", "acme/evil", 1)
	if w := b.ask(configPath, elsewhere, nil); w.Code != http.StatusNoContent {
		t.Errorf("in another repository: %d %s", w.Code, w.Body)
	}
	if log := b.log.String(); !strings.Contains(log, "mallory") || strings.Contains(log, "hunter2") || strings.Contains(log, "DEPLOY") {
		t.Errorf("the log does not say who copied ours, or says too much:\n%s", log)
	}
}

// A pipeline that is restarted on the server's page is another one, with our variables and our
// name: it runs our workflow, and has no token.
func TestARestartedPipelineGetsNoToken(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	body := b.ours(1, nil)
	if token(t, b.ask(secretPath, body, nil)).Reveal() == "" {
		t.Fatal("the first one has no token")
	}
	restarted := strings.Replace(body, `"number":1`, `"number":2`, 1)
	if w := b.ask(configPath, restarted, nil); w.Code != http.StatusOK {
		t.Errorf("its workflow: %d", w.Code)
	}
	if w := b.ask(secretPath, restarted, nil); w.Code != http.StatusNoContent {
		t.Errorf("its token: %d %s", w.Code, w.Body)
	}
}

// A pipeline whose attempt is over still runs ours, not the repository's own with our variables.
func TestALatePipelineGetsOurWorkflowAndNoToken(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	body := b.ours(1, nil)
	_, err := b.store.CancelBuild(t.Context(), b.build.ID, autobuild.ReasonUser, "")
	must(t, err)
	if w := b.ask(configPath, body, nil); w.Code != http.StatusOK {
		t.Errorf("its workflow: %d", w.Code)
	}
	if w := b.ask(secretPath, body, nil); w.Code != http.StatusNoContent {
		t.Errorf("its token: %d %s", w.Code, w.Body)
	}
}

func TestAReplayGetsNothing(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	body := b.ours(1, nil)
	var recorded http.Header
	first := token(t, b.ask(secretPath, body, func(r *http.Request) { recorded = r.Header.Clone() }))
	again := func(r *http.Request) { r.Header = recorded.Clone() }
	if w := b.ask(secretPath, body, again); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "came before") {
		t.Errorf("the replay answered %d %s", w.Code, w.Body)
	}
	if _, err := b.store.AttemptByToken(t.Context(), b.build.ID, autobuild.TokenHash(first)); err != nil {
		t.Errorf("after the replay the token is void: %v", err)
	}
	b.clock.add(time.Second) // Woodpecker did not get the answer, and signs anew
	second := token(t, b.ask(secretPath, body, nil))
	if _, err := b.store.AttemptByToken(t.Context(), b.build.ID, autobuild.TokenHash(second)); err != nil || first == second {
		t.Errorf("asked anew: %v", err)
	}
}

// Woodpecker asks thrice within two seconds, where it is told nothing as well as after a 5xx,
// and what it signs within one second is the same.
func TestAskingAgainWithinASecondIsNoReplay(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	at := b.clock.now()
	within := func(body string) func(*http.Request) {
		return func(r *http.Request) { b.server.Sign(r, []byte(body), at) }
	}
	for range 3 {
		if w := b.ask(configPath, pushed, within(pushed)); w.Code != http.StatusNoContent {
			t.Errorf("told nothing: %d %s", w.Code, w.Body)
		}
	}
	body := b.ours(1, nil)
	b.handing.lookUp, b.handing.handOver = 1, 1
	for range 2 {
		if w := b.ask(secretPath, body, within(body)); w.Code != http.StatusServiceUnavailable || w.Body.String() != "the gateway cannot answer now\n" {
			t.Errorf("while the store fails: %d %s", w.Code, w.Body)
		}
	}
	if token(t, b.ask(secretPath, body, within(body))).Reveal() == "" {
		t.Error("when it does not: nothing")
	}
}

// What is none of ours does not wait for the gateway's store, nor for the server's API.
func TestOthersDoNotFeelOurFaults(t *testing.T) {
	b := newBench(t, "acme/builder", "")
	if w := b.ask(configPath, pushed, nil); w.Code != http.StatusNoContent {
		t.Fatalf("answered %d", w.Code)
	}
	b.handing.lookUp = 1000
	b.line.answer(drop)
	if w := b.ask(configPath, pushed, nil); w.Code != http.StatusNoContent {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
	if w := b.ask(configPath, b.ours(1, nil), nil); w.Code != http.StatusServiceUnavailable {
		t.Errorf("about ours answered %d %s", w.Code, w.Body)
	}
}

// The whole way: a push runs the repository's own workflow beside ours.
func TestAPushRunsTheRepositorysOwnWorkflow(t *testing.T) {
	b := newBench(t, "", "")
	b.server.SetConfig(b.app, own)
	if p := b.server.Push(b.app, "main"); p == nil || p.Workflows[0].Name != "woodpecker" {
		t.Errorf("a push started %+v", p)
	}
	a := b.start()
	if got := b.of(b.app); a.EngineRef != "acme/app#2" || len(got) != 2 || got[1].Workflows[0].Name != "slipway" {
		t.Errorf("%s among %+v", a.EngineRef, got)
	}
}
