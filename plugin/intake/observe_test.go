package intake_test

import (
	"bytes"
	"net/http"
	"slices"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/intake"
)

func TestEachAnswerIsTold(t *testing.T) {
	var told []string
	observe := func(o *intake.Options) { o.Observe = func(answer string) { told = append(told, answer) } }
	d := newDesk(t, autobuild.Cloud, observe)
	body, large := []byte(`{}`), bytes.Repeat([]byte{' '}, 1<<20+1)
	must(t, d.Receive(t.Context(), d.hook.ID, signed(body, current), body))
	must(t, d.Receive(t.Context(), d.hook.ID, http.Header{"X-Event-Key": {"diagnostics:ping"}}, body))
	_ = d.Receive(t.Context(), d.hook.ID, signed(body, secret.New("another")), body) // refusals are told, too
	_ = d.Receive(t.Context(), d.hook.ID, signed(large, current), large)
	busy := newWeakDesk(t, &weak{hookErr: errBusy}, observe)
	_ = busy.Receive(t.Context(), busy.hook.ID, signed(body, current), body)
	if want := []string{"stored", "ping", "unauthorized", "too_large", "unavailable"}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}
