package api_test

import (
	"net/http"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/runner/spec"
)

func TestPermit(t *testing.T) {
	e := newEnv(t)
	e.runner("claim", claim())
	got := answer[spec.PermitReply](
		t,
		e.runner("permit", spec.PermitRequest{Digest: digest, Tags: []string{"latest"}}),
		http.StatusOK,
	)
	if !got.Granted {
		t.Errorf("permit: got a refusal %s, want none", got.Reason)
	}
	answer[spec.ErrorReply](t, e.runner("permit", spec.PermitRequest{}), http.StatusBadRequest)
}

func TestFinishMayBeRepeated(t *testing.T) {
	e := newEnv(t)
	e.runner("claim", claim())
	result := spec.Result{State: spec.Succeeded, Reason: "whatever", Digest: digest, Size: 42}
	for range 2 {
		if w := e.runner("finish", result); w.Code != http.StatusNoContent {
			t.Fatalf("status: got %d %s, want 204", w.Code, w.Body)
		}
	}
	b, err := e.store.Build(t.Context(), e.build.ID)
	if err != nil {
		t.Fatalf("build: got error %v, want none", err)
	}
	if b.State != autobuild.Succeeded {
		t.Errorf("state: got %v, want %v", b.State, autobuild.Succeeded)
	}
	if b.Digest != digest {
		t.Errorf("digest: got %v, want %v", b.Digest, digest)
	}
	if b.Size != 42 {
		t.Errorf("size: got %v, want 42", b.Size)
	}
	if b.Reason != "" {
		t.Errorf(`reason: got %q, want ""`, b.Reason)
	}
	answer[spec.ErrorReply](t, e.runner("finish", spec.Result{State: spec.Failed}), http.StatusGone)
	answer[spec.ErrorReply](t, e.runner("events", spec.EventsRequest{}), http.StatusGone)
}

func TestResultsAreConverted(t *testing.T) {
	for _, tt := range []struct {
		result spec.Result
		state  autobuild.State
		reason autobuild.Reason
	}{
		{spec.Result{State: spec.Failed, Reason: "hook"}, autobuild.Failed, autobuild.ReasonHook},
		{spec.Result{State: spec.Failed, Reason: "of its own"}, autobuild.Failed, autobuild.ReasonBuild},
		{spec.Result{State: spec.Cancelled, Reason: "superseded"}, autobuild.Cancelled, autobuild.ReasonSuperseded},
		{spec.Result{State: spec.Error, Reason: "<script>"}, autobuild.Errored, autobuild.ReasonInfrastructure},
		{
			spec.Result{State: "exploded", Detail: strings.Repeat("é", 4000)},
			autobuild.Errored, autobuild.ReasonInfrastructure,
		},
	} {
		e := newEnv(t)
		e.runner("claim", claim())
		if w := e.runner("finish", tt.result); w.Code != http.StatusNoContent {
			t.Fatalf("status: got %d %s, want 204", w.Code, w.Body)
		}
		a, err := e.store.Attempt(t.Context(), e.build.ID, 1)
		if err != nil {
			t.Fatalf("attempt: got error %v, want none", err)
		}
		if a.State != tt.state {
			t.Errorf("state: got %v, want %v", a.State, tt.state)
		}
		if a.Reason != tt.reason {
			t.Errorf("reason: got %v, want %v", a.Reason, tt.reason)
		}
		if len(a.Detail) > 1200 {
			t.Errorf("length of the detail: got %v, want at most 1200", len(a.Detail))
		}
	}
}
