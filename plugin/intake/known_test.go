package intake_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/intake"
	"slipway/plugin/store"
)

// countedStore counts the reads of webhooks.
type countedStore struct {
	*store.Store
	reads atomic.Int32
}

func (s *countedStore) Hook(ctx context.Context, id string) (autobuild.Hook, error) {
	s.reads.Add(1)
	return s.Store.Hook(ctx, id)
}

// counting returns an Intake of the same database that counts its reads.
func (e *env) counting() (*intake.Intake, *countedStore) {
	s := &countedStore{Store: e.store}
	return intake.New(intake.Options{Store: s, Now: func() time.Time { return e.now }, Log: discard.Logger()}), s
}

func TestAWebhookIsReadOnceASecond(t *testing.T) {
	e := newEnv(t, autobuild.Cloud)
	in, reads := e.counting()
	body := []byte(`{}`)
	for _, step := range []struct {
		after time.Duration
		want  int32
	}{{0, 1}, {0, 1}, {999 * time.Millisecond, 1}, {time.Millisecond, 2}, {-time.Minute, 3}} {
		e.now = e.now.Add(step.after)
		if !in.Known(t.Context(), e.hook.ID) {
			t.Error("the webhook: got it unknown, want it known")
		}
		must.Succeed(t, in.Receive(t.Context(), e.hook.ID, signed(body, current), body))
		if got := reads.reads.Load(); got != step.want {
			t.Errorf("reads after %s more: got %d, want %d", step.after, got, step.want)
		}
	}
}

// An id without a webhook is kept, too, so that it takes the same time. Long ids are not kept.
func TestAnUnknownIDIsReadOnceASecond(t *testing.T) {
	e := newEnv(t, autobuild.Cloud)
	for id, want := range map[string]int32{"none": 1, strings.Repeat("x", 65): 3} {
		in, reads := e.counting()
		for range 3 {
			if in.Known(t.Context(), id) {
				t.Errorf("%s: got it known, want it unknown", id)
			}
		}
		if got := reads.reads.Load(); got != want {
			t.Errorf("reads of %s: got %d, want %d", id, got, want)
		}
	}
}

// While two gateways keep a webhook, its secret is replaced, and it is deleted.
func TestAKeptWebhookIsReadAgain(t *testing.T) {
	e := newEnv(t, autobuild.Cloud)
	other, _ := e.counting()
	all := map[string]*intake.Intake{"a gateway": e.Intake, "another gateway": other}
	body := []byte(`{}`)
	for _, one := range all {
		must.Succeed(t, one.Receive(t.Context(), e.hook.ID, signed(body, current), body))
	}

	next := secret.New("the next secret")
	must.Get[autobuild.Hook](t)(e.store.ReplaceHookSecret(t.Context(), e.hook, next, start.Add(time.Hour)))
	for name, one := range all {
		if err := one.Receive(t.Context(), e.hook.ID, signed(body, next), body); err != nil {
			t.Errorf("new secret at %s: got error %v, want none", name, err)
		}
	}

	must.Succeed(t, e.store.DeleteHook(t.Context(), e.hook.ID))
	e.now = e.now.Add(time.Second)
	for name, one := range all {
		err := one.Receive(t.Context(), e.hook.ID, signed(body, next), body)
		if !errors.Is(err, intake.ErrUnauthorized) {
			t.Errorf("a second after it was deleted, at %s: got error %v, want ErrUnauthorized", name, err)
		}
	}
}
