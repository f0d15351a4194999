package runner_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/runner"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

// A told is one answer to a pipeline that asks.
type told struct {
	status int
	reply  spec.JoinReply
	words  string
}

// steps runs the step against a gateway that gives these answers, the last one again and again,
// and to which the runs of builds go as in the world.
func (w *world) steps(patience time.Duration, answers ...func() told) (output string, asked int, err error) {
	w.t.Helper()
	var n atomic.Int64
	w.gateway.set(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Path != "/runner/v1/automated/kq3/join" {
			next.ServeHTTP(rw, r)
			return
		}
		var request spec.JoinRequest
		if err := json.NewDecoder(r.Body).
			Decode(&request); err != nil || request.Pipeline == "" ||
			r.Header.Get("Authorization") != "Bearer long-lived" {
			w.t.Errorf("asked with %+v, %v", request, err)
		}
		a := answers[min(int(n.Add(1)), len(answers))-1]()
		if a.status != http.StatusOK {
			rw.WriteHeader(a.status)
			_ = json.NewEncoder(rw).Encode(spec.ErrorReply{Error: a.words})
			return
		}
		_ = spec.EncodeJoin(rw, a.reply)
	})
	var out bytes.Buffer
	run := w.options(autobuild.Build{}, "")
	run.Output = &out
	err = runner.RunJoined(w.t.Context(), runner.JoinOptions{
		Settings: settings.Join{
			Gateway:        w.gateway.URL,
			AutomatedBuild: "kq3",
			Token:          secret.New("long-lived"),
			Builder:        "unix:///of-the-world.sock",
			Hooks:          true,
			Commit:         w.head,
			Ref:            "refs/heads/main",
			Logins:         w.logins,
		},
		Run:      run,
		Patience: patience,
		Pace:     func() backoff.BackOff { return backoff.NewConstantBackOff(time.Millisecond) },
	})
	return out.String(), int(n.Load()), err
}

func says(status int, words string) func() told {
	return func() told { return told{status: status, words: words} }
}

func nothing(reason string, unsure bool) func() told {
	return func() told {
		return told{status: http.StatusOK, reply: spec.JoinReply{Reason: reason, Unsure: unsure}}
	}
}

// has starts the build's next attempt and hands it out.
func (w *world) has(b autobuild.Build) func() told {
	return func() told {
		token := autobuild.NewToken()
		if _, err := w.store.StartAttempt(
			w.t.Context(),
			b.ID,
			"own",
			autobuild.TokenHash(token),
			time.Now().Add(time.Hour),
			0,
		); err != nil {
			w.t.Error(err)
		}
		return told{status: http.StatusOK, reply: spec.JoinReply{BuildID: b.ID, Build: b.Number, Token: token}}
	}
}

func TestAStepWaitsForTheWebhookAndBuildsAll(t *testing.T) {
	w := newWorld(t)
	first, second := w.push(dockerfile("FROM scratch\n")), w.push(dockerfile("FROM other\n"))
	output, asked, err := w.steps(
		time.Minute,
		says(404, "not yet"),
		says(404, "not yet"),
		w.has(first),
		says(404, "build 2 is queued"),
		w.has(second),
		nothing("all done", true),
	)
	if err != nil || asked != 6 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	w.check(first, nil, autobuild.Succeeded, "")
	w.check(second, nil, autobuild.Succeeded, "")
	if strings.Count(output, "waiting: not yet") != 1 || !strings.HasSuffix(output, "all done\n") {
		t.Errorf("the step says\n%s", output)
	}
}

func TestWhatAStepComesToWithoutABuild(t *testing.T) {
	for name, c := range map[string]struct {
		answer   func() told
		patience time.Duration
		want     string // of the error; empty = it ends well
		once     bool
	}{
		"never":           {says(404, "its webhook did not arrive"), 50 * time.Millisecond, "waited 50ms: its webhook did not arrive", false},
		"nothing":         {nothing("no rule", false), time.Minute, "", true},
		"perhaps nothing": {nothing("no rule", true), 50 * time.Millisecond, "", false},
		"mend it":         {says(409, "choose own"), time.Minute, "choose own", true},
		"wrong token":     {says(401, ""), time.Minute, "does not take PLUGIN_TOKEN for the automated build kq3", true},
	} {
		output, asked, err := newWorld(t).steps(c.patience, c.answer)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
		if (asked == 1) != c.once || (err == nil && !strings.HasSuffix(output, "no rule\n")) {
			t.Errorf("%s: asked %d times; the step says\n%s", name, asked, output)
		}
	}
}

func TestABuildThatFailsDoesNotKeepOthersWaiting(t *testing.T) {
	w := newWorld(t)
	failing, good := w.push(map[string]string{"README": "no Dockerfile"}), w.push(dockerfile("FROM scratch\n"))
	_, _, err := w.steps(time.Minute, w.has(failing), w.has(good), says(409, "build 1 is over"))
	if err == nil || !strings.Contains(err.Error(), "build 1: build failed (config)") ||
		strings.Contains(err.Error(), "is over") {
		t.Errorf("the step: %v", err)
	}
	w.check(good, nil, autobuild.Succeeded, "")
}

// An error of the surroundings is tried again by the gateway, in the same step.
func TestARetryInTheSameStepMakesItGood(t *testing.T) {
	w := newWorld(t)
	b := w.push(dockerfile("FROM scratch\n"))
	w.builder.dialError = http.ErrServerClosed
	again := func() told { w.builder.dialError = nil; return w.has(b)() }
	if output, _, err := w.steps(time.Minute, w.has(b), again, nothing("done", false)); err != nil {
		t.Errorf("the step: %v\n%s", err, output)
	}
	if got, err := w.store.Build(
		t.Context(),
		b.ID,
	); err != nil || got.State != autobuild.Succeeded ||
		got.Attempt != 2 {
		t.Errorf("build %+v, %v", got, err)
	}
}
