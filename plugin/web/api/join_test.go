package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/inrepo"
	"slipway/plugin/store/storetest"
	"slipway/runner/spec"
)

const pipelineToken = "pipeline-token"

// ownBuild makes the desk's automated build one of the engine own, with a token and a build
// of commit 2 that waits for a pipeline.
func (d *desk) ownBuild() autobuild.Build {
	d.t.Helper()
	a, err := d.store.AutomatedBuild(d.t.Context(), d.build.AutomatedBuildID)
	d.must(err)
	a.Engine = inrepo.Name
	_, err = d.store.SaveAutomatedBuild(d.t.Context(), a)
	d.must(err)
	d.must(d.store.SetPipelineToken(d.t.Context(), a.ID, autobuild.TokenHash(secret.New(pipelineToken)), "Jo"))
	builds, err := d.store.Plan(
		d.t.Context(),
		storetest.Push(a, storetest.Main(), storetest.Commit(1), storetest.Commit(2)),
	)
	d.must(err)
	_, err = d.store.StartAttempt(d.t.Context(), builds[0].ID, inrepo.Name, "nobody's", time.Now().Add(time.Hour), 0)
	d.must(err)
	return builds[0]
}

func (d *desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// asks is a pipeline's request for main at a commit.
func asks(commit int, pipeline string) spec.JoinRequest {
	return spec.JoinRequest{Commit: storetest.Commit(commit), Ref: "refs/heads/main", Pipeline: pipeline}
}

func (d *desk) join(request any, token string) *httptest.ResponseRecorder {
	d.t.Helper()
	return d.post("/runner/v1/automated/"+d.build.AutomatedBuildID+"/join", request, token)
}

func TestAPipelineJoinsAndClaims(t *testing.T) {
	d := newDesk(t)
	b := d.ownBuild()
	w := d.join(asks(2, "https://ci.example.com/17\x1b[2J\n"), pipelineToken)
	reply, err := spec.DecodeJoin(w.Body)
	if err != nil || w.Code != http.StatusOK || reply.BuildID != b.ID || reply.Build != b.Number ||
		w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("%d, %+v, %v", w.Code, reply, err)
	}
	if a, err := d.store.Attempt(t.Context(), b.ID, 1); err != nil || a.EngineRef != "https://ci.example.com/17[2J" {
		t.Errorf("the pipeline is called %q, %v", a.EngineRef, err)
	}
	if w := d.post("/runner/v1/builds/"+b.ID+"/claim", claim(), reply.Token.Reveal()); w.Code != http.StatusOK {
		t.Errorf("claim with its token: %d %s", w.Code, w.Body)
	}
	w = d.join(asks(2, "another"), pipelineToken)
	if reply, err := spec.DecodeJoin(
		w.Body,
	); err != nil || w.Code != http.StatusOK || reply.Build != 0 || !reply.Token.IsZero() ||
		!strings.Contains(reply.Reason, "another pipeline") {
		t.Errorf("another pipeline: %d, %+v, %v", w.Code, reply, err)
	}
}

func TestWhoMayJoin(t *testing.T) {
	d := newDesk(t)
	d.ownBuild()
	other := storetest.AutomatedBuild(t, d.store, storetest.Repository("other"))
	d.must(d.store.SetPipelineToken(t.Context(), other.ID, autobuild.TokenHash(secret.New("other's")), "Jo"))
	for name, given := range map[string]string{"none": "", "wrong": "wrong", "a runner's": token, "another automated build's": "other's"} {
		if w := d.join(
			asks(2, "ci"),
			given,
		); w.Code != http.StatusUnauthorized ||
			strings.Contains(w.Body.String(), "2") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	d.must(d.store.RevokePipelineToken(t.Context(), d.build.AutomatedBuildID))
	if w := d.join(asks(2, "ci"), pipelineToken); w.Code != http.StatusUnauthorized {
		t.Errorf("revoked: %d", w.Code)
	}
}

func TestWhatAPipelineIsTold(t *testing.T) {
	d := newDesk(t)
	b := d.ownBuild()
	tag := asks(2, "ci")
	tag.Ref = "refs/tags/main"
	for words, c := range map[string]struct {
		request any
		status  int
	}{
		"webhook did not arrive":           {asks(3, "ci"), http.StatusNotFound},
		"refs/tags/main":                   {tag, http.StatusNotFound},
		"commit is not 40":                 {spec.JoinRequest{Commit: "abc", Ref: "refs/heads/main", Pipeline: "ci"}, http.StatusBadRequest},
		"ref is no full name":              {spec.JoinRequest{Commit: storetest.Commit(2), Ref: "refs/pull/1/head", Pipeline: "ci"}, http.StatusBadRequest},
		"pipeline is missing":              {asks(2, "\n"), http.StatusBadRequest},
		"build 1 of refs/heads/main at 00": {asks(1, "ci"), http.StatusNotFound},
	} {
		if got := answer[spec.ErrorReply](
			t,
			d.join(c.request, pipelineToken),
			c.status,
		); !strings.Contains(
			got.Error,
			words,
		) {
			t.Errorf("%q does not say %q", got.Error, words)
		}
	}
	long := asks(2, strings.Repeat("é", 400))
	d.join(long, pipelineToken)
	if a, err := d.store.Attempt(t.Context(), b.ID, 1); err != nil || len(a.EngineRef) != spec.MaxPipeline {
		t.Errorf("a long name is kept with %d bytes, %v", len(a.EngineRef), err)
	}
	if w := d.join(asks(2, strings.Repeat("x", 9<<10)), pipelineToken); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a large request: %d", w.Code)
	}
	_, err := d.store.CancelBuild(t.Context(), b.ID, autobuild.ReasonUser, "")
	d.must(err)
	if got := answer[spec.ErrorReply](
		t,
		d.join(asks(2, "ci"), pipelineToken),
		http.StatusConflict,
	); !strings.Contains(
		got.Error,
		"cancelled (user)",
	) {
		t.Errorf("a cancelled build: %q", got.Error)
	}
}
