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

// ownBuild changes the automated build to the engine own, with a token and a build
// of commit 2 that waits for a pipeline.
func (e *env) ownBuild() autobuild.Build {
	e.t.Helper()
	a, err := e.store.AutomatedBuild(e.t.Context(), e.build.AutomatedBuildID)
	e.must(err)
	a.Engine = inrepo.Name
	_, err = e.store.SaveAutomatedBuild(e.t.Context(), a)
	e.must(err)
	e.must(e.store.SetPipelineToken(e.t.Context(), a.ID, autobuild.TokenHash(secret.New(pipelineToken)), "Jo"))
	builds, err := e.store.Plan(
		e.t.Context(),
		storetest.Push(a, storetest.Main(), storetest.Commit(1), storetest.Commit(2)),
	)
	e.must(err)
	_, err = e.store.StartAttempt(
		e.t.Context(),
		builds[0].ID,
		inrepo.Name,
		"nobody's",
		time.Now().Add(time.Hour),
		autobuild.Limits{},
	)
	e.must(err)
	return builds[0]
}

func (e *env) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// asks returns a pipeline's request for main at a commit.
func asks(commit int, pipeline string) spec.PipelineRequest {
	return spec.PipelineRequest{Commit: storetest.Commit(commit), Ref: "refs/heads/main", Pipeline: pipeline}
}

func (e *env) join(request any, token string) *httptest.ResponseRecorder {
	e.t.Helper()
	return e.post("/runner/v1/automated/"+e.build.AutomatedBuildID+"/join", request, token)
}

func TestAPipelineJoinsAndClaims(t *testing.T) {
	e := newEnv(t)
	b := e.ownBuild()
	w := e.join(asks(2, "https://ci.example.com/17\x1b[2J\n"), pipelineToken)
	reply, err := spec.DecodePipelineReply(w.Body)
	if err != nil {
		t.Fatalf("decode the reply: got error %v, want none", err)
	}
	if w.Code != http.StatusOK {
		t.Fatalf("status: got %v, want %v", w.Code, http.StatusOK)
	}
	if reply.BuildID != b.ID {
		t.Fatalf("build ID: got %v, want %v", reply.BuildID, b.ID)
	}
	if reply.Build != b.Number {
		t.Fatalf("build: got %v, want %v", reply.Build, b.Number)
	}
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf(`Cache-Control: got %q, want "no-store"`, w.Header().Get("Cache-Control"))
	}
	if a, err := e.store.Attempt(t.Context(), b.ID, 1); err != nil {
		t.Fatalf("attempt: got error %v, want none", err)
	} else if a.EngineRef != "https://ci.example.com/17[2J" {
		t.Errorf(`pipeline: got %q, want "https://ci.example.com/17[2J"`, a.EngineRef)
	}
	if w := e.post("/runner/v1/builds/"+b.ID+"/claim", claim(), reply.Token.Reveal()); w.Code != http.StatusOK {
		t.Errorf("claim with its token: got Code %v, want %v", w.Code, http.StatusOK)
	}
	w = e.join(asks(2, "another"), pipelineToken)
	if reply, err := spec.DecodePipelineReply(
		w.Body,
	); err != nil {
		t.Fatalf("decode the reply: got error %v, want none", err)
	} else if w.Code != http.StatusOK {
		t.Errorf("status: got %v, want %v", w.Code, http.StatusOK)
	} else if reply.Build != 0 {
		t.Errorf("build: got %v, want 0", reply.Build)
	} else if !reply.Token.IsZero() {
		t.Errorf("token: got %v, want the zero value", reply.Token)
	} else if !strings.Contains(reply.Reason, "another pipeline") {
		t.Errorf(`reason: got %q, want it to contain "another pipeline"`, reply.Reason)
	}
}

func TestAPipelineNeedsItsToken(t *testing.T) {
	e := newEnv(t)
	e.ownBuild()
	other := storetest.AutomatedBuild(t, e.store, storetest.Repository("other"))
	e.must(e.store.SetPipelineToken(t.Context(), other.ID, autobuild.TokenHash(secret.New("other's")), "Jo"))
	for name, given := range map[string]string{
		"none": "", "wrong": "wrong", "a runner's": token, "another automated build's": "other's",
	} {
		if w := e.join(
			asks(2, "ci"),
			given,
		); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: got Code %v, want %v", name, w.Code, http.StatusUnauthorized)
		} else if strings.Contains(w.Body.String(), "2") {
			t.Errorf(`%s: got %q, want it not to contain "2"`, name, w.Body.String())
		}
	}
	e.must(e.store.RevokePipelineToken(t.Context(), e.build.AutomatedBuildID))
	if w := e.join(asks(2, "ci"), pipelineToken); w.Code != http.StatusUnauthorized {
		t.Errorf("revoked: got Code %v, want %v", w.Code, http.StatusUnauthorized)
	}
}

func TestErrorsOfAPipelineRequest(t *testing.T) {
	e := newEnv(t)
	b := e.ownBuild()
	tag := asks(2, "ci")
	tag.Ref = "refs/tags/main"
	for words, c := range map[string]struct {
		request any
		status  int
	}{
		"check the webhook": {asks(3, "ci"), http.StatusNotFound},
		"refs/tags/main":    {tag, http.StatusNotFound},
		"commit: send 40": {
			spec.PipelineRequest{Commit: "abc", Ref: "refs/heads/main", Pipeline: "ci"}, http.StatusBadRequest,
		},
		"full name of a branch or tag": {
			spec.PipelineRequest{Commit: storetest.Commit(2), Ref: "refs/pull/1/head", Pipeline: "ci"}, http.StatusBadRequest,
		},
		"pipeline: missing":                {asks(2, "\n"), http.StatusBadRequest},
		"build 1 of refs/heads/main at 00": {asks(1, "ci"), http.StatusNotFound},
	} {
		got := answer[spec.ErrorReply](t, e.join(c.request, pipelineToken), c.status)
		if !strings.Contains(got.Error, words) {
			t.Errorf("error: got %q, want it to contain %q", got.Error, words)
		}
	}
	long := asks(2, strings.Repeat("é", 400))
	e.join(long, pipelineToken)
	if a, err := e.store.Attempt(t.Context(), b.ID, 1); err != nil {
		t.Fatalf("attempt: got error %v, want none", err)
	} else if len(a.EngineRef) != spec.MaxPipeline {
		t.Errorf("length of the pipeline: got %d (%v), want %d", len(a.EngineRef), a.EngineRef, spec.MaxPipeline)
	}
	if w := e.join(asks(2, strings.Repeat("x", 9<<10)), pipelineToken); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a large request: got Code %v, want %v", w.Code, http.StatusRequestEntityTooLarge)
	}
	_, err := e.store.CancelBuild(t.Context(), b.ID, autobuild.ReasonUser, "")
	e.must(err)
	if got := answer[spec.ErrorReply](
		t,
		e.join(asks(2, "ci"), pipelineToken),
		http.StatusConflict,
	); !strings.Contains(
		got.Error,
		"cancelled (user)",
	) {
		t.Errorf(`a cancelled build: got %q, want it to contain "cancelled (user)"`, got.Error)
	}
}
