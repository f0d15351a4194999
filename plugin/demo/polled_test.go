package demo_test

import (
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// A repository whose webhook Bitbucket refuses is polled, and its page says so with what a
// person needs to add the webhook by hand.
func TestPolledRepository(t *testing.T) {
	demotest.NeedMachine(t)
	h := demotest.Open(t, localenv.Options{PublicHooksOnly: true, Environment: quick("SLIPWAY_POLL_INTERVAL=2s")})
	p := h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	if hooks := p.Repository.Hooks(); len(hooks) != 0 {
		t.Fatalf("webhooks %+v although Bitbucket refuses the address", hooks)
	}
	hook := hookOf(h, p)
	for what, text := range map[string]string{
		"the interval": "polled every 2 s",
		"the reason":   "reachable from the internet",
		"the URL":      h.Gateway.URL + "/hooks/bitbucket/" + hook.ID,
	} {
		if !h.Browser.Says(text) {
			t.Errorf("the page does not say %s (%q)", what, text)
		}
	}
	if h.Browser.Says(hook.Secret.Reveal()) {
		t.Error("the page shows the secret unasked")
	}
	page, err := h.Browser.Path()
	h.Must(err)
	h.Must(h.Browser.Submit(h.Context, page+"/secret", nil))
	if !h.Browser.Says(hook.Secret.Reveal()) {
		t.Error("the page does not show the secret when asked")
	}
	p.Commit("Noticed", h.Dockerfile("noticed"))
	p.Push("main")
	b := p.End(1, autobuild.Succeeded)
	if b.Cause != autobuild.CauseReconcile {
		t.Errorf("cause %s, want a poll's", b.Cause)
	}
	p.Holds("latest", b, "noticed")
}
