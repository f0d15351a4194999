package demo_test

import (
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// F18: while no gateway runs, a person removes the webhook and another pushes a commit. The gateway
// that starts creates the webhook again and finds the push.
func TestF18AGatewayThatStartsFindsWhatItMissed(t *testing.T) {
	demotest.RequireTools(t)
	env := demotest.StartSignedIn(t, localenv.Options{Environment: commonSettings()})
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	before := p.Repository.Hooks()
	env.Gateway.Stop()
	p.Repository.RemoveHooks()
	p.Commit("Missed", env.Dockerfile("missed"))
	p.Push("main")
	env.Must(env.Gateway.Start(env.Context))
	b := p.WaitNewest(1, autobuild.Queued, autobuild.Starting, autobuild.Running, autobuild.Succeeded)
	if b.Cause != autobuild.CauseReconcile {
		t.Errorf("cause: got %s, want %s", b.Cause, autobuild.CauseReconcile)
	}
	hooks := p.Repository.Hooks()
	if len(hooks) != 1 {
		t.Fatalf("webhooks: got %+v, want one", hooks)
	}
	if !hooks[0].Active {
		t.Errorf("webhook: got %+v, want it active", hooks[0])
	}
	if hooks[0].URL != before[0].URL {
		t.Errorf("webhook URL: got %s, want %s", hooks[0].URL, before[0].URL)
	}
	if hooks[0].UUID == before[0].UUID {
		t.Errorf("webhook: got %s, want a new one", hooks[0].UUID)
	}
	hook := hookOf(env, p)
	if hook.State != autobuild.HookActive {
		t.Errorf("state in the gateway's record: got %s, want %s", hook.State, autobuild.HookActive)
	}
	if hook.RemoteID != hooks[0].UUID {
		t.Errorf("remote ID in the gateway's record: got %s, want %s", hook.RemoteID, hooks[0].UUID)
	}
}
