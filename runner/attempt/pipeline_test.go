package attempt_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/runner/attempt"
	"slipway/runner/runnertest"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

// A response is the gateway's response to a pipeline's request for a build.
type response struct {
	status  int
	reply   spec.PipelineReply
	message string // of a status other than 200
}

// runPipeline runs the step against a gateway that returns these responses in order. It repeats the last
// answer. The builds run as in every env.
func (e *env) runPipeline(patience time.Duration, responses ...func() response) (output string, asked int, err error) {
	e.t.Helper()
	var n atomic.Int64
	e.Gateway.Intercept(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Path != "/runner/v1/automated/kq3/join" {
			next.ServeHTTP(rw, r)
			return
		}
		e.checkJoin(r)
		a := responses[min(int(n.Add(1)), len(responses))-1]()
		if a.status != http.StatusOK {
			rw.WriteHeader(a.status)
			_ = json.NewEncoder(rw).Encode(spec.ErrorReply{Error: a.message})
			return
		}
		_ = spec.EncodePipelineReply(rw, a.reply)
	})
	var out bytes.Buffer
	run := e.options(runnertest.Build{}, "")
	run.Output = &out
	err = attempt.RunForPipeline(e.t.Context(), attempt.PipelineRequest{
		Settings: settings.PipelineRequest{
			Gateway:        e.Gateway.URL,
			AutomatedBuild: "kq3",
			Token:          secret.New("long-lived"),
			Builder:        runnertest.BuilderAddress,
			Hooks:          true,
			Commit:         e.Head,
			Ref:            runnertest.Main,
			Logins:         e.logins,
		},
		Run:      run,
		Patience: patience,
		Pace:     runnertest.NoBackoff,
	})
	return out.String(), int(n.Load()), err
}

// checkJoin checks the request of a pipeline.
func (e *env) checkJoin(r *http.Request) {
	e.t.Helper()
	var request spec.PipelineRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		e.t.Errorf("request: %v", err)
	}
	if request.Pipeline == "" {
		e.t.Errorf("request: got %+v, want a pipeline in it", request)
	}
	if got := r.Header.Get("Authorization"); got != "Bearer long-lived" {
		e.t.Errorf("Authorization: got %q, want %q", got, "Bearer long-lived")
	}
}

func refuse(status int, message string) func() response {
	return func() response { return response{status: status, message: message} }
}

func noBuild(reason string, unsure bool) func() response {
	return func() response {
		return response{status: http.StatusOK, reply: spec.PipelineReply{Reason: reason, Unsure: unsure}}
	}
}

// has returns a response that starts the build's next attempt.
func (e *env) has(b runnertest.Build) func() response {
	return func() response {
		token := secret.New(e.Gateway.Start(b))
		return response{status: http.StatusOK, reply: spec.PipelineReply{BuildID: b.ID, Build: b.Number, Token: token}}
	}
}

func TestAStepWaitsForTheWebhookAndBuildsAll(t *testing.T) {
	e := newEnv(t)
	first, second := e.Push(runnertest.Dockerfile("FROM scratch\n")), e.Push(runnertest.Dockerfile("FROM other\n"))
	output, asked, err := e.runPipeline(
		time.Minute,
		refuse(404, "not yet"),
		refuse(404, "not yet"),
		e.has(first),
		refuse(404, "build 2 is queued"),
		e.has(second),
		noBuild("all done", true),
	)
	if err != nil {
		t.Fatalf("step: %v", err)
	}
	if asked != 6 {
		t.Errorf("got %d requests, want 6", asked)
	}
	e.check(first, nil, spec.Succeeded, "")
	e.check(second, nil, spec.Succeeded, "")
	if got := strings.Count(output, "waiting: not yet"); got != 1 {
		t.Errorf(`got %d lines "waiting: not yet", want 1`, got)
	}
	if !strings.HasSuffix(output, "all done\n") {
		t.Errorf("output: got %q, want the suffix %q", output, "all done\n")
	}
}

func TestResultOfAStepWithoutABuild(t *testing.T) {
	for name, c := range map[string]struct {
		response func() response
		patience time.Duration
		want     string // part of the error; empty = no error
		once     bool
	}{
		"never":           {refuse(404, "its webhook did not arrive"), 50 * time.Millisecond, "waited 50ms: its webhook did not arrive", false},
		"nothing":         {noBuild("no rule", false), time.Minute, "", true},
		"perhaps nothing": {noBuild("no rule", true), 50 * time.Millisecond, "", false},
		"conflict":        {refuse(409, "choose own"), time.Minute, "choose own", true},
		"wrong token":     {refuse(401, ""), time.Minute, "does not accept PLUGIN_TOKEN for the automated build kq3", true},
	} {
		output, asked, err := newEnv(t).runPipeline(c.patience, c.response)
		if got := (err == nil); got != (c.want == "") {
			t.Errorf("%s: error: got %v, want %q", name, err, c.want)
		}
		if err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want %q in it", name, err, c.want)
		}
		if got := (asked == 1); got != c.once {
			t.Errorf("%s: a single request: got %t, want %t", name, got, c.once)
		}
		if err == nil && !strings.HasSuffix(output, "no rule\n") {
			t.Errorf("%s: log: got:\n%s\nwant the reason %q at its end", name, output, "no rule")
		}
	}
}

func TestABuildThatFailsDoesNotKeepOthersWaiting(t *testing.T) {
	e := newEnv(t)
	failing, good := e.Push(
		map[string]string{"README": "no Dockerfile"},
	), e.Push(
		runnertest.Dockerfile("FROM scratch\n"),
	)
	_, _, err := e.runPipeline(time.Minute, e.has(failing), e.has(good), refuse(409, "build 1 is over"))
	if err == nil {
		t.Fatal("step: got no error, want one")
	}
	runnertest.CheckHas(t, "the error", err.Error(), "build 1: build failed (config)")
	runnertest.CheckLacks(t, "the error", err.Error(), "is over")
	e.check(good, nil, spec.Succeeded, "")
}

// The gateway retries after an error that is not the repository's fault, in the same step.
func TestARetryInTheSameStepSucceeds(t *testing.T) {
	e := newEnv(t)
	b := e.Push(runnertest.Dockerfile("FROM scratch\n"))
	e.Builder.DialError = http.ErrServerClosed
	again := func() response { e.Builder.DialError = nil; return e.has(b)() }
	if output, _, err := e.runPipeline(time.Minute, e.has(b), again, noBuild("done", false)); err != nil {
		t.Errorf("step: %v\n%s", err, output)
	}
	attempts := e.Gateway.Attempts(b)
	if len(attempts) != 2 {
		t.Fatalf("got %d attempts, want 2", len(attempts))
	}
	if got := attempts[1].Result.State; got != spec.Succeeded {
		t.Errorf("the second attempt: got %s, want %s", got, spec.Succeeded)
	}
}
