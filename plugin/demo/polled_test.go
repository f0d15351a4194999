package demo_test

import (
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// If Bitbucket rejects the webhook, the repository is polled. Its page shows the
// polling, and the values to add the webhook by hand.
func TestPolledRepository(t *testing.T) {
	demotest.RequireTools(t)
	env := demotest.StartSignedIn(t, localenv.Options{
		PublicHooksOnly: true,
		Environment:     commonSettings("SLIPWAY_POLL_INTERVAL=2s"),
	})
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	if hooks := p.Repository.Hooks(); len(hooks) != 0 {
		t.Fatalf("webhooks: got %+v, want none because Bitbucket rejects the address", hooks)
	}
	hook := hookOf(env, p)
	for name, text := range map[string]string{
		"the interval": "polled every ",
		"the reason":   "reachable from the internet",
		"the URL":      env.Gateway.URL + "/hooks/bitbucket/" + hook.ID,
	} {
		if !env.Browser.Contains(text) {
			t.Errorf("%s: got no text %q on the page, want it", name, text)
		}
	}
	if env.Browser.Contains(hook.Secret.Reveal()) {
		t.Error("secret on the page before the button is pressed: got one, want none")
	}
	page, err := env.Browser.Path()
	env.Must(err)
	env.Must(env.Browser.Submit(env.Context, page+"/secret", nil))
	if !env.Browser.Contains(hook.Secret.Reveal()) {
		t.Error("secret on the page after the button was pressed: got none, want one")
	}
	p.Commit("Noticed", env.Dockerfile("noticed"))
	p.Push("main")
	b := p.WaitEnd(1, autobuild.Succeeded)
	if b.Cause != autobuild.CauseReconcile {
		t.Errorf("cause: got %s, want %s", b.Cause, autobuild.CauseReconcile)
	}
	p.CheckImage("latest", b, "noticed")
}
