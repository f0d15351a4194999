package runner

import (
	"context"
	"errors"
	"testing"

	"slipway/config/secret"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

// What the work came to and what the registry says, in each order.
func TestARegistrysAnswerAndTheBuild(t *testing.T) {
	refusal, failure := errors.New("refused"), errors.New("failed")
	type outcome struct {
		pushed bool
		err    error
	}
	for what, c := range map[string]struct {
		answer   error
		answered bool // before the work begins; otherwise when it is over, or never
		never    bool
		work     outcome
		want     error
	}{
		"built, let in":                      {nil, true, false, outcome{}, nil},
		"built, let in later":                {nil, false, false, outcome{}, nil},
		"built, refused later":               {refusal, false, false, outcome{}, refusal},
		"pushed already, and never answered": {nil, false, true, outcome{pushed: true}, nil},
		"failed, and refused before":         {refusal, true, false, outcome{err: failure}, refusal},
		"failed, and never answered":         {nil, false, true, outcome{err: failure}, failure},
		"failed, let in":                     {nil, true, false, outcome{err: failure}, failure},
	} {
		q := &question{enough: func() {}, answered: make(chan struct{}), refusal: c.answer}
		if c.answered {
			close(q.answered)
		}
		err := q.unlessRefused(t.Context(), func(context.Context) (bool, error) {
			if !c.answered && !c.never {
				close(q.answered)
			}
			return c.work.pushed, c.work.err
		})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", what, err, c.want)
		}
	}
	q := &question{enough: func() {}, answered: make(chan struct{}), refusal: refusal}
	err := q.unlessRefused(t.Context(), func(ctx context.Context) (bool, error) {
		close(q.answered)
		<-ctx.Done()
		return false, ctx.Err()
	})
	if !errors.Is(err, refusal) {
		t.Errorf("a refusal ends the work: got %v", err)
	}
}

// A builder moves a tag itself only as the very last thing, and where this step would move it.
func TestWhichTagTheBuilderMoves(t *testing.T) {
	good := settings.Plugin{Images: []string{"r.example.com/app"}, Tags: []string{"1.2", "latest"}}
	changed := func(change func(p *settings.Plugin)) settings.Plugin { p := good; change(&p); return p }
	cache := func(attrs map[string]string) []spec.Cache {
		return []spec.Cache{{Type: spec.CacheRegistry, Attrs: attrs}}
	}
	for what, c := range map[string]struct {
		settings settings.Plugin
		caches   []spec.Cache
		want     string
	}{
		"one repository":           {good, nil, "1.2"},
		"two":                      {changed(func(p *settings.Plugin) { p.Images = []string{"a.example.com/x", "b.example.com/x"} }), nil, ""},
		"a signature comes first":  {changed(func(p *settings.Plugin) { p.Sign.Key = secret.New("key") }), nil, ""},
		"dry run":                  {changed(func(p *settings.Plugin) { p.DryRun = true }), nil, ""},
		"no tag":                   {changed(func(p *settings.Plugin) { p.Tags = nil }), nil, ""},
		"a builder elsewhere":      {changed(func(p *settings.Plugin) { p.Builder = "unix:///run/b.sock" }), nil, ""},
		"a cache that may fail":    {good, cache(nil), ""},
		"a cache that may not":     {good, cache(map[string]string{"ignore-error": "true"}), "1.2"},
		"a cache within the image": {good, []spec.Cache{{Type: spec.CacheInline}}, "1.2"},
	} {
		if got := (&standalone{s: c.settings}).firstTag(c.caches); got != c.want {
			t.Errorf("%s: got %q, want %q", what, got, c.want)
		}
	}
}
