package intake_test

import (
	"bytes"
	"net/http"
	"slices"
	"testing"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/intake"
)

func TestEachResultIsObserved(t *testing.T) {
	var observed []string
	observe := func(o *intake.Options) { o.Observe = func(result string) { observed = append(observed, result) } }
	e := newEnv(t, autobuild.Cloud, observe)
	body, large := []byte(`{}`), bytes.Repeat([]byte{' '}, 1<<20+1)
	must.Succeed(t, e.Receive(t.Context(), e.hook.ID, signed(body, current), body))
	must.Succeed(t, e.Receive(t.Context(), e.hook.ID, http.Header{"X-Event-Key": {"diagnostics:ping"}}, body))
	_ = e.Receive(t.Context(), e.hook.ID, signed(body, secret.New("another")), body) // rejections are observed, too
	_ = e.Receive(t.Context(), e.hook.ID, signed(large, current), large)
	busy := newBusyEnv(t, &busyStore{hookErr: errBusy}, observe)
	_ = busy.Receive(t.Context(), busy.hook.ID, signed(body, current), body)
	if want := []string{"stored", "ping", "unauthorized", "too_large", "unavailable"}; !slices.Equal(observed, want) {
		t.Errorf("observed: got %v, want %v", observed, want)
	}
}
