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
	demotest.RequireTools(t)
	env := demotest.StartSignedIn(t, localenv.Options{PublicHooksOnly: true, Environment: quick("SLIPWAY_POLL_INTERVAL=2s")})
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	if hooks := p.Repository.Hooks(); len(hooks) != 0 {
		t.Fatalf("webhooks %+v although Bitbucket refuses the address", hooks)
	}
	hook := hookOf(env, p)
	for what, text := range map[string]string{
		"the interval": "polled every 2 s",
		"the reason":   "reachable from the internet",
		"the URL":      env.Gateway.URL + "/hooks/bitbucket/" + hook.ID,
	} {
		if !env.Browser.Contains(text) {
			t.Errorf("the page does not say %s (%q)", what, text)
		}
	}
	if env.Browser.Contains(hook.Secret.Reveal()) {
		t.Error("the page shows the secret unasked")
	}
	page, err := env.Browser.Path()
	env.Must(err)
	env.Must(env.Browser.Submit(env.Context, page+"/secret", nil))
	if !env.Browser.Contains(hook.Secret.Reveal()) {
		t.Error("the page does not show the secret when asked")
	}
	p.Commit("Noticed", env.Dockerfile("noticed"))
	p.Push("main")
	b := p.WaitEnd(1, autobuild.Succeeded)
	if b.Cause != autobuild.CauseReconcile {
		t.Errorf("cause %s, want a poll's", b.Cause)
	}
	p.CheckImage("latest", b, "noticed")
}
