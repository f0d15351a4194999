package pipeline_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

// probesAt returns the Probes of an installation with its own clock.
func probesAt(key string, now *time.Time) pipeline.Probes {
	return pipeline.NewProbes("drone", secret.New(key), func() time.Time { return *now })
}

// probeRequest starts a probe, as another process does, and returns the CI's request about it.
func (e *env) probeRequest() pipeline.Request {
	e.t.Helper()
	e.ci.state = autobuild.PipelineGone
	e.Probe(e.t.Context(), "")
	return pipeline.Request{
		Params: e.ci.orders[0].Params.Map(), Repository: "acme/builder", Number: 1, Event: "custom", Sender: "slipway",
	}
}

func TestAttemptAcceptsOnlyOurProbes(t *testing.T) {
	e := newEnv(t, "acme/builder")
	r := e.probeRequest()
	later := time.Now().Add(11 * time.Minute)
	for name, c := range map[string]struct {
		change func(*pipeline.Request)
		probes pipeline.Probes
		want   error
	}{
		"ours":  {func(*pipeline.Request) {}, e.probes, nil},
		"again": {func(*pipeline.Request) {}, e.probes, nil}, // harmless: a replayed probe gains nothing
		"another repository": {
			func(r *pipeline.Request) { r.Repository = "acme/evil" }, e.probes, autobuild.ErrForbidden,
		},
		"parameters copied": {
			func(r *pipeline.Request) { r.Sender = "mallory" }, e.probes, autobuild.ErrForbidden,
		},
		"parameters set from a push": {
			func(r *pipeline.Request) { r.Event = "push" }, e.probes, autobuild.ErrForbidden,
		},
		"another attempt": {
			func(r *pipeline.Request) { r.Params["SLIPWAY_ATTEMPT"] = "2" }, e.probes, autobuild.ErrForbidden,
		},
		"forged": {func(r *pipeline.Request) {
			r.Params["SLIPWAY_NONCE"] = "9" + r.Params["SLIPWAY_NONCE"]
		}, e.probes, autobuild.ErrForbidden},
		"no nonce of a probe": {
			func(r *pipeline.Request) { r.Params["SLIPWAY_NONCE"] = "nonce" }, e.probes, autobuild.ErrForbidden,
		},
		"a build's": {
			func(r *pipeline.Request) { r.Params["SLIPWAY_BUILD"] = e.build.ID }, e.probes, autobuild.ErrForbidden,
		},
		"another engine's": {
			func(*pipeline.Request) {},
			pipeline.NewProbes("woodpecker", secret.New("key"), time.Now), autobuild.ErrForbidden,
		},
		"another key": {
			func(*pipeline.Request) {}, pipeline.NewProbes("drone", secret.New("other"), time.Now),
			autobuild.ErrForbidden,
		},
		"no key":   {func(*pipeline.Request) {}, pipeline.Probes{}, autobuild.ErrForbidden},
		"too late": {func(*pipeline.Request) {}, probesAt("key", &later), autobuild.ErrForbidden},
	} {
		changed := r
		changed.Params = maps.Clone(r.Params)
		c.change(&changed)
		issuer := pipeline.NewTokenIssuer(e.store, e.ci, c.probes, "custom", time.Now)
		a, err := issuer.Attempt(t.Context(), changed)
		if !errors.Is(err, c.want) || (a.BuildID == "probe") != (c.want == nil) {
			t.Errorf("%s: got attempt %+v, error %v, want %v", name, a, err, c.want)
		}
		if _, err := issuer.Token(t.Context(), changed); !errors.Is(err, c.want) {
			t.Errorf("%s: its token: got %v, want %v", name, err, c.want)
		}
	}
}

func TestAProbeTokenIsShortLivedAndLimitedToProbes(t *testing.T) {
	e := newEnv(t, "acme/builder")
	r := e.probeRequest()
	issuer := pipeline.NewTokenIssuer(e.store, e.ci, e.probes, "custom", time.Now)
	unnumbered := r
	unnumbered.Number = 0
	if _, err := issuer.Token(t.Context(), unnumbered); !errors.Is(err, autobuild.ErrForbidden) {
		t.Errorf("before the pipeline has a number: got %v, want ErrForbidden", err)
	}
	token, err := issuer.Token(t.Context(), r)
	must.Succeed(t, err)
	if engine, ok := e.probes.Verify(token); !ok || engine != "drone" {
		t.Errorf("engine of the token: got %q, known %t, want drone", engine, ok)
	}
	if strings.ContainsAny(token.Reveal(), " #/:\n") {
		t.Error("token: got characters that settings and headers must escape, want none")
	}
	nonce := secret.New(r.Params["SLIPWAY_NONCE"])
	for name, other := range map[string]secret.Secret{
		"nothing": {}, "the nonce, which all may see": nonce, "half": secret.New(token.Reveal()[:40]),
		"one letter less": secret.New(token.Reveal()[:len(token.Reveal())-1]),
		"a later time":    secret.New("9" + token.Reveal()),
		"a builds":        autobuild.NewToken(), "much": secret.New(strings.Repeat("1.", 1<<20)),
	} {
		if _, ok := e.probes.Verify(other); ok {
			t.Errorf("%s as a token: got accepted, want rejected", name)
		}
	}
	for after, good := range map[time.Duration]bool{
		9 * time.Minute: true, 11 * time.Minute: false, -11 * time.Minute: false,
	} {
		now := time.Now().Add(after)
		if _, ok := probesAt("key", &now).Verify(token); ok != good {
			t.Errorf("token after %s: got known %t, want the opposite", after, !good)
		}
	}
	now := time.Now()
	for name, probes := range map[string]pipeline.Probes{
		"another installation's": probesAt("other", &now), "none": {},
	} {
		if _, ok := probes.Verify(token); ok {
			t.Errorf("%s: got the token accepted, want it rejected", name)
		}
	}
	if engine, ok := pipeline.NewProbes("woodpecker", secret.New("key"), time.Now).Verify(token); !ok ||
		engine != "drone" {
		t.Errorf("token at another engine: got engine %q, known %t, want drone", engine, ok)
	}
	_, err = e.store.AttemptByToken(t.Context(), e.build.ID, autobuild.TokenHash(token))
	if !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("a probe token used as a build's token: got %v, want ErrUnauthorized", err)
	}
}
