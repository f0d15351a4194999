package pipeline_test

import (
	"errors"
	"maps"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

// request starts a pipeline and returns the CI's request about it.
func (e *env) request() pipeline.Request {
	e.t.Helper()
	_, err := e.Start(e.t.Context(), e.pipeline())
	must.Succeed(e.t, err)
	return pipeline.Request{
		Params: e.ci.orders[0].Params.Map(), Repository: "acme/builder", Number: 1, Event: "custom", Sender: "slipway",
	}
}

func TestAttemptAcceptsOnlyOurPipelines(t *testing.T) {
	e := newEnv(t, "acme/builder")
	r := e.request()
	issuer := pipeline.NewTokenIssuer(e.store, e.ci, e.probes, "custom", time.Now)
	for name, c := range map[string]struct {
		change func(*pipeline.Request)
		want   error
	}{
		"ours":                  {func(*pipeline.Request) {}, nil},
		"ours without a number": {func(r *pipeline.Request) { r.Number = 0 }, nil},
		"a push":                {func(r *pipeline.Request) { r.Params = nil }, autobuild.ErrNotFound},
		"no nonce": {
			func(r *pipeline.Request) { delete(r.Params, "SLIPWAY_NONCE") }, autobuild.ErrNotFound,
		},
		"no attempt": {
			func(r *pipeline.Request) { r.Params["SLIPWAY_ATTEMPT"] = "x" }, autobuild.ErrNotFound,
		},
		"another attempt": {
			func(r *pipeline.Request) { r.Params["SLIPWAY_ATTEMPT"] = "2" }, autobuild.ErrForbidden,
		},
		"another build": {
			func(r *pipeline.Request) { r.Params["SLIPWAY_BUILD"] = "other" }, autobuild.ErrForbidden,
		},
		"another nonce": {
			func(r *pipeline.Request) { r.Params["SLIPWAY_NONCE"] = "guess" }, autobuild.ErrForbidden,
		},
		"another repository": {
			func(r *pipeline.Request) { r.Repository = "acme/evil" }, autobuild.ErrForbidden,
		},
		"parameters copied":          {func(r *pipeline.Request) { r.Sender = "mallory" }, autobuild.ErrForbidden},
		"parameters set from a push": {func(r *pipeline.Request) { r.Event = "push" }, autobuild.ErrForbidden},
	} {
		changed := r
		changed.Params = maps.Clone(r.Params)
		c.change(&changed)
		a, err := issuer.Attempt(t.Context(), changed)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if (a.BuildID == e.build.ID) != (c.want == nil) {
			t.Errorf("%s: got attempt %+v, want none", name, a)
		}
	}
}

func TestTokenBindsTheFirstPipeline(t *testing.T) {
	e := newEnv(t, "acme/builder")
	r := e.request()
	issuer := pipeline.NewTokenIssuer(e.store, e.ci, e.probes, "custom", time.Now)
	unnumbered, other, otherUser, noUser := r, r, r, r
	unnumbered.Number, other.Number, otherUser.Sender, noUser.Sender = 0, 2, "mallory", ""
	for name, refused := range map[string]pipeline.Request{
		"without a number": unnumbered, "another user": otherUser, "no user": noUser,
	} {
		issuer := pipeline.NewTokenIssuer(e.store, e.ci, e.probes, "custom", time.Now) // does not know our login yet
		if _, err := issuer.Token(t.Context(), refused); !errors.Is(err, autobuild.ErrForbidden) {
			t.Errorf("%s: got %v, want ErrForbidden", name, err)
		}
	}
	first, err := issuer.Token(t.Context(), r)
	must.Succeed(t, err)
	if _, err := issuer.Token(t.Context(), other); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("a second pipeline with the same parameters: got %v, want ErrConflict", err)
	}
	second, err := issuer.Token(t.Context(), r)
	must.Succeed(t, err)
	_, err = e.store.AttemptByToken(t.Context(), e.build.ID, autobuild.TokenHash(first))
	if !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("the first token after a second one was created: got %v, want ErrUnauthorized", err)
	}
	if a, err := e.store.AttemptByToken(t.Context(), e.build.ID, autobuild.TokenHash(second)); err != nil ||
		a.EngineRef != "acme/builder#1" {
		t.Errorf("attempt by its token: got %+v, error %v, want pipeline acme/builder#1", a, err)
	}
	must.Succeed(t, e.store.ClaimAttempt(t.Context(), e.build.ID, 1, "runner"))
	if _, err := issuer.Token(t.Context(), r); !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("after its runner claimed it: got %v, want ErrConflict", err)
	}
}

// A pipeline that starts after its attempt has finished runs our YAML and gets no token.
func TestALatePipelineGetsAnAttemptAndNoToken(t *testing.T) {
	e := newEnv(t, "acme/builder")
	r := e.request()
	_, err := e.store.CancelBuild(t.Context(), e.build.ID, autobuild.ReasonUser, "")
	must.Succeed(t, err)
	issuer := pipeline.NewTokenIssuer(e.store, e.ci, e.probes, "custom", time.Now)
	if _, err := issuer.Attempt(t.Context(), r); err != nil {
		t.Errorf("attempt of the token: %v", err)
	}
	if _, err := issuer.Token(t.Context(), r); !errors.Is(err, autobuild.ErrFenced) {
		t.Errorf("its token: got %v, want ErrFenced", err)
	}
}

func TestAttemptReturnsTheErrorOfTheCI(t *testing.T) {
	e := newEnv(t, "acme/builder")
	r := e.request()
	issuer := pipeline.NewTokenIssuer(e.store, e.ci, e.probes, "custom", time.Now)
	e.ci.err = autobuild.ErrUnavailable
	if _, err := issuer.Attempt(t.Context(), r); !errors.Is(err, autobuild.ErrUnavailable) {
		t.Errorf("while the CI is unavailable: got %v, want ErrUnavailable", err)
	}
	e.ci.err = nil
	if _, err := issuer.Attempt(t.Context(), r); err != nil {
		t.Errorf("after the CI is available again: %v", err)
	}
}

// A user may be renamed on the CI while the gateway runs. Pipelines of other users cause few requests.
func TestTheLoginIsRefreshed(t *testing.T) {
	e := newEnv(t, "acme/builder")
	r := e.request()
	now := time.Unix(1000, 0)
	issuer := pipeline.NewTokenIssuer(e.store, e.ci, e.probes, "custom", func() time.Time { return now })
	_, err := issuer.Attempt(t.Context(), r)
	must.Succeed(t, err)
	e.ci.login, r.Sender = "renamed", "renamed"
	now = now.Add(time.Minute)
	if _, err := issuer.Attempt(t.Context(), r); err != nil {
		t.Errorf("after a rename: got %v, want no error", err)
	}
	before := e.ci.logins
	r.Sender = "mallory"
	for range 3 {
		if _, err := issuer.Attempt(t.Context(), r); !errors.Is(err, autobuild.ErrForbidden) {
			t.Errorf("another user: got %v, want ErrForbidden", err)
		}
	}
	if e.ci.logins != before {
		t.Errorf("requests for the login: got %d, want none", e.ci.logins-before)
	}
	now = now.Add(time.Minute)
	for range 3 {
		if _, err := issuer.Attempt(t.Context(), r); !errors.Is(err, autobuild.ErrForbidden) {
			t.Errorf("another user after a minute: got %v, want ErrForbidden", err)
		}
	}
	if got := e.ci.logins - before; got != 1 {
		t.Errorf("requests for the login after a minute: got %d, want 1", got)
	}
}
