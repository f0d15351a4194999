package step

import (
	"context"
	"errors"
	"testing"
)

// The work and the registry's check end in either order.
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
		p := &preflight{cancel: func() {}, done: make(chan struct{}), err: c.answer}
		if c.answered {
			close(p.done)
		}
		err := p.Run(t.Context(), func(context.Context) (bool, error) {
			if !c.answered && !c.never {
				close(p.done)
			}
			return c.work.pushed, c.work.err
		})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", what, err, c.want)
		}
	}
	p := &preflight{cancel: func() {}, done: make(chan struct{}), err: refusal}
	err := p.Run(t.Context(), func(ctx context.Context) (bool, error) {
		close(p.done)
		<-ctx.Done()
		return false, ctx.Err()
	})
	if !errors.Is(err, refusal) {
		t.Errorf("denied login: got error %v, want %v", err, refusal)
	}
}
