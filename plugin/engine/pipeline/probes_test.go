package pipeline_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
)

// at is an installation's probes with a clock of its own.
func at(key string, now *time.Time) pipeline.Probes {
	return pipeline.NewProbes("drone", secret.New(key), func() time.Time { return *now })
}

// probed is what a CI says of a probe that a bench started, which another process asked for.
func (b *bench) probed() pipeline.Request {
	b.t.Helper()
	b.ci.state = autobuild.PipelineGone
	b.Probe(b.t.Context(), "")
	return pipeline.Request{
		Params: b.ci.orders[0].Params.Map(), Repository: "acme/builder", Number: 1, Event: "custom", Sender: "slipway",
	}
}

func TestTheDeskKnowsProbes(t *testing.T) {
	b := newBench(t, "acme/builder")
	r := b.probed()
	later := time.Now().Add(11 * time.Minute)
	for name, c := range map[string]struct {
		change func(*pipeline.Request)
		probes pipeline.Probes
		want   error
	}{
		"ours":                       {func(*pipeline.Request) {}, b.probes, nil},
		"again":                      {func(*pipeline.Request) {}, b.probes, nil}, // harmless: there is nothing that it could do twice
		"another repository":         {func(r *pipeline.Request) { r.Repository = "acme/evil" }, b.probes, autobuild.ErrForbidden},
		"parameters copied":          {func(r *pipeline.Request) { r.Sender = "mallory" }, b.probes, autobuild.ErrForbidden},
		"parameters set from a push": {func(r *pipeline.Request) { r.Event = "push" }, b.probes, autobuild.ErrForbidden},
		"another attempt":            {func(r *pipeline.Request) { r.Params["SLIPWAY_ATTEMPT"] = "2" }, b.probes, autobuild.ErrForbidden},
		"forged": {func(r *pipeline.Request) {
			r.Params["SLIPWAY_NONCE"] = "9" + r.Params["SLIPWAY_NONCE"]
		}, b.probes, autobuild.ErrForbidden},
		"no nonce of a probe": {func(r *pipeline.Request) { r.Params["SLIPWAY_NONCE"] = "nonce" }, b.probes, autobuild.ErrForbidden},
		"a build's":           {func(r *pipeline.Request) { r.Params["SLIPWAY_BUILD"] = b.build.ID }, b.probes, autobuild.ErrForbidden},
		"another engine's":    {func(*pipeline.Request) {}, pipeline.NewProbes("woodpecker", secret.New("key"), time.Now), autobuild.ErrForbidden},
		"another key":         {func(*pipeline.Request) {}, pipeline.NewProbes("drone", secret.New("other"), time.Now), autobuild.ErrForbidden},
		"no key":              {func(*pipeline.Request) {}, pipeline.Probes{}, autobuild.ErrForbidden},
		"too late":            {func(*pipeline.Request) {}, at("key", &later), autobuild.ErrForbidden},
	} {
		changed := r
		changed.Params = maps.Clone(r.Params)
		c.change(&changed)
		desk := pipeline.NewDesk(b.store, b.ci, c.probes, "custom")
		a, err := desk.Attempt(t.Context(), changed)
		if !errors.Is(err, c.want) || (a.BuildID == "probe") != (c.want == nil) {
			t.Errorf("%s: attempt %+v, %v, want %v", name, a, err, c.want)
		}
		if _, err := desk.Token(t.Context(), changed); !errors.Is(err, c.want) {
			t.Errorf("%s: its token: %v, want %v", name, err, c.want)
		}
	}
}

func TestAProbesTokenIsGoodForMinutesAndForNothingElse(t *testing.T) {
	b := newBench(t, "acme/builder")
	r := b.probed()
	desk := pipeline.NewDesk(b.store, b.ci, b.probes, "custom")
	unnumbered := r
	unnumbered.Number = 0
	if _, err := desk.Token(t.Context(), unnumbered); !errors.Is(err, autobuild.ErrForbidden) {
		t.Errorf("before the pipeline has a number: %v", err)
	}
	token, err := desk.Token(t.Context(), r)
	must(t, err)
	if engine, ok := b.probes.Know(token); !ok || engine != "drone" {
		t.Errorf("the token is of %q, known %t", engine, ok)
	}
	if strings.ContainsAny(token.Reveal(), " #/:\n") {
		t.Error("the token has letters that settings and headers must escape")
	}
	nonce := secret.New(r.Params["SLIPWAY_NONCE"])
	for name, other := range map[string]secret.Secret{
		"nothing": {}, "the nonce, which all may see": nonce, "half": secret.New(token.Reveal()[:40]),
		"one letter less": secret.New(token.Reveal()[:len(token.Reveal())-1]), "a later time": secret.New("9" + token.Reveal()),
		"a builds": autobuild.NewToken(), "much": secret.New(strings.Repeat("1.", 1<<20)),
	} {
		if _, ok := b.probes.Know(other); ok {
			t.Errorf("%s is taken for a token", name)
		}
	}
	for after, good := range map[time.Duration]bool{9 * time.Minute: true, 11 * time.Minute: false, -11 * time.Minute: false} {
		now := time.Now().Add(after)
		if _, ok := at("key", &now).Know(token); ok != good {
			t.Errorf("%s later it is known: %t", after, !good)
		}
	}
	now := time.Now()
	for name, probes := range map[string]pipeline.Probes{"another installation's": at("other", &now), "none": {}} {
		if _, ok := probes.Know(token); ok {
			t.Errorf("%s know the token", name)
		}
	}
	if engine, ok := pipeline.NewProbes("woodpecker", secret.New("key"), time.Now).Know(token); !ok || engine != "drone" {
		t.Errorf("another engine's know it as of %q, %t", engine, ok)
	}
	if _, err := b.store.AttemptByToken(t.Context(), b.build.ID, autobuild.TokenHash(token)); !errors.Is(err, autobuild.ErrUnauthorized) {
		t.Errorf("as a build's token: %v", err)
	}
}
