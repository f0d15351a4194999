package pipeline_test

import (
	"errors"
	"maps"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

// asked is what a CI says of the pipeline that a bench started.
func (b *bench) asked() pipeline.Request {
	b.t.Helper()
	_, err := b.Start(b.t.Context(), b.pipeline())
	must(b.t, err)
	return pipeline.Request{
		Params: b.ci.orders[0].Params.Map(), Repository: "acme/builder", Number: 1, Event: "custom", Sender: "slipway",
	}
}

func TestTheDeskKnowsOurPipelines(t *testing.T) {
	b := newBench(t, "acme/builder")
	r := b.asked()
	desk := pipeline.NewDesk(b.store, b.ci, b.probes, "custom")
	for name, c := range map[string]struct {
		change func(*pipeline.Request)
		want   error
	}{
		"ours":                       {func(*pipeline.Request) {}, nil},
		"ours without a number":      {func(r *pipeline.Request) { r.Number = 0 }, nil},
		"a push":                     {func(r *pipeline.Request) { r.Params = nil }, autobuild.ErrNotFound},
		"no nonce":                   {func(r *pipeline.Request) { delete(r.Params, "SLIPWAY_NONCE") }, autobuild.ErrNotFound},
		"no attempt":                 {func(r *pipeline.Request) { r.Params["SLIPWAY_ATTEMPT"] = "x" }, autobuild.ErrNotFound},
		"another attempt":            {func(r *pipeline.Request) { r.Params["SLIPWAY_ATTEMPT"] = "2" }, autobuild.ErrForbidden},
		"another build":              {func(r *pipeline.Request) { r.Params["SLIPWAY_BUILD"] = "other" }, autobuild.ErrForbidden},
		"another nonce":              {func(r *pipeline.Request) { r.Params["SLIPWAY_NONCE"] = "guess" }, autobuild.ErrForbidden},
		"another repository":         {func(r *pipeline.Request) { r.Repository = "acme/evil" }, autobuild.ErrForbidden},
		"parameters copied":          {func(r *pipeline.Request) { r.Sender = "mallory" }, autobuild.ErrForbidden},
		"parameters set from a push": {func(r *pipeline.Request) { r.Event = "push" }, autobuild.ErrForbidden},
	} {
		changed := r
		changed.Params = maps.Clone(r.Params)
		c.change(&changed)
		a, err := desk.Attempt(t.Context(), changed)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if (a.BuildID == b.build.ID) != (c.want == nil) {
			t.Errorf("%s: attempt %+v", name, a)
		}
	}
}

func TestTheTokenIsForTheFirstPipelineThatAsks(t *testing.T) {
	b := newBench(t, "acme/builder")
	r := b.asked()
	desk := pipeline.NewDesk(b.store, b.ci, b.probes, "custom")
	unnumbered, other, stranger := r, r, r
	unnumbered.Number, other.Number, stranger.Sender = 0, 2, "mallory"
	for name, refused := range map[string]pipeline.Request{"no number": unnumbered, "a stranger": stranger} {
		if _, err := desk.Token(t.Context(), refused); !errors.Is(err, autobuild.ErrForbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
	first, err := desk.Token(t.Context(), r)
	must(t, err)
	if _, err := desk.Token(t.Context(), other); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("a second pipeline with the same parameters: %v", err)
	}
	second, err := desk.Token(t.Context(), r)
	must(t, err)
	if _, err := b.store.AttemptByToken(t.Context(), b.build.ID, autobuild.TokenHash(first)); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("the first token when a second one was made: %v", err)
	}
	if a, err := b.store.AttemptByToken(t.Context(), b.build.ID, autobuild.TokenHash(second)); err != nil || a.EngineRef != "acme/builder#1" {
		t.Errorf("attempt by its token %+v, %v", a, err)
	}
	must(t, b.store.ClaimAttempt(t.Context(), b.build.ID, 1, "runner"))
	if _, err := desk.Token(t.Context(), r); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("once its runner came: %v", err)
	}
}

// A pipeline that comes after its attempt's end runs our YAML and gets no token.
func TestALatePipelineIsOursAndGetsNoToken(t *testing.T) {
	b := newBench(t, "acme/builder")
	r := b.asked()
	_, err := b.store.CancelBuild(t.Context(), b.build.ID, autobuild.ReasonUser, "")
	must(t, err)
	desk := pipeline.NewDesk(b.store, b.ci, b.probes, "custom")
	if _, err := desk.Attempt(t.Context(), r); err != nil {
		t.Errorf("its attempt: %v", err)
	}
	if _, err := desk.Token(t.Context(), r); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("its token: %v", err)
	}
}

func TestTheDeskSaysWhenItCannotKnow(t *testing.T) {
	b := newBench(t, "acme/builder")
	r := b.asked()
	desk := pipeline.NewDesk(b.store, b.ci, b.probes, "custom")
	b.ci.err = autobuild.ErrUnavailable
	if _, err := desk.Attempt(t.Context(), r); !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("with a CI that does not answer: %v", err)
	}
	b.ci.err = nil
	if _, err := desk.Attempt(t.Context(), r); err != nil {
		t.Errorf("when it answers again: %v", err)
	}
}
